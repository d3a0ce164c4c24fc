"""Two versions of one table: the rows that both have, and how their numbers differ.

Rows are matched by what they are about. A cell is a group of rows that differ only in their seed. Its difference is
paired if both sides have the same seeds, because a seed decides source, targets and student alike. A single seed says
nothing about other seeds, but a share of n rows still has an interval that says how much other rows would change it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from nrf_ray.errors import ConfigError
from nrf_ray.results.roles import ENDS, SEED, about, measured_columns, of_others, shares
from nrf_ray.statistics import difference_interval, holm, sign_flip_test, t_interval
from nrf_ray.statistics.intervals import ROUNDING

if TYPE_CHECKING:
    import pyarrow as pa

SEEDS, ROWS = "seeds", "rows"
"""Units that an interval is over."""

COUNT = "n"
"""Column with n, the number of examples (of a test set or a constructed set) behind the shares of a table row."""
NO_COUNT = pd.Series(dtype=np.float64)
"""Counts of a number that is not a share of n."""


class Sureness(NamedTuple):
    """Uncertainty of a difference; NaN and an empty `over` if it is unknown."""

    low: float = math.nan
    high: float = math.nan
    """Ends of its 95% interval."""
    p: float = math.nan
    """p value for no difference between seeds."""
    over: str = ""
    """Unit that the interval is over: `SEEDS` or `ROWS`."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Measured number of one cell that differs between the two sides."""

    cell: Mapping[str, Any]
    """Values that say what the rows are about, by column, without the seed and without columns that have no value."""
    measure: str
    """Column of the number."""
    first: float
    """Mean over the compared seeds in the first store."""
    second: float
    """Mean over the compared seeds in the second store."""
    low: float
    """Lower end of the 95% interval of second - first; NaN if there is no interval."""
    high: float
    """Upper end of the interval; NaN if there is none."""
    over: str
    """Unit that the interval is over: seeds or, for a share of a single seed, rows; empty if there is no interval."""
    p: float
    """p value for no difference between seeds, by sign flips (if paired) or Welch's t test; NaN if unknown."""
    seeds: int
    """Number of compared seeds; if they are not paired, that of the side with fewer seeds."""
    paired: bool
    """Whether both sides have the same seeds."""

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first

    @property
    def certainty(self) -> float:
        """Absolute difference divided by the half-width of its interval. Above 1, the interval excludes zero.

        NaN if it is unknown: without an interval, or if all seeds changed by the same amount, as counts do.
        """
        half = (self.high - self.low) / 2
        return abs(self.difference) / half if half > ROUNDING else math.nan


@dataclass(frozen=True, kw_only=True)
class TableComparison:
    """One table of one sweep in two stores."""

    name: str
    """Name of the table."""
    both: int
    """Number of rows that both stores have."""
    differing: int
    """Number of these rows that differ in any measured column."""
    only_first: int
    """Number of rows that only the first store has."""
    only_second: int
    """Number of rows that only the second store has."""
    values_only_first: Mapping[str, tuple[Any, ...]]
    """Values that only the first store has, by column."""
    values_only_second: Mapping[str, tuple[Any, ...]]
    """Values that only the second store has, by column."""
    columns_only_first: tuple[str, ...]
    """Columns that only the first store has: its tables were written by another version."""
    columns_only_second: tuple[str, ...]
    """Columns that only the second store has."""
    changes: tuple[Change, ...]
    """Numbers that differ, in the order of the rows."""
    compared: int
    """Count of the numbers that were compared."""

    def adjusted(self) -> Sequence[float]:
        """Return the p of every change, adjusted for all numbers compared in this table (Holm 1979)."""
        # Numbers that are the same on both sides were compared too, with p = 1.
        p = np.array([change.p for change in self.changes] + [1.0] * (self.compared - len(self.changes)))
        return [float(value) for value in holm(p)[: len(self.changes)]]


def compare_tables(name: str, first: "pa.Table", second: "pa.Table") -> TableComparison:
    """Return the differences between two versions of the table `name`.

    Raises ConfigError if several rows of one version are about the same.
    """
    left, right = first.to_pandas(), second.to_pandas()
    shared = [column for column in first.column_names if column in second.column_names]
    keys, numbers = about(shared), measured_columns(shared)
    for frame in (left, right):
        if frame.duplicated(keys).any():
            raise ConfigError(
                f"some rows of {name} do not differ in any of {', '.join(keys)}, so they cannot be matched; compare "
                "runs of one version of the sweep"
            )
    if left.empty and right.empty:  # pandas cannot merge empty tables
        left, right = left.astype(object), right.astype(object)
    merged = left.merge(right, on=keys, how="outer", suffixes=(" first", " second"), indicator="side")
    both = merged[merged["side"] == "both"]
    differing = pd.Series(data=False, index=both.index)
    for column in numbers:
        differing |= ~_same(both[f"{column} first"], both[f"{column} second"])
    counted = {*shares(first)} & {*shares(second)} - of_others() if COUNT in shared else set()
    compared_numbers = [column for column in numbers if _is_number(left[column], right[column])]
    changes, compared = _changes(left, right, keys, compared_numbers, counted)
    return TableComparison(
        name=name,
        both=len(both),
        differing=int(differing.sum()),
        only_first=int((merged["side"] == "left_only").sum()),
        only_second=int((merged["side"] == "right_only").sum()),
        values_only_first=_values_only(left, right, keys),
        values_only_second=_values_only(right, left, keys),
        columns_only_first=tuple(column for column in first.column_names if column not in shared),
        columns_only_second=tuple(column for column in second.column_names if column not in shared),
        changes=tuple(changes),
        compared=compared,
    )


