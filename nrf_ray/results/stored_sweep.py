"""What a store holds, found by what people call it: the beginning of a key, the name of a sweep.

A sweep is read as its store tells of it, from its tables and the records of its stages; its sweep file is not needed,
so a store that somebody else made can be read too. Nothing here changes a store.
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
    str, Parameter(name="--store", help="The store: a folder, or the URI of a bucket such as s3://bucket/runs.")
]
"""The flag of every command that looks into a store."""


@dataclass(frozen=True, kw_only=True)
class KeptSweep:
    """What a store knows of one sweep."""

    name: str
    """Its name."""
    store: Store
    """Where it was found."""
    tables: Mapping[str, "pa.Table"]
    """Its tables of results by name, as they were last written."""
    stages: tuple[Mapping[str, Any], ...]
    """The rows of its table of stages."""
    records: Mapping[Key, Record]
    """Those of its stages that are committed and sound, by key."""
    shown: tuple[str, ...]
    """File names of its pictures and its page."""

    @property
    def command(self) -> str:
        """The command of its last run, without secrets; empty where the store does not tell."""
        return self._told("command")

    @property
    def script_sha256(self) -> str:
        """The sha256 of the sweep file that its last run was made by; empty where the store does not tell."""
        return self._told("script_sha256")

    def _told(self, name: str) -> str:
        told = self.store.blobs.get_json(f"sweeps/{self.name}/run.json") or {}
        value = told.get(name)
        return value if isinstance(value, str) else ""

    @property
    def preset(self) -> str:
        """Name of the preset that its grid was made from; empty where its tables name none."""
        named = ((table.schema.metadata or {}).get(b"preset", b"") for table in self.tables.values())
        return next((preset.decode() for preset in named if preset), "")

    def read(self, name: str) -> bytes:
        """Return a file of the sweep's folder."""
        data = self.store.blobs.get(f"sweeps/{self.name}/{name}")
        if data is None:
            raise ConfigError(f"{name} of the sweep {self.name} was removed from {self.store.uri}; run its sweep again")
        return data


def open_store(uri: str) -> Store:
    """Return the store at `uri`, or raise ConfigError where there is none."""
    opened = Store.open(uri, create=False)
    if not opened.is_there:
        raise ConfigError(f"there is no store at {uri}; name one with --store")
    return opened


def find_place(store: Store, prefix: str) -> Place:
    """Return the place whose key begins with `prefix`, or raise ConfigError where that is none or more than one."""
    found = [place for place in store.places() if place.key.startswith(prefix.lower())]
    if len(found) != 1:
        what = "no key begins" if not found else f"{len(found)} keys begin"
        raise ConfigError(f"{what} with {prefix!r} in {store.uri}; `nrf status` and stages.parquet name what is there")
    return found[0]


def committed(store: Store, place: Place) -> Record:
    """Return the record at `place`, or raise ConfigError where the stage is not finished."""
    record = store.peek(place)
    if record is None:
        raise ConfigError(f"{place.stage}/{place.key} is not finished; run its sweep again")
    return record


def sweep_names(store: Store) -> list[str]:
    """Return the names of the sweeps that have tables in `store`."""
    return store.blobs.folders("sweeps")


def find_sweep(store: Store, name: str) -> KeptSweep:
    """Return the sweep called `name`, or raise ConfigError that lists those that are there.

    Raises ConfigError too where one of its tables is damaged: running its sweep again writes it anew.
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
    """Return the table at `name`, or raise ConfigError where it is damaged or lacks columns that are declared."""
    table = _table(store, name)
    declared = table_named(name.rsplit("/")[-1].removesuffix(".parquet"))
    lacking = [column for column in declared.column_names() if column not in table.column_names] if declared else []
    if lacking:
        raise ConfigError(
            f"{name} of {store.uri} is of another nrf_ray and lacks {', '.join(lacking)}; run its sweep again"
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
