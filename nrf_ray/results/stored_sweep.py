"""Lookup in a store by the name of a sweep.

A sweep is read from its stored tables and the records of its stages. The sweep file is not needed, so stores that
other people made can be read too. Nothing here changes a store.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from nrf_ray.errors import ConfigError, lookup
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.record import Record
from nrf_ray.graph.store import Place, Store
from nrf_ray.tables.registry import table_named
from nrf_ray.tables.stages import STAGES

if TYPE_CHECKING:
    import pyarrow as pa

StoreUri = Annotated[
    str, Parameter(name="--store", help="Store: a folder, or the URI of a bucket such as s3://bucket/runs.")
]
"""Flag of every command that reads a store."""
PluginNames = Annotated[
    tuple[str, ...],
    Parameter(
        name="--plugin",
        negative=(),
        help="Plug-in that registered what is named or stored: a file of Python, or the start of the digest of one "
        "that the store has. It is code, and it is run. Give the flag once for each.",
    ),
]
"""Flag of every `nrf` command that needs what plug-ins register."""


@dataclass(frozen=True, kw_only=True)
class KeptSweep:
    """Stored tables, records and pictures of one sweep."""

    name: str
    """Name of the sweep."""
    store: Store
    """Store that contains the sweep."""
    tables: Mapping[str, "pa.Table"]
    """Result tables by name, as last written."""
    stages: tuple[Mapping[str, Any], ...]
    """Rows of its table of stages."""
    records: Mapping[Key, Record]
    """Undamaged records of its committed stages, by key."""
    shown: tuple[str, ...]
    """File names of its pictures and its page."""

    @property
    def command(self) -> str:
        """Command of the last run, without secrets; empty if it is not stored."""
        return self._told("command")

    @property
    def script_sha256(self) -> str:
        """sha256 of the sweep file of the last run; empty if it is not stored."""
        return self._told("script_sha256")

    def _told(self, name: str) -> str:
        told = self.store.blobs.get_json(f"sweeps/{self.name}/run.json") or {}
        value = told.get(name)
        return value if isinstance(value, str) else ""

    @property
    def preset(self) -> str:
        """Name of the preset of its grid; empty if its tables name no preset."""
        named = ((table.schema.metadata or {}).get(b"preset", b"") for table in self.tables.values())
        return next((preset.decode() for preset in named if preset), "")

    def read(self, name: str) -> bytes:
        """Return a file of the sweep's folder."""
        data = self.store.blobs.get(f"sweeps/{self.name}/{name}")
        if data is None:
            raise ConfigError(f"{name} of the sweep {self.name} was removed from {self.store.uri}; run its sweep again")
        return data


def sweep_names(store: Store) -> list[str]:
    """Return the names of the sweeps that have tables in `store`."""
    return store.blobs.folders("sweeps")


def find_sweep(store: Store, name: str) -> KeptSweep:
    """Return the sweep called `name`, or raise ConfigError with the names of all sweeps there.

    Raises ConfigError also if a table of the sweep is damaged; running the sweep again rewrites the table.
    """
    lookup({known: known for known in sweep_names(store)}, name, f"sweep of {store.uri}")
    folder = f"sweeps/{name}/"
    files = [blob.name.removeprefix(folder) for blob in store.blobs.under(folder.rstrip("/"))]
    found = {file.removesuffix(".parquet"): _table(store, folder + file) for file in files if _is_table(file)}
    if STAGES.name not in found:
        raise ConfigError(f"the sweep {name} of {store.uri} has no {STAGES.name}.parquet; run its sweep again")
    found.pop(STAGES.name)
    stages = tuple(kept_table(store, f"{folder}{STAGES.name}.parquet").to_pylist())
    places = [Place(row["stage"], Key(row["key"])) for row in stages]
    records = {record.key: record for record in store.sound_records(places) if record is not None}
    shown = tuple(file for file in files if file.endswith((".svg", ".html")) and "/" not in file)
    return KeptSweep(name=name, store=store, tables=found, stages=stages, records=records, shown=shown)


def kept_table(store: Store, name: str) -> "pa.Table":
    """Return the table at `name`, or raise ConfigError if it is damaged or lacks declared columns."""
    table = _table(store, name)
    declared = table_named(name.rsplit("/")[-1].removesuffix(".parquet"))
    lacking = [column for column in declared.column_names() if column not in table.column_names] if declared else []
    if lacking:
        raise ConfigError(
            f"{name} of {store.uri} is from another version of nrf_ray and lacks {', '.join(lacking)}; "
            "run its sweep again"
        )
    return table


def _is_table(file: str) -> bool:
    return file.endswith(".parquet") and "/" not in file


def _table(store: Store, name: str) -> "pa.Table":
    from nrf_ray.results.parquet import read_table

    try:
        return read_table(store.blobs, name)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name} of {store.uri} is damaged; run its sweep again: {error}") from error
