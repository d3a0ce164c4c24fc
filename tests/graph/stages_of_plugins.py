"""A plug-in's stages, and others, for tests of keys."""

from nrf_ray.attacks.named import attack_named
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.graph.stage import Stage
from nrf_ray.stages.construct import construct
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.robustness import RobustnessSpec, robustness
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.training.recipes import Recipe
from tests.plugged import MINE

DIGITS = dataset_named("digits").ref
SHORT = Recipe(epochs=1, lr=0.05)
THREAT = ThreatModel(norm="l2", eps=1.0)
CHANGED = MINE.replace("nn.ReLU()", "nn.Tanh()")
TOY = """
from dataclasses import dataclass
from nrf_ray.graph.stage import stage

@dataclass(frozen=True, kw_only=True)
class Mine:
    name: str

@stage(version=1, cost=lambda handle: 1.0)
def mine_text(config: Mine, context):
    context.write("value.txt", config.name.encode())
    return {"length": len(config.name)}
"""


def models() -> dict[str, Stage]:
    """Return stages of which some use what `MINE` registers: themselves, by an input, or not at all."""
    own = train(TrainSpec(arch="flat", dataset=DIGITS, recipe=SHORT, seed=0))
    plain = train(TrainSpec(arch="resnet_s", dataset=DIGITS, recipe=SHORT, seed=0))
    crafting = pgd_attack("l2", 1.0, steps=2, targeted=True)
    made = construct(ConstructSpec(dataset=DIGITS, construction="d_same", craft=crafting, seed=0), source=plain)
    other = construct(ConstructSpec(dataset=DIGITS, construction="d_det", craft=crafting, seed=0), source=plain)
    walked = RobustnessSpec(dataset=DIGITS, attack=attack_named("walk", pgd_attack("l2", 1.0)))
    halved = RobustnessSpec(dataset=DIGITS, attack=pgd_attack("l2", 1.0, loss="half"))
    return {
        "its network": own,
        "its construction": made,
        "its attack": robustness(walked, model=plain),
        "its loss": robustness(halved, model=plain),
        "a test of its network": evaluate(EvaluateSpec(dataset=DIGITS), model=own),
        "a student on its construction": train(
            TrainSpec(arch="vgg_s", dataset=DIGITS, recipe=SHORT, seed=0), data=made
        ),
        "a network": plain,
        "a construction": other,
        "an attack": robustness(RobustnessSpec(dataset=DIGITS, attack=pgd_attack("l2", 1.0)), model=plain),
    }


DIRECT = ("its network", "its construction", "its attack", "its loss")
"""Those of `models` that use the plug-in themselves; the two that follow use it by an input."""
