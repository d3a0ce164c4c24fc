"""What lies beside an exported set: a datasheet that says what is known, Croissant that other code reads by."""

import json
import logging
import sys
from dataclasses import replace

import mlcroissant
import numpy as np
import pyarrow.parquet as pq
import pytest

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.construct_spec import COLUMNS as STORED
from nrf_ray.constructions.construct_spec import TEXTS, ConstructSpec
from nrf_ray.constructions.stored_set import constructed_rows
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.errors import ConfigError
from nrf_ray.export import FORMS, export_set, sets
from nrf_ray.export.about import COLUMNS, READABLE
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.stages.construct import construct

DIGITS = dataset_named("digits").ref
SET = construct(ConstructSpec(dataset=DIGITS, construction="leak_rand", craft=ThreatModel(norm="l2", eps=1.0), seed=0))
FLOATS = construct(replace(SET.config, storage="float32"))

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a store with one constructed set, kept both ways."""
    store = Store.open(str(tmp_path_factory.mktemp("store") / "runs"), create=True)
    assert run_inline([SET, FLOATS], store).errors == {}
    return store


@pytest.fixture(scope="module")
def rows(store):
    """Return the rows of the set."""
    return constructed_rows(store.artifact(SET)).columns


def exported(store, destination, form, stage=SET):
    export_set(store, store.artifact(stage).record, destination, form, croissant=True)
    return destination


@pytest.mark.parametrize("form", FORMS)
def test_its_own_library_accepts_the_croissant_metadata(form, store, tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = mlcroissant.Dataset(str(exported(store, tmp_path / "out", form) / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert issues.errors == set()
    assert all("datePublished" in warning for warning in issues.warnings), "nobody knows when it will be published"
    assert dataset.metadata.name == f"leak_rand-of-digits-{SET.key[:12]}"


def test_parquet_is_read_by_its_croissant_metadata(store, rows, tmp_path) -> None:
    dataset = mlcroissant.Dataset(str(exported(store, tmp_path / "out", "hf") / "croissant.json"))
    records = list(dataset.records("rows"))
    assert len(records) == 1437
    assert [record["rows/label"] for record in records] == rows["label"].tolist()
    assert set(records[0]) == {"rows/image", *(f"rows/{name}" for name in COLUMNS)}
    assert records[0]["rows/image"].size == (8, 8)


def test_float_images_are_read_by_their_croissant_metadata(store, tmp_path) -> None:
    dataset = mlcroissant.Dataset(str(exported(store, tmp_path / "out", "hf", FLOATS) / "croissant.json"))
    first = np.asarray(next(iter(dataset.records("rows")))["rows/image"])
    expected = constructed_rows(store.artifact(FLOATS)).images[0].flatten().numpy()
    assert np.array_equal(first.ravel().astype(np.float32), expected)


def test_pictures_are_read_by_their_croissant_metadata(store, rows, tmp_path) -> None:
    dataset = mlcroissant.Dataset(str(exported(store, tmp_path / "out", "folder") / "croissant.json"))
    records = list(dataset.records("rows"))
    assert sorted(record["rows/label"] for record in records) == sorted(rows["label"].tolist())
    assert records[0]["rows/image"].size == (8, 8)


def test_digests_of_files_are_theirs(store, tmp_path) -> None:
    import hashlib

    out = exported(store, tmp_path / "out", "tensors")
    for file in json.loads((out / "croissant.json").read_text())["distribution"]:
        assert file["sha256"] == hashlib.sha256((out / file["contentUrl"]).read_bytes()).hexdigest()


def test_every_stored_column_has_a_meaning() -> None:
    assert set(COLUMNS) == set(STORED)
    assert set(READABLE) == set(TEXTS)


def test_texts_are_exported_as_people_read_them(store, tmp_path, monkeypatch) -> None:
    """Sets whose words were replaced have columns of text; here a set of images is given some."""
    rows = sets._rows(store, store.artifact(FLOATS).record)
    texts = {"text": [f"text {i}" for i in range(1437)], "original": ["before"] * 1437}
    monkeypatch.setattr(sets, "_rows", lambda store, record: rows._replace(texts=texts))
    out = exported(store, tmp_path / "out", "hf", FLOATS)
    assert pq.read_table(out / "train.parquet")["text"].to_pylist() == texts["text"]
    record = next(iter(mlcroissant.Dataset(str(out / "croissant.json")).records("rows")))
    assert (record["rows/text"], record["rows/original"]) == (b"text 0", b"before")
    assert "- `original`: the original text that it was made from" in (out / "datasheet.md").read_text()


def test_the_datasheet_answers_from_the_record_and_says_what_is_not_known(store, rows, tmp_path) -> None:
    record = store.artifact(SET).record
    export_set(store, record, tmp_path / "out", "tensors")
    text = (tmp_path / "out" / "datasheet.md").read_text()
    kept = int((rows["label"] == rows["true_label"]).sum())
    for told in (
        "1437; by label: 0: ",
        f"It equals the label y of the original in {kept} rows",
        DIGITS.digest,
        record.key,
        record.provenance["source_digest"],
        f"torch {record.provenance['versions']['torch']}",
        "None: each image has a fixed pattern",
        *(f"## {section}" for section in ("Motivation", "Composition", "Collection", "Uses", "Distribution")),
    ):
        assert told in text, told
    assert text.count("Not known") >= 5
    for name, value in record.metrics.items():
        assert f"- {name}: {value}" in text
    assert json.loads(text.split("```json\n")[1].split("```")[0]) == record.config
    assert not (tmp_path / "out" / "croissant.json").exists()


def test_without_the_library_croissant_is_refused_and_nothing_is_left(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    with pytest.raises(ConfigError, match=r"--croissant needs mlcroissant, which is not installed; pip install"):
        exported(store, tmp_path / "out", "hf")
    assert [path.name for path in tmp_path.iterdir()] == []
    export_set(store, store.artifact(SET).record, tmp_path / "out", "hf")
    assert (tmp_path / "out" / "datasheet.md").is_file()
