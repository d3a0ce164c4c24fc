"""Gaussian theory: whether each statement of section 4 holds on each instance."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nrf_ray.display.printing import ResultTable
from nrf_ray.graph.stage import Stage
from nrf_ray.sweep.columns import SWEEP_COLUMN
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows
from nrf_ray.tables import sentences

THEORY = Table(
    "theory",
    "one statement of the Gaussian theory on one instance",
    (
        SWEEP_COLUMN,
        Column("statement", "string", "statement of section 4 that was checked; see nrf_ray.tables.gaussian_theory"),
        Column("dimension", "int64", "dimension d of x", "coordinates"),
        Column("epsilon", "float64", "radius of the adversary", "smallest standard deviations of x, except in figures"),
        Column("seed", "int64", "seed of the instance"),
        Column("relation", "string", "required relation of lhs to rhs: = (up to the tolerance), >= or >"),
        Column("meaning", "string", "meaning of lhs and of rhs"),
        measured("lhs", "float64", "left side"),
        measured("rhs", "float64", "right side"),
        measured(
            "error",
            "float64",
            "by how much the statement is missed: |lhs - rhs| for =, otherwise max(0, rhs - lhs)",
        ),
        measured(
            "tolerance",
            "float64",
            "largest error allowed; 0 if the sides are compared without a tolerance",
        ),
        measured("holds", "bool", "whether the statement holds on this instance"),
        key_of("stage that measured both sides"),
    ),
)


Relation = Literal["=", ">=", ">"]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One checkable statement of section 4."""

    relation: Relation
    """Relation of the left side to the right side."""
    meaning: str
    """Meaning of the two sides, in a few words."""


STATEMENTS: dict[str, Statement] = {
    "theorem_1": Statement(relation="=", meaning="excess loss: Monte Carlo, trace formula; tolerance 4 s.e."),
    "theorem_1_minimum": Statement(relation=">=", meaning="excess loss of Sigma, of (tr(Sigma) / d) I"),
    "lemma_2_budget": Statement(relation="=", meaning="E||M v||^2 of the closed form, eps^2"),
    "theorem_2_mean": Statement(relation="=", meaning="distance of descent's mean from mu, 0"),
    "theorem_2_covariance": Statement(relation="=", meaning="distance of descent's Sigma from the closed form, 0"),
    "theorem_2_lower": Statement(relation=">=", meaning="lambda, its lower bound"),
    "theorem_2_upper": Statement(relation=">=", meaning="upper bound of lambda, lambda"),
    "lemma_8": Statement(relation=">=", meaning="condition number of Sigma, of Sigma_r"),
    "theorem_3_formula": Statement(relation="=", meaning="worst alignment of Sigma_r: search, formula"),
    "theorem_3": Statement(relation=">", meaning="worst alignment with Sigma_r (search), with Sigma"),
    "figure_4_mean": Statement(relation="=", meaning="drift of the per-sample mean in s.e., 0; tolerance 2"),
    "figure_4_condition": Statement(relation=">", meaning="condition number at the radius before, at this one"),
    "figure_4_boundary": Statement(relation=">", meaning="slope of the boundary at this radius, at the one before"),
    "figure_14_clean": Statement(relation="=", meaning="accuracy of standard MLE, of robust MLE; tolerance .01"),
    "figure_14_robust": Statement(relation=">", meaning="robust accuracy of robust MLE, of standard MLE"),
}
"""Every statement that a row of `theory` can be about."""


DRIFT = 2.0
"""Largest allowed distance of the per-sample mean from the mean of the samples, in standard errors."""


def theory_rows(sweep: str, instance: Stage) -> Iterator[Row]:
    """Yield a row for every theorem on one random instance (a `gaussian_theory` stage)."""
    config = instance.config
    for name in STATEMENTS:
        if not name.startswith("figure"):
            sides = {side: Measure(instance, f"{name}.{side}") for side in ("lhs", "rhs", "tolerance")}
            yield _row(sweep, name, instance, sides, dimension=config.dimension, eps=config.eps)


