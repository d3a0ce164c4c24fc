"""A store with a small real run of every sweep that the notebooks read, made in this process, without Ray."""

from dataclasses import replace
from pathlib import Path

import pytest

from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.presets import Preset
from nrf_ray.results.write import write_tables
from nrf_ray.sweep.flags import Options
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.training.recipes import Recipe
from tests import small, sweeps
from tests.texts import corpus, write_texts

SHORT = Recipe(epochs=1, lr=0.05)


def shortened(preset: Preset) -> Preset:
    """Return the smoke preset with trainings of one epoch of its smallest networks, attacked on few images."""
    students = {name: SHORT for name in ("source", "victim", "student", "weak", "matching_source", "matched_student")}
    few = {"attack_steps": 3, "craft_steps": 3, "test_examples": 32, "check_examples": 4}
    return replace(preset, **students, **few, matching_arch="resnet_s")


def small_sweeps() -> list[Sweep]:
    """Return the sweeps over images and Gaussians, as their files build them."""
    grids = {
        "transfer_grid": Options(
            preset="smoke", arch="resnet_s,vgg_s,densenet_s", construction="d_det,d_other,leak_det", seeds="0,1"
        ),
        "robust_features": Options(preset="smoke", seeds="0,1"),
        "nonrobust_features": Options(preset="smoke", construction="d_rand,d_det,leak_det", seeds="0,1"),
        "recipe_search": Options(preset="smoke", construction="d_other", seeds="0"),
        "feature_usefulness": Options(preset="smoke", construction="d_rand,d_det,d_nonrobust"),
        "same_mistake": Options(preset="smoke", seeds="0,1"),
        "just_bugs": Options(preset="smoke", seeds="0"),
        "perturbations_alone": Options(preset="smoke", seeds="0"),
    }
    made = []
    for name, options in grids.items():
        module = sweeps.load(name)
        grid = options.grid(getattr(module, "axes", lambda preset: {}))
        sweep = getattr(module, name)(replace(grid, preset=shortened(grid.preset)))
        made.append(replace(sweep, preset="smoke"))
    errors = sweeps.load("learning_from_errors")
    grid = errors.FLAGS.grid(errors.ErrorsOptions(preset="smoke", seeds="0"))
    made.append(replace(errors.learning_from_errors(replace(grid, preset=shortened(grid.preset))), preset="smoke"))
    gaussian_theory = sweeps.load("gaussian_theory")
    theory = gaussian_theory.TheoryOptions(dimension="2", epsilon="0.5", seeds="0").grid()
    return [*made, gaussian_theory.gaussian_theory(theory)]


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the store; a minute of one core."""
    home = tmp_path_factory.mktemp("small")
    store = Store.open(str(home / "runs"), create=True)
    reviews = write_texts(home / "reviews.csv", *corpus(180))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NRF_DATA", str(home / "data"))
        for sweep in (*small_sweeps(), small.planted_sweep(), small.text_sweep(f"text-csv:{reviews}")):
            assert run_inline(sweep.goals, store).errors == {}
            write_tables(sweep, store)
    return home / "runs"
