"""Measure the gallery by hand: truth beside what the product says, for broken defences and honest models.

`python -m tests.trust.measure --only sine-.02 aware --radius l2:0.4` prints one line for each; `--write` keeps it in
`gallery.jsonl`, in place of an older line of the same name and radius. After a change of the checks, `--parts product
--write` measures only what the product says, beside the truths that were measured before.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nrf_ray.attacks.checks import run_checks
from nrf_ray.attacks.named import strong_pgd
from nrf_ray.attacks.robustness import against_autoattack, right_when_clean, robust_accuracy
from nrf_ray.attacks.specs import Attack, AutoAttack
from nrf_ray.attacks.subject import Subject
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.attacks.trust import checks_of, checks_text, trust_level
from nrf_ray.data.images import LabelledImages
from nrf_ray.errors import ConfigError
from tests.trust.answers import answers, made, true
from tests.trust.defence import Defence
from tests.trust.defences import DEFENCES
from tests.trust.honest import HONEST, SEEDS
from tests.trust.networks import examples, networks
from tests.trust.truth import Target, measured

Radius = tuple[str, float]
"""A norm and a radius."""
Key = tuple[str, str, float]
"""Name, norm and radius of a row."""
TABLE = Path(__file__).with_name("gallery.jsonl")
"""The committed table: one JSON object a line."""
CHECKED = 100
"""Images that the checks use."""
PARTS = ("truth", "product")
"""Parts of a row. Truth changes with the defence alone, so that only the other is measured anew after a new check."""
AUTOATTACK = ("autoattack", "autoattack_level", "autoattack_alarms")
"""Fields of a row that are there only if AutoAttack was run on the defence, as no check failed."""
RADII = (("l2", 0.4), ("l2", 0.6))
"""Radii of every defence."""
LINF = (("linf", 0.05), ("linf", 0.1))
"""Radii of the defences of `IN_LINF` in addition."""
IN_LINF = ("other-gradient", "robust-gradient", "sine-.02", "clamp", "contrast", "logits-x30", "noise-by-content")
"""Defences that are tried in linf too."""


def judged(model: nn.Module, images: Tensor, labels: Tensor, attack: Attack) -> tuple[float, str, dict[str, str]]:
    """Return what the product says of `model`: its robust accuracy, trust level, and the verdict of every check."""
    data = LabelledImages(images=images, labels=labels)
    try:
        number = robust_accuracy(model, data, attack)
    except ConfigError as error:  # a model without any gradient
        return 1.0, "L0", {"refused": str(error)}
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


def key_of(name: str, family: str, threat: ThreatModel, n: int) -> dict[str, Any]:
    """Return the part of a row that says what was measured."""
    return {"name": name, "family": family, "norm": threat.norm, "eps": threat.eps, "n": n}


def product_of(model: nn.Module, data: LabelledImages, threat: ThreatModel) -> dict[str, Any]:
    """Return the part of a row that the product decides."""
    start = time.perf_counter()
    attack = strong_pgd(threat)
    number, level, verdicts = judged(model, data.images, data.labels, attack)
    return {
        "attack": attack.name,
        "product": round(number, 4),
        "level": level,
        "alarms": {check: verdict for check, verdict in verdicts.items() if verdict != "PASS"},
        "product_seconds": round(time.perf_counter() - start, 1),
    }


def autoattack_of(
    model: nn.Module, data: LabelledImages, threat: ThreatModel, alarms: Mapping[str, str]
) -> dict[str, Any]:
    """Return the part of a row that AutoAttack decides; nothing if a check failed, since the level is L0 then."""
    if not set(alarms.values()) <= {"PASS", "WARN"}:
        return {}
    attack = AutoAttack(threat=threat)
    against = against_autoattack(model, data, attack)
    verdicts = {**dict.fromkeys(checks_of("full"), "PASS"), **alarms, **against.verdicts}
    return {
        "autoattack": round(against.robust_accuracy, 4),
        "autoattack_level": trust_level(attack, checks_text(verdicts)),
        "autoattack_alarms": {check: verdict for check, verdict in against.verdicts.items() if verdict != "PASS"},
    }


def truth_of(defence: Defence, data: LabelledImages, threat: ThreatModel) -> dict[str, Any]:
    """Return the part of a row that the attacks decide which know how the defence is broken."""
    start, nets = time.perf_counter(), networks()
    target = Target(
        answers=lambda images: answers(defence, nets, images),
        module=made(defence, nets),
        true=true(defence, nets),
        expected=defence.expected,
    )
    truth = measured(target, data, threat)
    interval = truth.interval
    return {
        "truth": round(interval.estimate, 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
        "found": {name: count for name, count in truth.found.items() if count},
        "truth_seconds": round(time.perf_counter() - start, 1),
    }


def broken(defence: Defence, threat: ThreatModel, n: int, parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """Return `parts` of the row of a broken defence."""
    data = examples(n)
    row = key_of(defence.name, defence.family, threat, n)
    if "truth" in parts:
        row |= truth_of(defence, data, threat)
    if "product" in parts:
        model = made(defence, networks())
        row |= product_of(model, data, threat)
        row |= autoattack_of(model, data, threat, row["alarms"])
    return row


def rows(only: list[str], n: int, radius: Radius | None, parts: Sequence[str] = PARTS) -> Iterator[dict[str, Any]]:
    """Yield `parts` of the rows of the named defences and kinds; of all without names. Honest models have no truth."""
    for name, defence in DEFENCES.items():
        if not only or name in only or defence.family in only:
            for norm, eps in RADII + (LINF if name in IN_LINF else ()):
                if radius in (None, (norm, eps)):
                    yield broken(defence, ThreatModel(norm=norm, eps=eps), n, parts)
    for name, kind in HONEST.items():
        if "product" in parts and (not only or name in only or "honest" in only):
            for seed, eps in product(SEEDS, kind.radii):
                if radius in (None, (kind.norm, eps)):
                    threat = ThreatModel(norm=kind.norm, eps=eps)
                    model = trained(name, seed)
                    yield key_of(f"{name}/{seed}", "honest", threat, n) | product_of(model, kind.images(n), threat)


@cache
def trained(kind: str, seed: int) -> nn.Module:
    """Return the honest model of a kind and a seed."""
    return HONEST[kind].make(seed)


def bought(row: dict[str, Any]) -> bool:
    """Return whether a broken defence has a level above L0 for a number above its truth's interval."""
    numbers = (("level", "product"), ("autoattack_level", "autoattack"))
    return "high" in row and any(
        row.get(level, "L0") != "L0" and row[number] > row["high"] for level, number in numbers
    )


