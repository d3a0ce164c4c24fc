"""The families of tables of this package, and every registered table in the order in which tables are shown."""

from collections.abc import Iterator
from importlib import import_module

from nrf_ray.display.printing import ResultTable
from nrf_ray.sweep.table import TABLES, Column, Frames, RegisteredTable, Table

FAMILIES = (
    "trained_models",
    "constructed_sets",
    "robustness",
    "transfer",
    "recipe_search",
    "usefulness",
    "leakage",
    "gaussian_theory",
    "planted",
    "stages",
)
"""Files beside this one, in the order in which their tables are shown; those that users register follow."""

_MODULES = [import_module(f"{__package__}.{family}").__name__ for family in FAMILIES]


def table_named(name: str) -> Table | None:
    """Return the registered table called `name`; None where there is none."""
    return TABLES[name].table if name in TABLES else None


def declared_columns() -> Iterator[Column]:
    """Yield the columns of every registered table."""
    for known in TABLES.values():
        yield from known.table.columns


def result_tables(frames: Frames) -> Iterator[ResultTable]:
    """Yield what is shown of tables, dataset by dataset, and then what is shown of all datasets together."""
    of_data = {name: frame for name, frame in frames.items() if "dataset" in frame}
    for dataset in sorted({name for frame in of_data.values() for name in frame["dataset"]}):
        of_dataset = {name: frame[frame["dataset"] == dataset] for name, frame in of_data.items()}
        for known in _in_order():
            if known.by_dataset and len(of_dataset.get(known.table.name, ())):
                yield from known.show(dataset, of_dataset)
    for known in _in_order():
        if not known.by_dataset and known.table.name in frames:
            yield from known.show("", frames)


def _in_order() -> list[RegisteredTable]:
    def place(known: RegisteredTable) -> int:
        module = known.show.__module__
        return _MODULES.index(module) if module in _MODULES else len(_MODULES)

    return sorted(TABLES.values(), key=place)
