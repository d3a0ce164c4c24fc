"""Prepared sets in a store: the same set, by name, digest and bytes, on a machine without its files."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nrf_ray.data import load as loading
from nrf_ray.data import pushed
from nrf_ray.data.catalogue import dataset_named, info_of
from nrf_ray.data.load import load, normalisation, train_pictures, word_table
from nrf_ray.data.located import locate
from nrf_ray.data.pushed import pull, pulled, push
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import execute
from nrf_ray.graph.garbage import find
from nrf_ray.graph.store import Store
from nrf_ray.stages.pushed_sets import bring
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.training.recipes import Augmentation, Recipe
from tests.commands import nrf
from tests.data.files import labels_of, pixels, write_folder, write_parquet
from tests.data.reading import IMAGES, LABELS, SPLIT
from tests.texts import corpus, write_texts

RECIPE = Recipe(epochs=1, lr=0.01, batch_size=4)


@pytest.fixture
def store(tmp_path):
    return Store.open(str(tmp_path / "store"), create=True)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Return a function that makes this process another machine: without the files, and with an empty data home."""

    def go(*files):
        for file in files:
            file.rename(file.with_name(f"gone-{file.name}"))
        monkeypatch.setenv("NRF_DATA", str(tmp_path / "other home"))
        for memory in (info_of, load, loading.word_table, loading.shared_rows):
            memory.cache_clear()

    return go


def write_set(tmp_path):
    return write_parquet(tmp_path / "cells.parquet", IMAGES, LABELS, split=SPLIT)


def test_a_set_is_the_same_without_its_files(tmp_path, store, elsewhere):
    file = write_set(tmp_path)
    info = dataset_named(f"parquet:{file}[:7]")
    train_split, test_split = load(info.ref)
    known = (info_of(info.ref), normalisation(info.ref), loading.shared_rows(info.ref))
    images = [part.images.clone() for part in (train_split, test_split)]
    assert push(locate(f"parquet:{file}[:7]"), store.blobs) > 6 * 192
    elsewhere(file)
    with pytest.raises(ConfigError, match=r"there is nothing at .*; or put the set into the store .*`nrf data push"):
        load(info.ref)
    pull(info.ref.digest, store.blobs)
    assert all(torch.equal(one, other.images) for one, other in zip(images, load(info.ref), strict=True))
    assert (info_of(info.ref), normalisation(info.ref), loading.shared_rows(info.ref)) == known
    here = dataset_named(f"pushed:{info.ref.digest[:8]}")
    assert here == info
    assert here.ref.name == "cells[:7]"


def test_texts_are_the_same_without_their_files(tmp_path, store, elsewhere):
    file = write_texts(tmp_path / "reviews.csv", *corpus(60))
    ref = dataset_named(f"text-csv:{file}").ref
    push(locate(f"text-csv:{file}"), store.blobs)
    words, vectors = word_table(ref).words, word_table(ref).vectors.copy()
    elsewhere(file)
    pull(ref.digest, store.blobs)
    assert word_table(ref).words == words
    assert np.array_equal(word_table(ref).vectors, vectors)


def test_a_stage_brings_its_set_and_has_the_key_of_the_files(tmp_path, store, elsewhere):
    file = write_set(tmp_path)
    ref = dataset_named(f"parquet:{file}").ref
    stage = train(TrainSpec(arch="resnet_s", dataset=ref, recipe=RECIPE, seed=0))
    with_files = execute(stage, Store.open(str(tmp_path / "first"), create=True))
    push(locate(f"parquet:{file}"), store.blobs)
    elsewhere(file)
    bring(stage, store.blobs)
    again = train(TrainSpec(arch="resnet_s", dataset=dataset_named(f"pushed:{ref.digest}").ref, recipe=RECIPE, seed=0))
    assert again.key == stage.key
    record = execute(again, store)
    assert record.metrics == with_files.metrics
    assert [entry.sha256 for entry in record.files] == [entry.sha256 for entry in with_files.files]


def test_files_that_are_here_are_not_brought(tmp_path, store, monkeypatch):
    file = write_set(tmp_path)
    ref = dataset_named(f"parquet:{file}").ref
    monkeypatch.setattr("nrf_ray.stages.pushed_sets.pull", lambda *_: pytest.fail("the files are here"))
    bring(train(TrainSpec(arch="resnet_s", dataset=ref, recipe=RECIPE, seed=0)), store.blobs)
    digits = dataset_named("digits").ref
    bring(train(TrainSpec(arch="resnet_s", dataset=digits, recipe=RECIPE, seed=0)), store.blobs)


def test_a_set_is_brought_once(tmp_path, store, elsewhere, monkeypatch):
    file = write_set(tmp_path)
    ref = dataset_named(f"parquet:{file}").ref
    push(locate(f"parquet:{file}"), store.blobs)
    elsewhere(file)
    stage = train(TrainSpec(arch="resnet_s", dataset=ref, recipe=RECIPE, seed=0))
    bring(stage, store.blobs)
    monkeypatch.setattr("nrf_ray.stages.pushed_sets.pull", lambda *_: pytest.fail("it was brought"))
    bring(stage, store.blobs)
    shutil.rmtree(Path(os.environ["NRF_DATA"]) / "datasets")
    assert pulled(ref.digest) is None


