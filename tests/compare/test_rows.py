"""Differences are those that were put in, paired where they can be, and nothing else."""

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nrf_ray.compare.rows import compare_tables
from nrf_ray.errors import ConfigError
from nrf_ray.results.parquet import to_arrow
from nrf_ray.results.roles import KEY, about, measured_columns, measured_names
from nrf_ray.statistics import wilson_interval
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Column, Table
from tests import sweeps
from tests.export.made_up import TOYS, values

ACCURACIES = {0: 0.50, 1: 0.62, 2: 0.71}


def compared(first, second):
    return compare_tables("toys", to_arrow(TOYS, values(first)), to_arrow(TOYS, values(second, key="other")))


def test_the_same_numbers_are_no_change_though_every_key_differs() -> None:
    found = compared(
        {("d", 1.0): ACCURACIES, ("e", None): ACCURACIES}, {("d", 1.0): ACCURACIES, ("e", None): ACCURACIES}
    )
    assert (found.both, found.differing, found.changes) == (6, 0, ())
    assert found.compared == 4, "clean_accuracy and n of two cells"
    assert (found.only_first, found.only_second) == (0, 0)


def test_the_same_seeds_are_paired() -> None:
    """A shift of every seed has no spread, however much the seeds themselves differ."""
    shifted = {seed: accuracy + 0.1 for seed, accuracy in ACCURACIES.items()}
    (change,) = compared({("d", 1.0): ACCURACIES}, {("d", 1.0): shifted}).changes
    assert (change.measure, change.paired, change.seeds) == ("clean_accuracy", True, 3)
    assert change.cell == {"sweep": "made_up", "construction": "d", "epsilon": 1.0}
    assert (change.difference, change.low, change.high) == pytest.approx((0.1, 0.1, 0.1))
    assert change.p == pytest.approx(0.25), "the least that three seeds can give"


def test_the_interval_is_the_paired_t_interval_of_the_seeds_that_both_have() -> None:
    first, second = ACCURACIES | {7: 0.1}, {0: 0.55, 1: 0.75, 2: 0.70, 9: 0.9}
    (change,) = compared({("d", 1.0): first}, {("d", 1.0): second}).changes
    differences = [second[seed] - first[seed] for seed in (0, 1, 2)]
    half = stats.t.ppf(0.975, 2) * np.std(differences, ddof=1) / math.sqrt(3)
    assert change.seeds == 3
    assert (change.low, change.high) == pytest.approx((np.mean(differences) - half, np.mean(differences) + half))
    assert change.first == pytest.approx(np.mean([first[seed] for seed in (0, 1, 2)]))


def test_other_seeds_are_compared_unpaired_by_welch() -> None:
    second = {3: 0.8, 4: 0.9}
    (change,) = compared({("d", 1.0): ACCURACIES}, {("d", 1.0): second}).changes
    test = stats.ttest_ind(list(second.values()), list(ACCURACIES.values()), equal_var=False)
    assert (change.paired, change.seeds, change.p) == (False, 2, pytest.approx(test.pvalue))
    assert (change.low, change.high) == pytest.approx(tuple(test.confidence_interval(0.95)))


@pytest.mark.parametrize("seed", [0, 1], ids=["the same", "another"])
def test_a_share_of_a_single_seed_has_newcombes_interval_over_its_rows(seed: int) -> None:
    """By hand from both Wilson intervals, of 50 and 60 in 100: .1 -+ the roots of the sums of squares."""
    (change,) = compared({("d", 1.0): {0: 0.5}}, {("d", 1.0): {seed: 0.6}}).changes
    (low, high), (lower, higher) = ((w.low, w.high) for w in (wilson_interval(0.5, 100), wilson_interval(0.6, 100)))
    ends = 0.1 - math.hypot(0.6 - lower, high - 0.5), 0.1 + math.hypot(higher - 0.6, 0.5 - low)
    assert (change.difference, change.low, change.high) == pytest.approx((0.1, *ends))
    assert (change.over, change.paired, change.seeds) == ("rows", seed == 0, 1)
    assert math.isnan(change.p), "p is of seeds"
    assert change.certainty == pytest.approx(0.2 / (ends[1] - ends[0]))


def test_a_number_of_a_single_seed_that_is_no_share_of_its_rows_has_no_interval() -> None:
    first, second = (to_arrow(TOYS, values({("d", 1.0): {0: 0.5}}, n=n)) for n in (100, 200))
    (change,) = compare_tables("toys", first, second).changes
    assert (change.measure, change.difference, change.over) == ("n", 100, "")
    assert all(map(math.isnan, (change.low, change.high, change.p, change.certainty)))
    counts = first.drop_columns(["n"])
    shares = counts.set_column(4, counts.schema.field(4), pa.array([0.25]))
    (change,) = compare_tables("toys", counts, shares).changes
    assert (change.measure, change.over) == ("clean_accuracy", "")


@pytest.mark.parametrize(("name", "over"), [("human_kept", ""), ("energy_rest", ""), ("robust_accuracy", "rows")])
def test_shares_of_something_else_than_the_rows_have_none_either(name: str, over: str) -> None:
    table = Table(
        "t", "one", (TOYS.columns[0], TOYS.columns[3], Column(name, "float64", "it", "share"), TOYS.columns[5])
    )
    first, second = (to_arrow(table, [{"sweep": "s", "seed": 0, name: share, "n": 100}]) for share in (0.5, 0.6))
    (change,) = compare_tables("t", first, second).changes
    assert (change.measure, change.over) == (name, over)


