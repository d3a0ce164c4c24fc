"""The page of `nrf trust`: one robust accuracy, what is suspicious about it, and what the checks saw on their way."""

from dataclasses import dataclass

from nrf_ray.attacks.trust import Curve, Verdict
from nrf_ray.display.printing import ResultTable
from nrf_ray.page.charts import profile
from nrf_ray.page.document import whole
from nrf_ray.page.elements import command, count, facts, grid, more, note, section
from nrf_ray.page.html import Html, el
from nrf_ray.page.results import table_with_chart

LINKS = {
    "suspicions": "Suspicions",
    "numbers": "Numbers",
    "curves": "Curves",
    "checks": "Checks",
    "command": "Command",
}
SEEN: dict[tuple[str, str], tuple[str, str]] = {
    ("accuracy", "step"): (
        "Accuracy over the steps of the attack",
        "It should fall and then stay level. If it still falls at the end, take more steps; if it rises, the attack "
        "leaves again what it has found.",
    ),
    ("margin", "step"): (
        "Mean margin over the steps",
        "The highest other logit minus the label's: above 0, an image is fooled. It should rise. If it stays level, "
        "the gradient leads nowhere.",
    ),
    ("cross-entropy", "step"): (
        "Mean cross-entropy over the steps",
        "The loss of training. If it stays at 0 while the margin is below 0, it is saturated: attack the margin.",
    ),
    ("accuracy", "radius"): (
        "Accuracy over the radius",
        "Without restarts. A larger ball holds every image of a smaller one, so it should never rise; at the last "
        "radius every image can become grey, so it should end at chance.",
    ),
    ("accuracy", "query"): (
        "Accuracy over the queries of random search",
        "At query 0, what the attack left. Random search follows no gradient: if it falls from there, the gradient is "
        "masked.",
    ),
}
"""Title of each curve, and what a working attack on an honest model looks like."""


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """A check that did not pass."""

    check: str
    """Name of the check."""
    verdict: Verdict
    """WARN or FAIL."""
    passes_if: str
    """The statement that is true if it passes."""
    numbers: str
    """What it measured, in words; empty if nothing."""
    advice: str
    """What to try."""


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """Everything that the page shows."""

    model: str
    """Name of the model, as it was given."""
    level: str
    """Trust level of the robust accuracy."""
    meaning: str
    """What the level means."""
    facts: tuple[tuple[str, str], ...]
    """Names and values of what was measured: dataset, attack, radius, n."""
    suspicions: tuple[Suspicion, ...]
    """Checks that did not pass; those that failed first."""
    numbers: ResultTable
    """Accuracies."""
    checks: ResultTable
    """Every check with its verdict."""
    curves: tuple[Curve, ...]
    """What the checks saw."""
    n: int
    """Images that the curves are means over."""
    command: str
    """Command line that made the page."""


def trust_document(known: Assessment) -> bytes:
    """Return the page: what is suspicious first, then the numbers, the curves and all checks."""
    sections = {
        "suspicions": _suspicions(known),
        "numbers": section("numbers", "Numbers", table_with_chart("numbers", known.numbers)),
        "curves": _curves(known),
        "checks": section(
            "checks", "Checks", grid("Every check", known.checks.columns, known.checks.texts, names=known.checks.names),
            *(note(text) for text in known.checks.notes),
        ),
        "command": section("command", "Command", command(known.command)),
    }  # fmt: skip
    return whole(f"{known.model}: trust level {known.level}", _heading(known), sections, LINKS)


def _heading(known: Assessment) -> Html:
    failed = sum(found.verdict == "FAIL" for found in known.suspicions)
    state = "failed" if failed else "interrupted" if known.suspicions or known.level == "L0" else "finished"
    parts = [f"{count(failed, 'check')} failed"] if failed else []
    if warned := len(known.suspicions) - failed:
        parts.append(f"{count(warned, 'check')} gave a warning")
    return el(
        "header",
        el("p", "nrf trust", cls="eyebrow"),
        el("h1", "Is this robust accuracy real?"),
        el("p", el("strong", f"Trust level {known.level}", cls="state"), f": {known.meaning}.", cls="lede"),
        el("p", f"{' and '.join(parts) or 'Every check passed'}.", cls="why"),
        facts(known.facts),
        cls=f"top {state}",
    )


def _suspicions(known: Assessment) -> Html:
    if not known.suspicions:
        text = (
            "No check found anything. This does not prove the number: it is the least that these attacks found, and an "
            "attack that is made for this model may find less."
        )
        return section("suspicions", "What is suspicious", el("p", text))
    entries = [
        el(
            "article",
            el("h3", f"{found.verdict}: {found.check}"),
            el("p", "This should hold, and does not: ", found.passes_if, "."),
            el("p", f"Measured: {found.numbers}.") if found.numbers else None,
            el("p", el("strong", "Try: "), found.advice, "."),
        )
        for found in known.suspicions
    ]
    return section("suspicions", "What is suspicious, and what to try", *entries)


def _curves(known: Assessment) -> Html | None:
    figures = [_figure(shown) for shown in known.curves if len(shown.points) > 1]
    if not figures:
        return None
    lede = f"Each is a mean over the {known.n} checked images, all of which are classified correctly before an attack."
    return section("curves", "Curves", el("p", lede), el("div", *figures, cls="panels"))


def _figure(shown: Curve) -> Html:
    title, should = SEEN[shown.quantity, shown.over]
    rows = [(f"{x:g}", f"{value:.3f}") for x, value in shown.points]
    table = grid(title, (shown.over, shown.quantity), rows)
    return el(
        "figure",
        el("h3", title),
        profile(shown, title),
        el("figcaption", should),
        more(f"{shown.quantity}-{shown.over}", f"The numbers: {title.lower()}", table),
    )
