"""Measure whether features are useful and robust: section 2 of the paper.

A feature is a function of an image, shifted and scaled to mean 0 and variance 1. With labels y of +1 and -1 it is
rho-useful if E[y f(x)] >= rho, and gamma-robustly useful if E[inf over the ball of y f(x + delta)] >= gamma. With k
classes each feature is measured on one class against the rest, the class for which it is most useful, and its sign is
chosen so that rho >= 0. For linear features the inner infimum has a closed form; for a network PGD searches for it, so
gamma is then an upper bound.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nrf_ray.attacks.pgd import attack_mode, input_gradient, pgd
from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.threat import Norm, l2_norm
from nrf_ray.data.images import LabelledImages
from nrf_ray.engine.predict import batches
from nrf_ray.engine.twin import twin
from nrf_ray.errors import ConfigError
from nrf_ray.models.classifier import Classifier


class Usefulness(NamedTuple):
    """Usefulness of several features, each [f]."""

    rho: Tensor
    """E[y f(x)]."""
    gamma: Tensor
    """E[inf y f(x + delta)], at most rho."""


class Counts(NamedTuple):
    """Number of features of each kind; every feature is of exactly one kind."""

    robust: int
    """rho >= useful_from and gamma > 0."""
    useful_non_robust: int
    """rho >= useful_from and gamma <= 0."""
    useless: int
    """rho < useful_from."""


class Questions(NamedTuple):
    """Questions for f features: one class against the rest each, with the feature's sign chosen to fit."""

    classes: Tensor
    """Class for which the feature is most useful, [f]."""
    signs: Tensor
    """+1 or -1, [f]."""

    def answers(self, labels: Tensor) -> Tensor:
        """Return sign times (+1 if the label is the feature's class, else -1), as [n, f]."""
        return self.signs * (2.0 * (labels[:, None] == self.classes) - 1.0)


def moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each feature, [f], from its values [n, f].

    Raises ConfigError that names the features which do not vary: they cannot be scaled to variance 1.
    """
    mean, std = values.mean(dim=0), values.std(dim=0, correction=0)
    still = constant(values).nonzero().flatten().tolist()
    if still:
        shown = ", ".join(map(str, still[:10])) + (", ..." if len(still) > 10 else "")
        raise ConfigError(
            f"{len(still)} of {len(std)} features have zero variance (indices {shown}), so they cannot be scaled to "
            "variance 1; leave them out"
        )
    return mean, std


def constant(values: Tensor) -> Tensor:
    """Return which features have no variance beyond rounding, as booleans [f], from their values [n, f]."""
    rounding = 4 * torch.finfo(values.dtype).eps * values.abs().amax(dim=0)
    return values.std(dim=0, correction=0) <= rounding


def count(usefulness: Usefulness, useful_from: float) -> Counts:
    """Return how many features are robust, useful but not robust, and useless.

    With k balanced classes rho is at most 2 sqrt(k - 1) / k: .6 for ten.
    """
    useful, robust = usefulness.rho >= useful_from, usefulness.gamma > 0
    return Counts(int((useful & robust).sum()), int((useful & ~robust).sum()), int((~useful).sum()))


def dual_norm(weights: Tensor, norm: Norm) -> Tensor:
    """Return max of weights . delta over the unit ball of `norm`, over the last dimension: l2 for l2, l1 for linf.

    Raises ConfigError for l2_token: flattened weights do not tell which of them belong to one token.
    """
    if norm == "l2_token":
        raise ConfigError("linear features are bounded in l2 and linf, not in l2_token; use l2 or linf")
    return weights.norm(dim=-1) if norm == "l2" else weights.abs().sum(dim=-1)


def linear_usefulness(weights: Tensor, points: Tensor, signs: Tensor, *, norm: Norm, eps: float) -> Usefulness:
    """Return the exact usefulness of the features weights [f, d] . x on points [n, d] with labels signs [n], +1 or -1.

    gamma = rho - eps ||a||_* / ||a||_Sigma, with ||a||_Sigma the feature's standard deviation (Goh 2019). The perturbed
    points may leave [0, 1]. Raises ConfigError for a feature without variance.
    """
    values = points @ weights.T
    mean, std = moments(values)
    rho = (signs[:, None] * (values - mean) / std).mean(dim=0).abs()
    return Usefulness(rho, rho - eps * dual_norm(weights, norm) / std)


class Units(nn.Module):
    """Penultimate units of a model as features: scaled to mean 0 and variance 1, without units that never vary."""

    def __init__(self, model: Classifier, images: Tensor) -> None:
        """Scale the units of `model` by their moments on `images` [n, c, h, w] in [0, 1]."""
        super().__init__()
        self.model = model
        values = representations(model, images)
        self.live = (~constant(values)).nonzero().flatten()
        self.mean, self.std = moments(values[:, self.live])
        self.total = values.shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of `images`, as [b, f]."""
        return (self.model.representation(images)[:, self.live] - self.mean) / self.std


