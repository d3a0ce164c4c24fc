"""Measure the gallery by hand: truth beside what the product says, for broken defences and honest models.

`python -m tests.trust.measure --only sine-.02 aware --radius l2:0.4` prints one line for each; `--write` keeps it in
`gallery.jsonl`, in place of an older line of the same name and radius.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nrf_ray.attacks.checks import run_checks
from nrf_ray.attacks.robustness import right_when_clean, robust_accuracy
from nrf_ray.attacks.specs import Attack, pgd_attack
from nrf_ray.attacks.subject import Subject
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.attacks.trust import checks_text, trust_level
from nrf_ray.data.images import LabelledImages
from tests.trust.answers import answers, made, true
from tests.trust.defence import Defence
from tests.trust.defences import DEFENCES
from tests.trust.honest import HONEST, SEEDS, Honest
from tests.trust.networks import examples, networks
from tests.trust.truth import Target, measured

TABLE = Path(__file__).with_name("gallery.jsonl")
"""The committed table: one JSON object a line."""
CHECKED = 100
"""Images that the checks use."""
RADII = (("l2", 0.4), ("l2", 0.6))
"""Radii of every defence."""
LINF = (("linf", 0.05), ("linf", 0.1))
"""Radii of the defences of `IN_LINF` in addition."""
IN_LINF = ("other-gradient", "robust-gradient", "sine-.02", "clamp", "contrast", "logits-x30", "noise-by-content")
"""Defences that are tried in linf too."""


def judged(model: nn.Module, images: Tensor, labels: Tensor, attack: Attack) -> tuple[float, str, dict[str, str]]:
    """Return what the product says of `model`: its robust accuracy, trust level, and the verdict of every check."""
    data = LabelledImages(images=images, labels=labels)
    number = robust_accuracy(model, data, attack)
    right = right_when_clean(model, data)[:CHECKED]
    subject = Subject(
        model=model,
        images=images[right],
        labels=labels[right],
        indices=right,
        attack=attack,
        seed=0,
        pool=images,
    )
    verdicts = {name: check.verdict for name, check in run_checks(subject).items()}
    return number, trust_level(attack, checks_text(verdicts)), dict(verdicts)


def row_of(name: str, family: str, threat: ThreatModel, model: nn.Module, data: LabelledImages) -> dict[str, Any]:
    """Return the part of a row that the product decides."""
    start = time.perf_counter()
    attack = pgd_attack(threat.norm, threat.eps, steps=50, restarts=10)
    number, level, verdicts = judged(model, data.images, data.labels, attack)
    return {
        "name": name,
        "family": family,
        "norm": threat.norm,
        "eps": threat.eps,
        "n": len(data),
        "product": round(number, 4),
        "level": level,
        "alarms": {check: verdict for check, verdict in verdicts.items() if verdict != "PASS"},
        "product_seconds": round(time.perf_counter() - start, 1),
    }


def broken(defence: Defence, threat: ThreatModel, n: int) -> dict[str, Any]:
    """Return the row of a broken defence."""
    data, nets = examples(n), networks()
    start = time.perf_counter()
    target = Target(
        answers=lambda images: answers(defence, nets, images),
        module=made(defence, nets),
        true=true(defence, nets),
        expected=defence.expected,
    )
    truth = measured(target, data, threat)
    seconds = round(time.perf_counter() - start, 1)
    row = row_of(defence.name, defence.family, threat, made(defence, nets), data)
    interval = truth.interval
    return row | {
        "truth": round(interval.estimate, 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
        "found": {name: count for name, count in truth.found.items() if count},
        "truth_seconds": seconds,
    }


def honest(kind: Honest, seed: int, model: nn.Module, eps: float, n: int) -> dict[str, Any]:
    """Return the row of an honest model; its truth is the product's number, unless a check finds a reason."""
    return row_of(f"{kind.name}/{seed}", "honest", ThreatModel(norm=kind.norm, eps=eps), model, kind.images(n))


def rows(only: list[str], n: int, radius: tuple[str, float] | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of the named defences and kinds; of all without names."""
    for name, defence in DEFENCES.items():
        if not only or name in only or defence.family in only:
            for norm, eps in RADII + (LINF if name in IN_LINF else ()):
                if radius in (None, (norm, eps)):
                    yield broken(defence, ThreatModel(norm=norm, eps=eps), n)
    for name, kind in HONEST.items():
        if not only or name in only or "honest" in only:
            for seed in SEEDS:
                model = kind.make(seed)
                for eps in kind.radii:
                    if radius in (None, (kind.norm, eps)):
                        yield honest(kind, seed, model, eps, n)


def bought(row: dict[str, Any]) -> bool:
    """Return whether a broken defence has a level above L0 for a number above its truth's interval."""
    return row["family"] != "honest" and row["level"] != "L0" and row["product"] > row["high"]


def line(row: dict[str, Any]) -> str:
    """Return a row as one printed line."""
    truth = "" if row["family"] == "honest" else f"truth {row['truth']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    alarms = " ".join(f"{name}:{verdict}" for name, verdict in row["alarms"].items())
    mark = "  << bought" if bought(row) else ""
    return (
        f"{row['name']:25} {row['norm']} {row['eps']:<4} {truth:28} product {row['product']:.3f} {row['level']} "
        f"{alarms}{mark} ({row.get('truth_seconds', 0):.0f} + {row['product_seconds']:.0f} s)"
    )


def kept() -> dict[tuple[str, str, float], dict[str, Any]]:
    """Return the rows of the committed table, by name, norm and radius."""
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    return {(row["name"], row["norm"], row["eps"]): row for row in map(json.loads, lines)}


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names of defences, kinds or families; default: all")
    parser.add_argument("--n", type=int, default=300, help="test images, at most 360; default: 300")
    parser.add_argument("--radius", help="one radius, as l2:0.4; default: all")
    parser.add_argument("--write", action="store_true", help="keep the rows in gallery.jsonl")
    chosen = parser.parse_args()
    radius = None
    if chosen.radius:
        norm, eps = chosen.radius.split(":")
        radius = (norm, float(eps))
    known = {*DEFENCES, *HONEST, "honest", *(defence.family for defence in DEFENCES.values())}
    if unknown := set(chosen.only) - known:
        parser.error(f"unknown names {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    torch.set_num_threads(1)
    for row in rows(chosen.only, chosen.n, radius):
        print(line(row), flush=True)
        if chosen.write:
            table = kept() | {(row["name"], row["norm"], row["eps"]): row}
            TABLE.write_text("".join(json.dumps(kept_row) + "\n" for kept_row in table.values()))


if __name__ == "__main__":
    main()
