"""Names that a user's file registers after the package and the sweep file are imported."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nrf_ray.constructions.spec import CONSTRUCTIONS, Construction, matched, with_control
from nrf_ray.errors import ConfigError, Registry
from nrf_ray.presets import PRESETS
from nrf_ray.tables.contrasts import contrasts, control_pairs, robust_contrasts, source_contrasts
from tests.frames import results, robustness
from tests.small import grid_of
from tests.sweeps import load

ROOT = Path(__file__).parents[2]
MINE = (
    Construction(name="d_mine", targets="next", features="adversarial", control="leak_mine", description="mine"),
    Construction(name="leak_mine", targets="next", features="pattern", description="its control"),
    Construction(
        name="d_alike",
        targets="same",
        features="matched",
        source_training="adversarial",
        robust_against=("d_nonrobust",),
        description="mine, matched",
    ),
)

USERS_FILE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("sweep", "sweeps/nonrobust_features.py")
sweep = importlib.util.module_from_spec(spec)
sys.modules["sweep"] = sweep
spec.loader.exec_module(sweep)

from nrf_ray.attacks.named import ATTACKS
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.cli import sweep_main
from nrf_ray.constructions.spec import CONSTRUCTIONS, Construction
from nrf_ray.models.catalogue import ARCHITECTURES, Architecture

for made in (
    Construction(name="d_mine", targets="next", features="adversarial", control="leak_mine", description="mine"),
    Construction(name="leak_mine", targets="next", features="pattern", description="its control"),
):
    CONSTRUCTIONS.register(made.name)(made)
ARCHITECTURES.register("tiny")(Architecture(name="tiny", family="mine", mmacs={8: 0.001}))
ATTACKS.register("pgd-3")(lambda pgd: pgd_attack(pgd.threat.norm, pgd.threat.eps, steps=3, mode=pgd.mode))

try:
    sweep_main(sweep.nonrobust_features, sweep.FLAGS)
except SystemExit as end:
    heavy = {"torch", "ray", "pandas", "pyarrow", "numpy", "scipy"} & set(sys.modules)
    print("imported:", *sorted(heavy))
    sys.exit(end.code)
"""


def run(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run a user's file that registers three kinds of things after it has imported a sweep file."""
    (folder / "mine.py").write_text(USERS_FILE)
    command = [sys.executable, str(folder / "mine.py"), "--preset", "smoke", "--store", str(folder / "store"), *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_a_file_of_a_user_plans_what_it_registered(tmp_path):
    done = run(tmp_path, "--construction", "d_mine,leak_mine", "--arch", "tiny", "--attack", "pgd-3", "--plan")
    assert (done.returncode, done.stderr) == (0, "")
    assert "d_mine l2 1 of digits, seed 0" in done.stdout
    assert "leak_mine l2 1 of digits, seed 0" in done.stdout
    assert "student tiny on d_mine" in done.stdout
    assert "robustness pgd-3" in done.stdout
    assert done.stdout.splitlines()[-1] == "imported:"


def test_the_names_in_an_error_are_those_registered_so_far(tmp_path):
    done = run(tmp_path, "--construction", "d_robust", "--plan")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "supports the constructions d_rand," in done.stderr
    assert "leak_weak, d_mine, leak_mine, not d_robust" in done.stderr


@pytest.fixture
def registered(monkeypatch):
    """Register the constructions of a user for one test."""
    for made in MINE:
        monkeypatch.setitem(CONSTRUCTIONS, made.name, made)


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("nonrobust_features", {"d_mine", "leak_mine"}),
        ("transfer_grid", {"d_mine", "leak_mine"}),
        ("recipe_search", {"d_mine"}),
        ("feature_usefulness", {"d_mine", "d_alike"}),
        ("robust_features", {"d_alike"}),
    ],
)
def test_every_sweep_of_images_offers_the_constructions_of_its_kind(registered, name, offered):
    module = load(name)
    for made in MINE:
        grid = grid_of(PRESETS["smoke"], constructions=(made.name,))
        if made.name not in offered:
            with pytest.raises(ConfigError, match=f"{name} supports the constructions .*, not {made.name}; leave it"):
                getattr(module, name)(grid)
            continue
        sets = {
            stage.config.construction
            for stage in getattr(module, name)(grid).stages()
            if stage.kind.name == "construct"
        }
        assert sets == {made.name}


def test_the_sweep_of_texts_offers_all_of_them(registered):
    names = tuple(made.name for made in MINE)
    preset = replace(PRESETS["text"], datasets=("planted-text",))
    sweep = load("text_features").text_features(grid_of(preset, constructions=names))
    assert {stage.config.construction for stage in sweep.stages() if stage.kind.name == "construct"} == set(names)


def test_a_default_axis_has_what_was_registered_by_then(registered):
    module, preset = load("feature_usefulness"), PRESETS["smoke"]
    assert {"d_mine", "d_alike"} < set(module.axes(preset)["constructions"])
    assert load("robust_features").axes(preset)["constructions"] == ("d_robust", "d_nonrobust", "d_alike")


def test_a_construction_with_two_reasons_is_one_default(monkeypatch):
    both = replace(MINE[2], control="leak_det")
    monkeypatch.setitem(CONSTRUCTIONS, both.name, both)
    assert both.name in matched()
    assert both.name in with_control()
    assert load("feature_usefulness").known().count(both.name) == 1


def test_contrasts_compare_a_registered_construction_with_its_control(registered):
    rows = [
        {"construction": name, "seed": seed, "clean_accuracy": accuracy + 0.01 * seed}
        for name, accuracy in (("d_mine", 0.5), ("leak_mine", 0.2))
        for seed in range(3)
    ]
    assert control_pairs().index(("d_mine", "leak_mine")) == 3
    (found,) = contrasts(results(rows)).to_dict("records")
    assert (found["construction"], found["against"]) == ("d_mine", "leak_mine")
    assert found["difference"] == pytest.approx(0.3)
    of_two = [{**row, "source_training": kind} for row in rows[:3] for kind in ("standard", "adversarial")]
    assert source_contrasts(results(of_two))["construction"].tolist() == ["d_mine"]


def test_contrasts_in_robust_accuracy_are_those_that_a_construction_names(registered):
    """d_alike names d_nonrobust alone, so it is not compared with the original data, as d_robust is."""
    rows = [
        {"construction": name, "role": role, "seed": seed, "robust_accuracy": accuracy, "start": start}
        for name, role, accuracy, start in (
            *(("d_alike", "student", 0.4, "image"), ("d_nonrobust", "student", 0.1, "image")),
            ("d", "victim", 0.0, None),
        )
        for seed in range(2)
    ]
    (found,) = robust_contrasts(robustness(rows)).to_dict("records")
    assert (found["construction"], found["against"]) == ("d_alike", "d_nonrobust")
    assert found["difference"] == pytest.approx(0.3)


def test_a_registry_is_asked_and_not_remembered():
    numbers: Registry[int] = Registry("number", {"two": 2, "three": 3})
    assert numbers.where(lambda number: number % 2 == 0) == ("two",)
    numbers.register("four")(4)
    assert numbers.where(lambda number: number % 2 == 0) == ("two", "four")
