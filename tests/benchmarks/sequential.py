"""The transfer grid as a script that one writes in an afternoon: cell by cell, torchattacks, plain PyTorch loops.

    python -m tests.benchmarks.sequential --arch resnet_s,vgg_s --epsilon 1.0 --seeds 0 --out cells.csv [--share]

What `sweeps/transfer_grid.py` is timed against. It does what the grid's rows need, one cell after the other on two
threads, with the same networks, data, epochs, batches and attack steps:

- a cell of a student trains the source, makes the set, looks at it with a judge and a second model of the source's
  kind, trains the student and tests it;
- a cell of a victim trains the source and the victim, attacks the source's test images (targeted and not), tries them
  on the victim, and attacks the victim itself.

Nothing is kept from one cell to the next, but for the judge, which no one would train a hundred times. With `--share`
sources, second models and sets are kept in memory, as a more patient author would write it. It leaves out the eleven
checks of every attack, the provenance, the parquet files and the resuming, which the sweep has.
"""

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
import torchattacks
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from nrf_ray.data import digits
from nrf_ray.models.zoo import build
from nrf_ray.presets import PRESETS
from nrf_ray.training.recipes import Recipe

PRESET = PRESETS["laptop"]
CLASSES, BATCH = 10, 256
TRAIN, TEST = digits.load()


def main() -> None:
    """Write one line a cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default=",".join(PRESET.archs))
    parser.add_argument("--construction", default=",".join(PRESET.constructions))
    parser.add_argument("--epsilon", default=",".join(map(str, PRESET.epsilons)))
    parser.add_argument("--seeds", default=",".join(map(str, PRESET.seeds)))
    parser.add_argument("--share", action="store_true")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no cell after so many (default: none)")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(2)
    keep: Callable = cache if options.share else lambda function: function
    archs, names = options.arch.split(","), options.construction.split(",")
    grid = [(int(seed), float(eps)) for seed in options.seeds.split(",") for eps in options.epsilon.split(",")]
    until = time.monotonic() + options.seconds
    with options.out.open("w", newline="") as file:
        table = csv.writer(file)
        for row in cells(archs, names, grid, keep):
            table.writerow(row)
            file.flush()
            if time.monotonic() > until:
                break


def cells(archs: list[str], names: list[str], grid: list[tuple[int, float]], keep: Callable) -> Iterator[list]:
    """Yield the results of every cell."""
    source, second = keep(train_source), keep(train_second)
    made = keep(lambda name, seed, eps: make_set(name, source(seed), seed, eps))
    judge = train(PRESET.judge_arch, PRESET.judge, TRAIN.images, TRAIN.labels, seed=0)
    for seed, eps in grid:
        for arch in archs:
            yield ["victim", arch, seed, eps, *victim_cell(arch, seed, eps, source(seed))]
        for name in names:
            for arch in archs:
                if name.startswith("leak") and arch not in PRESET.control_archs:
                    continue
                images, labels = made(name, seed, eps)
                seen = [accuracy(model, images, labels) for model in (source(seed), second(seed), judge)]
                student = train(arch, PRESET.student, images, labels, seed=3000 + seed)
                yield [name, arch, seed, eps, *seen, *test(student)]


def train_source(seed: int) -> nn.Module:
    """Return the source of a seed."""
    return train(PRESET.source_arch, PRESET.source, TRAIN.images, TRAIN.labels, seed=seed)


def train_second(seed: int) -> nn.Module:
    """Return a second model of the source's kind."""
    return train(PRESET.source_arch, PRESET.victim, TRAIN.images, TRAIN.labels, seed=1000 + seed)


def victim_cell(arch: str, seed: int, eps: float, source: nn.Module) -> list[float]:
    """Return accuracy, robust accuracy and the success of transfer, untargeted and targeted."""
    victim = train(arch, PRESET.victim, TRAIN.images, TRAIN.labels, seed=2000 + seed)
    targets = wrong_classes(TEST.labels, seed)
    untargeted = attack(source, TEST.images, TEST.labels, eps, targeted=False)
    targeted = attack(source, TEST.images, targets, eps, targeted=True)
    own = attack(victim, TEST.images, TEST.labels, eps, targeted=False)
    return [
        *test(victim),
        accuracy(victim, own, TEST.labels),
        1 - accuracy(victim, untargeted, TEST.labels),
        accuracy(victim, targeted, targets),
    ]


def make_set(name: str, source: nn.Module, seed: int, eps: float) -> tuple[Tensor, Tensor]:
    """Return images and labels of one constructed set."""
    drawn = torch.Generator().manual_seed(seed)
    targets = {
        "rand": lambda: torch.randint(CLASSES, TRAIN.labels.shape, generator=drawn),
        "det": lambda: (TRAIN.labels + 1) % CLASSES,
        "other": lambda: wrong_classes(TRAIN.labels, seed),
    }[name.split("_")[1]]()
    if name.startswith("d_"):
        images = attack(source, TRAIN.images, targets, eps, targeted=True)
    else:
        patterns = F.interpolate(torch.randn(CLASSES, 1, 4, 4, generator=drawn), size=8, mode="bilinear")
        patterns *= eps / patterns.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        images = torch.where(
            (targets == TRAIN.labels).view(-1, 1, 1, 1), TRAIN.images, (TRAIN.images + patterns[targets]).clamp(0, 1)
        )
    return (images * 255).round() / 255, targets


def wrong_classes(labels: Tensor, seed: int) -> Tensor:
    """Return a wrong class for each label."""
    drawn = torch.Generator().manual_seed(10 + seed)
    return (labels + torch.randint(1, CLASSES, labels.shape, generator=drawn)) % CLASSES


def attack(model: nn.Module, images: Tensor, labels: Tensor, eps: float, *, targeted: bool) -> Tensor:
    """Return adversarial images by torchattacks' PGDL2."""
    pgd = torchattacks.PGDL2(model, eps=eps, alpha=2.5 * eps / 20, steps=PRESET.craft_steps, random_start=False)
    if targeted:
        pgd.set_mode_targeted_by_label(quiet=True)
    return torch.cat([pgd(x, y) for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True)])


def train(arch: str, recipe: Recipe, images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """Return a trained network; against PGD where the recipe says so."""
    torch.manual_seed(seed)
    model = build(arch, shape=(1, 8, 8), num_classes=CLASSES, mean=(0.3,), std=(0.35,), seed=seed)
    loader = DataLoader(TensorDataset(images, labels), batch_size=recipe.batch_size, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    steps = recipe.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.lr, total_steps=steps, pct_start=0.15, anneal_strategy="linear", cycle_momentum=False
    )
    adversary = None
    if recipe.adversary:
        adversary = torchattacks.PGDL2(
            model,
            eps=recipe.adversary.threat.eps,
            alpha=recipe.adversary.step_size,
            steps=recipe.adversary.steps,
            random_start=False,
        )
    model.train()
    for _ in range(recipe.epochs):
        for x, y in loader:
            given = adversary(x, y) if adversary else x
            loss = F.cross_entropy(model(given), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def test(model: nn.Module) -> list[float]:
    """Return the accuracy on the test set, and on the same images relabelled."""
    return [accuracy(model, TEST.images, TEST.labels), accuracy(model, TEST.images, (TEST.labels + 1) % CLASSES)]


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of labels that the model gives."""
    return torch.cat([model(x).argmax(1) for x in images.split(BATCH)]).eq(labels).double().mean().item()


if __name__ == "__main__":
    main()
