"""Results so far: the tables of the summary, and the scatter plots made from them.

The tables are those that a run prints on the terminal (`nrf_ray.tables.registry.result_tables`).
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nrf_ray.display.printing import Estimate, share_text
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.stage import Metrics
from nrf_ray.page.snapshot import Scatter, Spot
from nrf_ray.results.parquet import to_arrow
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.tables.contrasts import figure_3, learnt_and_fooled
from nrf_ray.tables.trained_models import RESULTS
from nrf_ray.tables.transfer import TRANSFER


def frames_so_far(sweep: Sweep, metrics: Mapping[Key, Metrics]) -> dict[str, pd.DataFrame]:
    """Return the tables of `sweep` with the rows whose stages all have metrics."""
    filled = sweep.filled(metrics)
    return {table.name: to_arrow(table, rows).to_pandas() for table, rows in filled.items() if rows}


def scatters(frames: Mapping[str, pd.DataFrame]) -> tuple[Scatter, ...]:
    """Return a scatter plot for each dataset, d_det set and attack: accuracy learnt against fooling at its radius."""
    if not {RESULTS.name, TRANSFER.name} <= frames.keys():
        return ()
    results, transfer = frames[RESULTS.name], frames[TRANSFER.name]
    found: list[Scatter] = []
    for dataset in sorted(set(results["dataset"])):
        own = transfer[transfer["dataset"] == dataset], results[results["dataset"] == dataset]
        correlations = {(c["d_det"], c["attack"]): c for c in figure_3(*own).to_dict("records")}
        points = learnt_and_fooled(*own).dropna(subset=["learnt", "fooled"])
        for (ball, attack), cells in points.groupby(["d_det", "attack"], sort=False):
            if (cells["radius"] == cells["epsilon"]).all():
                spots = tuple(map(_spot, cells.to_dict("records")))
                note = _note(correlations.get((ball, attack)), len(spots))
                found.append(
                    Scatter(
                        title=f"{dataset}: {attack}",
                        x=f"accuracy of students of d_det {ball}",
                        y="adversarial images that fool the victim",
                        spots=spots,
                        note=note,
                    )
                )
    return tuple(found)


def _spot(point: Mapping[Any, Any]) -> Spot:
    x, y = (
        Estimate(point[name], None if pd.isna(point[f"{name}_low"]) else (point[f"{name}_low"], point[f"{name}_high"]))
        for name in ("learnt", "fooled")
    )
    return Spot(name=point["arch"], x=x, y=y)


def _note(found: Mapping[Any, Any] | None, archs: int) -> str:
    if found is None:
        return f"{archs} architectures: too few or too similar for a correlation."
    low, high = share_text(found["low"]), share_text(found["high"])
    return f"r = {share_text(found['r'])} [{low}, {high}], {archs} architectures, {found['seeds']} seeds."
