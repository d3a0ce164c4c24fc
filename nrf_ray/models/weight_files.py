"""Reader of weight files: from bytes to the only state_dict that they contain. No code in a pickle is run.

A file is a plain state_dict, as torch.save or safetensors write it, or a checkpoint that contains one state_dict under
any name, with the epoch, the optimizer, the best accuracy and so on. A file with two state_dicts (a network and its
moving average, a teacher and a student) is refused, because it is unknown which of them is meant.
"""

import io
import pickle
import re
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import safetensors
import safetensors.torch
import torch
from torch import Tensor

Names = Mapping[object, object]
"""Tensors by name, among other things."""
Nameless = Sequence[object]
"""Tensors in a list, among other things."""
MAX_BYTES = 4 * 2**30
"""Size limit. Our networks are far smaller, so a larger file is something else. torch.save never compresses."""

PLAIN = (
    "on the machine it comes from, save the plain weights with torch.save(model.state_dict(), file), or as safetensors"
)
SHOWN = 10
TOP = "the tensors at its top"
FOLDER = 0x10
"""Attribute that marks a member of an archive as a folder. torch silently reads no bytes of a tensor with this mark."""
OPTIMIZER = "param_groups"
"""Key in every optimizer's state, whose tensors are not weights."""
CODE = re.compile(r"unsupported global|is blocked|unrecognized function|can only (create|build)|to load", re.IGNORECASE)
"""Messages of torch for a pickle that calls code, unlike a pickle that is only damaged."""

BEGINNINGS = {
    b"\x89HDF": f"an HDF5 file, as Keras writes it; {PLAIN}",
    b"\x93NUMPY": f"a numpy array (.npy); {PLAIN}",
    b"GGUF": f"a GGUF file, as llama.cpp writes it; {PLAIN}",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"version https://git-lfs": "a pointer of Git LFS in place of the weights; run `git lfs pull` in its repository",
    b"<": "HTML or XML, perhaps the page of a failed download; download the file again",
}
"""Other kinds of files that are mistaken for weights, by their first bytes."""

MEMBERS = {
    "constants.pkl": f"a TorchScript program (torch.jit.save), which contains code in addition to weights; {PLAIN}",
    "archive_format": f"a program of torch.export, which contains code in addition to weights; {PLAIN}",
    ".npy": f"an archive of numpy arrays (.npz); {PLAIN}",
}
"""Other kinds of archives that are mistaken for weights, by the end of a member's name."""


class WeightsError(ValueError):
    """File whose tensors are not the weights of the requested network."""


def read_state(data: bytes, weights: str = "") -> dict[str, Tensor]:
    """Return the tensors of the only state_dict in `data` by their names there.

    If the file has several, `weights` says which: a word of its name, such as ema for state_dict_ema.

    Raises:
        WeightsError: the file contains no state_dict or more than one, has more than `MAX_BYTES`, is compressed, or
            needs code to be run; or a tensor is sparse, quantised, complex, or without values.
    """
    content = _unpacked(data)
    found = dict(_sets(content))
    ranks = {path: rank for path, one in found.items() if (rank := _rank(one))}
    likely = [path for path, rank in ranks.items() if rank == max(ranks.values())]
    if not likely:
        raise WeightsError(f"the file contains a {type(content).__name__} without tensors, not a state_dict")
    named = ", ".join(path or TOP for path in likely[:SHOWN])
    if weights:
        likely = _chosen(likely, weights)
        if len(likely) != 1:
            raise WeightsError(f"weights={weights} names {len(likely)} of the sets of weights in the file ({named})")
    if len(likely) > 1 and ranks[likely[0]] > MIXED:
        raise WeightsError(
            f"the file contains {len(likely)} sets of weights ({named}), and it is unknown which to use; save the set "
            "to use in a separate file, or name it by weights="
        )
    chosen = found[likely[0]]
    if not isinstance(chosen, Mapping):
        raise WeightsError(f"the file contains a list of tensors without names ({named}), not a state_dict; {PLAIN}")
    state: dict[str, Tensor] = {}
    for name, value in chosen.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise WeightsError(
                f"the file contains {name!r}, a {type(value).__name__}, but all values of a state_dict are tensors"
            )
        if odd := _odd(value):
            raise WeightsError(f"the file contains {name!r}, {odd}; {PLAIN}")
        state[name] = value.detach()
    return state