def values_of(units: Units, images: Tensor) -> Tensor:
    """Return the features of float `images` [n, c, h, w], as [n, f]; see `Units`."""
    with attack_mode(units), torch.no_grad():
        return torch.cat([units(images[rows]) for rows in batches(len(images))])


def unit_usefulness(units: Units, questions: Questions, data: LabelledImages, attack: Attack) -> Usefulness:
    """Return the usefulness of every unit on `data`; gamma by PGD with the settings of `attack`, best iterate kept.

    A unit whose ReLU is off at an image has no gradient there, so PGD finds nothing from that image: gamma is an upper
    bound, and a loose one if many units are off. Units share a batch, because a few images alone would not fill one.
    """
    images, answers = data.floats(), questions.answers(data.labels)
    rho = (answers * values_of(units, images)).mean(dim=0)
    network = twin(units, images, attack.mode)
    worst = images.new_empty(len(rho) * len(images))
    for part in batches(len(worst)):
        pairs = torch.arange(part.start, part.stop, device=images.device)
        asked, rows = pairs // len(images), pairs % len(images)
        answer = answers[rows, asked]

        def of_asked(values: Tensor, answer: Tensor, asked: Tensor = asked) -> Tensor:
            return answer * values.gather(1, asked[:, None])[:, 0].float()

        adversarial = pgd(
            network,
            images[rows],
            answer,
            threat=attack.threat,
            steps=attack.steps,
            step_size=attack.step_size,
            targeted=True,  # minimises the loss
            loss=of_asked,
            returns="worst_loss",
            mode=attack.mode,
        )
        worst[part] = of_asked(values_of(units, adversarial), answer)
    return Usefulness(rho, worst.view(len(rho), len(images)).mean(dim=1))


def best_questions(values: Tensor, labels: Tensor, num_classes: int) -> Questions:
    """Return the class for which each feature is most useful, and its sign, from values [n, f] and labels [n].

    Measure the features on other images than these: the best of k classes looks too good on the images that chose it.
    """
    members = torch.nn.functional.one_hot(labels, num_classes).to(values.dtype)
    told = (2 * members - 1).T @ values / len(values)
    classes = told.abs().argmax(dim=0)
    return Questions(classes, told.gather(0, classes[None]).squeeze(0).sign())


def representations(model: Classifier, images: Tensor) -> Tensor:
    """Return the penultimate units of `model` on float `images` [n, c, h, w], as [n, width]."""
    with attack_mode(model), torch.no_grad():
        return torch.cat([model.representation(images[rows]) for rows in batches(len(images))])


def input_gradient_score(model: nn.Module, data: LabelledImages) -> Tensor:
    """Return |mean over images of gradient * pixel| for every pixel [c, h, w]; gradient of the model's cross-entropy.

    The score is used as a measure of non-robustness of pixels for a reference model. It is a weak measure. It depends
    on no radius, so it cannot tell small from large perturbations; gradients of opposite sign cancel over images, so a
    pixel that every attack uses can score 0; and a black pixel scores 0 whatever its gradient, so the score changes if
    the same images are stored inverted.
    """
    images = data.floats()
    products = torch.zeros_like(images[0])
    for rows in batches(len(images)):
        with attack_mode(model):
            gradient, _ = input_gradient(model, images[rows], data.labels[rows])
        products += (images[rows] * gradient).sum(dim=0)
    return (products / len(images)).abs()


def gradient_alignment(model: nn.Module, data: LabelledImages, num_classes: int) -> float:
    """Return the mean cosine between the gradient of z_y - z_r and (mean image of y) - (mean image of r).

    r is the class with the highest logit except y. For two Gaussians and their classifier this is the cosine of Theorem
    3.
    """
    images = data.floats()
    means = torch.stack([images[data.labels == label].mean(dim=0) for label in range(num_classes)])
    total = 0.0
    for rows in batches(len(images)):
        labels = data.labels[rows]
        gradient, rivals = _margin_gradient(model, images[rows], labels)
        between = means[labels] - means[rivals]
        cosine = (gradient * between).flatten(1).sum(dim=1) / (l2_norm(gradient) * l2_norm(between)).clamp_min(1e-30)
        total += float(cosine.double().sum())
    return total / len(images)


def _margin_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    with attack_mode(model):
        images = images.detach().requires_grad_(True)
        logits = model(images)
        own = logits.gather(1, labels[:, None])
        rivals = logits.detach().scatter(1, labels[:, None], -torch.inf).argmax(dim=1)
        (gradient,) = torch.autograd.grad((own - logits.gather(1, rivals[:, None])).sum(), images)
    return gradient, rivals
