"""A family of tables is one file and a line of the registry: what is written here is all that a new one needs."""

import pandas as pd
import pytest

from nrf_ray.display.printing import ResultTable, over_seeds
from nrf_ray.errors import ConfigError, Registry
from nrf_ray.sweep import table as language
from nrf_ray.sweep.table import Column, Table, key_of, measured, shows
from nrf_ray.tables import registry
from nrf_ray.tables.registry import FAMILIES, declared_columns, result_tables, table_named

BRIGHTNESS = Table(
    "brightness",
    "one constructed set",
    (Column("dataset", "string", "dataset"), measured("mean", "float64", "mean pixel", "share"), key_of("stage")),
)
FRAME = pd.DataFrame({"dataset": ["b", "a", "a"], "seed": [0, 0, 1], "mean": [0.5, 0.2, 0.4], "key": ["x", "y", "z"]})


@pytest.fixture
def registered(monkeypatch):
    """Register the table beside the others for one test."""
    tables = Registry("table", registry.TABLES)
    monkeypatch.setattr(language, "TABLES", tables)
    monkeypatch.setattr(registry, "TABLES", tables)

    @shows(BRIGHTNESS)
    def show(dataset, frames):
        yield ResultTable(
            title=f"{dataset}: brightness",
            columns=("mean",),
            names=0,
            rows=(tuple(over_seeds(frames["brightness"], "mean")),),
            notes=(),
        )


def test_a_registered_table_is_shown_by_dataset_after_those_of_the_package(registered):
    shown = list(result_tables({"brightness": FRAME}))
    assert [table.title for table in shown] == ["a: brightness", "b: brightness"]
    assert [table.texts for table in shown] == [[(".300 ± 1.27",)], [(".500",)]]
    assert table_named("brightness") == BRIGHTNESS
    assert {column.name for column in declared_columns()} >= {"mean", "robust_accuracy"}


def test_a_name_is_taken_once(registered):
    with pytest.raises(ConfigError, match="there is another table called 'brightness'"):
        shows(Table("brightness", "another", ()))(lambda dataset, frames: iter(()))


def test_a_column_has_one_role_and_stands_once_in_a_table(registered):
    no_role = Table("faded", "one set", (Column("mean", "float64", "mean pixel"),))
    with pytest.raises(ConfigError, match=r"'mean' is axis in the table faded and measured in brightness"):
        shows(no_role)(lambda dataset, frames: iter(()))
    assert table_named("faded") is None
    with pytest.raises(ConfigError, match=r"the table twice has two columns called 'a'"):
        Table("twice", "one set", (Column("a", "float64", "a"), Column("a", "float64", "a")))
    with pytest.raises(ConfigError, match=r"a table cannot be called '\.\./results'"):
        Table("../results", "one set", ())


def test_a_column_has_one_role_in_all_tables_and_every_family_is_registered():
    roles: dict[str, set[str]] = {}
    for column in declared_columns():
        roles.setdefault(column.name, set()).add(column.role)
    assert {name: found for name, found in roles.items() if len(found) > 1} == {}
    modules = {known.show.__module__.rsplit(".")[-1] for known in registry.TABLES.values()}
    assert modules == set(FAMILIES)
    assert table_named("no such table") is None
