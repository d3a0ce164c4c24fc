"""Training beside a plain loop over a DataLoader, and beside the bare loop that no training can beat.

    python -m tests.benchmarks.training [--case 'resnet_s-cifar-*'] [--list]

Rates in training images per second. The bare loop has its batches lying ready as float32 tensors, channels last, and
does nothing but forward, loss, backward and a fused step; adversarial, seven gradients by the input of the network in
eval mode before. The plain loop is `dataloader.plain_training`, with the number of workers (none, or one a core) and
the layout that are fastest, found before the rounds; adversarial, with PGD by torchattacks. In the bf16 cases all train
under autocast, ours in its mode "fast"; beside them stands the plain loop in fp32.

"packed" cases ask how to fill two cores: one training of two threads, or two of one thread side by side.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from multiprocessing import get_context

import torch
import torch.nn.functional as F
from torch import nn

from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data import digits
from nrf_ray.data.images import LabelledImages, as_uint8
from nrf_ray.engine.mode import Mode
from nrf_ray.engine.precision import autocast
from nrf_ray.engine.runtime import keep_freed_memory
from nrf_ray.models.zoo import build
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Augmentation, Recipe
from tests.benchmarks.dataloader import plain_training
from tests.benchmarks.harness import Case, Contender, main, timed
from tests.benchmarks.networks import digits_as_cifar

PGD_7 = Attack(threat=ThreatModel(norm="l2", eps=0.5), steps=7, step_size=0.1)
VIEWS = {"cifar": Augmentation(pad=4, flip=True), "digits": Augmentation(pad=1)}
READY = 4
"""Batches that lie ready for the bare loop."""
MODES: dict[str, Mode] = {"fp32": "faithful", "bf16": "fast"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is trained, and how."""

    arch: str
    data: str
    """cifar (digits enlarged to 3x32x32, as bytes) or digits (1x8x8)."""
    training: str
    """standard or adversarial."""
    precision: str
    """fp32 or bf16."""
    threads: int

    def images(self) -> LabelledImages:
        """The training set."""
        found = digits_as_cifar("train") if self.data == "cifar" else digits.load()[0]
        return LabelledImages(images=as_uint8(found.images), labels=found.labels)

    def model(self, images: LabelledImages) -> nn.Module:
        """A new network."""
        shape = (images.images.shape[1], *images.images.shape[2:])
        return build(self.arch, shape=shape, num_classes=10, mean=(0.5,) * shape[0], std=(0.25,) * shape[0], seed=0)

    @property
    def recipe(self) -> Recipe:
        """Three passes; one, where each has eight times the work."""
        standard = Recipe(epochs=3, lr=0.01, augmentation=VIEWS[self.data], mode=MODES[self.precision])
        if self.training == "standard":
            return standard
        return replace(standard, epochs=1, adversary=replace(PGD_7, mode=standard.mode))


