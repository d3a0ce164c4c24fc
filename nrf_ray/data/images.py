"""Images with labels, as two tensors."""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nrf_ray.seeding import derive_seed

GPU_SHARE = 0.5
"""Largest fraction of a GPU's free memory for a set of images; the rest is for the network and its gradients."""


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """n images and their labels. Immutable by convention: do not write into the tensors."""

    images: Tensor
    """[n, c, h, w]; float32 in [0, 1], or uint8 in 0..255."""
    labels: Tensor
    """[n], int64."""
    pictures: tuple[str, ...] | None = None
    """[n], files that the images were cut from, for random crops of the whole pictures; None to crop the images."""
    as_shown: bool = False
    """Whether those files are opened as a viewer shows them: turned by their orientation tags, over white."""

    def __post_init__(self) -> None:
        assert self.images.dim() == 4, "images are [n, c, h, w]"
        assert self.labels.shape == self.images.shape[:1], "labels are [n]"
        assert self.images.dtype in (torch.float32, torch.uint8), "images are float32 or uint8"
        assert self.labels.dtype == torch.int64, "labels are int64"
        assert self.pictures is None or len(self.pictures) == len(self.labels), "there is a picture for each label"

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> "LabelledImages":
        """Return the labels on `device`, and the images too if they fit there; otherwise the images stay as they are.

        Tensors that are already on `device` are not copied, so images that are mapped from disk stay on disk. `rows`
        returns batches on the labels' device in either case.
        """
        images = self.images.to(device) if fits(self.images, device) else self.images
        return replace(self, images=images, labels=self.labels.to(device))

    def rows(self, chosen: Tensor | slice) -> "LabelledImages":
        """Return the images and labels at the indices `chosen` (a tensor or a slice), on the device of the labels."""
        within = chosen.to(self.images.device) if isinstance(chosen, Tensor) else chosen
        images = self.images[within].to(self.labels.device, non_blocking=True)
        return replace(self, images=images, labels=self.labels[chosen], pictures=self._pictures(chosen))

    def _pictures(self, chosen: Tensor | slice) -> tuple[str, ...] | None:
        if self.pictures is None:
            return None
        rows = range(len(self))[chosen] if isinstance(chosen, slice) else chosen.tolist()
        return tuple(self.pictures[row] for row in rows)

    def floats(self) -> Tensor:
        """Return the images as float32 in [0, 1]."""
        return as_float(self.images)


def holdout(n: int, share: float) -> tuple[Tensor, Tensor]:
    """Split n rows into training and held-out indices; `share` is the held-out fraction.

    The split depends only on n and `share`, so every recipe is evaluated on the same rows.
    """
    mixed = torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(0, "holdout")))
    held = round(n * share)
    return mixed[held:].sort().values, mixed[:held].sort().values


def some(n: int, count: int | None) -> Tensor:
    """Return `count` of n indices, ascending; all of them if count is None or larger than n.

    They are the first of one fixed permutation: files are often sorted by class, so the first rows may be of one class.
    """
    if count is None or count >= n:
        return torch.arange(n)
    mixed = torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(0, "some")))
    return mixed[:count].sort().values


def fits(images: Tensor, device: str) -> bool:
    """Return whether `images` fit on `device`: on a GPU, whether they take at most half of its free memory."""
    if torch.device(device).type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.nbytes <= free * GPU_SHARE


def as_float(images: Tensor) -> Tensor:
    """Return images as float32 in [0, 1]; uint8 pixels are divided by 255."""
    return images.float() / 255.0 if images.dtype == torch.uint8 else images


def as_uint8(images: Tensor) -> Tensor:
    """Return images in [0, 1] rounded to the nearest of 256 levels."""
    return (images * 255.0).round().to(torch.uint8)


def stored_as(images: Tensor, storage: str) -> Tensor:
    """Return images in [0, 1] as they are stored: rounded to "uint8", or as "float32"."""
    return as_uint8(images) if storage == "uint8" else images.float()


def content_digest(*splits: LabelledImages) -> str:
    """Return the sha256 over shapes, types, pixels and labels of `splits`, in order."""
    hasher = hashlib.sha256()
    for split in splits:
        for tensor in (split.images, split.labels):
            hasher.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            hasher.update(tensor.contiguous().numpy().tobytes())
    return hasher.hexdigest()
