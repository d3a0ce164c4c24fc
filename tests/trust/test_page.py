"""The page of the gallery has the tables that code and committed table give, and says no more than was measured."""

import pytest

from nrf_ray.attacks.trust import CHECKS
from tests.trust import page
from tests.trust.defences import DEFENCES
from tests.trust.measure import kept

TRUTH = {"norm": "l2", "eps": 0.6, "n": 300, "truth": 0.3, "low": 0.25, "high": 0.35}
CAUGHT = {"name": "sign", "family": "shattered", **TRUTH, "product": 0.7, "level": "L0", "alarms": {"slope": "FAIL"}}
SOLD = {
    **{"name": "aware", "family": "stateful", **TRUTH, "product": 0.6, "level": "L1", "alarms": {}},
    **{"autoattack": 0.5, "autoattack_level": "L3", "autoattack_alarms": {}},
}
HONEST = {
    **{"name": "smooth/0", "family": "honest", "norm": "l2", "eps": 0.6, "n": 300, "product": 0.5, "level": "L0"},
    "alarms": {"slope": "WARN"},
}


def test_the_page_has_the_tables_of_the_code_and_of_the_gallery() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.filled(text, list(kept().values())), "run: python -m tests.trust.page"


def test_every_defence_and_every_check_is_on_the_page() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert not [name for name in (*DEFENCES, *CHECKS) if f"| `{name}` |" not in text]
    assert not [defence.name for defence in DEFENCES.values() if f"| {defence.why} |" not in text]


def test_the_guide_leads_to_the_page() -> None:
    assert "(robust_accuracy.md)" in page.PAGE.with_name("guide.md").read_text(encoding="utf-8")


def test_what_is_not_measured_is_not_claimed() -> None:
    assert page.summary([]) == page.unseen([]) == "The gallery is not measured yet."
    assert page.honest([]) == "The honest models are not measured yet."
    assert page.summary([{key: CAUGHT[key] for key in ("name", "family", *TRUTH)}]) == page.summary([])
    row = next(line for line in page.defences("shattered", []).splitlines() if "`sign`" in line)
    assert row == f"| `sign` | {DEFENCES['sign'].why} | not measured yet |  |  |  |"


def test_what_was_measured_of_a_defence_is_in_its_row() -> None:
    row = next(line for line in page.defences("shattered", [CAUGHT]).splitlines() if "`sign`" in line)
    assert row.endswith("| .300 [.250, .350] | .700 | L0 | `slope` FAIL |")
    other = {**CAUGHT, "eps": 0.4}
    assert "not measured yet" in next(
        line for line in page.defences("shattered", [other]).splitlines() if "`sign`" in line
    )


def test_rows_are_counted_by_the_checks_that_failed() -> None:
    text = page.summary([CAUGHT, {**CAUGHT, "eps": 0.4}, SOLD, HONEST])
    assert text.startswith("3 rows are measured, of 2 defences. Of 2 of them a check failed")
    assert "| `slope` | 2 |" in text
    assert page.summary([{**CAUGHT, "alarms": {"refused": "no gradient"}}]).startswith("1 rows are measured, of 1 def")


def test_defences_that_no_check_saw_are_named_with_every_number_that_was_sold() -> None:
    text = page.unseen([CAUGHT, SOLD])
    assert "| `aware` | l2 0.6 | .300 | PGD | .600 | L1 |" in text
    assert "| `aware` | l2 0.6 | .300 | AutoAttack | .500 | L3 |" in text
    assert "sign" not in text
    assert page.unseen([CAUGHT]).startswith("Of the gallery, no defence has a level above L0")


def test_alarms_of_honest_models_are_counted() -> None:
    text = page.honest([HONEST, {**HONEST, "name": "smooth/1", "alarms": {}}, CAUGHT])
    assert text.startswith("Of 2 runs, 2 have no trust level. Runs in which")
    assert "| `slope` | 1 | 0 |" in text
    assert page.honest([{**HONEST, "alarms": {}}]).endswith("failed: none.")


@pytest.mark.parametrize("text", ["", "<!-- levels -->\n<!-- /levels -->" * 2])
def test_a_page_without_its_marks_is_refused(text) -> None:
    with pytest.raises(ValueError, match="needs the marks of 'levels' once"):
        page.filled(text, [])
