"""Attack checks: does the attack work on this model?

Each check states something that holds for a working attack on a model without obfuscated gradients. Checks that compare
two attacks do so example by example. With n examples a share of 0.5 points may be less than one image, so one image is
always tolerated. If a weaker attack beats a stronger one by more, a sign test over the images on which they differ
decides between WARN and FAIL. Sources: Carlini et al. 2019 (arXiv 1902.06705), the flags of AutoAttack (Croce and Hein
2020), the indicators of attack failure of Pintor et al. 2022 (arXiv 2106.09947).
"""

import math
from dataclasses import dataclass, field, replace

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from nrf_ray.attacks.losses import LOSSES
from nrf_ray.attacks.pgd import input_gradient, pgd
from nrf_ray.attacks.run import ExampleStarts, run_attack
from nrf_ray.attacks.specs import Attack, fgsm
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.attacks.trust import CHECKS, Verdict
from nrf_ray.engine.predict import batches, classes_of, evaluating, predict
from nrf_ray.engine.twin import twin
from nrf_ray.models.classifier import rows_read

TOLERATED = 0.005
"""Share of the images, beyond one image, on which two attacks may differ and still agree."""
ALARMING = 0.05
"""Share of the images from which a check is FAIL and not WARN: images that only the stronger attack fools, that have a
zero gradient, or that the last iterate no longer fools."""
SIGNIFICANT = 0.05
"""Significance level of the sign test for a weaker attack that beats a stronger one."""
NOISE_DRAWS = 200
"""Random points tried per image."""
NOISE_ROWS = 128
"""Noisy images per forward pass if there are few images: a pass of 8 takes half as long as one of 128."""
EXTRA_RESTARTS = 5
"""Random restarts tried in addition to the attack's own."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Result of one check."""

    verdict: Verdict
    """PASS, WARN (look at the numbers) or FAIL (the robust accuracy means nothing yet)."""
    numbers: dict[str, float] = field(default_factory=dict)
    """Numbers that the verdict rests on: shares of the examples, unless their name says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, an attack on it, and the examples that the checks use."""

    model: nn.Module
    """Network from images in [0, 1] to logits."""
    images: Tensor
    """[n, c, h, w], float; all classified correctly when clean."""
    labels: Tensor
    """[n], the true labels."""
    indices: Tensor
    """[n], the images' indices in their dataset."""
    attack: Attack
    """The untargeted attack that is checked."""
    seed: int
    """Base seed of all random starts and noise."""

    def fooled_by(self, attack: Attack) -> Tensor:
        """Return on which examples `attack` fools the model, as booleans [n] on the CPU."""
        found = run_attack(attack, self.model, self.images, self.labels, seed=self.seed, indices=self.indices)
        return (predict(self.model, found) != self.labels).cpu()


def run_checks(subject: Subject) -> dict[str, Check]:
    """Return the result of every check of `CHECKS` by name, in that order; all are WARN if there are no examples."""
    if len(subject.images) == 0:
        return {name: Check(verdict="WARN") for name in CHECKS}
    with evaluating(subject.model):
        found = _results(subject)
    return {name: found[name] for name in CHECKS}


def _results(subject: Subject) -> dict[str, Check]:
    fooled = subject.fooled_by(subject.attack)
    path = _path(subject)
    return {
        "logits": _logits(subject),
        "repeatable": _repeatable(subject),
        "gradients": _gradients(subject),
        "loss-rises": path["loss-rises"],
        "more-steps": _stronger(fooled, subject.fooled_by(replace(subject.attack, steps=2 * subject.attack.steps))),
        "restarts": _stronger(
            fooled,
            subject.fooled_by(
                replace(subject.attack, start="uniform", restarts=subject.attack.restarts + EXTRA_RESTARTS)
            ),
        ),
        "one-step": _weaker(
            fooled,
            subject.fooled_by(fgsm(subject.attack.threat.norm, subject.attack.threat.eps, mode=subject.attack.mode)),
        ),
        "noise": _weaker(fooled, _fooled_by_noise(subject)),
        "monotone": _monotone(subject, fooled),
        "large-eps": _large_eps(subject),
        "last-iterate": path["last-iterate"],
    }


def _logits(subject: Subject) -> Check:
    outputs = _outputs(subject)
    sums = (outputs.sum(1) - 1).abs().max().item()
    is_distribution = sums < 1e-5 and outputs.min().item() > -1e-5 and outputs.max().item() < 1 + 1e-5
    return Check(verdict="FAIL" if is_distribution else "PASS", numbers={"sum_minus_1": sums})


def _repeatable(subject: Subject) -> Check:
    """Compare five passes as AutoAttack does: predictions, and normalised outputs to 1e-4."""
    outputs = [_outputs(subject) for _ in range(5)]
    units = [output / (output.norm(dim=1, keepdim=True) + 1e-10) for output in outputs]
    apart = max((unit - units[0]).norm(dim=1).max().item() for unit in units)
    changed = max((classes_of(output) != classes_of(outputs[0])).double().mean().item() for output in outputs)
    return Check(
        verdict="PASS" if changed == 0 and apart <= 1e-4 else "FAIL", numbers={"changed": changed, "apart": apart}
    )


def _gradients(subject: Subject) -> Check:
    loss = LOSSES[subject.attack.loss]
    found = [
        input_gradient(subject.model, subject.images[rows], subject.labels[rows], loss)[0].flatten(1)
        for rows in batches(len(subject.images))
    ]
    gradients = torch.cat(found)
    zero = (gradients == 0).all(dim=1).double().mean().item()
    broken = (~gradients.isfinite()).any(dim=1).double().mean().item()
    verdict: Verdict = "FAIL" if broken > 0 or zero >= ALARMING else "WARN" if zero > 0 else "PASS"
    return Check(verdict=verdict, numbers={"zero": zero, "not_finite": broken})


