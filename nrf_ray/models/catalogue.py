"""Architectures that a sweep can name, without the code that builds them (which is in `zoo`)."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nrf_ray.errors import ConfigError, Registry

if TYPE_CHECKING:
    from torch import nn

Builder = Callable[[int, int], tuple["nn.Module", int]]
"""Function from the channels and the height of an image, or the length and the width of a text, to a body and the width
of its representation."""

TIMM = "timm:"
"""Prefix of the names of architectures from the timm library."""

TORCHVISION = "torchvision:"
"""Prefix of the names of architectures from torchvision, in its form for large images."""

ENCODER = "hf"
"""Architecture: the pretrained encoder whose word embeddings a dataset of texts uses, with a head."""

FROM_PADDING = (
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "mpnet", "longformer"),
    *("data2vec-text", "xmod", "ibert"),
)
"""Kinds of encoders whose positions are counted from behind the index of padding, so that they have fewer."""

IMAGENET_SIZE = 128
"""Height in pixels from which networks have their ImageNet form; for smaller images they have their CIFAR form."""

MEASURED_FROM = {8: 1, 28: 24, 32: 30, 224: IMAGENET_SIZE}
"""Sizes at which multiply-adds were measured, and the height from which each applies: stems change in between."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Name, cost and input of one architecture."""

    name: str
    """Name in tables and on the command line."""
    family: str
    """Architecture of the paper that it represents."""
    mmacs: Mapping[int, float]
    """Millions of multiply-adds of one forward pass, see `measure.forward_macs`, of one image with 8 (one channel),
    28 (one channel), 32 and 224 pixels a side, as far as the architecture is meant for such images. The sides of a text
    are its length and width."""
    drag: float = 1.0
    """Seconds per multiply-add on a CPU relative to a plain network: narrow branches and long concatenations spend
    time on moving memory."""
    reads: Literal["images", "texts"] = "images"
    """Kind of its inputs."""
    units: int = 64
    """Number of penultimate units, for images below IMAGENET_SIZE (VGG-16 has 4096 from there on)."""

    builder: Builder | None = None
    """Function that builds it; None for those of this package, see `zoo`."""
    smallest: Mapping[int, int] = field(default_factory=lambda: {1: 1})
    """Side in pixels of the smallest possible image, by the height from which this holds: stems change in between."""

    multiple: int = 1
    """Number that both sides of an image must be multiples of, in pixels."""

    def smallest_side(self, height: int) -> int:
        """Return the smallest allowed side, in pixels, of an image of `height`."""
        return self.smallest[max(from_height for from_height in self.smallest if from_height <= height)]

    def macs(self, height: int, width: int) -> float:
        """Return the multiply-adds of one forward pass of one image.

        They are proportional to the image's area: good to 10% at the measured sizes, to a third far from them.
        """
        size = next((s for s in sorted(self.mmacs, reverse=True) if MEASURED_FROM[s] <= height), min(self.mmacs))
        return 1e6 * self.mmacs[size] * height * width / size**2


