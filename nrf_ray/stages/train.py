"""Train one model: on a dataset, or on a set constructed from it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact, Store
from nrf_ray.models.catalogue import ARCHITECTURES
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.costs import ATTACK_SHARE, OVERHEAD, image_seconds, rows_of
from nrf_ray.stages.pushed_sets import bring
from nrf_ray.training.recipes import Recipe

if TYPE_CHECKING:
    from nrf_ray.training.fit import Epoch, Snapshot

CHECKPOINT_SECONDS = 60.0
"""Least time between two checkpoints of a training; they are saved at the end of an epoch."""
BUILD_SECONDS = 0.2
"""Seconds to build a small network, measure it, choose its kernels and store its weights, for cost estimates."""


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """One training."""

    arch: str = field(metadata=ARCHITECTURES.names)
    """Name of the architecture."""
    dataset: DatasetRef
    """Dataset trained on or, with a constructed set as input, the dataset that the set was made from."""
    recipe: Recipe
    """Training recipe."""
    rows: Literal["all", "changed"] = "all"
    """Rows of a constructed set that are trained on: all, or those with t != y."""
    holdout: float = 0.0
    """Share of the rows that is held out of training, to choose a recipe by; see `data.images.holdout`."""
    seed: int
    """Seed of the initial weights, the order of examples and their augmentation."""

    def __post_init__(self) -> None:
        if not 0 <= self.holdout < 1 or (self.holdout and self.rows != "all"):
            raise ConfigError(
                f"a training needs 0 <= holdout < 1, of all rows, not {self.holdout:g} of the {self.rows} rows"
            )

    @property
    def num_workers(self) -> int:
        """Number of data-parallel workers."""
        return self.recipe.workers

    @property
    def training(self) -> str:
        """Kind of training: standard or adversarial."""
        return self.recipe.training


def _cost(handle: Stage) -> float:
    config: TrainSpec = handle.config
    info, recipe, device = info_of(config.dataset), config.recipe, handle.resources.device
    data = handle.inputs.get("data")
    rows = (info.num_train if data is None else rows_of(data)) * (1 - config.holdout)
    per_image = image_seconds(config.arch, info.shape, device, batch=recipe.batch_size, mode=recipe.mode)
    if recipe.adversary:
        step = image_seconds(config.arch, info.shape, device, batch=recipe.batch_size, mode=recipe.adversary.mode)
        per_image += ATTACK_SHARE * recipe.adversary.steps * step
    return OVERHEAD + BUILD_SECONDS + recipe.epochs * rows * per_image / recipe.workers


@stage(version=5, cost=_cost)
def train(config: TrainSpec, context: Context, *, data: Artifact | None = None) -> Metrics:
    """Write `weights.safetensors`; measure size and cost of the model, and loss and accuracy in the last epoch."""
    from nrf_ray.stages.weights import FILE

    workers = config.recipe.workers
    if workers == 1:
        fitted = _fitted(config, context, data=data)
    else:
        fitted = context.replicate(partial(_fitted_by_worker, context.stage, context.store.uri), workers)
        for epoch in fitted.curve:
            _report(context, epoch)
    context.write(FILE, fitted.weights)
    return fitted.metrics


class Fitted(NamedTuple):
    """Result of a training; with several workers, that of the first."""

    weights: bytes
    """Contents of the weights file."""
    curve: "list[Epoch]"
    """Learning curve."""
    metrics: Metrics
    """Metrics of the stage."""


def _fitted_by_worker(made_by: Stage, uri: str) -> Fitted:
    """Return the result of the stage `made_by` in one of several workers; each opens the store at `uri` itself."""
    store = Store.open(uri, create=False)
    bring(made_by, store.blobs)
    inputs = {name: store.artifact(handle) for name, handle in made_by.inputs.items()}
    return _fitted(made_by.config, Context(store=store, stage=made_by), **inputs)


def _fitted(config: TrainSpec, context: Context, *, data: Artifact | None = None) -> Fitted:
    from nrf_ray.constructions.stored_set import constructed_set
    from nrf_ray.data.images import holdout
    from nrf_ray.data.load import pictures_as_shown, train_pictures, train_split
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.models.classifier import forward_macs, parameter_count
    from nrf_ray.stages.weights import new_model, save_weights
    from nrf_ray.training.fit import fit

    device = prepare(context.stage.resources)
    changed_only = config.rows == "changed"
    images = train_split(config.dataset) if data is None else constructed_set(data, changed_only=changed_only)
    if data is None and config.recipe.augmentation.min_area < 1:
        pictures, as_shown = train_pictures(config.dataset), pictures_as_shown(config.dataset)
        images = replace(images, pictures=pictures, as_shown=as_shown)
    if config.holdout:
        images = images.rows(holdout(len(images), config.holdout)[0])
    model = new_model(config.arch, config.dataset, seed=derive_seed(config.seed, "weights"))
    curve = fit(
        model,
        images,
        config.recipe,
        seed=config.seed,
        device=device,
        on_epoch=_watch(context),
        resume=context.latest_checkpoint(),
    )
    info = info_of(config.dataset)
    metrics = {
        "parameters": parameter_count(model),
        "macs": forward_macs(model, info.shape),
        "train_examples": len(images),
        "train_loss": curve[-1].loss,
        "train_accuracy": curve[-1].accuracy,
    }
    weights = save_weights(model, arch=config.arch, shape=info.shape, num_classes=info.num_classes)
    return Fitted(weights, curve, metrics)


def _watch(context: Context) -> "Callable[[Epoch, Snapshot], None]":
    """Return the function that `fit` calls after each epoch to report the curve and, when due, save a checkpoint."""
    saved = time.monotonic()

    def on_epoch(epoch: "Epoch", snapshot: "Snapshot") -> None:
        nonlocal saved
        _report(context, epoch)
        if time.monotonic() - saved >= CHECKPOINT_SECONDS:
            context.save_checkpoint(epoch.epoch, snapshot())
            saved = time.monotonic()

    return on_epoch


def _report(context: Context, epoch: "Epoch") -> None:
    context.report(epoch.epoch, {"train/loss": epoch.loss, "train/accuracy": epoch.accuracy})
