"""Attack checks: does the attack work on this model?

Each check states something that holds for a working attack on a model without obfuscated gradients. Most compare the
attack with another one, image by image: on images that the attack leaves correctly classified, the other one should
fool hardly any (`comparison`). Attacks that follow the same gradient prove little, so from trust level L1 on there are
attacks that do not: random search, and adversarial images of other models and of a surrogate. Sources: Carlini et al.
2019 (arXiv 1902.06705), the flags of AutoAttack (Croce and Hein 2020), the indicators of attack failure of Pintor et
al. 2022 (arXiv 2106.09947), Zimmermann et al. 2022 (arXiv 2206.13991), Tramer et al. 2020 (arXiv 2002.08347).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nrf_ray.attacks import probes
from nrf_ray.attacks.binarization import binarization
from nrf_ray.attacks.comparison import beaten
from nrf_ray.attacks.losses import LOSSES, first_loss, per_example_cross_entropy, per_example_margin
from nrf_ray.attacks.pgd import pgd
from nrf_ray.attacks.random_search import random_search
from nrf_ray.attacks.restarts import ExampleStarts, run_restarts
from nrf_ray.attacks.specs import Attack, fgsm, pgd_attack
from nrf_ray.attacks.subject import Check, Subject
from nrf_ray.attacks.surrogate import distilled
from nrf_ray.attacks.threat import ThreatModel, perturbation_norm
from nrf_ray.attacks.trust import ENOUGH, Battery, Curve, Verdict, checks_of
from nrf_ray.engine.predict import batches, classes_of, evaluating, predict
from nrf_ray.engine.twin import twin
from nrf_ray.graph import headway
from nrf_ray.models.classifier import rows_read

NOISE_DRAWS = 200
"""Random points tried per image."""
NOISE_ROWS = 128
"""Noisy images per forward pass if there are few images: a pass of 8 takes half as long as one of 128."""
EXTRA_RESTARTS = 5
"""Further random starts that are tried on images that the attack left."""
QUERIES = 500
"""Forward passes of random search per image."""
QUERIES_APART = 25
"""Queries between two points of the curve of random search."""
SURROGATE_STEPS = 20
"""Steps of the attack on other models and on the surrogate."""


def run_checks(subject: Subject, battery: Battery = "full") -> dict[str, Check]:
    """Return the result of every check of `battery` by name; all are WARN if there are no examples."""
    names = checks_of(battery)
    if len(subject.images) == 0:
        return {name: Check(verdict="WARN") for name in names}
    with evaluating(subject.model):
        with headway.loop(1 + len(names), "checks") as checks:
            run = _attacked(subject)
            found = {}
            for name in names:
                checks.advance()
                found[name] = _CHECKS[name](run)
        return found


class _Seen(NamedTuple):
    """The model's answers for one image of each example, all [n] and on the CPU."""

    margin: Tensor
    """The margin, which tells where the loss cannot: of large logits, a right image's cross-entropy is rounded to 0."""
    cross_entropy: Tensor
    fooled: Tensor
    """Booleans."""


