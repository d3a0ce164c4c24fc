"""The command `nrf trust`: every check of a robust accuracy, on anybody's model."""

import json
import math
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from nrf_ray.attacks.functions import FUNCTIONS
from nrf_ray.attacks.named import ATTACKS, attack_named, strong_pgd
from nrf_ray.attacks.specs import Attack, AutoAttack, FunctionAttack, InBall, pgd_attack
from nrf_ray.attacks.threat import Norm, ThreatModel
from nrf_ray.attacks.trust import CHECKS, ENOUGH, LEVELS, checks_text, trust_level
from nrf_ray.data.catalogue import DatasetInfo, dataset_named
from nrf_ray.display.printing import ResultTable, interval_text, make_console, print_results, share, share_text
from nrf_ray.errors import ConfigError
from nrf_ray.graph.plugin_files import load_named
from nrf_ray.inspection.given_model import ModelName, given_model, user_function
from nrf_ray.page.trust import Assessment, Suspicion, trust_document
from nrf_ray.results.stored_sweep import PluginNames, StoreUri

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from nrf_ray.attacks.functions import Function
    from nrf_ray.attacks.subject import Subject
    from nrf_ray.data.images import LabelledImages

STRONG = "pgd-50x10"
"""Attack whose checks are made, whatever attack gives the number."""
POOL = 4096
"""Most test images that the surrogate learns from."""
ADVICE: dict[str, str] = {
    "logits": "let the model return logits; a softmax flattens the loss",
    "repeatable": "the answers are random or depend on the batch: attack their mean over many passes (EOT)",
    "gradients": "attack through a smooth stand-in of what has no gradient (BPDA)",
    "slope": "the gradient is not that of the answers: attack through the true one, or a smooth stand-in (BPDA)",
    "clamp": "pixels at 0 or 1 cannot move: take the function of pixels at the input out of the model",
    "inside": "the attack broke its own rules; this is a fault of nrf_ray, please report it",
    "images": f"give more images with --examples: {ENOUGH} that the model classifies correctly are needed",
    "loss-rises": "the attack does not climb: take shorter steps, or a stand-in for a gradient that misleads (BPDA)",
    "last-iterate": "the attack leaves what it has found: take shorter steps, or its best iterate",
    "more-steps": "the attack has not arrived: take more steps",
    "restarts": "other starts find more: take more restarts",
    "other-loss": "the loss is saturated or stalls: attack with both (--attack pgd-50x10)",
    "one-step": "a single step beats the attack: the gradient turns at once (shattered), or the steps are wrong",
    "noise": "noise beats the attack: its gradient leads away from what fools the model; take a stand-in (BPDA)",
    "monotone": "a smaller ball holds more than a larger one: the attack passes by what it should find; shorter steps",
    "gap": "one of PGD and AutoAttack finds far more than the other: look for what misled the other",
    "large-eps": "even a grey image is not mistaken: find where the input is cut off, and take a stand-in (BPDA)",
    "black-box": "random search beats the gradient, which is masked: take a stand-in (BPDA, --adaptive)",
    "transfer": "images of another network beat the gradient, which is masked: attack through it (--adaptive)",
    "surrogate": "images of a network that learnt the answers beat the gradient, which is masked: BPDA, --adaptive",
    "binarization": "images that exist by construction are not found: the attack is too weak here, or masked",
    "adaptive": "its images break the rules, or a plain attack fools what it does not: mend the adaptive attack",
    "square": "Square beats the attacks by gradients, which are masked: take a stand-in (BPDA, --adaptive)",
}
"""What to try if a check does not pass, for every check."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Against:
    """What the model is attacked with."""

    epsilon: float
    """Radius of the ball, in pixel units of [0, 1]."""
    norm: Norm = "l2"
    """Norm of the ball."""
    attack: Annotated[str, Parameter(help=f"Attack that gives the number: {', '.join(ATTACKS)}.")] = STRONG
    """Attack that gives the number."""
    adaptive: str = ""
    """PATH.py:FUNCTION, an attack of yours that knows the model."""
    examples: int = 128
    """Images that are attacked, chosen by one fixed permutation."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Files:
    """Files that are written."""

    json: Path | None = None
    """File for the numbers of every check, and the curves."""
    page: Path | None = None
    """File for a page, HTML: numbers, checks, what to try, and the curves."""