def test_certainty_is_the_size_beside_half_the_interval() -> None:
    """So it is above 1 where the interval excludes none, however few seeds there are."""
    second = {0: 0.55, 1: 0.75, 2: 0.70}
    (change,) = compared({("d", 1.0): ACCURACIES}, {("d", 1.0): second}).changes
    differences = [second[seed] - ACCURACIES[seed] for seed in second]
    half = stats.t.ppf(0.975, 2) * stats.sem(differences)
    assert (change.over, change.certainty) == ("seeds", pytest.approx(np.mean(differences) / half))
    (unpaired,) = compared({("d", 1.0): ACCURACIES}, {("d", 1.0): {3: 0.8, 4: 0.9}}).changes
    low, high = stats.ttest_ind([0.8, 0.9], list(ACCURACIES.values()), equal_var=False).confidence_interval(0.95)
    assert (unpaired.over, unpaired.certainty) == ("seeds", pytest.approx((low + high) / (high - low)))


def test_seeds_that_all_change_alike_do_not_say_how_sure_that_is() -> None:
    (change,) = compared({("d", 1.0): {0: 0.1, 1: 0.2}}, {("d", 1.0): {0: 0.3, 1: 0.4}}).changes
    assert math.isnan(change.certainty)


@pytest.mark.parametrize(("share", "n"), [(1.5, 100), (math.inf, 100), (0.5, -3)])
def test_what_can_be_no_share_has_no_interval(share: float, n: int) -> None:
    first, second = (to_arrow(TOYS, values({("d", 1.0): {0: found}}, n=n)) for found in (0.4, share))
    (change,) = compare_tables("toys", first, second).changes
    assert (change.over, math.isnan(change.low)) == ("", True)


def test_tables_without_rows_are_the_same() -> None:
    found = compared({}, {})
    assert (found.both, found.differing, found.changes) == (0, 0, ())


def test_values_and_rows_of_one_side_alone_are_named() -> None:
    found = compared(
        {("d", 1.0): {0: 0.5, 1: 0.5}, ("e", None): {0: 0.5}}, {("d", 1.0): {0: 0.5}, ("d", 2.0): {0: 0.4}}
    )
    assert (found.both, found.only_first, found.only_second) == (1, 2, 1)
    assert found.values_only_first == {"construction": ("e",), "seed": (1,)}
    assert found.values_only_second == {"epsilon": (2.0,)}


def test_columns_of_another_version_are_named_and_the_rest_is_compared() -> None:
    first = to_arrow(TOYS, values({("d", 1.0): ACCURACIES}))
    found = compare_tables("toys", first.drop_columns(["epsilon"]), first)
    assert (found.columns_only_first, found.columns_only_second, found.differing) == ((), ("epsilon",), 0)


def test_rows_that_nothing_tells_apart_are_refused() -> None:
    first = to_arrow(TOYS, values({("d", 1.0): ACCURACIES}))
    with pytest.raises(ConfigError, match="some rows of toys do not differ in any of"):
        compare_tables("toys", pa.concat_tables([first, first]), first)


def test_p_values_are_adjusted_for_all_that_was_compared() -> None:
    cells = {(name, 1.0): {seed: 0.1 * seed for seed in range(8)} for name in "abcd"}
    moved = cells | {("a", 1.0): {seed: 0.1 * seed + 0.2 for seed in range(8)}}
    found = compared(cells, moved)
    assert found.compared == 8
    assert found.changes[0].p == pytest.approx(2 / 2**8)
    assert found.adjusted() == pytest.approx([8 * 2 / 2**8])


@settings(max_examples=12)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_the_other_way_round_is_the_same_with_the_other_sign(first: list[float], second: list[float]) -> None:
    sides = [{("d", 1.0): dict(enumerate(side))} for side in (first, second)]
    there, back = compared(*sides).changes, compared(*reversed(sides)).changes
    assert len(there) == len(back) <= 1
    for change, other in zip(there, back, strict=True):
        assert (change.difference, change.low, change.high) == pytest.approx(
            (-other.difference, -other.high, -other.low), nan_ok=True
        )
        assert change.p == pytest.approx(other.p, nan_ok=True)


SMALL = {
    "gaussian_theory": ("--dimension", "2", "--seeds", "0"),
    "planted_features": ("--brief", "--seeds", "0"),
    "text_features": ("--dataset", "text-csv:texts.csv", "--seeds", "0"),
}
"""Flags of sweep files that have no preset `smoke`."""


def small_sweeps(monkeypatch, folder) -> Iterator[Sweep]:
    """Yield a small sweep of every sweep file."""
    monkeypatch.chdir(folder)
    (folder / "texts.csv").write_text("text,label\n" + "good good film,1\nbad bad film,0\n" * 60)
    for path in sweeps.FILES.values():
        code, (sweep,) = sweeps.planned(
            monkeypatch, str(path), *SMALL.get(path.stem, ("--preset", "smoke", "--seeds", "0"))
        )
        assert code == 0, path.stem
        yield sweep


def test_what_is_measured_is_declared_for_every_table_of_every_sweep(monkeypatch, tmp_path) -> None:
    """A measured column that has another role would tell rows apart by what they came out as."""
    seen = set()
    for sweep in small_sweeps(monkeypatch, tmp_path):
        for row in sweep.rows:
            facts = set(row.facts) - {KEY}
            columns = row.table.column_names()
            told_apart = set(about(columns))
            assert not set(row.measures) & told_apart, row.table.name
            derived = set(columns) - set(row.facts) - set(row.measures)
            assert not derived & told_apart, row.table.name
            assert told_apart <= facts, row.table.name
            seen |= set(measured_columns(columns))
    assert seen == measured_names()
