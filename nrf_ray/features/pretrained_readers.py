"""Pretrained label readers of the human part of planted sets: ImageNet's ResNet-18, or a text encoder.

The follow-up papers use such readers too. The network was trained for other classes, so a linear classifier on its
features is fitted to half of the examples, with their true classes, and then labels all examples. The network's weights
do not change.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nrf_ray.data.encoders import FILES, PREFIX, encoder_folder
from nrf_ray.errors import ConfigError, expanded
from nrf_ray.models.catalogue import ENCODER, IMAGENET_SIZE, architecture_named

if TYPE_CHECKING:
    from torch import Tensor

    from nrf_ray.data.planted.generate import Examples

VISION = "resnet18"
WEIGHTS = "resnet18-f37072fd.pth"
"""ImageNet weights as torchvision.models.resnet18 downloads them."""
SIDE = 64
"""Side in pixels of the network's input; ImageNet's 224 pixels would take twelve times as long."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels, as used by torchvision."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Published network, identified by the digest of its files."""

    name: str
    """resnet18, or hf:NAME of an encoder."""
    sha256: str
    """Digest of its files, which identifies the network whatever their path."""
    location: str = field(compare=False)
    """Path of its file or folder; not part of its identity."""

    @property
    def reads(self) -> str:
        """Kind of its inputs: images or texts."""
        return "images" if self.name == VISION else "texts"


def pretrained_named(name: str) -> Pretrained:
    """Return the published network `name`, or raise ConfigError with how to download it."""
    if name == VISION:
        place = _hub() / WEIGHTS
        if not place.is_file():
            raise ConfigError(
                f"the weights of {VISION} are not at {place}; on a machine with internet access, run python -c 'import "
                f'torchvision; torchvision.models.resnet18(weights="IMAGENET1K_V1")\' first, or omit --reader '
                "to train a label reader here"
            )
        return Pretrained(name=name, sha256=_digest([place]), location=str(place))
    if name.startswith(PREFIX):
        folder = encoder_folder(name.removeprefix(PREFIX))
        return Pretrained(
            name=f"{PREFIX}{Path(name.removeprefix(PREFIX)).name}",
            sha256=_digest([folder / file for file in FILES]),
            location=str(folder),
        )
    raise ConfigError(f"unknown reader {name!r}; known: {VISION} (of images), {PREFIX}NAME (of texts)")


def macs_of(reader: Pretrained, shape: tuple[int, int, int]) -> tuple[float, int]:
    """Return multiply-adds for one example of `shape` and number of features of `reader`, for cost estimates."""
    if reader.reads == "texts":
        encoder = architecture_named(ENCODER)
        return encoder.macs(*shape[1:]), encoder.units
    vision = architecture_named(VISION)
    return vision.macs(IMAGENET_SIZE, IMAGENET_SIZE) * (SIDE / IMAGENET_SIZE) ** 2, vision.units


def features_of(reader: Pretrained, examples: "Examples", split: str) -> "Tensor":
    """Return features of `reader` for the human parts of `examples`, the whole of `split`, as [n, f].

    Images are resized, grey images to three equal channels; texts are read as characters, without their marks. Raises
    ConfigError if the files do not have the digest of `reader`.
    """
    place = Path(reader.location)
    if _digest([place] if place.is_file() else [place / file for file in FILES]) != reader.sha256:
        raise ConfigError(
            f"the files of {reader.name} at {place} were changed after this run was planned; run it again"
        )
    return _seen_by_vision(place, examples) if reader.reads == "images" else _seen_by_encoder(place, examples, split)


def _seen_by_vision(weights: Path, examples: "Examples") -> "Tensor":
    import torch
    import torch.nn.functional as F
    from torchvision.models import resnet18

    from nrf_ray.data.planted import swaps
    from nrf_ray.engine.predict import batches
    from nrf_ray.models.importing import load_exactly
    from nrf_ray.models.weight_files import WeightsError, read_state

    network = resnet18()
    try:
        load_exactly(network, read_state(weights.read_bytes()))
    except WeightsError as error:
        raise ConfigError(f"{weights} does not fit {VISION}: {error}") from error
    network.fc = torch.nn.Identity()
    network.eval()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    parts = torch.from_numpy(swaps.parts_of(examples).human)
    found = []
    with torch.no_grad():
        for rows in batches(len(parts)):
            shown = F.interpolate(parts[rows], size=(SIDE, SIDE), mode="bilinear").expand(-1, 3, -1, -1)
            found.append(network((shown - mean) / std))
    return torch.cat(found)


def _seen_by_encoder(folder: Path, examples: "Examples", split: str) -> "Tensor":
    import torch

    from nrf_ray.data.encoders import read_table, tokens_of
    from nrf_ray.data.planted import grammar
    from nrf_ray.engine.predict import batches
    from nrf_ray.models import zoo

    sentences = grammar.write(examples.spec.seed, examples.human.tolist(), split)
    tokens = [tokens_of(folder, " ".join(words)) for words in sentences]
    table = read_table(folder)
    length = max(map(len, tokens))
    levels = torch.from_numpy(table.embed(tokens, length))
    mean, std = table.scaling
    model = zoo.build(
        ENCODER,
        shape=(1, length, levels.shape[-1]),
        num_classes=examples.spec.classes,
        mean=mean,
        std=std,
        seed=0,
        encoder=folder,
    ).eval()
    with torch.no_grad():
        return torch.cat([model.representation(levels[rows].float() / 255) for rows in batches(len(levels))])


def _hub() -> Path:
    """Return torch's folder for downloaded checkpoints, below torch.hub.get_dir(), without importing torch."""
    cache = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return expanded(os.environ.get("TORCH_HOME") or f"{cache}/torch") / "hub" / "checkpoints"


def _digest(files: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()
