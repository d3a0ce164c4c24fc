"""Families of tables of this package, and all registered tables in the order in which they are shown."""

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
    "debate",
    "perturbed_sets",
    "squares",
    "gaussian_theory",
    "planted",
    "stages",
)
"""Modules of this package, in the order in which their tables are shown; tables that users register follow."""

_MODULES = [import_module(f"{__package__}.{family}").__name__ for family in FAMILIES]


def table_named(name: str) -> Table | None:
    """Return the registered table called `name`, or None if it is not registered."""
    return TABLES[name].table if name in TABLES else None


def declared_columns() -> Iterator[Column]:
    """Yield the columns of every registered table."""
    for known in TABLES.values():
        yield from known.table.columns


MOST_SENTENCES = 6
"""Number of sentences that say what a run shows, at most."""


def result_tables(frames: Frames) -> Iterator[ResultTable]:
    """Yield the tables shown of each dataset, dataset by dataset, and then those of all datasets together."""
    for known, dataset, rows in _parts(frames):
        yield from known.show(dataset, rows)


def sentences(frames: Frames) -> tuple[str, ...]:
    """Return what the tables show, in `MOST_SENTENCES` sentences at most.

    The first of every table and dataset comes before the second of any; they stand in the order of the tables.
    """
    said = [list(known.say(dataset, rows)) for known, dataset, rows in _parts(frames) if known.say]
    places = sorted((turn, part) for part, texts in enumerate(said) for turn in range(len(texts)))[:MOST_SENTENCES]
    return tuple(said[part][turn] for part, turn in sorted((part, turn) for turn, part in places))


def _parts(frames: Frames) -> Iterator[tuple[RegisteredTable, str, Frames]]:
    """Yield every table that has rows, once for each dataset or once for all, with the rows that it is shown of."""
    of_data = {name: frame for name, frame in frames.items() if "dataset" in frame}
    for dataset in sorted({name for frame in of_data.values() for name in frame["dataset"]}):
        of_dataset = {name: frame[frame["dataset"] == dataset] for name, frame in of_data.items()}
        for known in _in_order():
            if known.by_dataset and len(of_dataset.get(known.table.name, ())):
                yield known, dataset, of_dataset
    for known in _in_order():
        if not known.by_dataset and known.table.name in frames:
            yield known, "", frames


def _in_order() -> list[RegisteredTable]:
    def position(known: RegisteredTable) -> int:
        module = known.show.__module__
        return _MODULES.index(module) if module in _MODULES else len(_MODULES)

    return sorted(TABLES.values(), key=position)
