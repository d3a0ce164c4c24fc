"""Reports: every number that is printed, against a hand computation or a textbook."""

import io
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nrf_ray.constructions.spec import CONSTRUCTIONS, Construction
from nrf_ray.display.printing import cell_text, make_console, mean, print_results, share_text
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.stage import walk
from nrf_ray.graph.store import Store
from nrf_ray.results.parquet import to_arrow
from nrf_ray.results.summary import print_summary
from nrf_ray.results.write import write_tables
from nrf_ray.statistics import correlation, seed_means
from nrf_ray.sweep.row_facts import wilson
from nrf_ray.sweep.wording import trained_on
from nrf_ray.tables.constructed_sets import DATASETS
from nrf_ray.tables.contrasts import figure_3
from nrf_ray.tables.registry import result_tables
from nrf_ray.tables.robustness import ROBUSTNESS
from nrf_ray.tables.stages import STAGES, stage_rows
from nrf_ray.tables.trained_models import EXTRA, RESULTS, show_results
from nrf_ray.tables.transfer import TRANSFER
from nrf_ray.tables.usefulness import USEFULNESS
from nrf_ray.training.recipes import Recipe
from tests.frames import results, transfers

ARCHS = ("vgg_s", "inception_s", "resnet_s", "resnet_m", "densenet_s")


def figure(accuracies, successes, **changes):
    """Return the lines of Figure 3 for one accuracy and one success rate an architecture."""
    learnt = [{"student_arch": a, "clean_accuracy": x} for a, x in zip(ARCHS, accuracies, strict=False)]
    fooled = [{"victim_arch": a, "success_rate": y} | changes for a, y in zip(ARCHS, successes, strict=False)]
    return figure_3(transfers(fooled), results(learnt))


def printed(sweep, store, tables):
    out = io.StringIO()
    print_summary(make_console(out), sweep, store, tables)
    return out.getvalue()


def empty_frames():
    return {table.name: to_arrow(table, []).to_pandas() for table in (RESULTS, DATASETS, ROBUSTNESS, TRANSFER, STAGES)}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 0.6, 0.7], ".600 ± .248"),  # t(2) = 4.3027, sd = 0.1: 4.3027 * 0.1 / sqrt(3)
        ([0.2, 0.4], ".300 ± 1.27"),  # t(1) = 12.706, sd = 0.14142: 12.706 * 0.14142 / sqrt(2)
        ([0.25, 0.25, 0.25], ".250 ± .000"),
        ([0.123456], ".123"),
    ],
    ids=["three", "two", "equal", "one"],
)
def test_mean_and_interval_by_hand(values, expected):
    assert cell_text(mean(pd.Series(values))) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, ".500"), (-0.25, "-.250"), (1.0, "1.00"), (0.9999, "1.00"), (-0.9999, "-1.00"), (1.4849, "1.48")],
)
def test_a_share_is_printed_as_the_field_does(value, text):
    assert share_text(value) == text


def test_the_mean_over_seeds_is_of_means_and_not_of_rows():
    """Seeds are the replicates; a seed with more architectures does not count for more."""
    frame = results(
        [{"seed": 0, "clean_accuracy": 0.2, "student_arch": a} for a in ("a", "b", "c")]
        + [{"seed": 1, "clean_accuracy": 0.6}]
    )
    assert seed_means(frame, "clean_accuracy").tolist() == pytest.approx([0.2, 0.6])


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(10, 100, 0.0552, 0.1744), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
    ids=["10 of 100", "0 of 10", "10 of 10", "81 of 263 (Newcombe 1998)"],
)
def test_wilson_intervals_of_the_textbooks(hits, n, low, high):
    interval = wilson(hits / n, n)
    assert list(interval) == ["ci_low", "ci_high"]
    assert interval["ci_low"] == pytest.approx(low, abs=5e-5)
    assert interval["ci_high"] == pytest.approx(high, abs=5e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5000), st.data())
def test_a_wilson_interval_holds_its_share_and_stays_in_bounds(n, data):
    share = data.draw(st.integers(0, n)) / n
    interval = wilson(share, n)
    assert 0 <= interval["ci_low"] <= share + 1e-12
    assert share - 1e-12 <= interval["ci_high"] <= 1


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_figure_3_is_the_correlation_over_architectures(targeted):
    accuracies, successes = (0.3, 0.5, 0.6, 0.55, 0.9), (0.2, 0.5, 0.5, 0.7, 0.8)
    (point,) = figure(accuracies, successes, targeted=targeted, epsilon=1.5).to_dict("records")
    r = correlation(sorted_by_arch(accuracies), sorted_by_arch(successes)).r
    assert (point["r"], point["low"], point["high"]) == pytest.approx((r.estimate, r.low, r.high))
    kind = "targeted" if targeted else "untargeted"
    assert (point["d_det"], point["attack"]) == ("l2 1", f"{kind} l2 1.5")
    assert (point["archs"], point["seeds"]) == (5, 1)


