"""Sweeps with frozen models in place of those that they would train: plans, rows, and a run of two grids."""

from copy import deepcopy
from dataclasses import replace

import pytest

from nrf_ray.constructions.spec import matched
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.store import Store
from nrf_ray.results.summary import doubts
from nrf_ray.stages.weights import save_weights
from nrf_ray.sweep.given_models import judge_of, source_of, victims_of
from tests import sweeps

DIGITS = dataset_named("digits")
ROBUST = "#norm=l2,eps=0.5"


@pytest.fixture(scope="module")
def file(trained, tmp_path_factory):
    """Return the name of a trained network's file."""
    path = tmp_path_factory.mktemp("given") / "trained.safetensors"
    path.write_bytes(save_weights(trained, arch="resnet_s", shape=(1, 8, 8), num_classes=10))
    return f"file:{path}"


def trainings(sweep, role):
    """Return the titles of the trainings of a role."""
    titles = [stage.title.removeprefix("robust ") for stage in sweep.stages() if stage.kind.name == "train"]
    return [title for title in titles if title.startswith(f"{role} ")]


def rows_of(sweep, table, **facts):
    return [row for row in sweep.rows if row.table.name == table and all(row.facts[key] == facts[key] for key in facts)]


def test_given_models_are_trained_by_nobody_and_are_one_row_for_all_seeds(tiny_grid, transfer_grid, file):
    alone = replace(tiny_grid, constructions=("d_det",))
    grid = replace(
        alone,
        seeds=(0, 1),
        given_sources=(file,),
        given_judges=(file + ROBUST,),
        given_victims=(file, f"{file}#norm=linf,eps=0.1"),
    )
    sweep = transfer_grid(grid)
    assert not any(trainings(sweep, role) for role in ("source", "judge", "victim"))
    assert len(trainings(sweep, "student")) == 2 * len(trainings(transfer_grid(alone), "student"))
    for role, count in (("source", 1), ("judge", 1), ("victim", 2)):
        assert len(rows_of(sweep, "results", role=role)) == count
    (source,) = rows_of(sweep, "results", role="source")
    assert source.facts["model"].startswith("file:")
    assert (source.facts["seed"], source.facts["mode"], source.facts["training"]) == (0, None, "standard")
    pairs = {(row.facts["source_training"], row.facts["victim_training"]) for row in rows_of(sweep, "transfer")}
    assert pairs == {("standard", "standard"), ("standard", "adversarial")}
    assert {row.facts["victim_eps"] for row in rows_of(sweep, "transfer")} == {None, 0.1}
    assert {row.facts["source_model"] for row in rows_of(sweep, "datasets")} == {source.facts["model"]}


def test_a_family_of_robust_sources_is_one_axis(tiny_grid, transfer_grid, file):
    """Sets of one architecture differ in the radius of their source alone, as rows do."""
    grids = [
        replace(tiny_grid, constructions=("d_det",), given_sources=(f"{file}#norm=l2,eps={eps}",))
        for eps in (0.25, 0.5)
    ]
    facts = [rows_of(transfer_grid(grid), "datasets")[0].facts for grid in grids]
    assert [one["source_eps"] for one in facts] == [0.25, 0.5]
    differing = {name for name in facts[0] if facts[0][name] != facts[1][name]}
    assert differing == {"source_eps", "key"}


def test_a_source_takes_the_place_of_its_own_kind(tiny_grid, file):
    grid = replace(tiny_grid, constructions=matched(), given_sources=(file + ROBUST,))
    sweep = sweeps.robust_features.robust_features(grid)
    made = {row.facts["construction"]: row.facts for row in rows_of(sweep, "datasets")}
    assert made["d_robust"]["source_model"].startswith("file:")
    assert (made["d_robust"]["source_eps"], made["d_robust"]["source_training"]) == (0.5, "adversarial")
    assert made["d_nonrobust"]["source_model"] is None
    both = sweeps.robust_features.robust_features(replace(grid, given_sources=(file, file + ROBUST)))
    assert not trainings(both, "source")
    assert trainings(both, "victim")