def trust(
    model: ModelName,
    *,
    data: str,
    against: Against,
    files: Files | None = None,
    plugin: PluginNames = (),
    store: StoreUri = "./runs",
) -> None:
    """Attack MODEL on the test images of --data, and print whether its robust accuracy is real.

    Every check of the attack is made. Where one does not pass, the command says what to try.

        nrf trust 3f9a --data digits --epsilon 0.5
        nrf trust mine.py:defended --data digits --norm linf --epsilon 0.1 --attack autoattack --json trust.json
        nrf trust timm:resnet50.a1_in1k --data folder:/data/imagenet --epsilon 0.5 --page trust.html
        nrf trust mine.py:defended --data digits --epsilon 0.5 --attack autoattack --adaptive mine.py:through
        nrf trust 3f9a --data digits --epsilon 0.5 --plugin mine.py --attack walk

    The adaptive attack is a function (model, images, labels, threat, generator) -> images, and its images are verified.
    """
    load_named(plugin, store)
    files = files or Files()
    info, threat = dataset_named(data), ThreatModel(norm=against.norm, eps=against.epsilon)
    if against.examples < 1:
        raise ConfigError(f"--examples must be 1 or more, not {against.examples}")
    threat.check_fits(info.shape)
    attack = attack_named(against.attack, pgd_attack(threat.norm, threat.eps))
    for file in filter(None, (files.json, files.page)):
        if not file.parent.is_dir():
            raise ConfigError(f"there is no folder {file.parent} for {file}")
    console = make_console()
    console.print(
        f"{model} on {info.ref.name}: {attack.name}, {threat.norm} {threat.eps:g}, then its checks", soft_wrap=True
    )
    adaptive = FUNCTIONS.named(attack.function).run if isinstance(attack, FunctionAttack) else None
    if against.adaptive:
        if adaptive:
            raise ConfigError(f"--attack {against.attack} and --adaptive {against.adaptive} are both yours; give one")
        adaptive = user_function(against.adaptive)
    found = _measured(given_model(model, info, store), info, attack, against.examples, adaptive)
    tables = _numbers(model, found), _checks(found)
    print_results(console, tables)
    console.print(f"Trust level {found['level']}: {LEVELS[found['level']]}.", soft_wrap=True)
    suspicions = _suspicions(found)
    for one in suspicions:
        console.print(f"{one.verdict} {one.check}: {one.advice}", soft_wrap=True)
    if files.json:
        _write(files.json, (json.dumps({"model": model, **_plain(found)}, indent=2) + "\n").encode(), console)
    if files.page:
        _write(files.page, _page(model, info.ref.name, found, suspicions, tables), console)
    sys.stdout.flush()


def _write(file: Path, content: bytes, console: "Console") -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}; give another file") from error
    console.print(f"written: {escape(os.fspath(file))}", soft_wrap=True)