ARCHITECTURES: Registry[Architecture] = Registry.of(
    "architecture",
    (
        Architecture(
            name="vgg_s", family="VGG-16", mmacs={8: 0.46, 28: 1.33, 32: 1.89}, smallest={1: 4, 24: 7}, units=128
        ),
        Architecture(
            name="inception_s",
            family="Inception-v3",
            mmacs={8: 0.28, 28: 0.82, 32: 1.19},
            smallest={1: 4, 24: 7},
            drag=3.5,
        ),
        Architecture(name="resnet_s", family="ResNet-18", mmacs={8: 0.76, 28: 2.55, 32: 3.13}),
        Architecture(name="resnet_m", family="ResNet-50", mmacs={8: 1.65, 28: 5.54, 32: 6.67}),
        Architecture(name="resnet_b", family="ResNet-18", mmacs={8: 0.76, 28: 2.55, 32: 3.13}, units=16),
        Architecture(
            name="densenet_s",
            family="DenseNet",
            mmacs={8: 1.15, 28: 3.49, 32: 4.75},
            smallest={1: 4, 24: 7},
            drag=1.8,
        ),
        Architecture(
            name="vgg16",
            family="VGG-16",
            mmacs={28: 268, 32: 313, 224: 15466},
            smallest={1: 1, IMAGENET_SIZE: 32},
            units=512,
        ),
        Architecture(
            name="inception_v3",
            family="Inception-v3",
            mmacs={28: 2733, 32: 3631, 224: 2836},
            smallest={1: 7, IMAGENET_SIZE: 75},
            units=2048,
        ),
        Architecture(name="resnet18", family="ResNet-18", mmacs={28: 456, 32: 555, 224: 1814}, units=512),
        Architecture(name="resnet50", family="ResNet-50", mmacs={28: 1047, 32: 1298, 224: 4087}, units=2048),
        Architecture(
            name="densenet121",
            family="DenseNet",
            mmacs={28: 672, 32: 888, 224: 2833},
            smallest={1: 8, IMAGENET_SIZE: 29},
            units=1024,
        ),
        *(
            Architecture(
                name=f"wrn_{depth}_{width}{form}",
                family=f"WideResNet-{depth}-{width}",
                mmacs=mmacs,
                units=64 * width,
                smallest={1: 3 if form else 1},
                multiple=4 if form else 1,  # it halves twice, in ways that agree on even sides alone
            )
            for form in ("", "_silu")
            for (depth, width), mmacs in {
                (28, 10): {28: 4014, 32: 5243},
                (34, 10): {28: 5098, 32: 6659},
                (70, 16): {28: 29679, 32: 38764},
            }.items()
        ),
        *(
            Architecture(
                name=f"preact_resnet18{form}",
                family="PreActResNet-18",
                mmacs=mmacs,
                units=512,
                smallest={1: 8 if form == "_silu" else 1},
            )
            for form, mmacs in {
                "": {28: 456, 32: 555},
                "_raw": {28: 456, 32: 555},
                "_bn": {28: 456, 32: 555},
                "_silu": {28: 432, 32: 606},
            }.items()
        ),
        Architecture(name="text_cnn", family="Kim's CNN", mmacs={8: 0.052}, reads="texts", units=192),
        Architecture(name="text_bilstm", family="BiLSTM", mmacs={8: 0.05}, reads="texts", units=128),
        Architecture(name="text_transformer", family="Transformer", mmacs={8: 0.043}, reads="texts"),
    ),
)
"""All architectures except timm's and the pretrained encoder: the small family and the published one, each in the
order of the paper's Figure 3; those of published robust models (`cifar`); then those for texts."""
ARCHITECTURES.reserve(ENCODER)


def most_vectors(config: Mapping[str, object]) -> int | None:
    """Return how many vectors an encoder with this config.json reads at most; None if the config gives no limit."""
    limit = config.get("max_position_embeddings", config.get("n_positions"))
    if not isinstance(limit, int):
        return None
    padding = config.get("pad_token_id")
    counted = config.get("model_type") in FROM_PADDING and isinstance(padding, int)
    return limit - padding - 1 if counted and isinstance(padding, int) else limit


def check_takes(folder: Path, length: int) -> None:
    """Raise ConfigError if the encoder in `folder` cannot read texts of `length` vectors, by its config.json."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        limit = most_vectors(config)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{folder}/config.json cannot be read: {error}") from error
    if config.get("is_encoder_decoder"):
        raise ConfigError(f"the model in {folder} ({config.get('model_type')}) has a decoder; name an encoder alone")
    if limit is not None and limit < length:
        raise ConfigError(
            f"the encoder in {folder} takes up to {limit} vectors, but the texts have {length}; give shorter texts, or "
            "name another encoder"
        )


def architecture_named(name: str) -> Architecture:
    """Return the architecture called `name`, or raise ConfigError with the known names.

    Any `timm:NAME` or `torchvision:NAME` is accepted; a trial build shows whether the library has it. Its cost is
    assumed to be that of a ResNet-50 in ImageNet form.
    """
    if re.fullmatch(f"({TIMM}|{TORCHVISION})[A-Za-z0-9_.]+", name):
        guess = {224: ARCHITECTURES["resnet50"].mmacs[224]}
        return Architecture(name=name, family=name.partition(":")[2], mmacs=guess, units=2048)
    if name == ENCODER:  # the assumed cost is that of MiniLM with six layers
        return Architecture(name=name, family="pretrained encoder", mmacs={8: 1.8}, reads="texts", units=384)
    if name not in ARCHITECTURES:
        raise ConfigError(
            f"unknown architecture {name!r}; known: {', '.join(ARCHITECTURES)}, {ENCODER}, {TIMM}NAME, "
            f"{TORCHVISION}NAME"
        )
    return ARCHITECTURES[name]
