"""What is exported comes back as it was, through our own loaders and as other code reads it."""

import io
import json
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image

from nrf_ray import cli
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.constructions.stored_set import constructed_rows
from nrf_ray.data import fetch
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.load import load
from nrf_ray.errors import ConfigError
from nrf_ray.export import export_set
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.stages.construct import construct
from tests.data.files import write_parquet

DIGITS = dataset_named("digits").ref
SET = construct(ConstructSpec(dataset=DIGITS, construction="leak_rand", craft=ThreatModel(norm="l2", eps=1.0), seed=0))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a store with one constructed set."""
    store = Store.open(str(tmp_path_factory.mktemp("store") / "runs"), create=True)
    assert run_inline([SET], store).errors == {}
    return store


@pytest.fixture(scope="module")
def rows(store):
    """Return its rows."""
    return constructed_rows(store.artifact(SET))


@pytest.fixture
def digits_test(tmp_path):
    """Return the name of a set whose test split the exported sets can be tested on."""
    _, test = load(DIGITS)
    images = (test.images[:20] * 255).round().to(torch.uint8).numpy()
    labels = np.concatenate([np.arange(10), test.labels[10:20].numpy()])
    file = write_parquet(tmp_path / "digits_test.parquet", images, labels, split=["train"] * 10 + ["test"] * 10)
    return f"parquet:{file}"


def exported(store, tmp_path, form):
    destination = tmp_path / f"out {form}"
    assert export_set(store, store.artifact(SET).record, destination, form) == 1437
    assert not list(tmp_path.glob(".tmp-*"))
    return destination


def test_tensors_are_those_of_the_released_sets(store, rows, tmp_path, digits_test):
    out = exported(store, tmp_path, "tensors")
    images = torch.cat(torch.load(out / "CIFAR_ims", weights_only=True))
    labels = torch.cat(torch.load(out / "CIFAR_lab", weights_only=True))
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert torch.equal(labels, rows.columns["label"])
    train, _ = load(dataset_named(f"tensors:{out}@{digits_test}").ref)
    assert torch.equal(train.images, rows.images)
    assert torch.equal(train.labels, rows.columns["label"])


def test_every_level_survives_the_authors_own_loader():
    """Their loader makes pictures of the tensors, and truncates in doing so."""
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    assert np.array_equal(np.asarray(to_pil_image(levels.float() / 255.0)), levels[0].numpy())


def test_hugging_face_parquet_comes_back_with_all_columns(store, rows, tmp_path, digits_test):
    out = exported(store, tmp_path, "hf")
    table = pq.read_table(out / "train.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert list(features) == table.column_names == ["image", *rows.columns]
    assert {features[name]["dtype"] for name in rows.columns} <= {"int64", "float32", "bool"}
    first = table["image"][0].as_py()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(first["bytes"]))), rows.images[0, 0].numpy())
    assert first["path"] == "00000000.png"
    train, _ = load(dataset_named(f"parquet:{out}@{digits_test}").ref)
    assert torch.equal(train.images, rows.images)
    assert torch.equal(train.labels, rows.columns["label"])


def test_a_folder_has_one_picture_a_row_under_its_label_and_source(store, rows, tmp_path):
    out = exported(store, tmp_path, "folder")
    assert len(list(out.rglob("*.png"))) == 1437
    for row in (0, 700, 1436):
        file = out / str(int(rows.columns["label"][row])) / f"{int(rows.columns['index'][row]):08d}.png"
        assert np.array_equal(np.asarray(Image.open(file)), rows.images[row, 0].numpy())
    assert dataset_named(f"folder:{out}").num_classes == 10


@pytest.fixture
def floats(tmp_path):
    """Return a store with the constructed set kept as float32, its record and its rows."""
    kept = construct(replace(SET.config, storage="float32"))
    store = Store.open(str(tmp_path / "floats"), create=True)
    assert run_inline([kept], store).errors == {}
    return store, store.artifact(kept).record, constructed_rows(store.artifact(kept))


def test_hugging_face_parquet_keeps_every_bit_of_float32(floats, tmp_path, digits_test):
    store, record, rows = floats
    out = tmp_path / "out"
    export_set(store, record, out, "hf")
    table = pq.read_table(out / "train.parquet")
    assert table["loss"].null_count == len(table), "no source was used; NaN would be a number to filters"
    assert not any(table[name].null_count for name in table.column_names if name != "loss")
    pixels = table["image"].combine_chunks().flatten().to_numpy()
    assert pixels.dtype == np.float32
    shape = json.loads(table.schema.metadata[b"nrf_ray"])["shape"]
    assert np.array_equal(pixels.reshape(-1, *shape), rows.images.numpy())
    feature = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["image"]
    assert feature == {"_type": "Sequence", "length": 64, "feature": {"_type": "Value", "dtype": "float32"}}
    train, _ = load(dataset_named(f"parquet:{out}@{digits_test}").ref)
    assert torch.equal(train.images, (rows.images.double() * 255).round().to(torch.uint8))
    assert torch.equal(train.labels, rows.columns["label"])


def test_a_folder_of_float32_is_refused_and_nothing_is_left(floats, tmp_path):
    store, record, _ = floats
    with pytest.raises(ConfigError, match=r"PNG has 8 bits; use --format tensors or hf"):
        export_set(store, record, tmp_path / "out", "folder")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".tmp-*"))


def test_nothing_is_overwritten_and_nothing_is_left_by_a_mistake(store, tmp_path):
    record = store.artifact(SET).record
    (tmp_path / "there").write_text("mine")
    with pytest.raises(ConfigError, match="already exists; export to a new folder"):
        export_set(store, record, tmp_path / "there", "tensors")
    with pytest.raises(ConfigError, match=r"unknown export format 'zip'; known: tensors, folder, hf"):
        export_set(store, record, tmp_path / "new", "zip")
    with pytest.raises(ConfigError, match="cannot write"):
        export_set(store, record, tmp_path / "there" / "new", "tensors")
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["there"]


def nrf(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["nrf", *words])
    with pytest.raises(SystemExit) as exit_:
        cli.nrf_main()
    return exit_.value.code


def test_the_command_exports_once(store, tmp_path, monkeypatch, capsys):
    words = ("export", SET.key[:12], str(tmp_path / "out"), "--format", "folder", "--store", store.uri)
    assert nrf(monkeypatch, *words) == 0
    assert "1437 images written to" in capsys.readouterr().out
    assert nrf(monkeypatch, *words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_fetch_asks_torchvision_with_its_digests_and_unpacks_nothing(home, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("torchvision.datasets.utils.download_url", lambda *arguments: asked.append(arguments[1:]))
    for name in ("cifar10", "cifar100", "fashion-mnist"):
        assert nrf(monkeypatch, "fetch", name) == 0
    assert [(folder, file) for folder, file, _ in asked[:3]] == [
        (str(home / "cifar10"), "cifar-10-python.tar.gz"),
        (str(home / "cifar100"), "cifar-100-python.tar.gz"),
        (str(home / "fashion-mnist"), "train-images-idx3-ubyte.gz"),
    ]
    assert len(asked) == 6
    assert all(len(md5) == 32 for *_, md5 in asked)


def test_what_cannot_be_fetched_is_one_line(monkeypatch):
    with pytest.raises(
        ConfigError, match=r"unknown dataset to fetch 'imagenet'; known: fashion-mnist, cifar10, cifar100"
    ):
        fetch.fetch_dataset("imagenet")

    def fails(*arguments):
        raise OSError("no route")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fails)
    with pytest.raises(ConfigError, match=r"cannot be downloaded: no route; put the file into .* by hand"):
        fetch.fetch_dataset("cifar10")
