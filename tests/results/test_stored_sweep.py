"""A sweep is read as its store tells of it; what is damaged or missing is said by name."""

import pytest

from nrf_ray.compare.rows import compare_tables
from nrf_ray.errors import ConfigError
from nrf_ray.export.results import results_tables, to_latex
from nrf_ray.graph.find import open_store
from nrf_ray.graph.store import Store
from nrf_ray.results.stored_sweep import find_sweep, sweep_names
from nrf_ray.results.write import write_tables


@pytest.fixture(scope="module")
def written(tiny):
    """Return the store of the tiny sweep with its tables."""
    write_tables(tiny.sweep, tiny.store)
    return tiny.store


def test_tables_and_records_are_those_of_the_sweep(tiny, written) -> None:
    kept = find_sweep(written, "transfer_grid")
    assert sweep_names(written) == ["transfer_grid"]
    assert set(kept.tables) == {"results", "datasets", "robustness", "transfer"}
    assert set(kept.records) == {stage.key for stage in tiny.sweep.stages()}
    assert kept.tables["results"].num_rows == sum(row.table.name == "results" for row in tiny.sweep.rows)


def test_real_tables_agree_with_themselves_and_are_printed(written) -> None:
    kept = find_sweep(written, "transfer_grid")
    for name, table in kept.tables.items():
        found = compare_tables(name, table, table)
        assert (found.both, found.differing, found.changes) == (table.num_rows, 0, ()), name
    for printed in results_tables(kept):
        assert len(printed.rows) == kept.tables[printed.name].num_rows, "a single seed leaves every row"
        assert to_latex(printed).count(r"\\") == len(printed.rows) + 1


def test_what_is_missing_or_damaged_is_said_by_name(tmp_path) -> None:
    with pytest.raises(ConfigError, match="there is no store at"):
        open_store(str(tmp_path / "none"))
    store = Store.open(str(tmp_path / "store"), create=True)
    with pytest.raises(ConfigError, match=r"unknown sweep of .* 'x'"):
        find_sweep(store, "x")
    store.blobs.replace("sweeps/x/results.parquet", b"no parquet")
    with pytest.raises(ConfigError, match=r"results\.parquet of .* is damaged; run its sweep again"):
        find_sweep(store, "x")
    store.blobs.delete("sweeps/x/results.parquet")
    store.blobs.replace("sweeps/x/notes.txt", b"")
    with pytest.raises(ConfigError, match=r"has no stages\.parquet; run its sweep again"):
        find_sweep(store, "x")
