"""The sweeps of the theory and of feature usefulness: run in this process, filled into tables, drawn and printed."""

import io
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nrf_ray.attacks.named import adversary_named
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.display.printing import make_console, print_results, share_text
from nrf_ray.display.svg import ticks
from nrf_ray.errors import ConfigError
from nrf_ray.gaussian import Gaussian, sample
from nrf_ray.gaussian.pictures import draw_figure_4, draw_figure_14
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.presets import PRESETS
from nrf_ray.results.summary import print_summary
from nrf_ray.results.write import write_tables
from nrf_ray.stages.usefulness import UNITS_FILE
from nrf_ray.tables.gaussian_theory import STATEMENTS, VERDICTS
from nrf_ray.tables.leakage import LEAKAGE
from nrf_ray.tables.registry import result_tables
from nrf_ray.tables.usefulness import USEFULNESS
from nrf_ray.training.recipes import Recipe
from tests.sweeps import heavy_imports_of_plan, load, mistake

gaussian_theory, feature_usefulness = load("gaussian_theory"), load("feature_usefulness")


def run(sweep, folder):
    """Run `sweep` here; return its store, its tables by name, and what is printed of them."""
    store = Store.open(str(folder), create=True)
    assert run_inline(sweep.goals, store).errors == {}
    tables, out = write_tables(sweep, store).frames, io.StringIO()
    console = make_console()
    console.file, console.width = out, 200
    print_summary(console, sweep, store, tables)
    return store, tables, out.getvalue()


@pytest.fixture(scope="module")
def theory(tmp_path_factory):
    grid = gaussian_theory.TheoryGrid(dimensions=(3,), epsilons=(0.5,), seeds=(0,))
    return run(gaussian_theory.gaussian_theory(grid), tmp_path_factory.mktemp("theory"))


@pytest.fixture(scope="module")
def usefulness(tmp_path_factory, make_grid):
    """Return a tiny sweep, run; one step of PGD is enough to see that gamma is below rho."""
    short = Recipe(epochs=1, lr=0.05)
    robust = replace(short, adversary=pgd_attack("l2", 1.0, steps=1))
    preset = replace(
        PRESETS["smoke"], source=short, robust_source=robust, student=short, craft_steps=2, test_examples=16
    )
    grid = make_grid(preset, constructions=("d_det",), epsilons=(1.0,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_usefulness, "STEPS", 1)
        sweep = feature_usefulness.feature_usefulness(grid)
    return sweep, *run(sweep, tmp_path_factory.mktemp("usefulness"))


def test_every_statement_is_checked_and_holds(theory):
    _, tables, text = theory
    frame = tables["theory"]
    assert set(frame["statement"]) == set(STATEMENTS)
    assert frame["holds"].all(), frame[~frame["holds"]].to_string()
    assert set(frame[frame["statement"] == "theorem_3"]["dimension"]) == {3}
    assert all(name in text for name in STATEMENTS)


def test_a_failed_statement_is_named_last_and_loudly(theory):
    _, tables, text = theory
    assert "FAIL" not in text
    frame = tables["theory"].copy()
    frame.loc[frame["statement"] == "lemma_8", "holds"] = False
    console = make_console()
    console.file, console.width = io.StringIO(), 200
    print_results(console, result_tables({"theory": frame}))
    last = console.file.getvalue().strip().splitlines()[-1]
    assert last == f"FAIL: 1 of {len(frame)} statements do not hold: lemma_8 (d 3, eps 0.5, seed 0)"


@pytest.mark.parametrize(
    ("relation", "lhs", "rhs", "error", "holds"),
    [
        ("=", 1.0, 1.05, 0.05, True),
        ("=", 1.0, 1.2, 0.2, False),
        (">=", 2.0, 1.0, 0.0, True),
        (">=", 1.0, 1.05, 0.05, True),
        (">=", 1.0, 2.0, 1.0, False),
        (">", 2.0, 1.0, 0.0, True),
        (">", 1.0, 1.0, 0.0, False),
    ],
)
def test_a_statement_that_fails_is_said_to_fail(relation, lhs, rhs, error, holds):
    verdict = VERDICTS[relation]({"lhs": lhs, "rhs": rhs, "tolerance": 0.1})
    assert verdict["error"] == pytest.approx(error)
    assert verdict["holds"] is holds


def test_the_pictures_lie_beside_the_tables(theory):
    store, _, _ = theory
    folder = store.blobs.root / "sweeps" / "gaussian_theory"
    for name in ("figure_4.svg", "figure_14.svg"):
        root = ElementTree.fromstring((folder / name).read_bytes())
        assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
        assert (root[0].text or "").startswith("Figure")
        circles = root.iter("{http://www.w3.org/2000/svg}circle")
        assert sum(1 for _ in circles) > 500


def test_a_picture_is_the_same_bytes_every_time_and_nothing_leaves_its_panel():
    truth = Gaussian(mean=np.array([10.0, -1.0]), covariance=np.diag([25.0, 0.5]))
    x, y = sample(truth, 50, seed=0)
    x[0] = [1000.0, 0.0]
    first, again = (draw_figure_4(truth, (0.0, 1.0), x, y) for _ in range(2))
    assert first == again
    centres = [float(c.get("cx")) for c in ElementTree.fromstring(first).iter("{http://www.w3.org/2000/svg}circle")]
    assert len(centres) == 3 * 49
    assert b"slope 0.98" in first
    flat = Gaussian(mean=np.array([2.0, 0.2]), covariance=np.diag([0.16, 0.0009]))
    assert b"accuracy 1.000, at l2 0.5: 0.000" in draw_figure_14(flat, 0.5, *sample(flat, 50, seed=0))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-20, 20, [-20, -10, 0, 10, 20]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3.7, 3.7, [-2, 0, 2])],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == expected