def figure_4_rows(sweep: str, figure: Stage) -> Iterator[Row]:
    """Yield the rows of Figure 4: at each radius the mean stays; from one to the next, Sigma evens out and turns.

    That is, its condition number falls and the slope of the boundary grows.
    """
    radii = figure.config.radii
    for i, eps in enumerate(radii):
        drift = {"lhs": Measure(figure, f"drift.{i}")}
        yield _row(sweep, "figure_4_mean", figure, drift, eps=eps, rhs=0.0, tolerance=DRIFT)
    for i, eps in enumerate(radii[1:], start=1):
        condition = {"lhs": Measure(figure, f"condition.{i - 1}"), "rhs": Measure(figure, f"condition.{i}")}
        slope = {"lhs": Measure(figure, f"slope.{i}"), "rhs": Measure(figure, f"slope.{i - 1}")}
        yield _row(sweep, "figure_4_condition", figure, condition, eps=eps, tolerance=0.0)
        yield _row(sweep, "figure_4_boundary", figure, slope, eps=eps, tolerance=0.0)


def figure_14_rows(sweep: str, figure: Stage) -> Iterator[Row]:
    """Yield the rows of Figure 14: both classifiers are accurate, and only the robust classifier is robust."""
    eps = figure.config.radii[-1]
    clean = {"lhs": Measure(figure, "standard.clean"), "rhs": Measure(figure, "robust.clean")}
    robust = {"lhs": Measure(figure, "robust.robust"), "rhs": Measure(figure, "standard.robust")}
    yield _row(sweep, "figure_14_clean", figure, clean, eps=eps, tolerance=0.01)
    yield _row(sweep, "figure_14_robust", figure, robust, eps=eps, tolerance=0.0)


def _row(
    sweep: str, name: str, stage: Stage, measures: dict[str, Measure], *, eps: float, dimension: int = 2, **facts: float
) -> Row:
    return Row(
        table=THEORY,
        facts={
            "sweep": sweep,
            "statement": name,
            "relation": STATEMENTS[name].relation,
            "meaning": STATEMENTS[name].meaning,
            "dimension": dimension,
            "epsilon": eps,
            "seed": stage.config.seed,
            "key": stage.key,
            **facts,
        },
        measures=measures,
        derive=VERDICTS[STATEMENTS[name].relation],
    )


def _equal(values: Mapping[str, Any]) -> Mapping[str, Any]:
    error = abs(values["lhs"] - values["rhs"])
    return {"error": error, "holds": error <= values["tolerance"]}


def _at_least(values: Mapping[str, Any]) -> Mapping[str, Any]:
    error = max(0.0, values["rhs"] - values["lhs"])
    return {"error": error, "holds": error <= values["tolerance"]}


def _above(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**_at_least(values), "holds": values["lhs"] > values["rhs"]}


VERDICTS: dict[Relation, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    "=": _equal,
    ">=": _at_least,
    ">": _above,
}
"""Functions from the two sides and the tolerance to the error of the statement, and whether it holds."""


@shows(THEORY, by_dataset=False, say=sentences.of_theory)
def show_theory(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each statement: the number of instances on which it holds, and the worst error."""
    theory, rows = frames[THEORY.name], []
    for name, statement in STATEMENTS.items():
        cells = theory[theory["statement"] == name]
        if len(cells):
            worst = max(cells.to_dict("records"), key=lambda cell: cell["error"] - cell["tolerance"])
            counts = str(len(cells)), str(int(cells["holds"].sum()))
            errors = f"{worst['error']:.1e}", f"{worst['tolerance']:.1e}"
            rows.append((name, statement.meaning, statement.relation, *counts, *errors))
    failed = theory[~theory["holds"].astype(bool)]
    instances = ", ".join(
        f"{row['statement']} (d {row['dimension']}, eps {row['epsilon']:g}, seed {row['seed']})"
        for row in failed.to_dict("records")
    )
    yield ResultTable(
        title="the Gaussian model: statements of section 4",
        columns=("statement", "sides", "", "instances", "hold", "largest error", "tolerance"),
        names=3,
        rows=tuple(rows),
        notes=(
            "sides: left, right. largest error: |left - right| for =, otherwise how far left falls short of right, on "
            "the instance that is nearest to failing.",
        ),
        failure=f"FAIL: {len(failed)} of {len(theory)} statements do not hold: {instances}" if instances else "",
    )
