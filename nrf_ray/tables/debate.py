"""The debate about the paper: contrasts of a claim with its control, each turned so that the claim says "above 0"."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.display.printing import Cell, ResultTable, mean, over_seeds, share_text
from nrf_ray.graph.stage import Stage
from nrf_ray.sweep.columns import DATASET_COLUMN, N_COLUMN, SWEEP_COLUMN
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows
from nrf_ray.sweep.wording import ball_text

DEBATE = Table(
    "debate",
    "one contrast of a claim of the debate with its control, at one seed",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        Column(
            "contrast", "string", "claim and control, in a few words; the claim says that the difference is above 0"
        ),
        Column("primary", "bool", "whether it is the one contrast that the sweep file names as the claim's test"),
        Column("subject", "string", "architecture, or small model, that it is measured on"),
        Column("norm", "string", "norm of the perturbations; null without perturbations"),
        Column("epsilon", "float64", "radius of the perturbations; null without", "pixels in [0, 1]"),
        Column("seed", "int64", "seed of the replicate"),
        measured("claimed", "float64", "share that the claim is about", "share"),
        measured("control", "float64", "the same share of its control", "share"),
        measured("difference", "float64", "claimed - control", "share"),
        N_COLUMN,
        key_of("stage that measured the claimed share"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A claim and its control, as a sweep file fixes them before it is run."""

    text: str
    """Claim and control, in a few words."""
    primary: bool = False
    """Whether it is the one contrast that decides about the claim; the others are reported beside it."""


def debate_row(
    sweep: str,
    dataset: str,
    contrast: Contrast,
    subject: str,
    seed: int,
    *,
    claimed: tuple[Stage, str],
    control: tuple[Stage, str] | float,
    threat: ThreatModel | None = None,
) -> Row:
    """Return the row of one contrast at one seed; the sides are metrics of stages, a control also a known share."""
    fixed = isinstance(control, float)
    return Row(
        table=DEBATE,
        facts={
            "sweep": sweep,
            "dataset": dataset,
            "contrast": contrast.text,
            "primary": contrast.primary,
            "subject": subject,
            "norm": threat.norm if threat else None,
            "epsilon": threat.eps if threat else None,
            "seed": seed,
            "key": claimed[0].key,
        },
        measures={
            "claimed": Measure(*claimed),
            "n": Measure(claimed[0], "n"),
            **({} if isinstance(control, float) else {"control": Measure(*control)}),
        },
        derive=lambda values: _difference({**values, "control": control} if fixed else values),
    )


def _difference(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"control": values["control"], "difference": values["claimed"] - values["control"]}


def verdict(differences: Any) -> str:
    """Return what differences, one per seed, say of a claim that they are above 0.

    "as claimed" and "opposite" need a 95% t interval without 0 and a sign-flip test with p < .05, which takes six seeds
    at least; all else is "undecided".
    """
    from nrf_ray.statistics import paired
    from nrf_ray.statistics.intervals import LEVEL

    found = paired(differences)
    if not found.t.excludes(0.0) or found.test.p >= 1 - LEVEL:
        return "undecided"
    return "as claimed" if found.t.estimate > 0 else "opposite"


@shows(DEBATE)
def show_debate(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each contrast, the primary one first: both shares, difference and verdict."""
    from nrf_ray.statistics import seed_means, sign_flip_test

    frame = frames[DEBATE.name]
    rows: list[tuple[Cell, ...]] = []
    for (primary, contrast, norm, epsilon), cells in frame.groupby(
        ["primary", "contrast", "norm", "epsilon"], dropna=False, sort=False
    ):
        differences = seed_means(cells, "difference")
        test = sign_flip_test(differences)
        named = f"{contrast} (primary)" if primary else str(contrast)
        entry = (
            named,
            ball_text(norm, epsilon),
            str(test.n),
            *over_seeds(cells, "claimed", "control"),
            mean(differences),
            share_text(test.p),
            verdict(differences),
        )
        rows.insert(0 if primary else len(rows), entry)
    yield ResultTable(
        title=f"{dataset}: the claim and its control (n = {', '.join(map(str, sorted(set(frame['n']))))})",
        columns=("contrast", "eps", "seeds", "claimed", "control", "difference", "p", "verdict"),
        names=2,
        rows=tuple(rows),
        notes=(
            "Means over models, then mean ± 95% t interval over seeds; p: exact sign-flip test over seeds, not "
            "corrected for several contrasts. as claimed, opposite: the interval excludes 0 and p < .05, which six "
            "seeds can reach and fewer cannot; otherwise undecided.",
        ),
    )
