"""How long `nrf trust` takes on a digits network with all checks, and what the curves add: the goal is a minute.

    python -m tests.benchmarks.trust [--repeats 3]

A case is a network (resnet_s, trained in the standard way or adversarially) and its radius, half of the images being
fooled or fewer. Contenders: the checks with their curves, the checks alone, and the whole command in a process of its
own, which also imports torch, attacks and writes the page. `seconds` and `cpu_seconds` are medians; compare the latter
if the machine is not quiet.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from nrf_ray.attacks.checks import run_checks
from nrf_ray.attacks.named import strong_pgd
from nrf_ray.attacks.robustness import right_when_clean
from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.subject import Subject
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.digits import load
from nrf_ray.data.images import some
from nrf_ray.stages.weights import new_model, save_weights
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Recipe
from tests.benchmarks.harness import Case, Contender, main

ARCH, EPS, EXAMPLES = "resnet_s", 0.5, 128
ADVERSARY = Attack(threat=ThreatModel(norm="l2", eps=EPS), steps=7, step_size=EPS / 5)
RECIPES = {"standard": Recipe(epochs=5, lr=0.05), "adversarial": Recipe(epochs=8, lr=0.05, adversary=ADVERSARY)}


class Watched:
    """A run whose seconds, and CPU seconds of this process and of those that it started, are kept."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.run = run
        self.seconds: list[float] = []
        self.cpu: list[float] = []

    def __call__(self) -> None:
        """Run once."""
        began, cpu = time.perf_counter(), cpu_seconds()
        self.run()
        self.seconds.append(time.perf_counter() - began)
        self.cpu.append(cpu_seconds() - cpu)

    def check(self) -> Mapping[str, float]:
        """Return the medians."""
        return {"seconds": statistics.median(self.seconds), "cpu_seconds": statistics.median(self.cpu)}


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def rivals(recipe: Recipe) -> list[Contender]:
    """Return the checks with and without curves, and the command, for a network trained by `recipe`."""
    at_end = ExitStack()
    folder = Path(at_end.enter_context(tempfile.TemporaryDirectory()))
    train, test = load()
    network = new_model(ARCH, dataset_named("digits").ref, seed=0)
    fit(network, train, recipe, seed=0)
    weights = folder / "weights.safetensors"
    weights.write_bytes(save_weights(network.eval(), arch=ARCH, shape=(1, 8, 8), num_classes=10))
    chosen = some(len(test), EXAMPLES)
    right = chosen[right_when_clean(network, test.rows(chosen))]

    def checks(curves: bool) -> object:
        subject = Subject(
            model=network,
            images=test.images[right],
            labels=test.labels[right],
            indices=right,
            attack=strong_pgd(ThreatModel(norm="l2", eps=EPS)),
            seed=0,
            pool=test.images,
            curves=curves,
        )
        return run_checks(subject)

    words = [f"file:{weights}", "--data", "digits", "--epsilon", f"{EPS}", "--page", f"{folder / 'trust.html'}"]
    command = [sys.executable, "-m", "nrf_ray", "trust", *words]
    runs = {
        "checks and curves": Watched(partial(checks, True)),
        "checks": Watched(partial(checks, False)),
        "nrf trust": Watched(partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL, env=os.environ)),
    }
    return [
        Contender(name=name, run=run, check=run.check, close=at_end.close if name == "checks" else lambda: None)
        for name, run in runs.items()
    ]


def cases() -> list[Case]:
    """Return one case a recipe."""
    return [
        Case(name=name, contenders=partial(rivals, recipe), threads=2, unit="runs", repeats=3, warm_ups=0)
        for name, recipe in RECIPES.items()
    ]


if __name__ == "__main__":
    main("trust", __doc__, cases())
