"""Adversarial test images of a source model, stored so that many victims can be tried on the same images."""

from dataclasses import dataclass

from nrf_ray.attacks.specs import Attack
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.costs import OVERHEAD, attack_seconds, predict_seconds

FILE = "adversarial.parquet"


@dataclass(frozen=True, kw_only=True)
class AttackSpec:
    """One attack on the whole test split."""

    dataset: DatasetRef
    """Dataset whose test split is attacked."""
    attack: Attack
    """Attack, targeted (towards a uniform wrong class) or untargeted."""
    seed: int
    """Seed of the targets and random starts."""


def _cost(handle: Stage) -> float:
    config: AttackSpec = handle.config
    images, source = info_of(config.dataset).num_test, handle.inputs["source"]
    attacked = attack_seconds(handle, source, images=images, steps=config.attack.passes, mode=config.attack.mode)
    return OVERHEAD + attacked + predict_seconds(handle, source, images=images)


@stage(version=1, cost=_cost)
def attack(config: AttackSpec, context: Context, *, source: Artifact) -> Metrics:
    """Write `adversarial.parquet`; measure the attack's success on the source itself."""
    import torch

    from nrf_ray.attacks.run import run_attack
    from nrf_ray.constructions.crafted import draw_targets
    from nrf_ray.data.images import as_uint8
    from nrf_ray.data.load import test_split
    from nrf_ray.data.shards import Shard, write_shard
    from nrf_ray.engine.predict import predict, share
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    test = test_split(config.dataset)
    num_classes = info_of(config.dataset).num_classes
    targets = draw_targets("other", test.labels, num_classes, derive_seed(config.seed, "attack"))
    model = load_model(source, device)
    goal = (targets if config.attack.targeted else test.labels).to(device)
    stored = as_uint8(run_attack(config.attack, model, test.images.to(device), goal, seed=config.seed))
    predictions = predict(model, stored).cpu()
    columns = {"index": torch.arange(len(test)), "label": test.labels, "target": targets, "prediction": predictions}
    context.write(FILE, write_shard(Shard(stored.cpu(), columns, context.stage.key)))
    success = predictions == targets if config.attack.targeted else predictions != test.labels
    return {"success_rate": share(success), "n": len(test)}