def sorted_by_arch(values):
    return [value for _, value in sorted(zip(ARCHS, values, strict=True))]


def test_figure_3_pairs_by_architecture_and_averages_over_seeds():
    learnt = [
        {"student_arch": a, "seed": s, "clean_accuracy": 0.1 * i + d}
        for i, a in enumerate(ARCHS)
        for s, d in ((0, 0.05), (1, -0.05))
    ]
    fooled = [
        {"victim_arch": a, "seed": s, "success_rate": 0.9 - 0.1 * i + d}
        for i, a in reversed(list(enumerate(ARCHS)))
        for s, d in ((0, -0.07), (1, 0.07))
    ]
    (point,) = figure_3(transfers(fooled), results(learnt)).to_dict("records")
    assert (point["r"], point["low"], point["high"]) == pytest.approx((-1.0, -1.0, -1.0))
    assert point["seeds"] == 2


@pytest.mark.parametrize(
    ("accuracies", "successes"),
    [
        ((0.5,) * 5, (0.1, 0.2, 0.3, 0.4, 0.5)),
        ((0.1, 0.2, 0.3, 0.4, 0.5), (1.0,) * 5),
        ((0.1, 0.2), (0.3, 0.4)),
        ((0.1, 0.2, 0.3, 0.4, 0.5), (0.1, 0.2, 0.3)),
    ],
    ids=["equal accuracies", "equal successes", "two architectures", "a victim is missing"],
)
def test_figure_3_leaves_out_what_has_no_correlation(accuracies, successes):
    assert figure(accuracies, successes).empty


def test_figure_3_leaves_out_what_is_constant_but_for_rounding():
    """The mean of the same three numbers in another order may differ in its last bit."""
    learnt = [
        {"student_arch": a, "seed": s, "clean_accuracy": x}
        for a, values in zip(ARCHS, ((0.1, 0.2, 0.3), (0.3, 0.2, 0.1), (0.2, 0.3, 0.1)), strict=False)
        for s, x in enumerate(values)
    ]
    fooled = [{"victim_arch": a, "success_rate": 0.1 * i} for i, a in enumerate(ARCHS)]
    learnt_frame = results(learnt)
    means = learnt_frame.groupby("student_arch")["clean_accuracy"].mean()
    assert means.std() < 1e-12
    assert figure_3(transfers(fooled), learnt_frame).empty
    nudged = [{"student_arch": a, "clean_accuracy": 0.2 + i * 3e-17} for i, a in enumerate(ARCHS)]
    assert results(nudged)["clean_accuracy"].std() > 0
    assert figure_3(transfers(fooled), results(nudged)).empty


def test_figure_3_of_nothing_is_nothing():
    frames = empty_frames()
    assert figure_3(frames["transfer"], frames["results"]).empty
    assert figure_3(transfers([{}]), frames["results"]).empty
    assert figure_3(frames["transfer"], results([{}])).empty


def test_the_summary_of_a_run_has_all_four_tables(tiny, wide):
    text = printed(tiny.sweep, tiny.store, write_tables(tiny.sweep, tiny.store).frames)
    for title in ("accuracy on the untouched", "constructed sets", "robust accuracy", "transfer of"):
        assert title in text
    assert str(tiny.store.blobs.root / "sweeps" / "transfer_grid") in text
    assert "…" not in text, "nothing is cut to a width"


def test_the_summary_of_an_empty_run_prints(tiny, wide):
    text = printed(tiny.sweep, tiny.store, empty_frames())
    assert "accuracy on the untouched" not in text
    assert "tables " in text


@pytest.mark.parametrize("kept", ["results", "datasets", "robustness", "transfer", "stages", None])
def test_the_summary_of_a_sweep_of_some_tables_prints(tiny, wide, kept):
    """A sweep file of one's own may have rows of one table alone."""
    frames = write_tables(tiny.sweep, tiny.store).frames
    assert "tables " in printed(tiny.sweep, tiny.store, {name: frames[name] for name in frames if name == kept})


