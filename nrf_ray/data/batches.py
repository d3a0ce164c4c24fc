"""Batches of a set of images, on the device that trains on them.

If the images are on that device, a batch is one lookup. If they are too many for it, a thread reads the next batch into
pinned memory while the network processes the current one, and the copy to the device is asynchronous.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor

from nrf_ray.data.images import LabelledImages

RESIDENT_BYTES = 2**30
"""Larger sets are not copied within main memory: they stay mapped from disk, and all processes share the pages."""


def resident(data: LabelledImages, device: str) -> LabelledImages:
    """Return `data` with its labels on `device`, and its images too if they fit, in channels-last layout.

    Images that do not fit, or that stay mapped from disk, are left as they are; `batches` takes both.
    """
    moved = data.to(device)
    stays = moved.images.nbytes > RESIDENT_BYTES if torch.device(device).type == "cpu" else not moved.images.is_cuda
    images = moved.images if stays else moved.images.contiguous(memory_format=torch.channels_last)
    return replace(moved, images=images)


def batches(data: LabelledImages, rows: Sequence[Tensor]) -> Iterator[LabelledImages]:
    """Yield a batch of `data` for each tensor of indices in `rows` (in main memory), on the device of the labels."""
    if data.images.device == data.labels.device:
        for chosen in rows:
            here = chosen.to(data.labels.device, non_blocking=True)
            yield LabelledImages(images=_lookup(data.images, here), labels=data.labels[here])
    else:
        yield from read_ahead(data, rows)


def read_ahead(
    data: LabelledImages, rows: Sequence[Tensor], images_of: Callable[[Tensor], Tensor] | None = None
) -> Iterator[LabelledImages]:
    """Yield the same as `batches`, for images in main memory: each batch is read while the previous one is in use.

    `images_of` is called with each tensor of indices, in order, and returns the images; None looks them up in `data`.
    """
    device = data.labels.device

    def read(chosen: Tensor) -> Tensor:
        found = images_of(chosen) if images_of else _lookup(data.images, chosen)
        return found.pin_memory() if device.type == "cuda" else found

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as reader:
        following = [reader.submit(read, rows[0])] if rows else []
        for place, chosen in enumerate(rows):
            images = following.pop().result()
            following += [reader.submit(read, later) for later in rows[place + 1 : place + 2]]
            yield LabelledImages(
                images=images.to(device, non_blocking=True),
                labels=data.labels[chosen.to(device, non_blocking=True)],
            )


def _lookup(images: Tensor, chosen: Tensor) -> Tensor:
    """Return the images with the indices `chosen`; `index_select` copies a whole image at once, indexing each pixel."""
    if images.is_contiguous():
        return images.index_select(0, chosen)
    return images.permute(0, 2, 3, 1).index_select(0, chosen).permute(0, 3, 1, 2)
