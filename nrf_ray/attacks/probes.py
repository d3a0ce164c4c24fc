"""Checks of a model's answers and gradients, without an attack: could a gradient guide one at all?

Sources: Carlini et al. 2019 (arXiv 1902.06705), the flags of AutoAttack (Croce and Hein 2020), and Athalye et al. 2018
(arXiv 1802.00420), who say how gradients come to mislead. `slope` is ours: a gradient that was replaced, cut off or
shattered does not foretell how the model's own answers change.
"""

import torch
from torch import Tensor, nn

from nrf_ray.attacks.losses import LOSSES, Loss, first_loss, per_example_margin
from nrf_ray.attacks.pgd import input_gradient
from nrf_ray.attacks.subject import Check, Subject
from nrf_ray.attacks.trust import Verdict
from nrf_ray.engine.predict import batches, classes_of
from nrf_ray.engine.twin import twin
from nrf_ray.models.classifier import rows_read

ALARMING = 0.05
"""Share of the images from which a probe is FAIL and not WARN."""
REACHES = (0.005, 0.02, 0.1, 0.3)
"""Lengths, in radii, over which the change of the margin is compared with its gradient."""
WITHIN = 1.1
"""Largest ratio of the two, either way, that counts as agreement. Of 100 images of each of 12 honest networks, 95 were
below 1.02; of a network with the gradient of another one of the same data, half were above 1.3."""
STRAY = 0.02
"""Share of the images up to which the two may disagree: an image can lie beside a kink of its network."""
ROUNDING = 1e-5
"""Least change of a margin that is compared, as a share of the larger of its two logits: smaller ones are rounding."""
BOUNDARY = 0.5
"""Excess of zero gradients among pixels at 0 and 1, over other pixels, from which `clamp` is FAIL."""


def logits(subject: Subject) -> Check:
    """Check that the outputs are no probabilities."""
    outputs = subject.outputs(subject.images)
    sums = (outputs.sum(1) - 1).abs().max().item()
    is_distribution = sums < 1e-5 and outputs.min().item() > -1e-5 and outputs.max().item() < 1 + 1e-5
    return Check(verdict="FAIL" if is_distribution else "PASS", numbers={"sum_minus_1": sums})


def repeatable(subject: Subject) -> Check:
    """Compare five passes: predictions, and the lead of the likeliest class over the next, to 1e-4 of the usual lead.

    AutoAttack compares normalised outputs, which one huge logit of a class that is never predicted makes equal. The
    images of the later passes come in another order, as an answer must not depend on an image's place.
    """
    outputs = []
    for turn in range(5):
        order = torch.arange(len(subject.images), device=subject.images.device).roll(turn)
        outputs.append(subject.outputs(subject.images[order]).roll(-turn, dims=0))
    first, second = outputs[0].topk(2, dim=1).indices.unbind(dim=1)
    rows = torch.arange(len(first), device=first.device)
    leads = [output[rows, first] - output[rows, second] for output in outputs]
    apart = max((lead - leads[0]).abs().max().item() for lead in leads) / (leads[0].median().item() + 1e-30)
    changed = max((classes_of(output) != classes_of(outputs[0])).double().mean().item() for output in outputs)
    return Check(
        verdict="PASS" if changed == 0 and apart <= 1e-4 else "FAIL", numbers={"changed": changed, "apart": apart}
    )


def gradients(subject: Subject) -> Check:
    """Check that no image has a gradient that is zero or not finite."""
    found = _gradients(subject, subject.model, subject.images, LOSSES[first_loss(subject.attack.loss)]).flatten(1)
    zero = (found == 0).all(dim=1).double().mean().item()
    broken = (~found.isfinite()).any(dim=1).double().mean().item()
    verdict: Verdict = "FAIL" if broken > 0 or zero >= ALARMING else "WARN" if zero > 0 else "PASS"
    return Check(verdict=verdict, numbers={"zero": zero, "not_finite": broken})


def slope(subject: Subject) -> Check:
    """Check that the margin changes along its gradient as the gradient says, at the images and at random points.

    The change is measured over several lengths, and one that agrees is enough: a model of finely rounded inputs with
    straight gradients is flat over the shortest, and an undefended network bends over the longest.
    """
    threat = subject.attack.threat
    generator = torch.Generator(subject.images.device).manual_seed(subject.seed % 2**63)
    noisy = threat.random_start(subject.images, generator, rows_read(subject.model, subject.images))
    found = [_astray(subject, points) for points in (subject.images, noisy)]
    astray, flat = (max(which.double().mean().item() for which in each) for each in zip(*found, strict=True))
    share = max(astray, flat)
    verdict: Verdict = "FAIL" if share >= ALARMING else "WARN" if share > STRAY else "PASS"
    return Check(verdict=verdict, numbers={"astray": astray, "flat": flat})


def _astray(subject: Subject, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return for which of `points` [n, c, h, w] no length agrees with the gradient, [n].

    The second result is for which of them the margin changes over no length by more than rounding, [n]: there nothing
    could be compared.
    """
    threat = subject.attack.threat
    gradient = _gradients(subject, subject.model, points, per_example_margin).nan_to_num()
    size = _compared_logits(subject, points).abs().amax(dim=1)
    agrees, compared = torch.zeros_like(size, dtype=torch.bool), torch.zeros_like(size, dtype=torch.bool)
    for reach in REACHES:
        step = threat.ascend(gradient, reach * threat.eps)
        ahead, behind = (points + step).clamp(0, 1), (points - step).clamp(0, 1)
        foretold = ((ahead - behind) * gradient).flatten(1).sum(dim=1)
        change = _margins(subject, ahead) - _margins(subject, behind)
        enough = torch.maximum(foretold.abs(), change.abs()) > ROUNDING * size
        ratio = change / foretold
        agrees |= enough & (ratio >= 1 / WITHIN) & (ratio <= WITHIN)
        compared |= enough
    return compared & ~agrees, ~compared


def _compared_logits(subject: Subject, points: Tensor) -> Tensor:
    """Return the logits whose difference is the margin of each of `points`, [n, 2]: the label's, the highest other."""
    outputs = subject.outputs(points)
    own = outputs.gather(1, subject.labels.unsqueeze(1))
    others = outputs.scatter(1, subject.labels.unsqueeze(1), -torch.inf)
    return torch.cat([own, others.amax(dim=1, keepdim=True)], dim=1)


def clamp(subject: Subject) -> Check:
    """Compare pixels at 0 and 1 with the others: at a bound a clamp has no gradient, so a pixel there never moves.

    The gradients are those of the attack, which give clamps their straight gradient (`engine.twin`).
    """
    network = twin(subject.model, subject.images, subject.attack.mode)
    flat = _gradients(subject, network, subject.images, LOSSES[first_loss(subject.attack.loss)]) == 0
    bound = (subject.images == 0) | (subject.images == 1)
    at, inside = (float(flat[where].double().mean()) if where.any() else 0.0 for where in (bound, ~bound))
    excess = at - inside
    verdict: Verdict = "FAIL" if excess >= BOUNDARY else "WARN" if excess >= BOUNDARY / 2 else "PASS"
    return Check(verdict=verdict, numbers={"zero_at_bounds": at, "zero_inside": inside})


def _gradients(subject: Subject, model: nn.Module, points: Tensor, loss: Loss) -> Tensor:
    parts = batches(len(points))
    return torch.cat([input_gradient(model, points[rows], subject.labels[rows], loss)[0] for rows in parts])


def _margins(subject: Subject, images: Tensor) -> Tensor:
    return per_example_margin(subject.outputs(images), subject.labels)