def test_minus_control_is_the_paired_difference(tiny, wide):
    """Pairs by architecture, radius and seed: an architecture that has no control does not enter."""
    rows = []
    for seed, (set_, control) in enumerate([(0.60, 0.50), (0.70, 0.50), (0.80, 0.50)]):
        common = {"seed": seed, "student_arch": "vgg_s"}
        rows += [common | {"construction": "d_det", "clean_accuracy": set_}]
        rows += [common | {"construction": "leak_det", "clean_accuracy": control, "source_arch": None}]
        rows += [{"seed": seed, "student_arch": "resnet_s", "construction": "d_det", "clean_accuracy": 0.99}]
        rows += [common | {"construction": "leak_other", "clean_accuracy": 0.01, "source_arch": None}]
        rows += [common | {"construction": "leak_det", "clean_accuracy": 0.02, "epsilon": 1.5, "source_arch": None}]
    lines = printed(tiny.sweep, tiny.store, {"results": results(rows)}).splitlines()
    (shown,) = [line for line in lines if line.startswith("d_det")]
    assert shown.rstrip().endswith(".200 ± .248")
    assert " 6 " in shown, "two architectures by three seeds"
    (control_line,) = [line for line in lines if line.startswith("leak_det") and "l2 1 " in line]
    assert control_line.rstrip().endswith(".500, .500"), "a control has no control"


def test_models_on_the_original_data_are_told_by_role(tiny, wide):
    none = {"construction": "d", "norm": None, "epsilon": None, "source_arch": None}
    rows = [none | {"role": role} for role in ("source", "victim", "judge")] + [{}]
    lines = printed(tiny.sweep, tiny.store, {"results": results(rows)}).splitlines()
    for begin in ("d (source)", "d (victim)", "d (judge)", "d_det "):
        assert sum(line.startswith(begin) for line in lines) == 1


def test_a_set_is_a_control_by_its_construction_and_not_by_its_name(monkeypatch):
    made = Construction(name="noise", targets="next", features="pattern", description="a control of a user")
    monkeypatch.setitem(CONSTRUCTIONS, "noise", made)
    original = {"construction": "d", "role": "source", "training": "adversarial"}
    rows = [original, *({"construction": name} for name in ("noise", "leak_det", "d_det", "leak_gone"))]
    (shown,) = show_results("digits", {"results": results(rows)})
    assert {name.text.partition(",")[0]: name.kind for name, *_ in shown.rows} == {
        "d (robust source)": "original",
        "noise": "control",
        "leak_det": "control",
        "d_det": "constructed",
        "leak_gone": "constructed",  # of a user's file that this process has not imported
    }


def test_every_table_calls_a_model_by_the_same_name():
    named = {
        trained_on(role, training, "fast", "d", *[None] * 4).text
        for role in ("source", "victim", "judge")
        for training in ("standard", "adversarial")
    }
    assert named == {
        f"d ({name}), trained fast" for name in ("source", "robust source", "victim", "robust victim", "judge")
    }
    student = trained_on("student", "standard", "faithful", "d_det", None, "adversarial", "float32", "faithful")
    assert student == ("d_det of robust source, float32", "constructed")


def test_the_weakest_attack_is_shown_with_its_own_interval(tiny, wide):
    base = {column.name: "x" if column.type == "string" else None for column in ROBUSTNESS.columns}
    base |= {
        "epsilon": 1.0,
        "n": 100,
        "steps": 20,
        "construction": "d",
        "trust_level": "L0",
        "checks": None,
        "autoattack_checks": None,
    }
    rows = [
        base | {"seed": seed, "robust_accuracy": share, **wilson(share, 100)} for seed, share in ((0, 0.02), (1, 0.1))
    ]
    frame = to_arrow(ROBUSTNESS, rows).to_pandas()
    text = printed(tiny.sweep, tiny.store, {"robustness": frame})
    assert ".100 .055, .174" in " ".join(text.split())


def test_a_robust_accuracy_is_shown_with_its_trust_and_the_checks_that_did_not_pass(tiny, wide):
    base = {column.name: "x" if column.type == "string" else None for column in ROBUSTNESS.columns} | {
        "construction": "d", "tested_on": "test", "seed": 0, "mode": "faithful",
        "epsilon": 1.0, "n": 100, "steps": 50, "restarts": 10,
        "clean_accuracy": 0.9, "robust_accuracy": 0.5, **wilson(0.5, 100), "autoattack_checks": None,
    }  # fmt: skip
    rows = [
        base | {"training": "adversarial", "trust_level": "L1", "checks": "logits:PASS noise:PASS", "checks_n": 128},
        base
        | {"training": "standard", "trust_level": "L0", "checks": "logits:PASS noise:FAIL"}
        | {"lowest": 0.25, "lowest_by": "with noise"},
        base | {"training": "plain", "trust_level": "L0", "checks": None},
    ]
    text = printed(tiny.sweep, tiny.store, {"robustness": to_arrow(ROBUSTNESS, rows).to_pandas()})
    (line,) = [line for line in text.splitlines() if line.startswith("noise")]
    assert line.split() == ["noise", "standard", "x", "on", "d", "x", "x", "1", "1", "0", "0"], "1 FAIL, 0 WARN, 0 PASS"
    assert not any(line.startswith("logits") for line in text.splitlines()), "what passed everywhere is not shown"
    assert "L1 (128)" in text
    assert ".250 with noise" in " ".join(text.split())
    assert "Trust L0: a single attack" in " ".join(text.split())
    assert "Trust L1: PGD with 50 steps" in " ".join(text.split())
    assert "Trust L2" not in text