def _path(subject: Subject) -> dict[str, Check]:
    """Follow one run step by step: does the loss rise, and is the last iterate as good as the best?"""
    attack, loss = subject.attack, LOSSES[subject.attack.loss]
    current = subject.images
    if attack.start != "image":
        starts = ExampleStarts(seed=subject.seed, indices=subject.indices)
        current = starts.draw(attack.start_threat, subject.images, 0, rows_read(subject.model, subject.images))
    first, fooled = _losses(subject, current)
    ever = fooled
    network = twin(subject.model, current, attack.mode)
    for _ in range(attack.steps):
        current = torch.cat(
            [
                pgd(
                    network,
                    subject.images[rows],
                    subject.labels[rows],
                    threat=attack.threat,
                    steps=1,
                    step_size=attack.step_size,
                    loss=loss,
                    start=current[rows],
                    mode=attack.mode,
                )
                for rows in batches(len(current))
            ]
        )
        last, fooled = _losses(subject, current)
        ever = ever | fooled
    rises = (last > first).double().mean().item()
    lost = 0.0 if attack.returns == "worst_loss" else (ever & ~fooled).double().mean().item()
    return {
        "loss-rises": Check(
            verdict="PASS" if rises >= 0.95 else "WARN" if rises >= 0.75 else "FAIL", numbers={"rises": rises}
        ),
        "last-iterate": Check(verdict=_small(lost, len(current)), numbers={"lost": lost}),
    }


def _stronger(fooled: Tensor, by_stronger: Tensor) -> Check:
    """Check that an attack that must be at least as strong fools hardly any example that is not in `fooled`."""
    more = (by_stronger & ~fooled).double().mean().item()
    return Check(verdict=_small(more, len(fooled)), numbers={"more": more})


def _weaker(fooled: Tensor, by_weaker: Tensor) -> Check:
    """Check that an attack that must be weaker fools no more examples than `fooled`."""
    only_weaker, only_stronger = int((by_weaker & ~fooled).sum()), int((fooled & ~by_weaker).sum())
    excess = (only_weaker - only_stronger) / len(fooled)
    numbers = {"fooled": _share(fooled), "fooled_by_weaker": _share(by_weaker)}
    if excess <= TOLERATED + 1 / len(fooled):
        return Check(verdict="PASS", numbers=numbers)
    p = binomtest(only_weaker, only_weaker + only_stronger, alternative="greater").pvalue
    return Check(verdict="FAIL" if p < SIGNIFICANT else "WARN", numbers={**numbers, "p_value": float(p)})


def _monotone(subject: Subject, fooled: Tensor) -> Check:
    """Compare half the radius, the radius and twice the radius; the verdict is the worse of the two comparisons."""
    half, double = (subject.fooled_by(_scaled(subject, factor)) for factor in (0.5, 2.0))
    verdicts = {_weaker(fooled, half).verdict, _weaker(double, fooled).verdict}
    worst: Verdict = "FAIL" if "FAIL" in verdicts else "WARN" if "WARN" in verdicts else "PASS"
    return Check(
        verdict=worst,
        numbers={"fooled_at_half": _share(half), "fooled": _share(fooled), "fooled_at_double": _share(double)},
    )


def _large_eps(subject: Subject) -> Check:
    """Attack with a radius that lets every image become the grey image, on which no model can tell classes apart."""
    image = subject.images[0]
    reach = {"l2": image.numel(), "l2_token": image.shape[-1], "linf": 1}[subject.attack.threat.norm]
    eps = 0.5 * math.sqrt(reach)
    robust = 1 - _share(subject.fooled_by(_scaled(subject, eps / subject.attack.threat.eps)))
    chance = 1 / _outputs(subject).shape[1]
    slack = 2 * math.sqrt(chance * (1 - chance) / len(subject.images))
    return Check(verdict="PASS" if robust <= chance + slack else "FAIL", numbers={"epsilon": eps, "robust": robust})


def _fooled_by_noise(subject: Subject) -> Tensor:
    threat = subject.attack.threat
    generator = torch.Generator(subject.images.device).manual_seed(subject.seed % 2**63)
    rows = rows_read(subject.model, subject.images)
    fooled = torch.zeros(len(subject.images), dtype=torch.bool)
    together = max(1, NOISE_ROWS // len(subject.images))
    for first in range(0, NOISE_DRAWS, together):
        draws = min(together, NOISE_DRAWS - first)
        noisy = torch.cat([threat.random_start(subject.images, generator, rows) for _ in range(draws)])
        wrong = predict(subject.model, noisy) != subject.labels.repeat(draws)
        fooled |= wrong.view(draws, -1).any(dim=0).cpu()
    return fooled


def _scaled(subject: Subject, factor: float) -> Attack:
    attack = subject.attack
    threat = ThreatModel(norm=attack.threat.norm, eps=attack.threat.eps * factor)
    return replace(attack, threat=threat, step_size=attack.step_size * factor)


@torch.no_grad()
def _losses(subject: Subject, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of each of `images` and whether it fools the model, on the CPU."""
    outputs = torch.cat([subject.model(images[rows]) for rows in batches(len(images))])
    losses = LOSSES[subject.attack.loss](outputs, subject.labels)
    return losses.cpu(), (classes_of(outputs) != subject.labels).cpu()


@torch.no_grad()
def _outputs(subject: Subject) -> Tensor:
    return torch.cat([subject.model(subject.images[rows]) for rows in batches(len(subject.images))]).float()


def _small(share: float, n: int) -> Verdict:
    if share <= TOLERATED + 1 / n:
        return "PASS"
    return "FAIL" if share >= ALARMING else "WARN"


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()