def _measured(
    network: Any, info: DatasetInfo, attack: InBall, examples: int, adaptive: "Function | None" = None
) -> dict[str, Any]:
    """Return clean and robust accuracy on `examples` test images, the least that anything found, and all checks."""
    from nrf_ray.attacks.adaptive import beside, run_adaptive
    from nrf_ray.attacks.checks import run_checks
    from nrf_ray.attacks.robustness import against_autoattack
    from nrf_ray.engine.runtime import keep_freed_memory

    keep_freed_memory()
    data, right, subject = _chosen(network, info, attack, examples)
    images, labels, threat = subject.images, subject.labels, attack.threat
    # First, since it is the one that may fail, and after minutes of checks that would be late.
    by_user = run_adaptive(adaptive, network, images, labels, threat, seed=0) if adaptive else None
    checks = run_checks(subject)
    fooled = checks["images"].fooled
    if fooled is None:  # no image is classified correctly, so there was nothing to attack
        fooled = labels.new_zeros(0).bool().cpu()
    if by_user:
        checks["adaptive"] = beside(by_user, fooled)
    verdicts: dict[str, Any] = {name: check.verdict for name, check in checks.items()}
    numbers = {name: check.numbers for name, check in checks.items()}
    by_attack = {subject.attack.name: fooled}
    if isinstance(attack, AutoAttack):
        against = against_autoattack(network, data, attack)
        by_attack = {attack.name: ~against.left[right.cpu()], **by_attack}
        verdicts |= against.verdicts
        numbers["gap"] = {"robust": against.robust_accuracy, "under_pgd": against.under_pgd, "missed": against.missed}
        numbers["square"] = {"by_square": against.by_square}
    if isinstance(attack, FunctionAttack) and by_user and by_user.fooled is not None:
        by_attack = {attack.name: by_user.fooled, **by_attack}
    robust = int((~by_attack[attack.name]).sum()) / len(data)
    # What the user names is named before a check that finds the same.
    found = {"adaptive": by_user.fooled if by_user else None, **{name: check.fooled for name, check in checks.items()}}
    others = {name: mask for name, mask in found.items() if mask is not None and name != "images"}
    lowest, by = _lowest({**by_attack, **others}, len(data))
    return {
        "n": len(data),
        "clean": len(right) / len(data),
        "attack": attack.name,
        "norm": threat.norm,
        "epsilon": threat.eps,
        "robust": robust,
        "lowest": lowest,
        "lowest_by": by,
        "checks_n": len(right),
        "verdicts": verdicts,
        "numbers": numbers,
        "level": trust_level(attack, checks_text(verdicts)),
        "curves": {name: check.curves for name, check in checks.items() if check.curves},
    }


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return `found` with its curves as plain data, and None for numbers that JSON does not have."""
    curves = {name: [asdict(curve) for curve in curves] for name, curves in found["curves"].items()}
    numbers = {
        check: {name: value if math.isfinite(value) else None for name, value in of_check.items()}
        for check, of_check in found["numbers"].items()
    }
    return {**found, "curves": curves, "numbers": numbers}


def _chosen(
    network: Any, info: DatasetInfo, attack: InBall, examples: int
) -> tuple["LabelledImages", "Tensor", "Subject"]:
    """Return the images, the indices of those that are classified correctly, and these as the subject of checks."""
    from nrf_ray.attacks.robustness import right_when_clean
    from nrf_ray.attacks.subject import Subject
    from nrf_ray.data.images import some
    from nrf_ray.data.load import test_split

    test = test_split(info.ref)
    chosen = some(len(test), examples)
    data = test.rows(chosen)
    right = right_when_clean(network, data)
    threat = attack.threat
    subject = Subject(
        model=network,
        images=data.rows(right).floats(),
        labels=data.labels[right],
        indices=chosen[right],
        attack=attack if isinstance(attack, Attack) else strong_pgd(threat),
        seed=0,
        pool=test.images[:POOL],
        curves=True,
    )
    return data, right, subject


def _lowest(by_attack: Mapping[str, "Tensor"], n: int) -> tuple[float, str]:
    """Return the share of n images that withstand everything, image by image; and what fooled the others.

    `by_attack` has by name which correctly classified images each attack fooled, the attack that was asked for first.
    """
    (first, fooled), *others = by_attack.items()
    helped = []
    for name, also in others:
        if (also & ~fooled).any():
            helped.append(name)
            fooled = fooled | also
    return int((~fooled).sum()) / n, f"{first} with {', '.join(helped)}" if helped else first


def _numbers(model: str, found: Mapping[str, Any]) -> ResultTable:
    from nrf_ray.statistics import wilson_interval

    rows = []
    for what, value in (
        ("clean", found["clean"]),
        (found["attack"], found["robust"]),
        (f"least: {found['lowest_by']}", found["lowest"]),
    ):
        interval = wilson_interval(value, found["n"])
        rows.append((what, share(value, interval.low, interval.high), interval_text(interval.low, interval.high)))
    return ResultTable(
        title=f"{model}: accuracy",
        columns=("under", "accuracy", "95% Wilson"),
        names=1,
        rows=tuple(rows),
        notes=(
            f"share of n = {found['n']} test images that stay correctly classified within {found['norm']} "
            f"{found['epsilon']:g}; the last row is what withstands everything, image by image: still an upper bound.",
        ),
    )


def _checks(found: Mapping[str, Any]) -> ResultTable:
    rows = [(name, verdict, _measurements(found, name), CHECKS[name]) for name, verdict in found["verdicts"].items()]
    return ResultTable(
        title="Checks",
        columns=("check", "verdict", "numbers", "passes if"),
        names=4,
        rows=tuple(rows),
        notes=(f"on n = {found['checks_n']} correctly classified images; {ENOUGH} are needed for a trust level.",),
    )


def _suspicions(found: Mapping[str, Any]) -> tuple[Suspicion, ...]:
    """Return the checks that did not pass, those that failed first."""
    kept = (
        Suspicion(
            check=name,
            verdict=verdict,
            passes_if=CHECKS[name],
            numbers=_measurements(found, name),
            advice=ADVICE[name],
        )
        for name, verdict in found["verdicts"].items()
        if verdict != "PASS"
    )
    return tuple(sorted(kept, key=lambda one: one.verdict != "FAIL"))


def _page(
    model: str,
    dataset: str,
    found: Mapping[str, Any],
    suspicions: tuple[Suspicion, ...],
    tables: tuple[ResultTable, ResultTable],
) -> bytes:
    """Return the page of what was found."""
    facts = (
        ("Model", model),
        ("Attack", f"{found['attack']}, {found['norm']} {found['epsilon']:g}"),
        ("Test images", f"{found['n']} of {dataset}"),
        ("Images of the checks", f"{found['checks_n']}, classified correctly"),
    )
    numbers, checks = tables
    return trust_document(
        Assessment(
            model=model,
            level=found["level"],
            meaning=LEVELS[found["level"]],
            facts=facts,
            suspicions=suspicions,
            numbers=numbers,
            checks=checks,
            curves=tuple(curve for curves in found["curves"].values() for curve in curves),
            n=found["checks_n"],
            command=shlex.join(["nrf", *sys.argv[1:]]),
        )
    )


def _measurements(found: Mapping[str, Any], check: str) -> str:
    """Return the numbers of a check in words."""
    numbers = found["numbers"].get(check, {})
    return ", ".join(f"{what.replace('_', ' ')} {_number(value)}" for what, value in numbers.items())


def _number(value: float) -> str:
    return share_text(value) if value < 1 else f"{value:.3g}"
