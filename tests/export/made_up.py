"""A store with a made-up sweep: its numbers are given, its stages are toys that really ran."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from nrf_ray.results.parquet import write_table
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Column, Measure, Row, Table
from nrf_ray.tables.stages import STAGES, stage_rows
from tests.cluster.toys import Toy, toy

TOYS = Table(
    "toys",
    "one toy",
    (
        Column("sweep", "string", "name of the sweep"),
        Column("construction", "string", "what it is called"),
        Column("epsilon", "float64", "how large", "pixels in [0, 1]"),
        Column("seed", "int64", "seed of the replicate"),
        Column("clean_accuracy", "float64", "the value", "share"),
        Column("n", "int64", "images", "images"),
        Column("key", "string", "key of the stage"),
    ),
)
"""A table in the form of those of real sweeps."""


def values(
    accuracies: Mapping[tuple[str, float | None], Mapping[int, float]], n: int = 100, key: str = "k"
) -> list[dict[str, Any]]:
    """Return rows from accuracies by construction, epsilon and seed."""
    return [
        {
            "sweep": "made_up",
            "construction": construction,
            "epsilon": epsilon,
            "seed": seed,
            "clean_accuracy": accuracy,
            "n": n,
            "key": key,
        }
        for (construction, epsilon), by_seed in accuracies.items()
        for seed, accuracy in by_seed.items()
    ]


def made_up(path: Path, rows: Sequence[dict[str, Any]], stages: Sequence[Stage] = ()) -> Store:
    """Return a store at `path` with the sweep `made_up`: the table `toys` of `rows`, and `stages` carried out."""
    store = Store.open(str(path), create=True)
    goals = stages or [toy(Toy(name="second"), first=toy(Toy(name="first")).named("the first")).named("the second")]
    frontier = run_inline(list(goals), store)
    sweep = Sweep(
        "made_up", tuple(Row(table=TOYS, facts={}, measures={"clean_accuracy": Measure(g, "value")}) for g in goals)
    )
    write_table(store.blobs, "sweeps/made_up/toys.parquet", TOYS, rows)
    write_table(store.blobs, "sweeps/made_up/stages.parquet", STAGES, stage_rows(sweep, store, frontier))
    return store
