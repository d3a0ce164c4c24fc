"""Networks and images that attacks are timed on: CIFAR-shaped, really trained, the same for every contender.

The images are scikit-learn's digits, enlarged to 3x32x32, because they come with a package and need no download. What a
network has learnt changes no kernel's speed, but an untrained one would make every attack look equally good.
"""

import os
from functools import cache
from typing import Literal

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.constructions.crafted import draw_targets
from nrf_ray.data import digits
from nrf_ray.data.images import LabelledImages
from nrf_ray.models.classifier import Classifier
from nrf_ray.models.small import conv, pooled
from nrf_ray.models.zoo import build
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Recipe
from tests.benchmarks.harness import OUT

SHAPE = (3, 32, 32)
CLASSES = 10


def conv4(channels: int) -> tuple[nn.Module, int]:
    """Four convolutions of width 32 to 128, as in the prototype of issue 5."""
    body = pooled(conv(channels, 32), conv(32, 64, stride=2), conv(64, 128, stride=2), conv(128, 128))
    return body, 128


def network(name: str) -> Classifier:
    """Return a new network in CIFAR shape."""
    if name != "conv4":
        return build(name, shape=SHAPE, num_classes=CLASSES, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body, width = conv4(SHAPE[0])
        return Classifier(body, width=width, num_classes=CLASSES, mean=(0.5,) * 3, std=(0.25,) * 3)


def trained_network(name: str) -> Classifier:
    """Return a trained network in eval mode with frozen parameters; it is trained once and kept beside the tables."""
    kept = OUT / "networks" / f"{name}.safetensors"
    model = network(name)
    if not kept.exists():
        few = 512 if name == "resnet18" else 1024
        fit(model, digits_as_cifar("train").rows(slice(few)), Recipe(epochs=4, lr=0.05, batch_size=64), seed=0)
        kept.parent.mkdir(parents=True, exist_ok=True)
        new = kept.with_suffix(f".{os.getpid()}")
        safetensors.torch.save_file({name: weights.contiguous() for name, weights in model.state_dict().items()}, new)
        os.replace(new, kept)
    model = network(name)
    model.load_state_dict(safetensors.torch.load_file(kept))
    return model.eval().requires_grad_(False)


@cache
def digits_as_cifar(split: Literal["train", "test"]) -> LabelledImages:
    """Return a split of scikit-learn's digits as colour images of 32x32 pixels."""
    small = digits.load()[0 if split == "train" else 1]
    big = F.interpolate(small.images, size=SHAPE[1:], mode="bilinear").expand(-1, SHAPE[0], -1, -1)
    return LabelledImages(images=big.contiguous(), labels=small.labels)


def attacked_rows(n: int) -> tuple[Tensor, Tensor]:
    """Return n test images, and a wrong class for each."""
    rows = digits_as_cifar("test").rows(slice(n))
    return rows.images, draw_targets("other", rows.labels, CLASSES, seed=0)
