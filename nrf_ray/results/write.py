"""Write the tables of a sweep from its records."""

from typing import Any, NamedTuple

import pandas as pd

from nrf_ray.graph.drivers import Heart
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.store import Store
from nrf_ray.results.parquet import read_table, to_arrow, write_table
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Table
from nrf_ray.tables.stages import STAGES, stage_rows


class Written(NamedTuple):
    """Tables of a sweep as they are in the store now."""

    frames: dict[str, pd.DataFrame]
    """Tables by name."""
    changed: bool
    """Whether a file of a table or of a picture was changed by writing them."""


def write_tables(sweep: Sweep, store: Store, frontier: Frontier | None = None) -> Written:
    """Write every table of `sweep` from the records in `store`, with its pictures. Files that stay the same are kept.

    `frontier` has the stage states of this run, if stages ran: which failed, and which these blocked. A garbage
    collection that runs at the same time gives way, since a half-written table looks like garbage.
    """
    with Heart(store.blobs, "run"):
        rows: dict[Table, list[dict[str, Any]]] = {**sweep.collect(store), STAGES: stage_rows(sweep, store, frontier)}
        changed = [
            *(
                store.blobs.update(f"{sweep.folder()}/{name}", store.artifact(figure).read(name))
                for name, figure in sweep.pictures(store).items()
            ),
            *(
                write_table(store.blobs, table_name(sweep, table), table, filled, preset=sweep.preset)
                for table, filled in rows.items()
            ),
        ]
    frames = {table.name: to_arrow(table, filled).to_pandas() for table, filled in rows.items()}
    return Written(frames, any(changed))


def replaced_keys(sweep: Sweep, store: Store) -> int:
    """Return the number of stages in the stored table that are not in `sweep`: they belong to a former grid."""
    name = table_name(sweep, STAGES)
    if not store.blobs.exists(name):
        return 0
    try:
        former = set(read_table(store.blobs, name)["key"].to_pylist())
    except (OSError, ValueError):
        return 0  # a damaged table is rewritten: its contents are in the records
    return len(former - {stage.key for stage in sweep.stages()})


def table_name(sweep: Sweep, table: Table) -> str:
    """Return the blob name of a table of `sweep`."""
    return f"{sweep.folder()}/{table.name}.parquet"
