"""From the records of a sweep to its tables."""

from typing import Any

import pandas as pd

from nrf_ray.graph.drivers import Heart
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.store import Store
from nrf_ray.results.parquet import read_table, to_arrow, write_table
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Table
from nrf_ray.tables.stages import STAGES, stage_rows


def write_tables(sweep: Sweep, store: Store, frontier: Frontier | None = None) -> dict[str, pd.DataFrame]:
    """Write every table of `sweep` from the records in `store`, with its pictures, and return the tables by name.

    `frontier` is how far the stages of the last run got, where one ran: it knows what failed and what that blocked.
    Whoever collects garbage meanwhile gives way, since half a table looks like garbage.
    """
    with Heart(store.blobs, "run"):
        rows: dict[Table, list[dict[str, Any]]] = {**sweep.collect(store), STAGES: stage_rows(sweep, store, frontier)}
        for name, figure in sweep.pictures(store).items():
            store.blobs.replace(f"{sweep.folder()}/{name}", store.artifact(figure).read(name))
        for table, filled in rows.items():
            write_table(store.blobs, table_name(sweep, table), table, filled, preset=sweep.preset)
    return {table.name: to_arrow(table, filled).to_pandas() for table, filled in rows.items()}


def replaced_keys(sweep: Sweep, store: Store) -> int:
    """Return how many stages the tables in the store tell of that are not in `sweep`: those of a former grid."""
    name = table_name(sweep, STAGES)
    if not store.blobs.exists(name):
        return 0
    try:
        former = set(read_table(store.blobs, name)["key"].to_pylist())
    except (OSError, ValueError):
        return 0  # a damaged table is only written anew: what it told stands in the records
    return len(former - {stage.key for stage in sweep.stages()})


def table_name(sweep: Sweep, table: Table) -> str:
    """Return the blob name of a table of `sweep`."""
    return f"{sweep.folder()}/{table.name}.parquet"
