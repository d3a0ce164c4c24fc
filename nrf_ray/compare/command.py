"""`nrf compare`: changes between two stores, sweep by sweep, as text and as a table."""

from pathlib import Path

from nrf_ray.display.printing import make_console
from nrf_ray.errors import ConfigError, lookup
from nrf_ray.results.stored_sweep import find_sweep, open_store, sweep_names


def compare(first: str, second: str, *, sweep: str | None = None, output: Path | None = None, rows: int = 20) -> None:
    """Print what changed from the store FIRST to the store SECOND: numbers, grids, settings, code, software, bytes.

    Rows of the same sweep's tables are matched by what they are about. Differences are SECOND - FIRST with 95% t
    intervals over seeds, paired if both stores have the same seeds. p is from a sign-flip test, adjusted for every
    compared number of the table (Holm). Shares of a single seed have an interval over their rows instead. The exit code
    is 0 whether or not anything changed. With --sweep, compare only this sweep. With --output FILE.parquet, write every
    change to this new file; printed are the --rows most certain changes of each table.

        nrf compare runs other-runs
        nrf compare runs s3://bucket/runs --sweep transfer_grid --output changes.parquet
    """
    from nrf_ray.compare.origins import compare_origins
    from nrf_ray.compare.rows import compare_tables
    from nrf_ray.compare.text import print_names, print_sweep
    from nrf_ray.compare.written import write_changes

    if output is not None and output.exists():
        raise ConfigError(f"--output {output} already exists; give the name of a new file")
    if output is not None and not output.parent.is_dir():
        raise ConfigError(f"there is no folder {output.parent} for --output {output.name}; create it first")
    if rows < 0:
        raise ConfigError(f"--rows {rows} is below 0; give the number of changes to print for each table")
    stores = open_store(first), open_store(second)
    names = sweep_names(stores[0]), sweep_names(stores[1])
    if sweep is not None:
        for store, held in zip(stores, names, strict=True):
            lookup(dict.fromkeys(held), sweep, f"sweep of {store.uri}")
    shared = [name for name in names[0] if name in names[1] and sweep in (None, name)]
    if not shared:
        ours, theirs = (", ".join(held) or "none" for held in names)
        raise ConfigError(f"{first} has the sweeps {ours}, {second} has {theirs}; they have no sweep in common")
    console = make_console()
    if sweep is None:
        print_names(console, *names)
    compared, left_out = {}, 0
    for name in shared:
        left, right = find_sweep(stores[0], name), find_sweep(stores[1], name)
        tables, refused = [], {}
        for table in (table for table in left.tables if table in right.tables):
            try:
                tables.append(compare_tables(table, left.tables[table], right.tables[table]))
            except ConfigError as error:
                refused[table] = str(error)
        print_sweep(console, name, tables, refused, compare_origins(left, right), rows)
        compared[name] = tables
        left_out += len(refused)
    if left_out and not any(compared.values()):
        raise ConfigError("none of the tables can be compared; the lines above say why")
    if output is not None:
        count = write_changes(output, compared)
        doubt = f"; {left_out} tables were not compared" if left_out else ""
        console.print(f"{count} changes written to {output}{doubt}", soft_wrap=True)
