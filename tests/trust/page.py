"""The tables of `analysis/robust_accuracy.md`: levels and checks from the code, the gallery from its committed table.

`python -m tests.trust.page` writes them between the marks of the page. A table of what is not measured says so.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nrf_ray.attacks.trust import ADAPTIVE, BY_AUTOATTACK, CHECKS, LEVELS, checks_of
from nrf_ray.display.printing import interval_text, share_text
from nrf_ray.inspection.trust import ADVICE
from tests.trust.defences import DEFENCES
from tests.trust.measure import bought, kept

PAGE = Path(__file__).resolve().parents[2] / "analysis" / "robust_accuracy.md"
SHOWN = ("l2", 0.6)
"""Norm and radius of the rows that are shown; `summary` and `honest` count all."""
UNMEASURED = "not measured yet"
ALL_PASS = "none"

Row = Mapping[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def levels() -> str:
    """Return the trust levels with their meanings."""
    return table(("level", "meaning"), LEVELS.items())


def checks() -> str:
    """Return every check, what it is made for, and what it says."""
    rows = [(f"`{name}`", made_for(name), meaning, ADVICE[name]) for name, meaning in CHECKS.items()]
    return table(("check", "made for", "passes if", "otherwise"), rows)


def made_for(check: str) -> str:
    """Return for which robust accuracies of a sweep a check is made."""
    if check == ADAPTIVE:
        return "L4 (with `--adaptive`)"
    if check in BY_AUTOATTACK:
        return "AutoAttack, few-classes"
    if check in checks_of("cheap"):
        return "every row"
    return "L1 and above" if check in checks_of("required") else "L2 and above"


def alarms_of(row: Row) -> str:
    """Return the checks of a row that did not pass; if the attack refused the model, that it did."""
    if "refused" in row["alarms"]:
        return "refused: no gradient at all"
    found = [f"`{name}` {verdict}" for name, verdict in row["alarms"].items()]
    return ", ".join(found) or ALL_PASS


def defences(family: str, rows: Sequence[Row]) -> str:
    """Return the defences of a family with what was measured of each at `SHOWN`."""
    measured = {row["name"]: row for row in rows if (row["norm"], row["eps"]) == SHOWN}
    lines = []
    for name, defence in DEFENCES.items():
        if defence.family == family:
            row = measured.get(name, {})
            truth, says = UNMEASURED, ("", "", "")
            if "truth" in row:
                truth = f"{share_text(row['truth'])} {interval_text(row['low'], row['high'])}"
            if "product" in row:
                says = share_text(row["product"]), row["level"], alarms_of(row)
            lines.append((f"`{name}`", defence.why, truth, *says))
    return table(("defence", "what it does", "truth", "PGD", "level", "checks that did not pass"), lines)


def broken(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of broken defences of which both truth and product are measured."""
    return [row for row in rows if row["family"] != "honest" and {"truth", "product"} <= set(row)]


def summary(rows: Sequence[Row]) -> str:
    """Return how many defences were measured, and what each check told of them."""
    measured = broken(rows)
    if not measured:
        return f"The gallery is {UNMEASURED}."
    failed = Counter(name for row in measured for name, verdict in row["alarms"].items() if verdict == "FAIL")
    counts = [(f"`{name}`", str(failed[name])) for name in CHECKS if failed[name]]
    told = sum("FAIL" in row["alarms"].values() or "refused" in row["alarms"] for row in measured)
    text = (
        f"{len(measured)} rows are measured, of {len({row['name'] for row in measured})} defences. Of {told} of them a "
        "check failed, or the attack refused the model. Rows that each check failed:"
    )
    return f"{text}\n\n{table(('check', 'rows'), counts)}"


def unseen(rows: Sequence[Row]) -> str:
    """Return the defences that have a level above L0 for a number above the interval of their truth."""
    if not broken(rows):
        return f"The gallery is {UNMEASURED}."
    lines = [
        (f"`{row['name']}`", f"{row['norm']} {row['eps']:g}", share_text(row["truth"]), *says)
        for row in broken(rows) if bought(dict(row))
        for says in sold(row)
    ]  # fmt: skip
    if not lines:
        return "Of the gallery, no defence has a level above L0 for a number above the interval of its truth."
    text = "These defences have a level above L0 for a number above the interval of their truth:"
    return f"{text}\n\n{table(('defence', 'radius', 'truth', 'attack', 'says', 'level'), lines)}"


def sold(row: Row) -> list[tuple[str, str, str]]:
    """Return the attacks of a row whose number is above its truth's interval at a level above L0."""
    found = []
    for attack, number, level in (("PGD", "product", "level"), ("AutoAttack", "autoattack", "autoattack_level")):
        if row.get(level, "L0") != "L0" and row[number] > row["high"]:
            found.append((attack, share_text(row[number]), row[level]))
    return found


def honest(rows: Sequence[Row]) -> str:
    """Return what the checks say of honest models: the number of runs in which each did not pass."""
    measured = [row for row in rows if row["family"] == "honest" and "product" in row]
    if not measured:
        return f"The honest models are {UNMEASURED}."
    counts = Counter((name, verdict) for row in measured for name, verdict in row["alarms"].items())
    lines = [
        (f"`{name}`", str(counts[name, "WARN"]), str(counts[name, "FAIL"]))
        for name in CHECKS if counts[name, "WARN"] + counts[name, "FAIL"]
    ]  # fmt: skip
    denied = sum(row["level"] == "L0" for row in measured)
    text = f"Of {len(measured)} runs, {denied} have no trust level. Runs in which a check gave a warning, or failed"
    return f"{text}:\n\n{table(('check', 'WARN', 'FAIL'), lines)}" if lines else f"{text}: none."


def parts(rows: Sequence[Row]) -> dict[str, str]:
    """Return the text between each pair of marks of the page."""
    families = dict.fromkeys(defence.family for defence in DEFENCES.values())
    return {
        "levels": levels(),
        "checks": checks(),
        "summary": summary(rows),
        **{family: defences(family, rows) for family in families},
        "unseen": unseen(rows),
        "honest": honest(rows),
    }


def filled(text: str, rows: Sequence[Row]) -> str:
    """Return the page `text` with its tables; raise ValueError unless every part has its marks once."""
    for name, part in parts(rows).items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if (text.count(start), text.count(end)) != (1, 1):
            raise ValueError(f"the page needs the marks of {name!r} once")
        before, _, rest = text.partition(start)
        text = f"{before}{start}{part}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), list(kept().values())), encoding="utf-8")