def _same(first: "pd.Series[Any]", second: "pd.Series[Any]") -> "pd.Series[bool]":
    """Return for each row whether two columns agree; null agrees with null, and lists are compared by content."""
    left, right = (column.map(lambda v: tuple(v) if isinstance(v, np.ndarray) else v) for column in (first, second))
    return (left == right) | (left.isna() & right.isna())


def _is_number(*columns: "pd.Series[Any]") -> bool:
    return all(pd.api.types.is_numeric_dtype(column) for column in columns) and columns[0].name not in ENDS


def _values_only(these: pd.DataFrame, those: pd.DataFrame, keys: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    found = {key: sorted({*these[key].dropna()} - {*those[key].dropna()}) for key in keys}
    return {key: tuple(values) for key, values in found.items() if values}


def _changes(
    left: pd.DataFrame, right: pd.DataFrame, keys: Sequence[str], numbers: Sequence[str], counted: Set[str]
) -> tuple[list[Change], int]:
    """Return the changes, and the count of compared numbers; the columns `counted` are shares of n of their rows."""
    cell_keys = [key for key in keys if key != SEED]
    changes, compared = [], 0
    for cell, mine, theirs in _cells(left, right, cell_keys):
        for number in numbers:
            first, second = _by_seed(mine, number), _by_seed(theirs, number)
            if first.empty or second.empty:
                continue
            compared += 1
            counts = (_by_seed(mine, COUNT), _by_seed(theirs, COUNT)) if number in counted else (NO_COUNT, NO_COUNT)
            change = _change(cell, number, first, second, counts)
            if change is not None:
                changes.append(change)
    return changes, compared


def _cells(
    left: pd.DataFrame, right: pd.DataFrame, keys: list[str]
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """Yield every cell that both sides have, with its rows on each side."""
    rows = {_hashable(keyed): cells for keyed, cells in right.groupby(keys, dropna=False, sort=False)}
    for keyed, mine in left.groupby(keys, dropna=False, sort=False):
        theirs = rows.get(_hashable(keyed))
        if theirs is not None:
            values = zip(keys, _hashable(keyed), strict=True)
            yield {name: value for name, value in values if value is not None}, mine, theirs


def _hashable(keyed: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values of a cell with None for every null, because NaN does not equal itself."""
    return tuple(None if pd.isna(value) else value for value in keyed)


def _by_seed(rows: pd.DataFrame, number: str) -> "pd.Series[float]":
    """Return a number by seed; a table without seeds counts as a single seed."""
    values = rows[number].astype(float)
    return values.set_axis(rows[SEED] if SEED in rows else [0] * len(rows)).dropna()


def _change(
    cell: Mapping[str, Any],
    measure: str,
    first: "pd.Series[float]",
    second: "pd.Series[float]",
    counts: tuple["pd.Series[float]", "pd.Series[float]"],
) -> Change | None:
    """Return the change of one number of a cell, given by seed on each side; None if it is the same.

    `counts` has n by seed on each side, if the number is a share of n.
    """
    shared = first.index.intersection(second.index)
    if len(shared):
        first, second = first.loc[shared], second.loc[shared]
        if (first == second).all():
            return None
    means = float(first.mean()), float(second.mean())
    if not len(shared) and means[0] == means[1]:
        return None
    if len(first) == len(second) == 1:
        sure = _over_rows(*means, (_at(counts[0], first), _at(counts[1], second)))
    else:
        sure = _over_seeds(second - first) if len(shared) else _by_welch(first, second)
    return Change(
        cell=cell,
        measure=measure,
        first=means[0],
        second=means[1],
        seeds=min(len(first), len(second)),
        paired=len(shared) > 0,
        **sure._asdict(),
    )


def _over_seeds(differences: "pd.Series[float]") -> Sureness:
    """Return the uncertainty of the mean of `differences`, one per seed."""
    interval, p = t_interval(differences.to_numpy()), sign_flip_test(differences.to_numpy()).p
    return Sureness(interval.low, interval.high, p, SEEDS)


def _by_welch(first: "pd.Series[float]", second: "pd.Series[float]") -> Sureness:
    """Return the uncertainty of the difference of two means, over each side's own seeds."""
    if min(len(first), len(second)) < 2 or max(first.std(), second.std()) == 0:
        return Sureness()
    test = stats.ttest_ind(second, first, equal_var=False)
    ends = test.confidence_interval(0.95)
    return Sureness(float(ends.low), float(ends.high), float(test.pvalue), SEEDS)


def _over_rows(first: float, second: float, ns: tuple[int, int]) -> Sureness:
    """Return the uncertainty of the difference of two shares of `ns` rows; unknown without rows, or if not shares."""
    if min(ns) <= 0 or not (0 <= first <= 1 and 0 <= second <= 1):
        return Sureness()
    interval = difference_interval(first, second, ns)
    return Sureness(interval.low, interval.high, math.nan, ROWS)


def _at(count: "pd.Series[float]", share: "pd.Series[float]") -> int:
    """Return n of the share of a single seed; 0 if there is none."""
    return int(count.get(share.index[0], 0))
