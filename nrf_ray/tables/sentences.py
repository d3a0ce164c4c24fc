"""What a run shows, in sentences: each with its control, n and interval, computed from its tables.

Which row a sentence is about is fixed before the numbers are known: of several radii, the largest.
"""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nrf_ray.display.printing import interval_text, share_text
from nrf_ray.sweep.table import Frames
from nrf_ray.sweep.wording import ORIGIN, ball_text, mode_text, origin_text

if TYPE_CHECKING:
    import pandas as pd


def of_trained_models(dataset: str, frames: Frames) -> Iterator[str]:
    """Yield for each construction how much more its students learn than those of its control."""
    import pandas as pd

    from nrf_ray.statistics import over_seeds
    from nrf_ray.tables.contrasts import contrasts

    results = frames["results"]
    students = results[results["role"] == "student"]
    found = contrasts(results).dropna(subset="difference")
    for _, rows in found.groupby(["construction", "source_training", "against"], sort=False, dropna=False):
        row, how = _largest(rows, "epsilon"), ["mode", *ORIGIN]
        made = students.merge(pd.DataFrame([row])[how].astype(students[how].dtypes.to_dict()))
        yield (
            f"On {dataset}, students of {_set(row)}, {ball_text(row['norm'], row['epsilon'])}, classify "
            f"{share_text(over_seeds(made, 'clean_accuracy').estimate)} of the untouched test images "
            f"(n = {made['n'].min()}): {_more(row)} than students of the control {row['against']}{_verdict(row, rows)}"
        )


def of_robustness(dataset: str, frames: Frames) -> Iterator[str]:
    """Yield how much more robust students of D_R are, and how far all robust accuracies can be trusted."""
    from nrf_ray.tables.contrasts import robust_contrasts

    robustness = frames["robustness"]
    found = robust_contrasts(robustness).dropna(subset="difference")
    for _, rows in found.groupby(["construction", "against"], sort=False):
        row = _largest(rows, "epsilon")
        yield (
            f"On {dataset}, under {row['attack']} at {ball_text(row['norm'], row['epsilon'])}, students of {_set(row)} "
            f"have a robust accuracy {_more(row, 'higher', 'lower')} than models of {row['against']}"
            f"{_verdict(row, rows)}"
        )
    if alone := int((robustness["trust_level"] == "L0").sum()):
        yield (
            f"{alone} of {len(robustness)} robust accuracies on {dataset} have trust level L0, a single attack or "
            "checks that did not all pass: they are upper bounds, and a stronger attack may leave less."
        )


def of_transfer(dataset: str, frames: Frames) -> Iterator[str]:
    """Yield whether architectures that learn more from d_det are fooled more, beside the same for its control."""
    if "results" not in frames or frames["results"].empty:
        return
    from nrf_ray.tables.contrasts import figure_3

    transfer, results = frames["transfer"], frames["results"]
    found = figure_3(transfer, results)
    if found.empty:
        return
    row = found.iloc[-1]
    pattern = results[results["construction"] == "leak_det"].assign(construction="d_det")
    beside = figure_3(transfer, pattern)
    same = beside[(beside["d_det"] == row["d_det"]) & (beside["attack"] == row["attack"])]
    control = (
        "its control leak_det: too few architectures learnt it"
        if same.empty
        else f"its control leak_det: {_r(same.iloc[0])}"
    )
    yield (
        f"On {dataset}, accuracy learnt from d_det at {row['d_det']} and being fooled by {row['attack']} have r = "
        f"{_r(row)} over {row['archs']} architectures ({control}). So few points settle nothing."
    )


def of_usefulness(dataset: str, frames: Frames) -> Iterator[str]:
    """Yield how many more units of adversarially trained models are robust than of standard ones."""
    from nrf_ray.statistics import paired
    from nrf_ray.tables.contrasts import differences

    units = frames["usefulness"]
    units = units[units["construction"] == "d"].assign(share=lambda rows: rows["robust"] / rows["units"])
    same = ["ball_norm", "ball_epsilon", "student_arch", "mode", "seed"]
    standard, robust = (units[units["training"] == training] for training in ("standard", "adversarial"))
    for (norm, radius), cells in list(robust.groupby(["ball_norm", "ball_epsilon"]))[-1:]:
        found = differences(cells, standard, "share", same)
        if len(found):
            over = paired(found).t
            row = {"difference": over.estimate, "low": over.low, "high": over.high, "seeds": over.n}
            yield (
                f"On {dataset}, the share of penultimate units that are useful and robust in {ball_text(norm, radius)} "
                f"is {_more(row, 'higher', 'lower')} in adversarially trained models than in standard ones, the "
                f"control (n = {cells['n'].min()} images)."
            )


def of_theory(dataset: str, frames: Frames) -> Iterator[str]:
    """Yield on how many instances every statement holds."""
    theory = frames["theory"]
    held = theory[theory["holds"].astype(bool)]
    instances = theory[["dimension", "epsilon", "seed"]].drop_duplicates()
    yield (
        f"{len(held)} of {len(theory)} checks of {theory['statement'].nunique()} statements of section 4 hold within "
        f"their tolerance, on n = {len(instances)} Gaussian models drawn at random."
    )


def _largest(rows: "pd.DataFrame", column: str) -> Mapping[Any, Any]:
    """Return the row with the largest value in `column`, the first of equal ones."""
    return rows.loc[[rows[column].idxmax()]].to_dict("records")[0]


def _set(row: Mapping[Any, Any]) -> str:
    return origin_text(row["construction"], *(row[name] for name in ORIGIN[3:])) + mode_text(row["mode"])


def _more(row: Mapping[Any, Any], more: str = "more", fewer: str = "fewer") -> str:
    """Return the wording of a difference with its interval and n: ".3 more ([.1, .5], 3 seeds, 2 architectures)"."""
    parts = [_count(row["seeds"], "seed"), *([_count(row["archs"], "architecture")] if "archs" in row else [])]
    interval = "no interval" if math.isnan(row["low"]) else interval_text(row["low"], row["high"])
    direction = more if row["difference"] >= 0 else fewer
    return f"{share_text(abs(row['difference']))} {direction} ({', '.join([interval, *parts])})"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _verdict(row: Mapping[Any, Any], rows: "pd.DataFrame") -> str:
    """Return whether a difference is shown, and on how many of all its `rows` the direction is the same."""
    along = int((rows["difference"] * row["difference"] > 0).sum())
    others = f", in the same direction in {along} of {len(rows)} such comparisons" if len(rows) > 1 else ""
    if row["shown"]:
        return f"; shown, corrected p = {row['holm_p']:.2g}{others}."
    if row["smallest_p"] >= 0.05:
        return f"; not shown, as {_count(row['seeds'], 'seed')} cannot give p below {row['smallest_p']:.2g}{others}."
    return f"; not shown, corrected p = {row['holm_p']:.2g}{others}."


def _r(row: "pd.Series[Any]") -> str:
    return f"{share_text(row['r'])} {interval_text(row['low'], row['high'])}"
