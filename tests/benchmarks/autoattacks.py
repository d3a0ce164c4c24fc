"""The attacks of AutoAttack by two libraries, and ours of the same kind, image by image on the same images.

    python -m tests.benchmarks.autoattacks [--classes 2 10] [--network mlp] [--attack square] [--n 128] [--write]

pyautoattack 0.2.0 packages the authors' code; adv-lib 0.2.8 (tests/benchmarks/peers.txt) has attacks of the same names
except Square, beside which our random search stands. Every attack runs alone on the same correctly classified digits
with the budget that AutoAttack gives it: 100 steps, up to 9 target classes, 5000 queries. What it returns is verified:
an image that is not finite, outside the box or outside the ball counts as found by nobody. Each radius is the one at
which 20 steps of our PGD on the margin leave about half of the images.

`--write` keeps the rows in results/autoattacks.jsonl, in place of older ones of the same attack on the same network.
`--show` prints the table of the committed rows.
"""

import argparse
import json
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nrf_ray.attacks.random_search import random_search
from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import Norm, ThreatModel, perturbation_norm
from nrf_ray.data.images import LabelledImages
from nrf_ray.engine.predict import predict
from tests.trust.networks import PLAIN, adversarially, cnn, digits, mlp, train

TABLE = Path(__file__).parent / "results" / "autoattacks.jsonl"
"""The committed rows, one JSON object a line."""
CLASSES = (2, 3, 4, 10)
"""Numbers of classes: digits modulo each of them."""
NETWORKS = ("mlp", "mlp-robust", "cnn")
"""Networks of digits, two trained in the standard way and one adversarially (l2 .6)."""
NORMS: tuple[Norm, ...] = ("l2", "linf")
SEEDS = {"apgd-ce": 2, "apgd-t": 2, "fab-t": 1, "square": 1}
"""Runs of each attack, with seeds from 0. FAB's first run begins at the image, so its seed changes nothing."""
QUERIES = 5000
"""Queries of Square in AutoAttack."""
STEPS = 100
"""Steps of every attack by gradients in AutoAttack."""
TARGETS = 9
"""Target classes of AutoAttack, at most."""

Craft = Callable[[nn.Module, Tensor, Tensor, ThreatModel, int], Tensor]
"""Attack: from a model, images [n, c, h, w], labels [n], a threat model and a seed to adversarial images."""


def by_pyautoattack(
    name: str, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, seed: int
) -> Tensor:
    """Run one attack of pyautoattack as AutoAttack does."""
    import pyautoattack

    norm = {"l2": "L2", "linf": "Linf"}[threat.norm]
    adversary = pyautoattack.AutoAttack(model, norm=norm, eps=threat.eps, seed=seed, device="cpu")
    targets = min(TARGETS, len(model(images[:1])[0]) - 1)
    adversary.fab.targeted, adversary.fab.seed, adversary.fab.n_target_classes = True, seed, targets
    adversary.apgd_targeted.n_target_classes, adversary.apgd.loss = targets, "ce"
    attack = {
        "apgd-ce": adversary.apgd,
        "apgd-t": adversary.apgd_targeted,
        "fab-t": adversary.fab,
        "square": adversary.square,
    }[name]
    with torch.no_grad():
        found: Tensor = attack.perturb(images, labels)
    return found


def by_adv_lib(name: str, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, seed: int) -> Tensor:
    """Run one attack of adv-lib with the same budget."""
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))  # it plots, and adv-lib imports it for nothing else
    from adv_lib.attacks import apgd, apgd_targeted, fab

    torch.manual_seed(seed)
    norm, eps = {"l2": 2, "linf": float("inf")}[threat.norm], threat.eps
    targets = min(TARGETS, len(model(images[:1])[0]) - 1)
    crafts: dict[str, Callable[[], Tensor]] = {
        "apgd-ce": lambda: apgd(model, images, labels, eps, norm, n_iter=STEPS, loss_function="ce"),
        "apgd-t": lambda: apgd_targeted(model, images, labels, eps, norm, n_iter=STEPS, num_targets=targets),
        "fab-t": lambda: fab(
            model, images, labels, norm, n_iter=STEPS, ε=eps, restarts=targets, targeted_restarts=True
        ),
    }
    return crafts[name]()


def by_margin(model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, seed: int) -> Tensor:
    """Run our PGD on the margin: 50 steps, 10 restarts."""
    attack = pgd_attack(threat.norm, threat.eps, steps=50, restarts=10, loss="margin")
    return run_attack(attack, model, images, labels, seed=seed)


def by_search(model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, seed: int) -> Tensor:
    """Run our random search with the queries of Square."""
    indices = torch.arange(len(images))
    return random_search(model, images, labels, threat=threat, queries=QUERIES, seed=seed, indices=indices)


CONTENDERS: dict[str, dict[str, Craft]] = {
    "apgd-ce": {"pyautoattack": partial(by_pyautoattack, "apgd-ce"), "adv-lib": partial(by_adv_lib, "apgd-ce")},
    "apgd-t": {
        "pyautoattack": partial(by_pyautoattack, "apgd-t"),
        "adv-lib": partial(by_adv_lib, "apgd-t"),
        "ours: margin PGD": by_margin,
    },
    "fab-t": {"pyautoattack": partial(by_pyautoattack, "fab-t"), "adv-lib": partial(by_adv_lib, "fab-t")},
    "square": {"pyautoattack": partial(by_pyautoattack, "square"), "ours: random search": by_search},
}
"""Who runs each attack. Ours are of the same kind, where adv-lib has none, or models may have too few classes."""