@pytest.mark.parametrize(
    ("build", "flags", "said"),
    [
        (
            "transfer_grid",
            {"given_sources": 2},
            r"--source gives 2 models \(file:\w+, file:\w+\), and this sweep takes one; run",
        ),
        ("robust_features", {"given_sources": 2}, "--source gives 2 models of standard training"),
        ("transfer_grid", {"given_judges": 2}, "--judge takes one model"),
        (
            "transfer_grid",
            {"given_judges": 1},
            r"nothing says so of file:.*; add the norm and the eps of its training, as in",
        ),
        (
            "recipe_search",
            {"given_victims": 1},
            "recipe_search does not use given victims: it attacks no other model; leave the flag",
        ),
        ("recipe_search", {"given_judges": 1}, "recipe_search does not use given judges: no judge looks at its sets"),
    ],
)
def test_what_a_sweep_cannot_use_is_refused(build, flags, said, make_grid, file):
    names = {axis: (file, file.replace("file:", "file://"))[:count] for axis, count in flags.items()}
    names["constructions"] = matched() if build == "robust_features" else ("d_det",)
    module = getattr(sweeps, build)
    with pytest.raises(ConfigError, match=said):
        getattr(module, build)(make_grid(**names))


def test_without_flags_models_are_trained(tiny_grid):
    preset = tiny_grid.preset
    assert judge_of(tiny_grid, DIGITS).name is None
    assert source_of(tiny_grid, DIGITS, "resnet_s", preset.source, 3).seed == 3
    assert [model.arch for model in victims_of(tiny_grid, DIGITS, ["vgg_s", "resnet_m"], preset.victim, 0)] == [
        "vgg_s",
        "resnet_m",
    ]


def test_flags_name_models_and_a_plan_imports_no_torch(file, tmp_path):
    flags = ("--preset", "smoke", "--source", file, "--judge", file + ROBUST, "--victim", f"{file},{file}{ROBUST}")
    assert sweeps.heavy_imports_of_plan(tmp_path / "store", "transfer_grid.py", *flags) == []


def test_a_grid_of_frozen_models_runs(tiny_grid, transfer_grid, file, tmp_path):
    grid = replace(
        tiny_grid,
        constructions=("d_det",),
        given_sources=(file,),
        given_judges=(file + ROBUST,),
        given_victims=(file + ROBUST, file),
    )
    store = Store.open(str(tmp_path / "store"), create=True)
    sweep = transfer_grid(grid)
    assert run_inline(sweep.goals, store).errors == {}
    found = sweep.collect(store)
    assert all(set(row) == set(table.column_names()) for table, rows in found.items() for row in rows)
    transfer = next(rows for table, rows in found.items() if table.name == "transfer")
    assert {row["victim_eps"] for row in transfer} == {None, 0.5}
    assert all(row["success_rate"] == row["source_success_rate"] for row in transfer), "every victim is the source"
    assert doubts(sweep, store) == []


def test_a_poor_model_is_doubted_and_one_at_chance_stops_what_needs_it(trained, tiny_grid, transfer_grid, tmp_path):
    names = {}
    for name, few in (("poor", 4), ("useless", 1)):
        model = deepcopy(trained)
        model.head.bias.data[few:] -= 1e4  # it names the first classes alone
        data = save_weights(model, arch="resnet_s", shape=(1, 8, 8), num_classes=10)
        (tmp_path / name).write_bytes(data)
        names[name] = f"file:{tmp_path / name}"
    store = Store.open(str(tmp_path / "store"), create=True)
    grid = replace(
        tiny_grid, constructions=("d_det",), given_sources=(names["poor"],), given_victims=(names["useless"],)
    )
    sweep = transfer_grid(grid)
    errors = run_inline(
        [row.measures["clean_accuracy"].stage for row in rows_of(sweep, "results", role="source")], store
    )
    assert errors.errors == {}
    (line,) = doubts(sweep, store)
    assert "less than half way from chance" in line
    frontier = run_inline([row.stages()[0] for row in rows_of(sweep, "results", role="victim")], store)
    assert "not significantly above" in "".join(frontier.errors.values())
    assert len(frontier.in_state(Progress.BLOCKED)) == 1