def line(row: dict[str, Any]) -> str:
    """Return a row as one printed line."""
    text = f"{row['name']:25} {row['norm']} {row['eps']:<4}"
    if "truth" in row:
        text += f" truth {row['truth']:.3f} [{row['low']:.3f}, {row['high']:.3f}] {row['truth_seconds']:.0f} s"
    if "product" in row:
        text += f" product {row['product']:.3f} {row['level']} {row['product_seconds']:.0f} s "
        text += " ".join(f"{name}:{verdict}" for name, verdict in row["alarms"].items())
    if "autoattack" in row:
        text += f" AutoAttack {row['autoattack']:.3f} {row['autoattack_level']} "
        text += " ".join(f"{name}:{verdict}" for name, verdict in row["autoattack_alarms"].items())
    return text + ("  << bought" if bought(row) else "")


def kept() -> dict[Key, dict[str, Any]]:
    """Return the rows of the committed table, by name, norm and radius."""
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    return {(row["name"], row["norm"], row["eps"]): row for row in map(json.loads, lines)}


def keep(row: dict[str, Any]) -> dict[str, Any]:
    """Put the parts of `row` into the committed table in place of older ones, and return the whole row."""
    table, key = kept(), (row["name"], row["norm"], row["eps"])
    older = table.get(key, {})
    stale = AUTOATTACK if "product" in row else ()
    same = {name: value for name, value in older.items() if name not in stale} if older.get("n") == row["n"] else {}
    table[key] = same | row
    TABLE.write_text("".join(json.dumps(table[one]) + "\n" for one in sorted(table)))
    return table[key]


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names of defences, kinds or families; default: all")
    parser.add_argument("--n", type=int, default=300, help="test images, at most 360; default: 300")
    parser.add_argument("--radius", help="one radius, as l2:0.4; default: all")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS, help="parts of the rows; default: both")
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
    for row in rows(chosen.only, chosen.n, radius, chosen.parts):
        print(line(keep(row) if chosen.write else row), flush=True)


if __name__ == "__main__":
    main()