def rivals(setting: Setting) -> Sequence[Contender]:
    """Return all contenders of a case, ours first."""
    data = setting.images()
    new = partial(setting.model, data)
    work = setting.recipe.epochs * (len(data) // setting.recipe.batch_size * setting.recipe.batch_size)
    runs: dict[str, Callable[[], object]] = {
        "ours": lambda: fit(new(), data, setting.recipe, seed=0),
        "bare limit": bare_training(new, data, setting.recipe),
        "DataLoader loop": fastest_plain(new, data, setting, bf16=setting.precision == "bf16"),
    }
    if setting.precision == "bf16":
        runs["DataLoader loop, fp32"] = fastest_plain(new, data, setting, bf16=False)
    return [Contender(name=name, run=run, work=work) for name, run in runs.items()]


def bare_training(new: Callable[[], nn.Module], data: LabelledImages, recipe: Recipe) -> Callable[[], None]:
    """Return the loop that has nothing to do but what no training can leave out, each time on a new network.

    One that is trained on and on fits its few batches perfectly, and gradients that vanish are slow to compute with.
    """
    images = data.rows(slice(READY * recipe.batch_size)).floats().contiguous(memory_format=torch.channels_last)
    ready = list(zip(images.split(recipe.batch_size), data.labels.split(recipe.batch_size), strict=False))
    precision = autocast(recipe.mode, "cpu")

    def gradient_by_input(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
        tracked = images.detach().requires_grad_(True)
        with precision:
            logits = model(tracked)
        torch.autograd.grad(F.cross_entropy(logits.float(), labels), tracked)

    def run() -> None:
        model = new().to(memory_format=torch.channels_last).train()
        parameters = list(model.parameters())
        optimizer = torch.optim.SGD(
            parameters, lr=recipe.lr, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True
        )
        for batch in range(recipe.epochs * (len(data) // recipe.batch_size)):
            images, labels = ready[batch % READY]
            if recipe.adversary:
                model.eval().requires_grad_(False)
                for _ in range(recipe.adversary.steps):
                    gradient_by_input(model, images, labels)
                model.train().requires_grad_(True)
            with precision:
                logits = model(images)
            loss = F.cross_entropy(logits.float(), labels)
            for parameter in parameters:
                parameter.grad = None
            loss.backward()
            optimizer.step()

    return run


def fastest_plain(
    new: Callable[[], nn.Module], data: LabelledImages, setting: Setting, *, bf16: bool
) -> Callable[[], None]:
    """Return the plain loop with the number of workers and the layout that are fastest here."""
    once = replace(setting.recipe, epochs=1)
    layouts = [False] if once.adversary else [False, True]  # torchattacks' l2 PGD fails on images with channels last
    choices = list(product(sorted({0, setting.threads}), layouts))

    def seconds(choice: tuple[int, bool]) -> float:
        run = plain_training(new, data, once, workers=choice[0], channels_last=choice[1], bf16=bf16)
        run()
        return timed(run)

    workers, channels_last = min(choices, key=seconds)
    return plain_training(new, data, setting.recipe, workers=workers, channels_last=channels_last, bf16=bf16)


def packed(setting: Setting) -> Sequence[Contender]:
    """Return two ways to do two trainings on two cores."""
    data = setting.images()
    work = 2 * setting.recipe.epochs * (len(data) // setting.recipe.batch_size * setting.recipe.batch_size)
    pool = ProcessPoolExecutor(2, get_context("spawn"), initializer=_one_thread)
    list(pool.map(_train, [setting] * 2))
    side_by_side = lambda: list(pool.map(_train, [setting] * 2))  # noqa: E731
    one_by_one = lambda: [_train(setting) for _ in range(2)]  # noqa: E731

    def end() -> dict[str, float]:
        pool.shutdown()
        return {}

    return [
        Contender(name="two of one thread", run=side_by_side, work=work, check=end),
        Contender(name="one of two threads", run=one_by_one, work=work),
    ]


def _one_thread() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()


def _train(setting: Setting) -> None:
    data = setting.images()
    fit(setting.model(data), data, setting.recipe, seed=0)


def cases() -> list[Case]:
    """Return what the figures of issue 5 ask for."""
    subjects = [("resnet_s", "cifar"), ("resnet_m", "cifar"), ("resnet_s", "digits")]
    found = [
        Setting(arch=arch, data=data, training=training, precision=precision, threads=threads)
        for (arch, data), training, precision, threads in product(
            subjects, ("standard", "adversarial"), ("fp32", "bf16"), (1, 2)
        )
    ]
    beside = [Setting(arch=a, data=d, training="standard", precision="fp32", threads=2) for a, d in subjects]
    return [
        *(_case(f"{s.arch}-{s.data}-{s.training}-{s.precision}-{s.threads}", rivals, s) for s in found),
        *(_case(f"{s.arch}-{s.data}-packed", packed, s) for s in beside),
    ]


def _case(name: str, contenders: Callable[[Setting], Sequence[Contender]], setting: Setting) -> Case:
    return Case(name=name, contenders=partial(contenders, setting), threads=setting.threads, unit="images")


if __name__ == "__main__":
    main("training", __doc__, cases())