def test_an_interrupted_push_is_completed_and_a_second_one_writes_nothing(tmp_path, store, monkeypatch):
    monkeypatch.setattr(pushed, "PART", 500)
    located = locate(f"parquet:{write_set(tmp_path)}")

    class Failing:
        left = 3

        def put_new(self, name, data):
            self.left -= 1
            if self.left < 0:
                raise OSError("the network is gone")
            return store.blobs.put_new(name, data)

    with pytest.raises(OSError, match="the network is gone"):
        push(located, Failing())
    assert pull(located.content, store.blobs) is None, "the manifest is written last"
    push(located, store.blobs)
    names = [blob.name for blob in store.blobs.under("datasets")]
    assert len(names) > 6, "arrays are in parts"
    assert push(located, store.blobs) > 0
    assert [blob.name for blob in store.blobs.under("datasets")] == names
    assert pull(located.content, store.blobs) == located


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "json", "other digest"])
def test_a_damaged_set_is_refused_in_one_line_and_nothing_is_left(damage, tmp_path, store, elsewhere):
    file = write_set(tmp_path)
    located = locate(f"parquet:{file}")
    push(located, store.blobs)
    folder = tmp_path / "store" / "datasets" / located.content
    part = folder / "train_images.npy.00000"
    about = json.loads((folder / "set.json").read_text())
    if damage == "other digest":
        about["located"]["digest"] = "0" * 64
    change = {
        "cut": lambda: part.write_bytes(part.read_bytes()[:-1]),
        "changed": lambda: part.write_bytes(part.read_bytes()[:-1] + b"x"),
        "missing": part.unlink,
        "json": lambda: (folder / "set.json").write_text('{"located": {"name": 1}}'),
        "other digest": lambda: (folder / "set.json").write_text(json.dumps(about)),
    }
    os.chmod(part, 0o644)
    os.chmod(folder / "set.json", 0o644)
    change[damage]()
    elsewhere(file)
    with pytest.raises(
        ConfigError, match=r"^the set [0-9a-f]{12} in the store is damaged at [^\n]*push the set again$"
    ):
        pull(located.content, store.blobs)
    assert pulled(located.content) is None
    assert not [*Path(os.environ["NRF_DATA"]).glob("datasets/*")]


def test_what_needs_the_files_says_so(tmp_path, store, elsewhere):
    root = write_folder(tmp_path / "a", [pixels(1, (3, 9, 12 + n), n)[0] for n in range(12)], labels_of(12))
    ref = dataset_named(f"folder:{root}[size=8]").ref
    push(locate(f"folder:{root}[size=8]"), store.blobs)
    elsewhere(root)
    pull(ref.digest, store.blobs)
    assert load(ref)[0].images.shape == (10, 3, 8, 8)
    with pytest.raises(ConfigError, match=r"training on random crops of .* needs its files"):
        train_pictures(ref)
    recipe = replace(RECIPE, augmentation=Augmentation(min_area=0.5))
    with pytest.raises(ConfigError, match="or use a recipe without crops"):
        execute(train(TrainSpec(arch="resnet_s", dataset=ref, recipe=recipe, seed=0)), store)


def test_garbage_collection_keeps_sets(tmp_path, store):
    push(locate(f"parquet:{write_set(tmp_path)}"), store.blobs)
    assert find(store) == []
    assert list(store.places()) == []


def test_the_commands_push_and_pull(tmp_path, elsewhere, monkeypatch, capsys):
    file, place = write_set(tmp_path), str(tmp_path / "shared")
    digest = dataset_named(f"parquet:{file}").ref.digest
    for _ in range(2):
        code, out, _ = nrf(monkeypatch, capsys, "data", "push", f"parquet:{file}", "--store", place)
        assert code == 0
        assert f"as {digest[:12]}: 12 rows, " in out
    elsewhere(file)
    code, out, _ = nrf(monkeypatch, capsys, "data", "pull", digest[:6], "--store", place)
    assert (code, f"name it as pushed:{digest[:12]}" in out) == (0, True)
    code, _, err = nrf(monkeypatch, capsys, "data", "pull", "zzz", "--store", place)
    assert (code, f"0 sets in {place} begin with 'zzz'; it has: {digest[:12]}" in " ".join(err.split())) == (2, True)
    code, _, err = nrf(monkeypatch, capsys, "data", "push", "digits", "--store", place)
    assert (code, "digits is not made of files" in err) == (2, True)
    with pytest.raises(ConfigError, match="0 sets that were pulled to this machine begin with '12zz'"):
        dataset_named("pushed:12zz")


@pytest.mark.slow
def test_a_sweep_of_a_pushed_set_runs_without_its_files(tmp_path):
    images = pixels(200, (3, 16, 16))
    images[::2] //= 2
    write_folder(tmp_path / "photos", images, np.arange(200) % 2, names=("dark", "light"))
    home, other, root = tmp_path / "home", tmp_path / "other", Path(__file__).resolve().parents[2]
    keys = []
    for place, names in ((home, "push"), (other, "pull")):
        environment = {**os.environ, "NRF_DATA": str(place), "PYTHONPATH": str(root)}

        def run(*words, environment=environment):
            done = subprocess.run(
                [sys.executable, *words, "--store", str(tmp_path / "runs")],
                cwd=root, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout

        if names == "push":
            told = run("-m", "nrf_ray", "data", "push", f"folder:{tmp_path / 'photos'}[size=8]")
            digest = told.split(" as ")[1][:12]
            name = f"folder:{tmp_path / 'photos'}[size=8]"
        else:
            (tmp_path / "photos").rename(tmp_path / "gone")
            run("-m", "nrf_ray", "data", "pull", digest)
            name = f"pushed:{digest}"
        keys.append(run("sweeps/transfer_grid.py", "--preset", "smoke", "--plan", "--dataset", name))
    ours, theirs = ([line for line in told.splitlines()[1:] if "expected" not in line] for told in keys)
    assert len(ours) > 20
    assert ours == theirs, "stages and keys are the same; what is known of the set and of the machine is not"
    run("sweeps/transfer_grid.py", "--preset", "smoke", "--dataset", name)
