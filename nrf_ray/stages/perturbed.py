"""Sets for the debate: perturbed images or noise, labelled by the target or by the true class.

`construct` makes the paper's sets. This stage makes those that the answers to the paper ask for, in which the images
are not the dataset's (Kumano et al. 2024), other networks take part in the perturbation (Nakkiran 2019), or the label
is not the target.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nrf_ray.attacks.specs import Attack
from nrf_ray.constructions.spec import TargetRule
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.costs import OVERHEAD, attack_seconds, predict_seconds, read_seconds

if TYPE_CHECKING:
    from torch import Tensor

Base = Literal["images", "noise"]
"""What is perturbed: the training images, or as many images of uniform noise, each pixel from [0, 1]."""

Labels = Literal["target", "true"]
"""Label of each image: its target t, or its true class y."""


@dataclass(frozen=True, kw_only=True)
class PerturbedSpec:
    """One set of as many images as the training split of a dataset has."""

    dataset: DatasetRef
    """Dataset whose training images are perturbed, or whose shape and number the noise images have."""
    attack: Attack
    """Targeted PGD on the source, from the images themselves."""
    base: Base = "images"
    """What is perturbed."""
    targets: TargetRule | Literal["previous"]
    """How t is drawn from y; "previous" is (y - 1) mod k. For noise, which has no y, it must be "uniform"."""
    labels: Labels = "target"
    """Label of each image."""
    seed: int
    """Seed of noise and targets."""

    def __post_init__(self) -> None:
        if not self.attack.targeted or self.attack.start != "image" or self.attack.restarts > 1:
            raise ConfigError("a perturbed set needs a targeted attack that starts from the image; set targeted=True")
        if self.base == "noise" and (self.targets != "uniform" or self.labels == "true"):
            raise ConfigError(
                f"noise has no true class, so its targets cannot be {self.targets!r} with the labels {self.labels!r}; "
                "use uniform targets, and the label target"
            )


def _cost(handle: Stage) -> float:
    config: PerturbedSpec = handle.config
    rows, attack = info_of(config.dataset).num_train, config.attack
    models = [model for name, model in handle.inputs.items() if name != "fresh"]
    crafted = sum(attack_seconds(handle, model, images=rows, steps=attack.steps, mode=attack.mode) for model in models)
    seen = sum(predict_seconds(handle, model, images=rows) for model in handle.inputs.values())
    return OVERHEAD + crafted + seen + 2 * read_seconds(config.dataset, rows)


@stage(version=1, cost=_cost)
def perturbed(config: PerturbedSpec, context: Context, *, source: Artifact, **beside: Artifact) -> Metrics:
    """Write the set; measure how often source, and the unrelated model `fresh` if it is given, predict the target.

    All inputs but `source` and `fresh` are models that the perturbation is to leave at the true class.
    """
    from nrf_ray.constructions.perturbed import perturb
    from nrf_ray.constructions.stored_set import shard_name
    from nrf_ray.data.images import as_uint8
    from nrf_ray.data.shards import Shard, write_shard
    from nrf_ray.engine.predict import predict, share
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    images, true, targets, labels = _drawn(config)
    fresh, attacked = beside.pop("fresh", None), load_model(source, device)
    if beside and config.base == "noise":
        raise ConfigError("noise has no true class that other models could keep; leave the other models out")
    others = [load_model(model, device) for _, model in sorted(beside.items())]
    goals = (targets.to(device), true.to(device))
    stored = as_uint8(perturb(attacked, others, images.to(device), *goals, config.attack)).cpu()

    def hit(model: Artifact | None) -> float | None:
        return None if model is None else share(predict(load_model(model, device), stored.to(device)).cpu() == targets)

    columns = {"label": labels, "true_label": true, "target": targets}
    context.write(shard_name(0), write_shard(Shard(stored, columns, context.stage.key)))
    return {
        "success_rate": hit(source),
        "transfer_rate": hit(fresh),
        "share_label_is_target": share(labels == targets),
        "share_label_is_true": share(labels == true),
        "n": len(stored),
    }


def _drawn(config: PerturbedSpec) -> "tuple[Tensor, Tensor, Tensor, Tensor]":
    """Return the images that are perturbed [n, c, h, w], their classes y, targets t and labels, [n] each.

    The y of noise is -1, which is no class.
    """
    import torch

    from nrf_ray.constructions.crafted import draw_targets
    from nrf_ray.data.load import train_split

    originals, classes = train_split(config.dataset), info_of(config.dataset).num_classes
    images, true, rule = originals.floats(), originals.labels, config.targets
    targets = (true - 1) % classes if rule == "previous" else draw_targets(rule, true, classes, config.seed)
    if config.base == "noise":
        generator = torch.Generator().manual_seed(derive_seed(config.seed, "noise"))
        images, true = torch.rand(images.shape, generator=generator), torch.full_like(true, -1)
    return images, true, targets, targets if config.labels == "target" else true