def test_usefulness_and_leakage_of_every_model_and_set(usefulness):
    sweep, store, tables, text = usefulness
    units, leakage = tables["usefulness"], tables["leakage"]
    assert sorted(zip(units["role"], units["training"], units["construction"], strict=True)) == [
        ("source", "adversarial", "d"),
        ("source", "standard", "d"),
        ("student", "standard", "d_det"),
    ]
    kinds = units[["robust", "useful_non_robust", "useless", "constant"]].sum(axis=1)
    assert (kinds == units["units"]).all()
    assert (units["mean_gamma"] < units["mean_rho"]).all()
    assert (units["n"] == 16).all()
    assert set(leakage["construction"]) == {"d", "d_det"}
    assert set(leakage["features"]) == {"linear", "penultimate"}
    linear = leakage[leakage["features"] == "linear"]
    assert linear[linear["construction"] == "d"]["accuracy"].max() > 0.8
    assert linear["certified"].between(0, 1).all()
    assert sorted(linear["feature_epsilon"] / linear["ball_epsilon"]) == [1, 1, 2, 2, 3, 3]
    meets = (linear["certified"] >= 0.8) & (linear["lowest_gamma"] > 0)
    assert (linear["meets_spec"] == meets).all()
    assert ("meets" in text, "misses" in text) == (meets.any(), (~meets).any())
    assert leakage[leakage["features"] == "penultimate"]["certified"].isna().all()
    assert (leakage["ci_low"] < leakage["accuracy"]).all()
    assert "leakage through adversarially trained features" in text
    assert "penultimate units" in text
    assert "grad x input" in text
    for score in units["input_gradient"]:
        assert share_text(1000 * score) in text, "thousandths of a nat"
    row = next(row for row in sweep.rows if row.table is USEFULNESS)
    detail = pq.read_table(pa.BufferReader(store.artifact(row.measures["units"].stage).read(UNITS_FILE)))
    assert detail.column_names == ["unit", "class", "sign", "rho", "gamma"]
    assert detail["rho"].to_numpy().mean() == pytest.approx(units.set_index("key")["mean_rho"][row.facts["key"]])


@pytest.mark.parametrize("name", ["pgd-7", "fgsm-rs", "n-fgsm"])
def test_every_measure_of_leakage_has_one_row_and_every_adversary_its_proportions(make_grid, name):
    preset = replace(PRESETS["smoke"], radii=(0.25, 1.0)).trained_against(name)
    grid = make_grid(preset, constructions=("d_det",), epsilons=(1.0,), seeds=(0, 1))
    sweep = feature_usefulness.feature_usefulness(grid)
    keys = [row.facts["key"] for row in sweep.rows if row.table is LEAKAGE]
    assert len(keys) == len(set(keys))
    networks = {
        row.measures["n"].stage.inputs["model"].config.recipe.adversary
        for row in sweep.rows
        if row.table is LEAKAGE and row.facts["features"] == "penultimate"
    }
    assert networks == {adversary_named(name, ThreatModel(norm="l2", eps=eps)) for eps in (0.25, 1.0)}


def test_leakage_is_deterministic(usefulness, tmp_path):
    sweep, store, _, _ = usefulness
    other = Store.open(str(tmp_path / "other"), create=True)
    goal = next(goal for goal in sweep.goals if goal.kind.name == "linear_leakage" and not goal.inputs)
    assert run_inline([goal], other).errors == {}
    assert other.artifact(goal).record.metrics == store.artifact(goal).record.metrics


def test_a_construction_that_the_sweep_is_not_about_is_refused(make_grid):
    with pytest.raises(ConfigError, match="feature_usefulness supports the constructions d_rand, d_det"):
        feature_usefulness.feature_usefulness(make_grid(constructions=("leak_det",)))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(("--dataset", "digits"), "--dataset", id="a flag of other sweeps"),
        pytest.param(("--epsilon", "1"), "--epsilon 1: Theorem 2 holds for eps in (0, eps0), and eps0 = 1", id="eps0"),
        pytest.param(("--epsilon", "0"), "--epsilon 0: Theorem 2 holds for eps in (0, eps0)", id="eps 0"),
        pytest.param(("--dimension", "1"), "--dimension 1 is out of range; give 2 to 500", id="dimension"),
        pytest.param(("--dimension", "two"), "--dimension 'two' is not a whole number", id="no number"),
        pytest.param(("--seeds", "0,0"), "seeds names a value twice", id="seed twice"),
        pytest.param(("--dimension", ""), "dimensions is empty", id="empty"),
    ],
)
def test_a_mistake_in_the_theory_is_one_line_and_exit_code_2(flags, message, monkeypatch, capsys, tmp_path):
    assert message in mistake(monkeypatch, capsys, "gaussian_theory", *flags, "--store", str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["gaussian_theory", "feature_usefulness"])
def test_the_plan_imports_neither_torch_nor_ray(name, tmp_path):
    assert heavy_imports_of_plan(tmp_path / "store", f"{name}.py") == []