def network(name: str, classes: int) -> nn.Module:
    """Return the network `name`, trained on digits modulo `classes`."""
    build = cnn if name == "cnn" else mlp
    recipe = adversarially("l2", 0.6) if name == "mlp-robust" else PLAIN
    return train(lambda: build(classes=classes), recipe, seed=0, label=lambda labels: labels % classes)


def chosen(model: nn.Module, classes: int, n: int) -> LabelledImages:
    """Return the first n test digits that `model` classifies correctly."""
    test = digits()[1]
    labels = test.labels % classes
    right = (predict(model, test.images) == labels).nonzero().squeeze(1)[:n]
    return LabelledImages(images=test.images[right], labels=labels[right])


def radius(model: nn.Module, data: LabelledImages, norm: Norm) -> ThreatModel:
    """Return the ball, to three digits, in which 20 steps on the margin leave about half of the images."""
    low, high = 0.0, {"l2": 4.0, "linf": 0.8}[norm]
    for _ in range(8):
        eps = (low + high) / 2
        found = run_attack(pgd_attack(norm, eps, steps=20, loss="margin"), model, data.images, data.labels)
        if float((predict(model, found) != data.labels).double().mean()) < 0.5:
            low = eps
        else:
            high = eps
    return ThreatModel(norm=norm, eps=round(high, 3))


def fooled_by(craft: Craft, model: nn.Module, data: LabelledImages, threat: ThreatModel, seed: int) -> dict[str, Any]:
    """Return which images `craft` fools, verified, its CPU seconds and its fault: an error, or broken rules."""
    start, fault = time.process_time(), ""
    try:
        with torch.random.fork_rng(devices=[]):
            found = craft(model, data.images.clone(), data.labels.clone(), threat, seed).detach()
    except Exception as error:  # whatever a library raises is a row of the table
        found, fault = data.images, f"{type(error).__name__}: {error}".splitlines()[0]
    seconds = time.process_time() - start
    fooled = predict(model, found) != data.labels
    finite = found.isfinite().flatten(1).all(dim=1)
    in_box = ((found >= 0) & (found <= 1)).flatten(1).all(dim=1)
    in_ball = perturbation_norm(found - data.images, threat.norm) <= threat.eps * (1 + 1e-4)
    if not fault and int((~finite | ~in_box).sum()):
        fault = f"{int((~finite | ~in_box).sum())} images not finite or outside the box"
    return {"fooled": fooled & finite & in_box & in_ball, "seconds": seconds, "fault": fault}


def rows(name: str, classes: int, norm: Norm, n: int, attacks: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of one network in one norm: one for each of `attacks`, contender and seed."""
    model = network(name, classes)
    data = chosen(model, classes, n)
    threat = radius(model, data, norm)
    for attack in attacks:
        crafts = CONTENDERS[attack]
        for seed in range(SEEDS[attack]):
            found = {who: fooled_by(craft, model, data, threat, seed) for who, craft in crafts.items()}
            for who, one in found.items():
                others = [two["fooled"] for other, two in found.items() if other != who and not two["fault"]]
                only = one["fooled"] & ~torch.stack(others or [one["fooled"]]).any(dim=0)
                yield {
                    "network": name, "classes": classes, "norm": norm, "eps": threat.eps, "n": len(data.images),
                    "attack": attack, "by": who, "seed": seed, "fooled": int(one["fooled"].sum()),
                    "only": int(only.sum()), "seconds": round(one["seconds"], 2), "fault": one["fault"],
                }  # fmt: skip


def kept() -> list[dict[str, Any]]:
    """Return the committed rows."""
    return [json.loads(line) for line in TABLE.read_text().splitlines()] if TABLE.exists() else []


def keep(found: list[dict[str, Any]]) -> None:
    """Put `found` into the committed rows, in place of those of the same attacks on the same networks."""
    case = ("classes", "network", "norm", "attack")
    anew = {tuple(row[name] for name in case) for row in found}
    every = [row for row in kept() if tuple(row[name] for name in case) not in anew] + found
    every.sort(key=lambda row: (*(row[name] for name in case), row["by"], row["seed"]))
    TABLE.write_text("".join(json.dumps(row) + "\n" for row in every))


def table(found: Iterable[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table: one line for each attack, contender and number of classes."""
    groups: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for row in found:
        groups.setdefault((row["attack"], row["classes"], row["by"]), []).append(row)
    lines = ["| attack | classes | by | runs | left of n | only it fools | CPU seconds | faults |", "|---" * 8 + "|"]
    for (attack, classes, by), its in sorted(groups.items()):
        n, fooled = sum(row["n"] for row in its), sum(row["fooled"] for row in its)
        only, seconds = sum(row["only"] for row in its), sum(row["seconds"] for row in its) / len(its)
        faults = "; ".join(sorted({row["fault"] for row in its if row["fault"]}))
        numbers = f"{'' if faults else f'{n - fooled} of {n}'} | {only} | {seconds:.1f} | {faults}"
        lines.append(f"| {attack} | {classes} | {by} | {len(its)} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what the command line names, or print the committed rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="*", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--classes", nargs="*", type=int, default=CLASSES)
    parser.add_argument("--norm", nargs="*", default=NORMS, choices=NORMS)
    parser.add_argument("--attack", nargs="*", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--n", type=int, default=128, help="images; default: 128")
    parser.add_argument("--write", action="store_true", help=f"keep the rows in {TABLE.name}")
    parser.add_argument("--show", action="store_true", help="print the committed rows and measure nothing")
    asked = parser.parse_args()
    if asked.show:
        print(table(kept()))
        return
    torch.set_num_threads(1)
    for classes, name, norm in product(asked.classes, asked.network, asked.norm):
        found = []
        for row in rows(name, classes, norm, asked.n, asked.attack):
            found.append(row)
            print(json.dumps(row), flush=True)
        if asked.write:
            keep(found)


if __name__ == "__main__":
    main()
