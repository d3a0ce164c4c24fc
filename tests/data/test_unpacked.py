"""Constructed sets beyond memory are mapped from disk, and are the same rows as those that fit."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from nrf_ray.constructions.stored_set import constructed_rows, constructed_set
from nrf_ray.data import batches
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.shards import Shard, write_shard
from nrf_ray.errors import ConfigError
from nrf_ray.stages.weights import new_model
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Recipe

ROWS, SHARDS = 24, 3


class Set:
    """As much of an artifact as reading a set needs: `ROWS` images a shard."""

    def __init__(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        labels, targets = torch.randint(4, (2, ROWS * SHARDS), generator=generator)
        images = torch.randint(256, (ROWS * SHARDS, 1, 8, 8), generator=generator).to(torch.uint8)
        self.files = {}
        for number in range(SHARDS):
            rows = slice(number * ROWS, (number + 1) * ROWS)
            columns = {
                "label": targets[rows],
                "true_label": labels[rows],
                "norm": torch.rand(ROWS, generator=generator),
            }
            texts = {"text": [f"é {row}" for row in range(rows.start, rows.stop)]}
            self.files[f"part-{number}"] = write_shard(Shard(images[rows], columns, "ab" * 32, texts))
        self.record = SimpleNamespace(key=f"{seed}" * 64)
        self.reads = 0

    def names(self):
        return list(self.files)

    def read(self, name):
        self.reads += 1
        return self.files[name]


@pytest.fixture
def beyond_memory(monkeypatch):
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 1000)


def equal(left, right):
    return (
        torch.equal(left.images, right.images)
        and all(torch.equal(left.columns[name], right.columns[name]) for name in {*left.columns, *right.columns})
        and (left.key, left.texts) == (right.key, right.texts)
    )


@pytest.mark.parametrize("changed_only", [False, True])
def test_a_set_beyond_memory_is_the_set_that_fits(home, monkeypatch, changed_only):
    fits = constructed_rows(Set(), changed_only=changed_only)
    assert not (home / "constructed").exists()
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 1000)
    assert equal(constructed_rows(Set(), changed_only=changed_only), fits)
    assert len(fits.images) == (
        ROWS * SHARDS if not changed_only else (fits.columns["label"] != fits.columns["true_label"]).sum()
    )
    assert len(list((home / "constructed").iterdir())) == 1


@pytest.mark.usefixtures("beyond_memory")
def test_it_is_unpacked_once_and_again_where_it_is_damaged(home):
    first = Set()
    whole = constructed_rows(first)
    whole = whole._replace(images=whole.images.clone())  # its file is damaged below
    assert first.reads == 1 + 2 * SHARDS, "the first says how large the set is; all are counted, and written"
    second = Set()
    assert equal(constructed_rows(second), whole)
    assert second.reads == 1
    images = home / "constructed" / first.record.key / "images.npy"
    images.write_bytes(images.read_bytes()[:-1])
    assert equal(constructed_rows(Set()), whole)
    shutil.rmtree(home)
    assert equal(constructed_rows(Set()), whole)


@pytest.mark.usefixtures("beyond_memory")
def test_sets_and_their_changed_rows_lie_apart(home):
    for artifact in (Set(0), Set(1)):
        for changed_only in (False, True):
            constructed_rows(artifact, changed_only=changed_only)
    assert sorted(path.name for path in (home / "constructed").iterdir()) == sorted(
        f"{seed}" * 64 + suffix for seed in (0, 1) for suffix in ("", "-changed")
    )


def test_a_training_on_mapped_images_has_the_same_bits(home, monkeypatch):
    def weights():
        model = new_model("resnet_s", dataset_named("digits").ref, seed=0)
        fit(model, constructed_set(Set()), Recipe(epochs=1, lr=0.01, batch_size=16), seed=0)
        return model.state_dict()

    fitting = weights()
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 1000)
    mapped = weights()
    assert all(torch.equal(fitting[name], mapped[name]) for name in fitting)


@pytest.mark.usefixtures("beyond_memory")
def test_no_room_for_it_is_said(home):
    home.write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=r"the constructed set 0000.* cannot be prepared in .*set NRF_DATA"):
        constructed_rows(Set())
