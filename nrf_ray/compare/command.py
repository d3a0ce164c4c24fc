"""`nrf compare`: changes between two stores or between two runs of a sweep, as text and as a table."""

from pathlib import Path
from typing import TYPE_CHECKING

from nrf_ray.display.printing import make_console
from nrf_ray.errors import ConfigError, lookup
from nrf_ray.graph.find import open_store
from nrf_ray.graph.plugin_files import load_named
from nrf_ray.graph.store import Store
from nrf_ray.results.stored_sweep import KeptSweep, PluginNames, StoreUri, find_sweep, sweep_names
from nrf_ray.sweep.sweep import sweep_of

if TYPE_CHECKING:
    from rich.console import Console

    from nrf_ray.compare.rows import TableComparison

Pair = tuple[KeptSweep, KeptSweep]
"""Two runs to compare."""


def compare(
    first: str,
    second: str,
    *,
    store: StoreUri = "./runs",
    sweep: str | None = None,
    output: Path | None = None,
    rows: int = 20,
    plugin: PluginNames = (),
) -> None:
    """Print what changed from FIRST to SECOND: numbers, grids, settings, code, software, bytes.

    FIRST and SECOND are two stores, of which all runs with equal names are compared (with --sweep, only this one), or
    two runs of one sweep in --store.

    Rows of the tables are matched by what they are about. Differences are SECOND - FIRST with 95% t intervals over
    seeds, paired if both have the same seeds. p is from a sign-flip test, adjusted for every compared number of the
    table (Holm). Shares of a single seed have an interval over their rows instead. The exit code is 0 whether or not
    anything changed. With --output FILE.parquet, write every change to this new file; printed are the --rows most
    certain changes of each table.

        nrf compare runs other-runs
        nrf compare runs s3://bucket/runs --sweep transfer_grid --output changes.parquet
        nrf compare transfer_grid transfer_grid@wide
    """
    from nrf_ray.compare.written import write_changes

    if output is not None and output.exists():
        raise ConfigError(f"--output {output} already exists; give the name of a new file")
    if output is not None and not output.parent.is_dir():
        raise ConfigError(f"there is no folder {output.parent} for --output {output.name}; create it first")
    if rows < 0:
        raise ConfigError(f"--rows {rows} is below 0; give the number of changes to print for each table")
    load_named(plugin, store)
    console = make_console()
    pairs = two_runs(first, second, store, sweep) or _shared_runs(console, first, second, sweep)
    compared, left_out = {}, 0
    for name, (left, right) in pairs.items():
        compared[name], refused = _compare_runs(console, name, left, right, rows)
        left_out += refused
    if left_out and not any(compared.values()):
        raise ConfigError("none of the tables can be compared; the lines above say why")
    if output is not None:
        count = write_changes(output, compared)
        doubt = f"; {left_out} tables were not compared" if left_out else ""
        console.print(f"{count} changes written to {output}{doubt}", soft_wrap=True)


def two_runs(first: str, second: str, uri: str, sweep: str | None) -> dict[str, Pair]:
    """Return the runs `first` and `second` of the store at `uri` as one pair; empty if neither is the name of a run.

    Raises ConfigError if only one is, if both are runs of different sweeps, or if a name is that of a store too.
    """
    opened = Store.open(uri, create=False)
    known = sweep_names(opened) if opened.is_there else []
    words = [word for word in (first, second) if word in known]
    if not words:
        return {}
    for word in words:
        if Path(word).is_dir():
            raise ConfigError(f"{word} is a run of {uri} and a folder; write ./{word} for the folder")
    if len(words) < 2:
        raise ConfigError(
            f"{words[0]} is a run of {uri}, and the other is not; it has the runs {', '.join(known)}. Give two runs, "
            "or two stores"
        )
    if sweep_of(first) != sweep_of(second):
        raise ConfigError(f"{first} and {second} are runs of different sweeps, whose rows are about different things")
    if sweep is not None:
        raise ConfigError("--sweep chooses among the runs of two stores; leave it out for two runs")
    return {f"{first} and {second}": (find_sweep(opened, first), find_sweep(opened, second))}


def _shared_runs(console: "Console", first: str, second: str, sweep: str | None) -> dict[str, Pair]:
    """Return the runs that two stores have in common, by name; print which they do not have in common."""
    from nrf_ray.compare.text import print_names

    stores = open_store(first), open_store(second)
    names = sweep_names(stores[0]), sweep_names(stores[1])
    if sweep is not None:
        for store, held in zip(stores, names, strict=True):
            lookup(dict.fromkeys(held), sweep, f"sweep of {store.uri}")
    shared = [name for name in names[0] if name in names[1] and sweep in (None, name)]
    if not shared:
        ours, theirs = (", ".join(held) or "none" for held in names)
        raise ConfigError(f"{first} has the sweeps {ours}, {second} has {theirs}; they have no sweep in common")
    if sweep is None:
        print_names(console, *names)
    return {name: (find_sweep(stores[0], name), find_sweep(stores[1], name)) for name in shared}


def _compare_runs(
    console: "Console", name: str, left: KeptSweep, right: KeptSweep, rows: int
) -> tuple[list["TableComparison"], int]:
    """Print what changed between two runs; return the compared tables, and the number that cannot be compared."""
    from nrf_ray.compare.origins import compare_origins
    from nrf_ray.compare.rows import compare_tables
    from nrf_ray.compare.text import print_sweep

    tables, refused = [], {}
    for table in (table for table in left.tables if table in right.tables):
        try:
            tables.append(compare_tables(table, left.tables[table], right.tables[table]))
        except ConfigError as error:
            refused[table] = str(error)
    print_sweep(console, name, tables, refused, compare_origins(left, right), rows)
    return tables, len(refused)
