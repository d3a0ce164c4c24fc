"""Measure a model: predictions, accuracy, robust accuracy, attack success.

Everything is a share in [0, 1] of a stated number of examples. A robust accuracy is an upper bound found by one named
attack; it never goes anywhere without that attack, its radius and n.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nrf_ray.attacks.autoattack import run_autoattack
from nrf_ray.attacks.hotflip import Lexicon, substitute
from nrf_ray.attacks.pgd import ExampleStarts, run_restarts
from nrf_ray.attacks.specs import Attack, AutoAttack, Substitution
from nrf_ray.data.images import LabelledImages, as_float
from nrf_ray.engine import meter
from nrf_ray.engine.twin import original, twin
from nrf_ray.errors import ConfigError

BATCH = 256
"""Rows a forward pass; fixed, because the kernels' rounding can depend on it."""


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the predicted class of each of `images` [n, c, h, w], float or uint8, on any device, as [n]."""
    model = original(model).eval()
    meter.count("predicted", len(images))
    parameter = next(model.parameters(), None)
    device = images.device if parameter is None else parameter.device
    return torch.cat([model(as_float(images[rows].to(device))).argmax(1) for rows in batches(len(images))])


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of `images` that `model` gives their label."""
    return share(predict(model, images) == labels)


def next_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Return (y + 1) mod k, the relabelling of D_det (paper 3.2, D.6)."""
    return (labels + 1) % num_classes


def adversarial_images(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attack: Attack | AutoAttack | Substitution,
    *,
    seed: int = 0,
    indices: Tensor | None = None,
    words: Lexicon | None = None,
) -> Tensor:
    """Return adversarial images for all of `images`, found against `model`, as float32 in [0, 1].

    Random starts belong to (`seed`, `indices`), where `indices` [n] are the images' places in their data set; by
    default their places in `images`. A substitution chooses from `words`. Raises ConfigError for an attack whose result
    may lie outside its threat model.
    """
    if isinstance(attack, Substitution):
        return _substituted(model, images, labels, attack, words)
    if isinstance(attack, AutoAttack):
        return run_autoattack(attack, model, as_float(images), labels, seed=seed)
    if attack.bounds != "ball":
        raise ConfigError(f"{attack.name} leaves the ball of radius {attack.threat.eps:g}: it is for training only")
    starts = ExampleStarts(seed=seed, indices=torch.arange(len(images)) if indices is None else indices.cpu())
    network = twin(model, as_float(images[:1].to(labels.device)), attack.mode)
    found = []
    for rows in batches(len(images)):
        # One batch of floats at a time: the images may be mapped from disk, and larger than memory as floats.
        floats = as_float(images[rows].to(labels.device))
        found.append(run_restarts(attack, network, floats, labels[rows], starts=starts.of(rows)))
    return torch.cat(found)


def _substituted(
    model: nn.Module, texts: Tensor, labels: Tensor, attack: Substitution, words: Lexicon | None
) -> Tensor:
    assert words is not None, "a substitution needs the words of the dataset"
    network = twin(model, as_float(texts[:1].to(labels.device)))
    parts = ((as_float(texts[rows].to(labels.device)), labels[rows]) for rows in batches(len(texts)))
    return torch.cat([substitute(network, floats, their, attack, words) for floats, their in parts])


def robust_accuracy(
    model: nn.Module,
    data: LabelledImages,
    attack: Attack | AutoAttack | Substitution,
    *,
    seed: int = 0,
    words: Lexicon | None = None,
) -> float:
    """Return the share of `data` that `model` gets right both clean and after every restart of the untargeted `attack`.

    Only what is right when clean is attacked: the rest counts as wrong already, so leaving it out is exact.
    """
    right = right_when_clean(model, data)
    if len(right) == 0:
        return 0.0
    attacked = data.rows(right)
    adversarial = adversarial_images(
        model, attacked.images, attacked.labels, attack, seed=seed, indices=right, words=words
    )
    return int((predict(model, adversarial) == attacked.labels).sum()) / len(data)


def right_when_clean(model: nn.Module, data: LabelledImages) -> Tensor:
    """Return the places of the images that `model` gives their label, as [m]."""
    return (predict(model, data.images) == data.labels).nonzero().squeeze(1)


def share(hits: Tensor) -> float:
    """Return the share of True in a tensor of booleans."""
    return float(hits.double().mean())


def batches(n: int, size: int = BATCH) -> Iterator[slice]:
    """Yield slices of at most `size` that cover 0..n."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