@dataclass(kw_only=True)
class _Run:
    """One run of the attack on all examples, and what came of it."""

    subject: Subject
    found: Tensor
    """[n, c, h, w], the images that it found."""
    fooled: Tensor
    """[n], booleans on the CPU."""
    rises: float
    """Share of the images whose margin it raised."""
    lost: float
    """Share of the images that were fooled on the way and are correctly classified at the end."""
    steps: list[_Seen]
    """The start, and what every step of the first run came to."""
    scaled: dict[float, Tensor] = field(default_factory=dict)
    """Examples that the attack, without restarts, fools of all, [n], by the factor of its radius; see `within`."""

    @property
    def every(self) -> Tensor:
        """Indices of all examples."""
        return torch.arange(len(self.fooled), device=self.subject.images.device)

    @cached_property
    def left(self) -> Tensor:
        """Indices of the examples that it left correctly classified."""
        return _indices(self, ~self.fooled)

    @cached_property
    def surrogate(self) -> nn.Module:
        """Network that learnt the model's answers."""
        subject = self.subject
        pool = subject.images if subject.pool is None else subject.pool
        return distilled(subject.model, pool, subject.attack.threat, seed=subject.seed)

    @cached_property
    def by_surrogate(self) -> Tensor:
        """Examples that adversarial images of the surrogate fool, [n], of those that the attack left."""
        return _transferred(self, self.surrogate)

    def within(self, factor: float, rows: Tensor) -> Tensor:
        """Return which examples of `rows` [r] the attack, without restarts, fools within `factor` times its radius.

        The result is [n], booleans, as that of `Subject.fooled_by`. For curves, all examples are attacked.
        """
        attack = _scaled(_once(self), factor)
        if not self.subject.curves:
            return self.subject.fooled_by(attack, rows)
        if factor not in self.scaled:
            self.scaled[factor] = self.subject.fooled_by(attack, self.every)
        asked = torch.zeros_like(self.fooled)
        asked[rows.cpu()] = True
        return self.scaled[factor] & asked

    def compared(self, by_other: Tensor, *, more_effort: bool = False, curves: tuple[Curve, ...] = ()) -> Check:
        """Return the verdict if another attack fools `by_other` [n] of the examples; see `beaten`."""
        only_other, n = int((by_other & ~self.fooled).sum()), len(self.fooled)
        verdict = beaten(only_other, n, more_effort=more_effort)
        return Check(verdict=verdict, numbers={"only_other": only_other / n}, fooled=by_other, curves=curves)


def _attacked(subject: Subject) -> _Run:
    """Follow one run step by step; then make the restarts of the attack, or run it for its best iterate."""
    attack, loss = subject.attack, LOSSES[first_loss(subject.attack.loss)]
    current, labels = subject.images, subject.labels
    starts = ExampleStarts(seed=subject.seed, indices=subject.indices.cpu())
    if attack.start != "image":
        current = starts.draw(attack.start_threat, subject.images, 0, rows_read(subject.model, subject.images))
    steps, network = [_seen(subject, current)], twin(subject.model, current, attack.mode)
    for _ in range(attack.steps):
        parts = [
            pgd(
                network,
                subject.images[rows],
                labels[rows],
                threat=attack.threat,
                steps=1,
                step_size=attack.step_size,
                loss=loss,
                start=current[rows],
                mode=attack.mode,
            )
            for rows in batches(len(current))
        ]
        current = torch.cat(parts)
        steps.append(_seen(subject, current))
    rises = float((steps[-1].margin > steps[0].margin).double().mean())
    ever = torch.stack([seen.fooled for seen in steps]).any(dim=0)
    lost = 0.0 if attack.returns == "worst_loss" else float((ever & ~steps[-1].fooled).double().mean())
    every, fooled = torch.arange(len(labels), device=labels.device), steps[-1].fooled
    if attack.returns == "worst_loss":
        current = subject.found_by(attack, every)
        fooled = subject.fooled(current, every)
    elif attack.restarts > 1:
        parts = [
            run_restarts(
                attack, network, subject.images[rows], labels[rows], starts=starts.of(rows), first=current[rows]
            )
            for rows in batches(len(current))
        ]
        current = torch.cat(parts)
        fooled = subject.fooled(current, every)
    return _Run(subject=subject, found=current, fooled=fooled, rises=rises, lost=lost, steps=steps)


def _images(run: _Run) -> Check:
    n = len(run.fooled)
    fooled = float(run.fooled.double().mean())
    return Check(
        verdict="PASS" if n >= ENOUGH else "WARN", numbers={"images": float(n), "fooled": fooled}, fooled=run.fooled
    )


def _inside(run: _Run) -> Check:
    """Look at the images that the attack found: finite, in the box, in the ball."""
    threat, found, images = run.subject.attack.threat, run.found, run.subject.images
    size = perturbation_norm(found.double() - images.double(), threat.norm).max().item()
    return Check(verdict="PASS" if threat.holds(found, images).all() else "FAIL", numbers={"largest": size})


def _loss_rises(run: _Run) -> Check:
    verdict: Verdict = "PASS" if run.rises >= 0.95 else "WARN" if run.rises >= 0.75 else "FAIL"
    curves = tuple(_over_steps(run, quantity) for quantity in ("accuracy", "margin", "cross-entropy"))
    return Check(verdict=verdict, numbers={"rises": run.rises}, curves=curves)


def _last_iterate(run: _Run) -> Check:
    n = len(run.fooled)
    return Check(verdict=beaten(round(run.lost * n), n), numbers={"lost": run.lost})


