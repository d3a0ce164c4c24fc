"""The form in which the paper's datasets were released: `CIFAR_ims` and `CIFAR_lab`, lists of tensors by torch.save.

They have no test split. Floats in [0, 1] are rounded to 8 bits; the authors' own loader goes through 8 bits too
(`robustness.tools.folder.TensorDataset`). They are read with `weights_only=True`; the first look at them, while
planning, is the one place where a plan needs torch.
"""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nrf_ray.data.outline import Batch, Outline, Rows, Split, count_classes, in_batches
from nrf_ray.data.readers.parquet import as_levels
from nrf_ray.errors import ConfigError

IMAGES, LABELS = "CIFAR_ims", "CIFAR_lab"
MAX_BYTES = 2**34


def files(path: Path) -> Sequence[Path]:
    """Return both files."""
    found = [path / IMAGES, path / LABELS]
    missing = next((file for file in found if not file.is_file()), None)
    if missing:
        raise ConfigError(f"there is no {missing.name} in {path}")
    return found


def outline(path: Path) -> Outline:
    """Load both files."""
    images, labels = _load(path)
    return Outline(
        shape=tuple(images.shape[1:]),
        num_classes=count_classes(labels.tolist(), path),
        num_train=len(images),
        num_test=0,
    )


def read(path: Path, split: Split, rows: Rows) -> Iterator[Batch]:
    """Yield `rows`; there is a training split only."""
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
    if labels.is_floating_point() or not len(labels):
        raise ConfigError(f"{path} has {len(labels)} labels of type {labels.dtype}; expected whole numbers")
    return images, labels


def _tensor(file: Path) -> Any:
    import pickle

    import torch

    _check_size(file)
    try:
        value = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConfigError(f"{file} holds no plain tensors: {str(error).splitlines()[0]}") from error
    tensors = list(value) if isinstance(value, list | tuple) else [value]
    if not tensors or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise ConfigError(f"{file} holds no tensor and no list of tensors")
    try:
        return torch.cat(tensors).contiguous()
    except RuntimeError as error:
        raise ConfigError(f"{file} holds tensors that do not fit together: {str(error).splitlines()[0]}") from error


def _check_size(file: Path) -> None:
    """Refuse a file that is too large, or an archive that is compressed, as torch.save's never are and bombs are."""
    if file.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{file} holds {file.stat().st_size} bytes; at most {MAX_BYTES} are read")
    if zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except zipfile.BadZipFile as error:
            raise ConfigError(f"{file} is damaged: {error}") from error
        if any(member.external_attr & 0x10 for member in members):  # of a folder nothing is read, and nothing is said
            raise ConfigError(f"{file} is damaged: a tensor in it is marked as a folder; get it again")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ConfigError(f"{file} is compressed, as no file of torch.save is; write it with torch.save")
