"""Prepared sets are whole or made again, whoever else prepares them, and are read without being copied."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from nrf_ray.attacks.robustness import robust_accuracy
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.data import facts, images, prepared
from nrf_ray.data.catalogue import dataset_named, info_of
from nrf_ray.data.extra import extra_test_sets
from nrf_ray.data.images import LabelledImages
from nrf_ray.data.load import load, test_split, train_split
from nrf_ray.data.located import locate
from nrf_ray.engine.predict import accuracy
from nrf_ray.errors import ConfigError
from nrf_ray.stages.weights import new_model
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Recipe
from tests.data.files import labels_of, pixels, write_parquet

test_split.__test__ = False  # a loader of that name, not a test


@pytest.fixture
def name(tmp_path):
    """Return the name of a set of 60 images."""
    return f"parquet:{write_parquet(tmp_path / 'cells.parquet', pixels(60), labels_of(60))}"


def folder_of(home, name):
    return home / "datasets" / dataset_named(name).ref.digest


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def flip_manifest(folder):
    (folder / "manifest.json").write_bytes(
        (folder / "manifest.json").read_bytes().replace(b'"mean": [', b'"mean": [1, ')
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "train_images.npy").write_bytes(b"short"),
        lambda folder: (folder / "test_labels.npy").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{}"),
        lambda folder: (folder / "manifest.json").unlink(),
        flip_manifest,
        shutil.rmtree,
    ],
    ids=["truncated", "file gone", "empty manifest", "no manifest", "changed manifest", "all gone"],
)
def test_what_is_damaged_is_made_again_to_the_same_bytes(damage, name, home):
    load(dataset_named(name).ref)
    whole = tree(folder_of(home, name))
    damage(folder_of(home, name))
    load.cache_clear()
    load(dataset_named(name).ref)
    assert tree(folder_of(home, name)) == whole
    assert [path.name for path in (home / "datasets").iterdir()] == [folder_of(home, name).name], "nothing is left over"


def test_several_may_prepare_at_once(name, home):
    located, results = locate(name), []
    threads = [threading.Thread(target=lambda: results.append(prepared.prepared(located))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len({result.train_images.tobytes() for result in results}) == 1
    assert len(list((home / "datasets").iterdir())) == 1


def test_a_set_that_could_not_be_prepared_leaves_nothing(name, home, monkeypatch):
    stamps = iter([1, 2])
    monkeypatch.setattr(prepared, "_stamps", lambda located: next(stamps))
    with pytest.raises(ConfigError, match="were changed while they were read"):
        load(dataset_named(name).ref)
    assert list((home / "datasets").iterdir()) == []


def test_what_a_killed_process_left_is_removed_after_a_day(name, home):
    old, young = (home / "datasets" / f".tmp-{age}" for age in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (1, 1))
    load(dataset_named(name).ref)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_home_that_cannot_be_written_to_stops_preparation_and_no_plan(name, home):
    home.write_text("a file where the folder should be")
    assert dataset_named(name).num_train == 50
    with pytest.raises(ConfigError, match=r"cannot be prepared in .*set NRF_DATA to another folder"):
        load(dataset_named(name).ref)


def test_facts_are_remembered_until_a_file_changes(name, tmp_path, monkeypatch):
    file = tmp_path / "cells.parquet"
    os.utime(file, (1, 1))
    monkeypatch.setattr(facts, "SETTLED_SECONDS", -1.0)
    first = dataset_named(name)
    monkeypatch.setattr(facts, "_remembered", {})
    with monkeypatch.context() as patch:
        patch.setattr(facts, "_digest", None)  # not called: the facts on disk are enough
        assert dataset_named(name) == first
    file.write_bytes(write_parquet(tmp_path / "b.parquet", pixels(60, seed=1), labels_of(60)).read_bytes())
    os.utime(file, (1, 1))
    assert dataset_named(name).ref.digest != first.ref.digest, "the time of the change itself counts"


def test_a_file_that_was_just_written_is_not_remembered(name, home):
    dataset_named(name)
    assert not (home / "facts").exists()


def test_mapped_images_are_trained_on_and_attacked_without_a_copy(tmp_path):
    file = write_parquet(tmp_path / "big.parquet", pixels(120, (3, 8, 8)), np.arange(120) % 3)
    ref = dataset_named(f"parquet:{file}").ref
    train, test = train_split(ref), test_split(ref)
    assert train.to("cpu").images.data_ptr() == train.images.data_ptr()
    assert train.rows(slice(3, 5)).images.data_ptr() != 0
    model = new_model("vgg_s", ref, seed=0)
    assert len(fit(model, train, Recipe(epochs=1, lr=0.01, batch_size=32), seed=0)) == 1
    copied = LabelledImages(images=test.images.clone(), labels=test.labels.clone())
    assert accuracy(model, test.images, test.labels) == accuracy(model, copied.images, copied.labels)
    attack = pgd_attack("l2", 0.5, steps=2)
    assert robust_accuracy(model, test, attack) == robust_accuracy(model, copied, attack)
    load.cache_clear()
    assert torch.equal(train_split(ref).images, train.images), "the file is as it was"


def test_a_set_stays_where_it_is_unless_a_gpu_has_room(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 10**9))
    assert images.fits(torch.zeros(500, dtype=torch.uint8), "cuda")
    assert not images.fits(torch.zeros(501, dtype=torch.uint8), "cuda")
    assert images.fits(torch.zeros(501, dtype=torch.uint8), "cpu")


def test_extra_test_sets_are_those_that_are_there(home, name):
    folder = home / "cifar10-c"
    folder.mkdir(parents=True)
    np.save(folder / "fog.npy", np.zeros((4, 32, 32, 3), np.uint8))
    np.save(folder / "labels.npy", np.arange(4))
    info = dataset_named(name)
    cifar = type(info)(**{**vars(info), "ref": type(info.ref)(name="cifar10[:10]", digest="0" * 64)})
    found = extra_test_sets(cifar)
    assert list(found) == ["cifar10-c.fog"]
    assert info_of(found["cifar10-c.fog"]).num_test == 4
    assert extra_test_sets(info) == {}


@pytest.mark.slow
@pytest.mark.skipif("NRF_TEST_CIFAR_PARQUET" not in os.environ, reason="names CIFAR-10 as parquet, if set")
def test_cifar_10_as_parquet():
    ref = dataset_named(f"parquet:{os.environ['NRF_TEST_CIFAR_PARQUET']}").ref
    train, test = load(ref)
    assert train.labels.bincount().tolist() == [5000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10


DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_debian():
    train, test = load(dataset_named("fashion-mnist").ref)
    assert train.labels.bincount().tolist() == [6000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