def _more_steps(run: _Run) -> Check:
    longer = replace(_once(run), steps=2 * run.subject.attack.steps)
    return run.compared(run.subject.fooled_by(longer, run.left), more_effort=True)


def _restarts(run: _Run) -> Check:
    again = replace(run.subject.attack, start="uniform", restarts=EXTRA_RESTARTS)
    return run.compared(run.subject.fooled_by(again, run.left, salt="restarts"), more_effort=True)


def _other_loss(run: _Run) -> Check:
    other = "cross_entropy" if run.subject.attack.loss == "margin" else "margin"
    return run.compared(run.subject.fooled_by(replace(_once(run), loss=other), run.left), more_effort=True)


def _one_step(run: _Run) -> Check:
    attack = run.subject.attack
    one = fgsm(attack.threat.norm, attack.threat.eps, mode=attack.mode)
    return run.compared(run.subject.fooled_by(one, run.left))


def _noise(run: _Run) -> Check:
    """Try random points of the ball on the images that the attack left."""
    subject, left = run.subject, run.left
    threat, images, labels = subject.attack.threat, subject.images[left], subject.labels[left]
    generator = torch.Generator(images.device).manual_seed(subject.seed % 2**63)
    rows = rows_read(subject.model, images) if len(left) else None
    fooled = torch.zeros(len(subject.images), dtype=torch.bool)
    together = max(1, NOISE_ROWS // max(len(left), 1))
    for first in range(0, NOISE_DRAWS if len(left) else 0, together):
        draws = min(together, NOISE_DRAWS - first)
        noisy = torch.cat([threat.random_start(images, generator, rows) for _ in range(draws)])
        wrong = predict(subject.model, noisy) != labels.repeat(draws)
        fooled[left.cpu()] |= wrong.view(draws, -1).any(dim=0).cpu()
    return run.compared(fooled)


def _monotone(run: _Run) -> Check:
    """Try half the radius on the images that the attack left, and twice the radius on those that it fooled."""
    subject, n = run.subject, len(run.fooled)
    half = run.within(0.5, run.left)
    double = run.within(2.0, _indices(run, run.fooled))
    if subject.attack.restarts > 1:
        double = double | subject.fooled_by(_scaled(subject.attack, 2.0), _indices(run, run.fooled & ~double))
    only_half, right_again = int(half.sum()), int((run.fooled & ~double).sum())
    return Check(
        verdict=beaten(max(only_half, right_again), n),
        numbers={"only_at_half": only_half / n, "right_again_at_double": right_again / n},
    )


def _large_eps(run: _Run) -> Check:
    """Attack with a radius that lets every image become the grey image, on which no model can tell classes apart."""
    subject, n = run.subject, len(run.fooled)
    eps = _reach(subject)
    fooled = run.within(eps / subject.attack.threat.eps, run.left)
    robust = float((~(fooled | run.fooled)).double().mean())
    chance = 1 / subject.outputs(subject.images[:1]).shape[1]
    slack = 2 * math.sqrt(chance * (1 - chance) / n)
    return Check(
        verdict="PASS" if robust <= chance + slack else "FAIL",
        numbers={"epsilon": eps, "robust": robust},
        curves=(_over_radius(run),) if subject.curves else (),
    )


def _black_box(run: _Run) -> Check:
    subject, left = run.subject, run.left
    searched = random_search(
        subject.model,
        subject.images[left],
        subject.labels[left],
        threat=subject.attack.threat,
        queries=QUERIES,
        seed=subject.seed,
        indices=subject.indices[left.to(subject.indices.device)],
    )
    fooled = subject.fooled(searched.images, left)
    used = torch.zeros(len(fooled), dtype=torch.long)
    used[left.cpu()] = searched.queries.cpu()
    points = (
        (query, run.fooled | (fooled & (used <= query)) if query else run.fooled)
        for query in range(0, QUERIES + 1, QUERIES_APART)
    )
    return run.compared(fooled, curves=(_curve("accuracy", "query", ((at, ~these) for at, these in points)),))


def _transfer(run: _Run) -> Check:
    """Try adversarial images of the other models; without any, of a surrogate."""
    fooled = [_transferred(run, other) for other in run.subject.others] or [run.by_surrogate]
    return run.compared(torch.stack(fooled).any(dim=0))


def _surrogate(run: _Run) -> Check:
    return run.compared(run.by_surrogate)


def _over_steps(run: _Run, quantity: str) -> Curve:
    """Return the curve of the first run, from its start on."""
    values: dict[str, Callable[[_Seen], Tensor]] = {
        "accuracy": lambda seen: ~seen.fooled,
        "margin": lambda seen: seen.margin,
        "cross-entropy": lambda seen: seen.cross_entropy,
    }
    return _curve(quantity, "step", ((step, values[quantity](seen)) for step, seen in enumerate(run.steps)))


def _over_radius(run: _Run) -> Curve:
    """Return the accuracy under the attack without restarts, from radius 0 to the one that reaches the grey image.

    Between twice the radius and that one is one more, their geometric mean, if they are far apart.
    """
    threat, reach = run.subject.attack.threat, _reach(run.subject)
    furthest = reach / threat.eps
    factors = [0.5, 2.0, furthest, *([math.sqrt(2 * furthest)] if furthest > 4 else ())]
    fooled = {0.0: torch.zeros_like(run.fooled), 1.0: run.steps[-1].fooled}
    fooled |= {factor: run.within(factor, run.every) for factor in factors if factor <= furthest}
    return _curve("accuracy", "radius", ((factor * threat.eps, ~fooled[factor]) for factor in sorted(fooled)))


def _curve(quantity: str, over: str, values: Iterable[tuple[float, Tensor]]) -> Curve:
    """Return the means of values [n] by the x of each; means that are not finite are left out."""
    means = ((x, float(value.double().mean())) for x, value in values)
    return Curve(quantity=quantity, over=over, points=tuple((x, mean) for x, mean in means if math.isfinite(mean)))


def _transferred(run: _Run, other: nn.Module) -> Tensor:
    subject = run.subject
    threat = subject.attack.threat
    attack = pgd_attack(threat.norm, threat.eps, steps=SURROGATE_STEPS, loss="margin")
    return subject.fooled_by(attack, run.left, model=other)


def _once(run: _Run) -> Attack:
    """Return the first run of the attack, without its restarts, which have failed on the images that it left."""
    attack = run.subject.attack
    return replace(attack, restarts=1, loss=first_loss(attack.loss))


def _indices(run: _Run, these: Tensor) -> Tensor:
    """Return the indices of the examples that are True in `these` [n], on the device of the images."""
    return these.nonzero().squeeze(1).to(run.subject.images.device)


def _reach(subject: Subject) -> float:
    """Return the radius that lets every image become the grey image."""
    image = subject.images[0]
    size = {"l2": image.numel(), "l2_token": image.shape[-1], "linf": 1}[subject.attack.threat.norm]
    return 0.5 * math.sqrt(size)


def _scaled(attack: Attack, factor: float) -> Attack:
    threat = ThreatModel(norm=attack.threat.norm, eps=attack.threat.eps * factor)
    return replace(attack, threat=threat, step_size=attack.step_size * factor)


def _seen(subject: Subject, images: Tensor) -> _Seen:
    outputs = subject.outputs(images)
    return _Seen(
        margin=per_example_margin(outputs, subject.labels).cpu(),
        cross_entropy=per_example_cross_entropy(outputs, subject.labels).cpu(),
        fooled=(classes_of(outputs) != subject.labels).cpu(),
    )


_CHECKS: dict[str, Callable[[_Run], Check]] = {
    "images": _images,
    "logits": lambda run: probes.logits(run.subject),
    "repeatable": lambda run: probes.repeatable(run.subject),
    "gradients": lambda run: probes.gradients(run.subject),
    "slope": lambda run: probes.slope(run.subject),
    "clamp": lambda run: probes.clamp(run.subject),
    "inside": _inside,
    "loss-rises": _loss_rises,
    "more-steps": _more_steps,
    "restarts": _restarts,
    "other-loss": _other_loss,
    "one-step": _one_step,
    "noise": _noise,
    "monotone": _monotone,
    "large-eps": _large_eps,
    "last-iterate": _last_iterate,
    "black-box": _black_box,
    "transfer": _transfer,
    "surrogate": _surrogate,
    "binarization": lambda run: binarization(run.subject),
}
