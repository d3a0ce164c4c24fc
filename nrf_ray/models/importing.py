"""Weights of networks that were trained elsewhere: from a file's bytes into a `Classifier`, whole or not at all.

A file is a plain state_dict, as torch.save or safetensors write it, perhaps in one of the common wrappings: under
`state_dict` or `model`, with `module.` (DataParallel) or `_orig_mod.` (torch.compile) before every name, or as the
checkpoints of MadryLab's robustness library. No pickle is run. Names follow torchvision or timm, or call a ResNet's
`downsample` `shortcut`, as the usual CIFAR code does.
"""

import io
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nrf_ray.models.classifier import Classifier

MAX_BYTES = 4 * 2**30
"""No network of ours comes near; a larger file is something else. What torch.save writes is never compressed."""

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
HEADS = {"fc", "classifier", "classifier.6", "linear", "last_linear", "head", "head.fc"}
NORMALISER = {"mean", "std"}
SHOWN = 10


class WeightsError(ValueError):
    """A file whose tensors are not the weights of the network asked for."""


def read_state(data: bytes) -> dict[str, Tensor]:
    """Return the tensors in `data` by their names in the file, outer wrappings removed.

    Raises:
        WeightsError: it is no state_dict, has more than `MAX_BYTES`, is compressed, or needs code to be run.
    """
    found: Any = _unpacked(data)
    while isinstance(found, Mapping) and not any(isinstance(value, Tensor) for value in found.values()):
        inner = next((found[name] for name in WRAPPERS if name in found), None)
        if inner is None:
            break
        found = inner
    if not isinstance(found, Mapping) or not found:
        raise WeightsError(f"the file holds a {type(found).__name__} without tensors, and no state_dict")
    for name, value in found.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise WeightsError(f"the file holds {name!r}, a {type(value).__name__}, where a state_dict has a tensor")
    return dict(found)


def _unpacked(data: bytes) -> object:
    if len(data) > MAX_BYTES:
        raise WeightsError(f"the file has {len(data)} bytes, more than the {MAX_BYTES} that are read")
    try:
        if data[8:9] == b"{":
            return safetensors.torch.load(data)
        if data[:4] == b"PK\x03\x04":
            members = zipfile.ZipFile(io.BytesIO(data)).infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise WeightsError("the file is compressed, as no file of torch.save is; it is not unpacked")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "the file holds more than tensors, and reading it would run code from it, which is never done. Where it "
            "comes from, write the plain weights: torch.save(model.state_dict(), file), or as safetensors"
        ) from error
    except (EOFError, RuntimeError, KeyError, zipfile.BadZipFile, safetensors.SafetensorError) as error:
        raise WeightsError(f"the file is neither safetensors nor a whole file of torch.save ({error})") from error


def has_normaliser(state: Mapping[str, Tensor]) -> bool:
    """Return whether `state` says how its network normalises images."""
    return not NORMALISER.isdisjoint(_unwrapped(state))


def load_state(model: Classifier, state: Mapping[str, Tensor]) -> None:
    """Make `state` the weights of `model`, or raise WeightsError that names what does not match, and change nothing.

    Two things may be absent from the file: the normalisation, which then stays as it is, and BatchNorm's count of
    batches, which files from before 2018 lack and which decides nothing.
    """
    expected = model.state_dict()
    adapted: dict[str, Tensor] = {}
    unexpected: list[str] = []
    for name, tensor in _unwrapped(state).items():
        target = _our_name(name, expected)
        if target is None or target in adapted:
            unexpected.append(name)
        else:
            adapted[target] = tensor.reshape(1, -1, 1, 1) if target in NORMALISER else tensor
    required = [name for name in expected if not name.endswith(".num_batches_tracked")]
    if NORMALISER.isdisjoint(adapted):
        required = [name for name in required if name not in NORMALISER]
    missing = [name for name in required if name not in adapted]
    shapes = [
        f"{name} is {tuple(tensor.shape)}, not {tuple(expected[name].shape)}"
        for name, tensor in adapted.items()
        if tensor.shape != expected[name].shape
    ]
    broken = [name for name, tensor in adapted.items() if not _is_sound(tensor, expected[name])]
    flat = [name for name in adapted.keys() & {"std"} if not bool((adapted[name] > 0).all())]
    problems = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": shapes,
        "not finite numbers": broken,
        "not above 0": flat,
    }
    if any(problems.values()):
        raise WeightsError("; ".join(_listed(what, names) for what, names in problems.items() if names))
    model.load_state_dict(expected | adapted)


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state` without the prefixes of wrappers, its normalisation as `mean` and `std`."""
    names = _without_common_prefix(dict(state), ("module.", "_orig_mod."))
    if "normalizer.new_mean" in names:  # MadryLab's robustness: the attacker holds a second copy of everything
        names = {name: tensor for name, tensor in names.items() if not name.startswith("attacker.")}
        normaliser = {"mean": names.pop("normalizer.new_mean")}
        if "normalizer.new_std" in names:
            normaliser["std"] = names.pop("normalizer.new_std")
        return _without_common_prefix(names, ("model.",)) | normaliser
    return _without_common_prefix(names, ("module.", "_orig_mod.", "model."))


def _without_common_prefix(state: dict[str, Tensor], prefixes: Iterable[str]) -> dict[str, Tensor]:
    for prefix in prefixes:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _our_name(name: str, expected: Mapping[str, Tensor]) -> str | None:
    """Return what a `Classifier` with the tensors `expected` calls the tensor `name` of a file; None for nothing."""
    module, _, leaf = name.rpartition(".")
    candidates = [name, f"body.{name}", f"body.{name.replace('.shortcut.', '.downsample.')}"]
    if module in HEADS:
        candidates.append(f"head.{leaf}")
    return next((candidate for candidate in candidates if candidate in expected), None)


def _is_sound(tensor: Tensor, expected: Tensor) -> bool:
    return tensor.is_floating_point() == expected.is_floating_point() and bool(tensor.isfinite().all())


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}"
