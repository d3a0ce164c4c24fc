"""Images with labels, as two tensors."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """n images and their labels. Immutable by convention: nobody writes into the tensors."""

    images: Tensor
    """[n, c, h, w]; float32 in [0, 1], or uint8 in 0..255."""
    labels: Tensor
    """[n], int64."""

    def __post_init__(self) -> None:
        assert self.images.dim() == 4, "images are [n, c, h, w]"
        assert self.labels.shape == self.images.shape[:1], "labels are [n]"
        assert self.images.dtype in (torch.float32, torch.uint8), "images are float32 or uint8"
        assert self.labels.dtype == torch.int64, "labels are int64"

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> "LabelledImages":
        """Return the same images on `device`."""
        return LabelledImages(images=self.images.to(device), labels=self.labels.to(device))

    def first(self, n: int | None) -> "LabelledImages":
        """Return the first `n` images, or all where n is None or larger."""
        return LabelledImages(images=self.images[:n], labels=self.labels[:n])

    def floats(self) -> Tensor:
        """Return the images as float32 in [0, 1]."""
        return as_float(self.images)


def as_float(images: Tensor) -> Tensor:
    """Return images as float32 in [0, 1]; uint8 pixels are divided by 255."""
    return images.float() / 255.0 if images.dtype == torch.uint8 else images


def as_uint8(images: Tensor) -> Tensor:
    """Return images in [0, 1] rounded to the nearest of 256 levels."""
    return (images * 255.0).round().to(torch.uint8)


def stored_as(images: Tensor, storage: str) -> Tensor:
    """Return images in [0, 1] as they are kept: rounded to "uint8", or as "float32"."""
    return as_uint8(images) if storage == "uint8" else images.float()


def content_digest(*splits: LabelledImages) -> str:
    """Return the sha256 over shapes, types, pixels and labels of `splits`, in order."""
    hasher = hashlib.sha256()
    for split in splits:
        for tensor in (split.images, split.labels):
            hasher.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            hasher.update(tensor.contiguous().numpy().tobytes())
    return hasher.hexdigest()
