"""The form in which the paper's datasets were released: `CIFAR_ims` and `CIFAR_lab`, lists of tensors by torch.save.

They have no test split. Floats in [0, 1] are rounded to 8 bits, as in the authors' own loader
(`robustness.tools.folder.TensorDataset`). Tensors that require gradients, or are bfloat16, are accepted; quantised,
sparse and complex tensors are refused. Files are read with `weights_only=True`. Reading them the first time, while
planning, is the only case in which a plan needs torch.
"""

import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nrf_ray.data import members
from nrf_ray.data.outline import Batch, Outline, Rows, Split, count_classes, in_batches, pack
from nrf_ray.data.readers.parquet import as_levels, check_pixels
from nrf_ray.errors import ConfigError

IMAGES, LABELS = "CIFAR_ims", "CIFAR_lab"
MAX_BYTES = 2**34


def files(path: Path) -> Sequence[Path]:
    """Return the paths of both files."""
    found = [path / IMAGES, path / LABELS]
    missing = next((file for file in found if not file.is_file()), None)
    if missing:
        raise ConfigError(f"there is no {missing.name} in {path}")
    members.tree_of(path, (IMAGES.lower(), LABELS.lower()))
    return found


def passed_over(path: Path) -> list[str]:
    """Return the names of the other files in the folder, for printing."""
    return members.passed_over(path, (IMAGES.lower(), LABELS.lower()))


def outline(path: Path) -> Outline:
    """Return the outline, from both files, which are loaded."""
    images, labels = _load(path)
    check_pixels(images.numpy(), str(path))
    numbers = labels.tolist()
    num_classes = count_classes(numbers, path)
    return Outline(
        shape=tuple(images.shape[1:]),
        num_classes=num_classes,
        num_train=len(images),
        num_test=0,
        labels=(pack(numbers), ""),
    )


def read(path: Path, split: Split, rows: Rows) -> Iterator[Batch]:
    """Yield `rows`; there is only a training split."""
    images, labels = _load(path)
    for batch in in_batches(images.numpy(), labels.numpy(), rows):
        yield Batch(as_levels(batch.images.ravel(), str(path)).reshape(batch.images.shape), batch.labels)


def _load(path: Path) -> tuple[Any, Any]:
    """Return images [n, c, h, w] and labels [n] as tensors."""
    images, labels = (_tensor(file) for file in files(path))
    if images.dim() != 4 or labels.dim() != 1 or len(images) != len(labels):
        raise ConfigError(
            f"{path} has images {tuple(images.shape)} and labels {tuple(labels.shape)}; expected [n, c, h, w] and [n]"
        )
    if labels.is_floating_point() or labels.is_complex() or not len(labels):
        raise ConfigError(f"{path} has {len(labels)} labels of type {labels.dtype}; expected whole numbers")
    if not images.numel():
        raise ConfigError(f"{path} has images {tuple(images.shape)}, which have no pixels")
    return images, labels


def _tensor(file: Path) -> Any:
    import pickle

    import torch

    _check_size(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sparse and quantised tensors, which are refused below
            value = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        if said.startswith("Weights only load failed"):  # torch goes on with advice to run what the file contains
            said = "it contains other objects or is damaged; save the tensor itself with torch.save(tensor, FILE)"
        raise ConfigError(f"{file} holds no plain tensors: {said}") from error
    tensors = list(value) if isinstance(value, list | tuple) else [value]
    if not tensors or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise ConfigError(f"{file} holds no tensor and no list of tensors")
    odd = next((kind for tensor in tensors if (kind := _odd(tensor))), "")
    if odd:
        raise ConfigError(f"{file} holds {odd} tensors, which are not read; save them as plain floats or uint8")
    try:
        whole = torch.cat([tensor.detach() for tensor in tensors]).contiguous()
        return whole.float() if whole.dtype == torch.bfloat16 else whole  # exact; numpy does not have bfloat16
    except RuntimeError as error:
        raise ConfigError(f"{file} holds tensors that do not fit together: {str(error).splitlines()[0]}") from error


def _odd(tensor: Any) -> str:
    """Return a word for why the numbers of `tensor` cannot be used as they are; empty if they can."""
    import torch

    if tensor.is_quantized:
        return "quantised"
    if tensor.is_complex():
        return "complex"
    if tensor.is_meta or tensor.layout != torch.strided or tensor.is_nested:
        return "empty or sparse"
    known = tensor.dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64)
    return "" if known or not tensor.is_floating_point() else str(tensor.dtype)


def _check_size(file: Path) -> None:
    """Raise ConfigError if a file is too large, or compressed as zip bombs are; torch.save never compresses."""
    if file.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{file} holds {file.stat().st_size} bytes; at most {MAX_BYTES} are read")
    if zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except zipfile.BadZipFile as error:
            raise ConfigError(f"{file} is damaged: {error}") from error
        if any(member.external_attr & 0x10 for member in members):  # torch would read nothing of it, without an error
            raise ConfigError(f"{file} is damaged: a tensor in it is marked as a folder; write it again")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ConfigError(f"{file} is compressed, unlike files of torch.save; write it with torch.save")
