"""What the golden files pin: keys of real stages, and the code behind every kind of stage.

`python -m tests.golden.pin` (or `make pin`) writes them anew. Do that after a change of code that cannot change any
result; where results can change, raise `version=` of the stage first.
"""

import json
from importlib import import_module
from pathlib import Path

import nrf_ray.stages
from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.data.catalogue import DatasetRef
from nrf_ray.graph.source import source_digest
from nrf_ray.graph.stage import STAGES
from nrf_ray.stages.construct import construct
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.training.recipes import Augmentation, LinearSchedule, Recipe

FOLDER = Path(__file__).parent
KEYS, DIGESTS = FOLDER / "keys.json", FOLDER / "stages.json"
FILES = sorted(Path(nrf_ray.stages.__file__).parent.glob("*.py"))
MODULES = {f"nrf_ray.stages.{file.stem}" for file in FILES if "@stage(" in file.read_text("utf-8")}
for module in sorted(MODULES):
    import_module(module)
KINDS = sorted((kind for kind in STAGES.values() if kind.body.__module__ in MODULES), key=lambda kind: kind.name)
"""Every kind of stage."""


def keys() -> dict[str, str]:
    """Return the keys of three stages whose configs stand here in full, so that no preset can move them."""
    dataset = DatasetRef(name="digits", digest="0123456789abcdef" * 4)
    crafting = Attack(threat=ThreatModel(norm="l2", eps=0.5), steps=20, step_size=0.1, targeted=True)
    training = Attack(threat=ThreatModel(norm="linf", eps=8 / 255), steps=7, step_size=2 / 255)
    recipe = Recipe(
        epochs=3,
        lr=0.05,
        batch_size=128,
        momentum=0.9,
        weight_decay=5e-4,
        schedule=LinearSchedule(warmup=0.15),
        augmentation=Augmentation(pad=1, flip=False),
        adversary=training,
    )
    source = train(TrainSpec(arch="resnet_s", dataset=dataset, recipe=recipe, seed=0))
    spec = ConstructSpec(dataset=dataset, construction="d_det", craft=crafting, seed=7, batch_rows=256)
    made = construct(spec, source=source)
    student = train(TrainSpec(arch="vgg_s", dataset=dataset, recipe=recipe, seed=1), data=made)
    return {
        "train": source.key,
        "construct of that": made.key,
        "evaluate of a student of that": evaluate(EvaluateSpec(dataset=dataset), model=student).key,
    }


def stages() -> dict[str, list[int | str]]:
    """Return version and source digest of every kind of stage."""
    return {kind.name: [kind.version, source_digest(kind.body)] for kind in KINDS}


def pin() -> None:
    """Write both files."""
    for path, content in ((KEYS, keys()), (DIGESTS, stages())):
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    pin()
