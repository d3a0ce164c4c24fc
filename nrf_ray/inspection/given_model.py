"""MODEL: how people name a model that is not in a grid, and the network that it stands for.

`FORMS` has the grammar. What another command calls MODEL has the type `ModelName`, whose help text is made from it.
"""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.errors import ConfigError, one_line
from nrf_ray.graph.store import Artifact
from nrf_ray.models.catalogue import TIMM, TORCHVISION
from nrf_ray.results.stored_sweep import committed, find_place, open_store

if TYPE_CHECKING:
    from torch import nn

FILE = "file:"
ARCH = "#arch="
FORMS: dict[str, str] = {
    "KEY": "a model of the store, by a prefix of its key",
    f"{FILE}PATH{ARCH}NAME": "weights; those that nrf_ray wrote say their architecture themselves",
    f"{TIMM}NAME": "a pretrained network of timm, whose weights are on this machine",
    f"{TORCHVISION}NAME": "a pretrained network of torchvision, likewise",
    "PATH.py:FUNCTION": "a function of yours without arguments, which returns an nn.Module that takes images in [0, 1] "
    "and returns logits; the file is code, and it is run",
}
"""Every form of a model's name, with its meaning."""
ModelName = Annotated[str, Parameter(help="; ".join(f"{form}: {meaning}" for form, meaning in FORMS.items()) + ".")]
"""Argument of every command that takes a model of anybody."""
TRAINED = ("train", "import_weights")
"""Stages whose artifacts are models."""


def given_model(name: str, info: DatasetInfo, store: str) -> "nn.Module":
    """Return the network called `name`, for the images of `info`, in eval mode; keys are looked up in `store`.

    Raises ConfigError if there is no such model, or if it does not fit the dataset.
    """
    path, colon, _ = name.rpartition(":")
    is_code = bool(colon) and path.endswith(".py")
    network = _of_code(name) if is_code else _of_name(name, info, store)
    _check_fits(network, name, info, is_code=is_code)
    return network


def _of_name(name: str, info: DatasetInfo, store: str) -> "nn.Module":
    if name.startswith((TIMM, TORCHVISION)):
        from nrf_ray.models.pretrained import pretrained_timm, pretrained_torchvision

        kind, _, network = name.partition(":")
        return pretrained_timm(network) if f"{kind}:" == TIMM else pretrained_torchvision(network)
    return _of_weights(name, info) if name.startswith(FILE) else _of_key(name, store)


def _check_fits(network: "nn.Module", name: str, info: DatasetInfo, *, is_code: bool) -> None:
    """Pass one grey image through `network`: raise ConfigError unless it returns a logit for every class of `info`.

    A function of the user's may return more logits, such as that of a class for refused images.
    """
    import torch

    from nrf_ray.engine.given import check_outputs

    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            outputs = network(torch.full((1, *info.shape), 0.5, device=device))
    except Exception as error:  # a network may raise anything for images that it is not made for
        shape, said = " x ".join(map(str, info.shape)), one_line(error, 300)
        raise ConfigError(
            f"{name} does not take the images of {info.ref.name}, {shape}: {type(error).__name__}: {said}"
        ) from error
    classes = check_outputs(outputs, network, 1).shape[1]
    if classes < info.num_classes or (classes > info.num_classes and not is_code):
        raise ConfigError(
            f"{name} tells {classes} classes apart, and {info.ref.name} has {info.num_classes}; give --data with the "
            "classes that it was trained on, in the same order"
        )


def _of_key(name: str, store: str) -> "nn.Module":
    if not name or set(name.lower()) - set("0123456789abcdef"):
        raise ConfigError(f"{name!r} is not a model; write {', '.join(list(FORMS)[:-1])} or {list(FORMS)[-1]}")
    opened = open_store(store)
    place = find_place(opened, name)
    if place.stage not in TRAINED:
        raise ConfigError(f"{place.stage}/{place.key[:12]} is not a model; `nrf show` says what a key stands for")
    from nrf_ray.stages.weights import load_model

    return load_model(Artifact(opened, committed(opened, place)), "cpu")


def _of_weights(name: str, info: DatasetInfo) -> "nn.Module":
    """Return the network of a file of weights."""
    from nrf_ray.models.importing import has_normaliser, load_state
    from nrf_ray.models.weight_files import WeightsError, read_state
    from nrf_ray.stages.weights import new_model

    text, mark, arch = name.removeprefix(FILE).partition(ARCH)
    path = Path(text).expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the weights at {path} cannot be read: {error.strerror}") from error
    arch = arch if mark else _own_arch(data)
    if not arch:
        raise ConfigError(f"the file {path} does not say its architecture; write {FILE}{path}{ARCH}NAME")
    network = new_model(arch, info.ref, seed=0)
    try:
        state = read_state(data)
        if not has_normaliser(state):
            raise ConfigError(
                f"the weights at {path} do not include the normalisation of images; write a function that returns the "
                "network with its normalisation in it, and name it as PATH.py:FUNCTION"
            )
        load_state(network, state)
    except WeightsError as error:
        raise ConfigError(f"{path} does not fit {arch} for {info.ref.name}: {error}") from error
    return network.eval()


def _own_arch(data: bytes) -> str:
    """Return the architecture that the safetensors file `data` states, if nrf_ray wrote it; otherwise empty."""
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        arch = json.loads(header["__metadata__"]["nrf_ray"])["arch"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return arch if isinstance(arch, str) else ""


def _of_code(name: str) -> "nn.Module":
    """Return what the function `name`, PATH.py:FUNCTION, returns."""
    from torch import nn

    made = user_function(name)()
    if not isinstance(made, nn.Module):
        raise ConfigError(f"{name} returned a {type(made).__name__}; it must return an nn.Module")
    return made.eval()


def user_function(name: str) -> Callable[..., Any]:
    """Run the file of `name`, PATH.py:FUNCTION, and return its function, which may import the file's neighbours.

    Raises ConfigError if there is no such function, and when the function fails.
    """
    text, colon, function = name.rpartition(":")
    path = Path(text).expanduser()
    if not colon or path.suffix != ".py":
        raise ConfigError(f"{name!r} is no function; write PATH.py:FUNCTION")
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; write PATH.py:FUNCTION")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, "the name ends in .py"
    assert spec.loader is not None, "so there is a loader"
    module = importlib.util.module_from_spec(spec)
    with _running(path, function):
        spec.loader.exec_module(module)
    made = getattr(module, function, None)
    if not callable(made):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise ConfigError(f"{path} has no function {function!r}; it has {', '.join(known) or 'none'}")

    def called(*given: Any) -> Any:
        with _running(path, function):
            return made(*given)

    return called


@contextmanager
def _running(path: Path, function: str) -> Iterator[None]:
    """Let code of the file at `path` import its neighbours, as when it is run; say what it raises in one line."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{path}:{function} failed: {said}") from error
    finally:
        sys.path.remove(folder)
