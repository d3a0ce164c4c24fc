"""MODEL on the command line of `nrf`: the forms of a sweep's flags, and a function of the user's."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.errors import ConfigError, one_line
from nrf_ray.models.model_name import MEANT
from nrf_ray.stages.given_model import import_spec

if TYPE_CHECKING:
    from torch import nn

CODE = "PATH.py:FUNCTION"
ModelName = Annotated[
    str,
    Parameter(
        help=f"{MEANT}. Or {CODE}: a function of yours without arguments, which returns an nn.Module that takes images "
        "in [0, 1] and returns logits; the file is code, and it is run."
    ),
]
"""Argument of every command that takes a model of anybody."""


def given_model(name: str, info: DatasetInfo, store: str) -> "nn.Module":
    """Return the network called `name`, for the images of `info`, in eval mode; keys are looked up in `store`.

    Raises ConfigError if there is no such model, or if it does not fit the dataset.
    """
    path, colon, _ = name.rpartition(":")
    is_code = path.endswith(".py") if colon else name.endswith(".py")
    network = _of_code(name) if is_code else _of_name(name, info, store)
    _check_fits(network, name, info, is_code=is_code)
    return network


def _of_name(name: str, info: DatasetInfo, store: str) -> "nn.Module":
    from nrf_ray.stages.imported import imported_from

    return imported_from(import_spec(name, info, store), store).model


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
        raise ConfigError(f"{name!r} names no function; write {CODE}")
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; write {CODE}")
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
        raise ConfigError(f"{path}:{function} failed: {type(error).__name__}: {one_line(error)}") from error
    finally:
        sys.path.remove(folder)