def _chosen(paths: list[str], weights: str) -> list[str]:
    """Return those of `paths` that are called `weights`, or else those that have it as a word."""
    called = [path for path in paths if weights in (path, path.rpartition(".")[2])]
    return called or [path for path in paths if weights.lower() in re.split(r"[._]", path.lower())]


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its class if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _sets(content: object) -> Iterator[tuple[str, Names | Nameless]]:
    """Yield every mapping and every list of tensors in `content` with its path of names, outer ones first.

    The state of optimizers is skipped.
    """
    todo, seen = deque([("", content)]), set()
    while todo:
        path, value = todo.popleft()
        if id(value) in seen or not isinstance(value, Mapping | list | tuple):
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            if OPTIMIZER in value:
                continue
            inner = {str(name): one for name, one in value.items() if "optim" not in str(name).lower()}
        else:
            inner = {str(place): one for place, one in enumerate(value)}
        if isinstance(value, Mapping) or any(isinstance(one, Tensor) for one in value):
            yield path, value
        todo += [(f"{path}.{name}" if path else name, one) for name, one in inner.items()]


MIXED, TENSORS, NETWORK = 1, 2, 3


def _rank(found: Names | Nameless) -> int:
    """Return how similar a mapping or a list is to the weights of a network; 0 if it has no tensor.

    A network has layers: tensors of at least two dimensions whose names contain a dot, or a list of tensors of several
    shapes, as some moving averages are saved. The best accuracy, a confusion matrix and the state of a random number
    generator are not layers.
    """
    if not isinstance(found, Mapping):
        shapes = {one.shape for one in found if isinstance(one, Tensor)}
        return NETWORK if len(shapes) > 1 and max(map(len, shapes)) > 1 else 0
    tensors = {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if any("." in name and tensor.dim() > 1 for name, tensor in tensors.items()):
        return NETWORK
    return 0 if not tensors else TENSORS if len(tensors) == len(found) else MIXED


def _odd(tensor: Tensor) -> str:
    """Return how a tensor differs from a plain array of real numbers; empty if it does not."""
    if tensor.is_meta:
        return "a tensor without values (on the device meta)"
    if tensor.is_quantized:
        return f"a quantised tensor ({tensor.dtype})"
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"a tensor of the layout {tensor.layout}"
    if tensor.is_floating_point() and tensor.dtype.itemsize < 2:
        return f"a tensor of {tensor.dtype}, with too few digits for weights"
    return f"a tensor of complex numbers ({tensor.dtype})" if tensor.is_complex() else ""


def _unpacked(data: bytes) -> object:
    if len(data) > MAX_BYTES:
        raise WeightsError(f"the file has {len(data)} bytes; at most {MAX_BYTES} are read")
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
    except Exception as error:  # the errors for damaged files are not documented
        if isinstance(error, pickle.UnpicklingError) and CODE.search(str(error)):
            raise WeightsError(
                f"the file contains more than tensors, and reading it would run its code, which is never done; {PLAIN}"
            ) from error
        raise WeightsError(
            f"the file is neither safetensors nor an intact file of torch.save ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    """Return why a file cannot be read, without torch's advice to read it in an unsafe way."""
    return "its pickle is damaged" if isinstance(error, pickle.UnpicklingError) else first_line(error)


def check_members(members: list[zipfile.ZipInfo]) -> None:
    """Raise WeightsError if torch.save did not make the archive."""
    names = [member.filename for member in members]
    other = next((what for ending, what in MEMBERS.items() if any(name.endswith(ending) for name in names)), None)
    if other:
        raise WeightsError(f"the file is {other}")
    if any(member.external_attr & FOLDER for member in members):
        raise WeightsError(
            "the file is damaged: a tensor in it is marked as a folder, so torch would not read its bytes"
        )
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise WeightsError(
            "the file is compressed, unlike files of torch.save; unpack it and save the weights again with torch.save"
        )
