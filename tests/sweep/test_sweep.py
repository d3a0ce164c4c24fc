"""Grids and sweeps: what cannot be run is refused before anything runs, and every row can be filled."""

import math
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from nrf_ray.attacks.named import ATTACKS
from nrf_ray.constructions.spec import CONSTRUCTIONS
from nrf_ray.data.catalogue import DATASETS
from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.stage import Resources, walk
from nrf_ray.graph.store import Store
from nrf_ray.models.catalogue import ARCHITECTURES
from nrf_ray.sweep.grid import Grid
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.tables.constructed_sets import DATASETS as SETS
from nrf_ray.tables.robustness import ROBUSTNESS
from nrf_ray.tables.trained_models import RESULTS
from nrf_ray.tables.transfer import TRANSFER

ROOT = Path(__file__).parents[2]
AXES = [field.name for field in fields(Grid) if field.default != () and field.name not in ("preset", "store")]


def message(error):
    """Return the text of an error, which is one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.fixture(scope="module")
def laptop(make_grid, transfer_grid):
    return transfer_grid(make_grid())


@pytest.mark.parametrize(
    ("axis", "value", "known"),
    [
        ("datasets", "mnist", DATASETS),
        ("archs", "resnet_xl", ARCHITECTURES),
        ("constructions", "d_best", CONSTRUCTIONS),
        ("norms", "l1", ["l2", "linf"]),
        ("attacks", "cw", ATTACKS),
    ],
    ids=["dataset", "architecture", "construction", "norm", "attack"],
)
def test_an_unknown_name_is_refused_with_the_known_ones(make_grid, axis, value, known):
    with pytest.raises(ConfigError, match=f"unknown .*{value!r}") as error:
        make_grid(**{axis: (value,)})
    assert all(name in message(error) for name in known)


@pytest.mark.parametrize("axis", AXES)
def test_an_empty_axis_is_refused(make_grid, axis):
    with pytest.raises(ConfigError, match=f"{axis} is empty") as error:
        make_grid(**{axis: ()})
    message(error)


@pytest.mark.parametrize("axis", AXES)
def test_a_value_that_is_named_twice_is_refused(make_grid, axis):
    value = getattr(make_grid(), axis)[0]
    with pytest.raises(ConfigError, match=f"{axis} names a value twice") as error:
        make_grid(**{axis: (value, value)})
    message(error)


def test_one_radius_written_in_two_ways_is_named_twice(make_grid):
    with pytest.raises(ConfigError, match="epsilons names a value twice"):
        make_grid(epsilons=(1, 1.0))


@pytest.mark.parametrize(
    ("norm", "eps"),
    [("l2", 8.1), ("linf", 1.01), ("l2", 0.0), ("l2", -1.0), ("l2", math.nan), ("l2", math.inf)],
    ids=["l2 beyond the box", "linf beyond the box", "zero", "negative", "NaN", "infinite"],
)
def test_a_radius_that_makes_no_sense_is_refused(make_grid, norm, eps):
    with pytest.raises(ConfigError, match=r"epsilon") as error:
        make_grid(norms=(norm,), epsilons=(0.5, eps))
    message(error)


def test_a_radius_that_fits_one_norm_and_not_the_other_is_refused(make_grid):
    make_grid(norms=("l2",), epsilons=(1.5,))
    with pytest.raises(ConfigError, match=r"linf epsilon 1\.5 is beyond the box"):
        make_grid(norms=("l2", "linf"), epsilons=(1.5,))


def test_negative_seeds_are_refused(make_grid):
    with pytest.raises(ConfigError, match="seeds must be from 0"):
        make_grid(seeds=(0, -2))


WILSON = {"ci_low", "ci_high"}


def identity(row):
    """Return what tells a row from the others of its table, its keys of stages left out."""
    return tuple(sorted((name, value) for name, value in row.facts.items() if name != "key" and value is not None))


def test_no_two_rows_of_a_table_say_the_same_thing(laptop):
    for table in (RESULTS, SETS, ROBUSTNESS, TRANSFER):
        rows = [row for row in laptop.rows if row.table is table]
        assert rows
        assert max(Counter(map(identity, rows)).values()) == 1, table.name


def test_the_laptop_grid_has_as_many_rows_as_its_axes_make(laptop):
    archs, sets, controls, radii, seeds, few = 5, 3, 3, 2, 3, 2
    counts = Counter(row.table.name for row in laptop.rows)
    models = 1 + seeds * (1 + archs)
    assert counts == {
        "results": models + seeds * radii * (sets * archs + controls * few),
        "robustness": models * radii,
        "datasets": seeds * radii * (sets + controls),
        "transfer": seeds * radii * 2 * archs,
    }


def test_every_row_can_be_filled_by_the_goals(laptop):
    stages = {stage.key for stage in laptop.stages()}
    goals = {stage.key for stage in laptop.goals}
    assert len(goals) == len(laptop.goals), "every goal is named once"
    assert {stage.key for row in laptop.rows for stage in row.stages()} == goals
    assert goals <= stages
    assert {stage.key for stage in walk(laptop.goals)} == stages
    for row in laptop.rows:
        assert row.facts["key"] in stages
        columns = {*row.facts, *row.measures}
        derived = {ROBUSTNESS: {*WILSON, "trust_level", "lowest", "lowest_by"}, TRANSFER: WILSON}.get(row.table, set())
        assert columns | derived == set(row.table.column_names())
        assert not columns & derived


def test_inputs_come_before_the_stages_that_use_them(laptop):
    seen: set[Key] = set()
    for stage in laptop.stages():
        assert all(handle.key in seen for handle in stage.inputs.values())
        assert stage.key not in seen
        seen.add(stage.key)


def test_replicates_share_nothing_but_the_judge(laptop):
    """A seed changes source, targets, victims and students: the intervals over seeds are over whole replicates."""
    by_seed: dict[int, set[Key]] = {}
    for row in laptop.rows:
        if row.facts.get("role") != "judge":
            keys = {stage.key for goal in row.stages() for stage in walk([goal])}
            by_seed.setdefault(row.facts["seed"], set()).update(keys)
    judge = {stage.key for row in laptop.rows if row.facts.get("role") == "judge" for stage in walk(row.stages())}
    assert set(by_seed) == {0, 1, 2}
    for left in by_seed:
        for right in by_seed:
            assert left == right or by_seed[left] & by_seed[right] <= judge


def test_one_architecture_in_two_roles_is_trained_twice(laptop):
    """Transfer to a victim that is the source itself would be the attack's own success."""
    sources = {row.facts["key"] for row in laptop.rows if row.facts.get("role") == "source"}
    victims = {row.facts["key"] for row in laptop.rows if row.facts.get("role") == "victim"}
    assert sources.isdisjoint(victims)
    assert (len(sources), len(victims)) == (3, 15)


