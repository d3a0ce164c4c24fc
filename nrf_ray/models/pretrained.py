"""Pretrained classifiers of timm and torchvision, with weights that are already on this machine.

Nothing is downloaded: a name whose weights are not here is refused with the place where they are looked for. A name may
say which weights of its architecture are meant: `resnet18.a1_in1k` of timm, `resnet18.IMAGENET1K_V1` of torchvision.

    python -m nrf_ray.models.pretrained timm:resnet18.a1_in1k

prints one line of JSON: the problem, or null, and the fields of `Weights`. Planning asks so, without importing torch.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from nrf_ray.errors import ConfigError, one_line
from nrf_ray.models.catalogue import TIMM, TORCHVISION
from nrf_ray.models.classifier import Classifier, Resized
from nrf_ray.models.from_timm import timm_with
from nrf_ray.models.from_torchvision import torchvision_with, without_head
from nrf_ray.models.weight_files import read_state

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names that timm gives a file of weights on the Hugging Face hub."""


class Weights(NamedTuple):
    """A file of weights on this machine, and how its network sees images."""

    path: str
    """Path of the file."""
    mean: tuple[float, ...]
    """Mean per channel."""
    std: tuple[float, ...]
    """Standard deviation per channel."""
    size: tuple[int, int]
    """Height and width of the network's images."""


def weights_of(arch: str) -> Weights:
    """Return the weights of `arch`, timm:NAME or torchvision:NAME, or raise ConfigError if they are not here."""
    kind, _, name = arch.partition(":")
    return _timm_weights(name) if f"{kind}:" == TIMM else _torchvision_weights(name)


def _timm_weights(name: str) -> Weights:
    timm, title = timm_with(name), f"{TIMM}{name}"
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise ConfigError(f"timm has no weights {name!r}: {one_line(error, 300)}") from error
    if config is None or not config.has_weights:
        raise ConfigError(f"timm has no weights of {name!r}; take another model")
    path = _timm_file(config)
    if path is None:
        fetch = f"run: nrf fetch model:hf:{config.hf_hub_id}" if config.hf_hub_id else f"put {config.url} there"
        where = "the hub's cache" if config.hf_hub_id else _checkpoints()
        raise ConfigError(f"the weights of {title} are not in {where}, and no run downloads anything; {fetch}")
    height, width = config.input_size[1:]
    return Weights(str(path), tuple(config.mean), tuple(config.std), (height, width))


def _timm_file(config: Any) -> Path | None:
    """Return the file of the weights that timm's `config` names, or None if it is not on this machine."""
    from huggingface_hub import try_to_load_from_cache

    if config.hf_hub_id:
        for name in filter(None, (config.hf_hub_filename, *HUB_FILES)):
            found = try_to_load_from_cache(config.hf_hub_id, name)
            if isinstance(found, str):
                return Path(found)
    return _checkpoint(config.url) if config.url else None


def _torchvision_weights(name: str) -> Weights:
    weights = _torchvision_entry(name)
    path = _checkpoint(weights.url)
    if path is None:
        raise ConfigError(
            f"the weights of {TORCHVISION}{name} are not in {_checkpoints()}, and no run downloads anything; put the "
            f"file {weights.url} there"
        )
    views = weights.transforms()
    (side,) = views.crop_size
    return Weights(str(path), tuple(views.mean), tuple(views.std), (side, side))


def _torchvision_entry(name: str) -> "WeightsEnum":
    models = torchvision_with(name)
    arch, _, version = name.partition(".")
    kinds = {weights.name: weights for weights in models.get_model_weights(arch)}
    if version not in ("", *kinds):
        raise ConfigError(f"torchvision has no weights {version!r} of {arch}; known: {', '.join(kinds)}")
    found: WeightsEnum = kinds[version] if version else models.get_model_weights(arch).DEFAULT
    return found


def _checkpoints() -> Path:
    """Return the folder in which torch keeps downloaded weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _checkpoint(url: str) -> Path | None:
    path = _checkpoints() / url.rpartition("/")[2]
    return path if path.is_file() else None


def timm_classifier(name: str, data: bytes, *, mean: Sequence[float], std: Sequence[float]) -> Any:
    """Return timm's network `name` with the weights in the file `data`, as (classifier, the library's own network).

    The names in the file are mapped by timm. The network has as many classes as the file.

    Raises:
        ConfigError: the network does not end in a linear layer, so it has no representation that could be matched.
        WeightsError: the file has no weights, or needs code to be run.
        Exception: timm's own errors for weights that do not fit.
    """
    timm, state = timm_with(name), read_state(data)
    own = timm.get_pretrained_cfg(name)
    last = state.get(f"{own.classifier}.weight") if own is not None and not own.label_offset else None
    counted = {} if last is None else {"num_classes": len(last)}
    overlay = {"state_dict": state, "source": "", "custom_load": False, **counted}
    network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **counted).eval()
    head = network.get_classifier()
    if not isinstance(head, nn.Linear):
        raise ConfigError(f"{TIMM}{name} ends in a {type(head).__name__}, not in a linear layer; take another model")
    theirs = _normalised(network, mean, std)
    body = timm.create_model(name, pretrained=False, num_classes=0)
    body.load_state_dict({key: value for key, value in network.state_dict().items() if key in body.state_dict()})
    return _classifier(body, head, mean, std), theirs


def torchvision_classifier(name: str, *, mean: Sequence[float], std: Sequence[float]) -> Any:
    """Return torchvision's network `name` with its weights, as (classifier, the library's own network).

    The library reads the file from its own folder. Raises the library's errors if the file is damaged.
    """
    from torchvision import models

    theirs = models.get_model(name.partition(".")[0], weights=_torchvision_entry(name)).eval()
    body, head = without_head(models.get_model(name.partition(".")[0], weights=_torchvision_entry(name)).eval(), name)
    return _classifier(body, head, mean, std), _normalised(theirs, mean, std)


def _classifier(body: nn.Module, head: nn.Linear, mean: Sequence[float], std: Sequence[float]) -> Classifier:
    model = Classifier(body, width=head.in_features, num_classes=head.out_features, mean=mean, std=std)
    model.head = head
    return model.eval()


def _normalised(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """Return the library's network behind its normalisation, for images of its own size."""
    shift, scale = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    return lambda images: network((images - shift) / scale)


def resized(model: Classifier, size: tuple[int, int]) -> Classifier:
    """Return `model` behind images of any size: they are resized to `size` after they are normalised."""
    model.body = Resized(model.body, size)
    return model


if __name__ == "__main__":
    try:
        print(json.dumps([None, weights_of(sys.argv[1])]))
    except ConfigError as problem:
        print(json.dumps([one_line(problem), None]))