@pytest.mark.parametrize("table", [RESULTS, ROBUSTNESS, EXTRA, TRANSFER, USEFULNESS], ids=lambda table: table.name)
def test_networks_of_two_modes_are_never_averaged(tiny, wide, table):
    """Regression: bfloat16 and float32, and networks trained elsewhere, came out as one mean without a word."""
    text = dict.fromkeys((column.name for column in table.columns if column.type == "string"), "x")
    base = {column.name: True if column.type == "bool" else 1 for column in table.columns} | text
    base |= {
        "construction": "d",
        "start": None,
        "seed": 0,
        "checks": None,
        "autoattack_checks": None,
        "tested_on": "test",
        "trust_level": "L0",
    }
    base = {name: value for name, value in base.items() if name in table.column_names()}
    rows = [base | {"mode": mode, "craft_mode": None, "source_mode": "faithful"} for mode in ("faithful", "fast", None)]
    rows = [{name: row[name] for name in table.column_names()} for row in rows]
    lines = printed(tiny.sweep, tiny.store, {table.name: to_arrow(table, rows).to_pandas()}).splitlines()
    assert [sum(words in line for line in lines) for words in (", trained fast", ", imported")] == [1, 1]


def test_sets_of_two_modes_are_never_averaged(tiny, wide):
    rows = [{"craft_mode": mode, "seed": seed} for mode in ("faithful", "fast") for seed in (0, 1)]
    lines = printed(tiny.sweep, tiny.store, {"results": results(rows)}).splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("d_det")] == [["d_det", "l2"], ["d_det,", "made"]]


@pytest.fixture(scope="module")
def broken(tiny_grid, transfer_grid, tmp_path_factory):
    """Return a sweep whose source training diverges, its store, and the frontier after the run."""
    preset = replace(tiny_grid.preset, source=Recipe(epochs=2, lr=1e12))
    sweep = transfer_grid(replace(tiny_grid, preset=preset))
    store = Store.open(str(tmp_path_factory.mktemp("broken")), create=True)
    return sweep, store, run_inline(sweep.goals, store)


def test_the_table_of_stages_tells_what_failed_and_what_was_blocked_by_it(broken):
    sweep, store, frontier = broken
    (failed,) = frontier.in_state(Progress.FAILED)
    assert failed.kind.name == "train"
    rows = {row["key"]: row for row in stage_rows(sweep, store, frontier)}
    assert "training diverged" in rows[failed.key]["reason"]
    found = {key: row["state"] for key, row in rows.items()}
    expected = {stage.key: frontier.state[stage.key].value for stage in walk(sweep.goals)}
    assert Progress.BLOCKED in expected.values()
    assert found == expected


def test_the_rows_that_could_be_measured_are_reported_after_a_failure(broken, wide):
    sweep, store, frontier = broken
    frames = write_tables(sweep, store, frontier).frames
    assert set(frames["results"]["role"]) == {"judge", "victim", "student"}
    assert set(frames["results"]["construction"]) == {"d", "leak_other"}
    assert len(frames["transfer"]) == 0
    assert "training diverged" in " ".join(frames["stages"]["reason"].dropna())
    assert "accuracy on the untouched" in printed(sweep, store, frames)


def test_stages_that_never_ran_are_missing(tiny, tmp_path):
    rows = stage_rows(tiny.sweep, Store.open(str(tmp_path / "empty"), create=True))
    assert {row["state"] for row in rows} == {"missing"}
    assert {row["seconds"] for row in rows} == {None}
    assert {row["state"] for row in stage_rows(tiny.sweep, tiny.store)} == {"done"}


def test_the_table_of_stages_tells_what_each_was_made_from(tiny):
    rows = {row["key"]: row for row in stage_rows(tiny.sweep, tiny.store)}
    for stage in walk(tiny.sweep.goals):
        assert rows[stage.key]["inputs"].split() == sorted(handle.key for handle in stage.inputs.values())
    assert any(len(row["inputs"].split()) == 2 for row in rows.values())


def test_names_in_brackets_are_printed_as_they_are():
    names = ("planted-image[label=both,noise=0.25]", "planted-image[label=noise]", "shelf[/bold]")
    shown = io.StringIO()
    frames = {"results": results([{"dataset": name} for name in names])}
    print_results(make_console(shown), result_tables(frames))
    assert all(name in shown.getvalue() for name in names)
