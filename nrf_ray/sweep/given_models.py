"""Models that a sweep is given by its flags, in place of those that it would train.

A frozen model is the same in every replicate, so its seed is 0, and rows that would repeat it are in a table once
(`sweep.over_datasets`).
"""

from collections.abc import Sequence

from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.errors import ConfigError
from nrf_ray.stages.costs import check_reads
from nrf_ray.stages.given_model import import_spec
from nrf_ray.stages.import_weights import import_weights
from nrf_ray.sweep.grid import Grid
from nrf_ray.sweep.models_and_sets import Model, trained
from nrf_ray.training.recipes import Recipe


def given(grid: Grid, dataset: DatasetInfo, name: str, role: str) -> Model:
    """Return the frozen model `name`, in the grammar of `models.model_name`, for `dataset`.

    Raises ConfigError if there is no such model on this machine, or if its architecture is for other data.
    """
    spec = import_spec(name, dataset, grid.store)
    if spec.size is None:
        check_reads(spec.arch, dataset)
    kind = "robust " if spec.training == "adversarial" else ""
    stage = import_weights(spec).named(f"{kind}{role} {spec.arch} from {spec.title} for {dataset.ref.name}")
    return Model(train=stage, role=role, seed=0)


def judge_of(grid: Grid, dataset: DatasetInfo) -> Model:
    """Return the robust judge of `dataset`: the given one, or one that is trained by the preset's recipe."""
    preset = grid.preset
    if not grid.given_judges:
        return trained(dataset, preset.judge_arch, preset.judge, "judge", seed=0)
    model = given(grid, dataset, grid.given_judges[0], "judge")
    if model.training != "adversarial":
        raise ConfigError(
            f"a judge is adversarially trained, and nothing says so of {grid.given_judges[0]}; add the norm and the "
            "eps of its training, as in #norm=l2,eps=0.5"
        )
    return model


def source_of(
    grid: Grid, dataset: DatasetInfo, arch: str, recipe: Recipe, seed: int, *, of_any_kind: bool = False
) -> Model:
    """Return a source: the given one of the same kind of training (or `of_any_kind`), or else a trained one.

    Raises ConfigError if several such models are given.
    """
    models = (given(grid, dataset, name, "source") for name in grid.given_sources)
    found = [model for model in models if of_any_kind or model.training == recipe.training]
    if len(found) > 1:
        which = "" if of_any_kind else f" of {recipe.training} training"
        raise ConfigError(
            f"--source gives {len(found)} models{which} ({', '.join(str(model.name) for model in found)}), and this "
            "sweep takes one; run it once for each, and name the runs"
        )
    return found[0] if found else trained(dataset, arch, recipe, "source", seed)


def kinds_of_sources(grid: Grid, dataset: DatasetInfo, kinds: Sequence[str]) -> tuple[str, ...]:
    """Return `kinds`, the kinds of training of a sweep's sources, and those of given sources besides."""
    return tuple(
        dict.fromkeys((*kinds, *(given(grid, dataset, name, "source").training for name in grid.given_sources)))
    )


def victims_of(grid: Grid, dataset: DatasetInfo, archs: Sequence[str], recipe: Recipe, seed: int) -> list[Model]:
    """Return the victims: all given ones, or one trained model of each of `archs`."""
    if grid.given_victims:
        return [given(grid, dataset, name, "victim") for name in grid.given_victims]
    return [trained(dataset, arch, recipe, "victim", seed) for arch in archs]
