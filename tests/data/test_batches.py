"""Batches are the rows that were asked for, wherever the images lie."""

import numpy as np
import pytest
import torch

from nrf_ray.data import batches as module
from nrf_ray.data.batches import batches, read_ahead, resident
from nrf_ray.data.images import LabelledImages


@pytest.fixture
def coloured() -> LabelledImages:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (50, 3, 6, 5), generator=generator, dtype=torch.uint8)
    return LabelledImages(images=images, labels=torch.arange(50))


def mapped(data: LabelledImages, path) -> LabelledImages:
    np.save(path, data.images.numpy())
    return LabelledImages(images=torch.from_numpy(np.load(path, mmap_mode="c")), labels=data.labels)


@pytest.mark.parametrize("read", [batches, read_ahead])
@pytest.mark.parametrize("laid_out", [torch.contiguous_format, torch.channels_last])
def test_batches_are_the_rows_in_their_order(coloured, read, laid_out):
    data = LabelledImages(images=coloured.images.contiguous(memory_format=laid_out), labels=coloured.labels)
    rows = torch.randperm(50, generator=torch.Generator().manual_seed(1))[:48].split(16)
    found = list(read(data, rows))
    assert [batch.labels.tolist() for batch in found] == [chosen.tolist() for chosen in rows]
    assert all(torch.equal(batch.images, coloured.images[chosen]) for batch, chosen in zip(found, rows, strict=True))


def test_no_rows_are_no_batches(coloured):
    assert list(batches(coloured, [])) == list(read_ahead(coloured, [])) == []


def test_a_batch_is_read_ahead_and_no_more_than_one(coloured, monkeypatch):
    read = []
    lookup = module._lookup
    monkeypatch.setattr(
        module, "_lookup", lambda images, chosen: (read.append(chosen[0].item()), lookup(images, chosen))[1]
    )
    following = read_ahead(coloured, [torch.tensor([place]) for place in range(5)])
    next(following)
    following.close()  # waits for what is being read
    assert read == [0, 1]


def test_an_error_while_reading_ahead_is_raised(coloured):
    with pytest.raises(IndexError):
        list(read_ahead(coloured, [torch.tensor([0]), torch.tensor([50])]))


def test_a_set_becomes_resident_with_its_channels_together_unless_it_is_large(coloured, tmp_path, monkeypatch):
    on_disk = mapped(coloured, tmp_path / "images.npy")
    small = resident(on_disk, "cpu")
    assert torch.equal(small.images, coloured.images)
    assert small.images.dtype == torch.uint8
    assert small.images.is_contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(module, "RESIDENT_BYTES", on_disk.images.nbytes - 1)
    assert resident(on_disk, "cpu").images is on_disk.images, "neither copied nor read"
