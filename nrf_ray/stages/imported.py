"""The network behind an `ImportSpec`: its file read, its names mapped, its normalisation found."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from nrf_ray.data.catalogue import DatasetInfo, info_of
from nrf_ray.errors import ConfigError, one_line
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.find import committed, open_store
from nrf_ray.graph.store import Place, Store
from nrf_ray.models import pretrained
from nrf_ray.models.catalogue import ENCODER
from nrf_ray.models.classifier import Classifier
from nrf_ray.models.importing import Mapped, load_state
from nrf_ray.models.weight_files import MAX_BYTES, WeightsError, read_state
from nrf_ray.models.zoo import build
from nrf_ray.stages.given_model import IN_STORE
from nrf_ray.stages.import_weights import ImportSpec, digest_of
from nrf_ray.stages.weights import FILE

TOLERANCE = 1e-5
"""Largest difference between the logits of an imported network and of its library's, relative to the largest logit."""
TRIED = 4
"""Images on which the two are compared."""


class Imported(NamedTuple):
    """A network from elsewhere."""

    model: Classifier
    """The network, in eval mode on the CPU."""
    mapping: str
    """How the names of the file were mapped, in words."""
    normalisation: str
    """Mean and std of the network, and where they were found, in words."""


def imported(config: ImportSpec, store: Store | None) -> Imported:
    """Return the network of `config`; `store` is needed only for a model of the store.

    Raises ConfigError that names every tensor that does not match, or if the file is not the one of `config`.
    """
    data, info = _bytes_of(config, store), info_of(config.dataset)
    try:
        found = (
            _by_names(config, data, info) if config.layout in ("names", "entry") else _by_library(config, data, info)
        )
    except WeightsError as error:
        shape = " x ".join(map(str, info.shape))
        raise ConfigError(
            f"{_where(config)} does not fit {config.arch} for images of {shape} and {info.num_classes} classes: {error}"
        ) from error
    found.model.eval()
    return found


def imported_from(config: ImportSpec, uri: str) -> Imported:
    """Return the network of `config`; a model of a store is read from the store at `uri`."""
    return imported(config, open_store(uri) if config.location.startswith(IN_STORE) else None)


def _where(config: ImportSpec) -> str:
    return config.location or config.title


def _bytes_of(config: ImportSpec, store: Store | None) -> bytes:
    """Return the contents of the file, after comparing it with its digest."""
    if config.location.startswith(IN_STORE):
        stage, _, key = config.location.removeprefix(IN_STORE).partition("/")
        assert store is not None, "a model of the store is imported by a stage of it"
        return store.read(committed(store, Place(stage, Key(key))), FILE)
    path = Path(config.location)
    if (found := digest_of(config.location)) != config.sha256:
        raise ConfigError(
            f"the weights at {path} have sha256 {found[:12]}, not {config.sha256[:12]}: this is another file"
        )
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"the weights at {path} have more than {MAX_BYTES} bytes: this is not a file of weights")
    return path.read_bytes()


def _new(config: ImportSpec, info: DatasetInfo) -> Classifier:
    if config.arch == ENCODER:
        raise ConfigError(f"{ENCODER} is an encoder of texts, and weights are imported for images; name another --arch")
    channels = info.shape[0]
    mean, std = config.mean or (0.0,) * channels, config.std or (1.0,) * channels
    return build(
        config.arch, shape=info.shape, num_classes=info.num_classes, mean=mean, std=std, seed=0, size=config.size
    )


def _by_names(config: ImportSpec, data: bytes, info: DatasetInfo) -> Imported:
    model = _new(config, info)
    mapped: Mapped = load_state(model, read_state(data, config.weights))
    if mapped.normalised == bool(config.mean) and config.layout == "names":
        raise ConfigError(
            f"the weights at {_where(config)} "
            + (
                "include mean and std; omit those of the config"
                if config.mean
                else "do not include the normalisation of images; give the mean and std used in training, as in "
                "#mean=0.49:0.48:0.45,std=0.25 (mean=0,std=1 if images were not normalised)"
            )
        )
    origin = "the file" if mapped.normalised else "RobustBench" if config.layout == "entry" else "the name"
    return Imported(model, str(mapped), _normalisation(model, origin))


def _by_library(config: ImportSpec, data: bytes, info: DatasetInfo) -> Imported:
    """Return the network as its library loads it, after comparing its logits with those of the library's own."""
    library, _, name = config.arch.partition(":")
    shown = {"mean": config.mean, "std": config.std}
    try:
        if config.layout == "timm":
            model, theirs = pretrained.timm_classifier(name, data, **shown)
        else:
            model, theirs = pretrained.torchvision_classifier(name, **shown)
    except (ConfigError, WeightsError):
        raise
    except Exception as error:  # timm, safetensors and torch each have errors of their own
        raise ConfigError(f"the weights at {_where(config)} cannot be read: {one_line(error, 300)}") from error
    classes = model.head.out_features
    if classes != info.num_classes:
        raise ConfigError(
            f"{config.title} tells {classes} classes apart, and {info.ref.name} has {info.num_classes}; give a dataset "
            "with the classes that it was trained on, in the same order"
        )
    if config.size:
        model = pretrained.resized(model, config.size)
    again = _new(config, info)
    again.load_state_dict(model.state_dict())
    _compare(again.eval(), theirs, info.shape, config)
    return Imported(again, f"by {library}", _normalisation(again, library))


@torch.no_grad()
def _compare(
    model: Classifier, theirs: Callable[[Tensor], Tensor], shape: tuple[int, int, int], config: ImportSpec
) -> None:
    images = torch.rand((TRIED, *shape), generator=torch.Generator().manual_seed(0))
    seen = images
    if config.size:
        seen = functional.interpolate(images, size=config.size, mode="bilinear", antialias=True)
    wanted, found = theirs(seen), model(images)
    apart = float((wanted - found).abs().max() / wanted.abs().max().clamp_min(1.0))
    if not apart <= TOLERANCE:
        raise ConfigError(
            f"the logits of {config.title} differ by {apart:.1e} from those of its library's own network, whose "
            "forward pass does more than its weights say; take another model"
        )


def _normalisation(model: Classifier, origin: str) -> str:
    mean, std = (_listed(values.flatten().tolist()) for values in (model.mean, model.std))
    return f"mean {mean}, std {std}, from {origin}"


def _listed(values: Sequence[float]) -> str:
    return ":".join(f"{value:.4g}" for value in values)