def test_resources_change_no_key_and_no_row(laptop):
    moved = laptop.on(Resources(cpus=3.0, gpus=0.5))
    assert [stage.key for stage in moved.stages()] == [stage.key for stage in laptop.stages()]
    assert [stage.key for stage in moved.goals] == [stage.key for stage in laptop.goals]
    assert [stage.label for stage in moved.stages()] == [stage.label for stage in laptop.stages()]
    assert [(row.table, row.facts) for row in moved.rows] == [(row.table, row.facts) for row in laptop.rows]
    assert {stage.resources for stage in moved.stages()} == {Resources(cpus=3.0, gpus=0.5)}
    for stage in moved.stages():
        assert all(handle.resources.gpus == 0.5 for handle in stage.inputs.values())
    assert {stage.resources for stage in laptop.stages()} == {Resources()}


def test_a_stage_has_the_same_key_in_every_grid_that_needs_it(make_grid, transfer_grid, laptop):
    small = transfer_grid(make_grid(archs=("vgg_s",), seeds=(1,), constructions=("d_det",), epsilons=(1.5,)))
    assert {stage.key for stage in small.stages()} < {stage.key for stage in laptop.stages()}


def test_rows_are_collected_when_all_of_their_stages_are_done(tiny, tmp_path):
    full = tiny.sweep.collect(tiny.store)
    assert sum(map(len, full.values())) == len(tiny.sweep.rows)
    empty = tiny.sweep.collect(Store.open(str(tmp_path / "empty"), create=True))
    assert empty == {table: [] for table in full}
    alone = Sweep("alone", tiny.sweep.rows[:1])
    assert sum(map(len, alone.collect(tiny.store).values())) == 1


def test_a_laptop_grid_is_planned_without_torch_and_ray():
    code = (
        "import sys, importlib.util as u\n"
        "spec = u.spec_from_file_location('grid', 'sweeps/transfer_grid.py'); grid = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(grid)\n"
        "from nrf_ray.sweep.flags import Options\n"
        "assert len(list(grid.transfer_grid(Options().grid()).stages())) > 400\n"
        "found = {'torch', 'ray', 'pandas', 'pyarrow', 'scipy'} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
