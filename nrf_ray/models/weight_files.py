"""Files of weights: from bytes to the one set of tensors that they hold. No pickle is run.

A file is a plain state_dict, as torch.save or safetensors write it, or a checkpoint that holds one such set under any
name, beside the epoch, the optimizer, the best accuracy and so on. A file that holds two (a network and its moving
average, a teacher and a student) is refused: which one is meant cannot be known.
"""

import io
import pickle
import re
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping

import safetensors
import safetensors.torch
import torch
from torch import Tensor

MAX_BYTES = 4 * 2**30
"""No network of ours comes near; a larger file is something else. What torch.save writes is never compressed."""

PLAIN = "where it comes from, write the plain weights: torch.save(model.state_dict(), file), or as safetensors"
SHOWN = 10
TOP = "the tensors at its top"
FOLDER = 0x10
"""Marks a member of an archive as a folder. torch reads nothing of a tensor that is marked so, and says nothing."""
OPTIMIZER = "param_groups"
"""Every optimizer's state has it; the tensors there are no weights."""
CODE = re.compile(r"unsupported global|is blocked|unrecognized function|can only (create|build)|to load", re.IGNORECASE)
"""What torch says of a pickle that calls something, unlike one that is merely damaged."""

BEGINNINGS = {
    b"\x89HDF": f"an HDF5 file, as Keras writes it; {PLAIN}",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"version https://git-lfs": "a pointer of Git LFS in place of the weights; run `git lfs pull` where it comes from",
    b"<": "a text of HTML or XML, perhaps the page of a failed download; get the file again",
}
"""Other files that are taken for weights, by their first bytes."""

MEMBERS = {
    "constants.pkl": f"a TorchScript program (torch.jit.save), which holds code beside its weights; {PLAIN}",
    "archive_format": f"a program of torch.export, which holds code beside its weights; {PLAIN}",
    ".npy": f"an archive of numpy arrays (.npz); {PLAIN}",
}
"""Other archives that are taken for weights, by how the name of a member ends."""


class WeightsError(ValueError):
    """A file whose tensors are not the weights of the network asked for."""


def read_state(data: bytes) -> dict[str, Tensor]:
    """Return the tensors in `data` by their names in the file, outer wrappings removed.

    Raises:
        WeightsError: there is no set of weights in it, or more than one; it has more than `MAX_BYTES`, is compressed,
            or needs code to be run; a tensor is sparse, quantised, complex, or without values.
    """
    content = _unpacked(data)
    found = dict(_mappings(content))
    ranks = {path: rank for path, mapping in found.items() if (rank := _rank(mapping))}
    likely = [path for path, rank in ranks.items() if rank == max(ranks.values())]
    if not likely:
        raise WeightsError(f"the file holds a {type(content).__name__} without tensors, and no state_dict")
    if len(likely) > 1 and ranks[likely[0]] > MIXED:
        named = ", ".join(path or TOP for path in likely[:SHOWN])
        raise WeightsError(
            f"the file holds {len(likely)} sets of weights ({named}) and does not say which is meant; save that one "
            "alone into a file of its own"
        )
    state: dict[str, Tensor] = {}
    for name, value in found[likely[0]].items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise WeightsError(f"the file holds {name!r}, a {type(value).__name__}, where a state_dict has a tensor")
        if odd := _odd(value):
            raise WeightsError(f"the file holds {name!r}, {odd}; {PLAIN}")
        state[name] = value.detach()
    return state


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its kind where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _mappings(content: object) -> Iterator[tuple[str, Mapping[object, object]]]:
    """Yield every mapping in `content` with the names that lead to it, the outer first; what optimizers keep, never."""
    todo, seen = deque([("", content)]), set()
    while todo:
        path, value = todo.popleft()
        if isinstance(value, Mapping) and id(value) not in seen and OPTIMIZER not in value:
            seen.add(id(value))
            yield path, value
            inner = {name: one for name, one in value.items() if isinstance(name, str) and "optim" not in name.lower()}
            todo += [(f"{path}.{name}" if path else name, one) for name, one in inner.items()]


MIXED, TENSORS, NETWORK = 1, 2, 3


def _rank(mapping: Mapping[object, object]) -> int:
    """Return how much `mapping` is like the weights of a network; 0 where it holds no tensor.

    A network has layers: tensors of two dimensions and more whose names have a dot. The best accuracy, a confusion
    matrix and the state of a random number generator have not.
    """
    tensors = {name: value for name, value in mapping.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if any("." in name and tensor.dim() > 1 for name, tensor in tensors.items()):
        return NETWORK
    return 0 if not tensors else TENSORS if len(tensors) == len(mapping) else MIXED


def _odd(tensor: Tensor) -> str:
    """Return what is odd about a tensor that is no plain array of real numbers; empty for one that is."""
    if tensor.is_meta:
        return "a tensor without values (on the device meta)"
    if tensor.is_quantized:
        return f"a quantised tensor ({tensor.dtype})"
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"a tensor of the layout {tensor.layout}"
    return f"a tensor of complex numbers ({tensor.dtype})" if tensor.is_complex() else ""


def _unpacked(data: bytes) -> object:
    if len(data) > MAX_BYTES:
        raise WeightsError(f"the file has {len(data)} bytes, more than the {MAX_BYTES} that are read")
    other = next((what for beginning, what in BEGINNINGS.items() if data.startswith(beginning)), None)
    if other:
        raise WeightsError(f"the file is {other}")
    try:
        if data[8:9] == b"{":
            return safetensors.torch.load(data)
        if data[:4] == b"PK\x03\x04":
            check_members(zipfile.ZipFile(io.BytesIO(data)).infolist())
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # what reading a damaged file raises is not documented
        if isinstance(error, pickle.UnpicklingError) and CODE.search(str(error)):
            raise WeightsError(
                f"the file holds more than tensors, and reading it would run code from it, which is never done; {PLAIN}"
            ) from error
        raise WeightsError(
            f"the file is neither safetensors nor a whole file of torch.save ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    """Return why a file cannot be read, without torch's advice to read it in an unsafe way."""
    return "its pickle is damaged" if isinstance(error, pickle.UnpicklingError) else first_line(error)


def check_members(members: list[zipfile.ZipInfo]) -> None:
    """Raise WeightsError for an archive that torch.save has not made."""
    names = [member.filename for member in members]
    other = next((what for ending, what in MEMBERS.items() if any(name.endswith(ending) for name in names)), None)
    if other:
        raise WeightsError(f"the file is {other}")
    if any(member.external_attr & FOLDER for member in members):
        raise WeightsError("the file is damaged: a tensor in it is marked as a folder, of which no bytes would be read")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise WeightsError("the file is compressed, as no file of torch.save is; it is not unpacked")
