"""Sets of Hugging Face's `datasets`: its cache and its saved folders, by files of those layouts and by the library."""

import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.fetch import fetch_dataset
from nrf_ray.data.load import load
from nrf_ray.errors import ConfigError
from nrf_ray.run.datasets import dataset_lines
from tests.data.files import pixels, png
from tests.data.reading import IMAGES, LABELS, check, refusal

NAMES = ("ant", "bee", "cat")


def write_arrow(file, images, labels, column="image", label="label"):
    """Write images and labels as the library does: a stream, with its features in the metadata."""
    file.parent.mkdir(parents=True, exist_ok=True)
    features = {column: {"_type": "Image"}, label: {"names": NAMES, "_type": "ClassLabel"}}
    encoded = pa.array([{"bytes": png(image), "path": None} for image in images])
    table = pa.table({column: encoded, label: pa.array(labels)})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    return file


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return an empty cache of the library."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def cached(cache, name="user___my_birds", config="default", digest="a1b2", own="my_birds", tests="test"):
    """Write a set of the cache: eight training rows in two shards, and four test rows."""
    folder = cache / name / config / "0.0.0" / digest
    write_arrow(folder / f"{own}-train-00000-of-00002.arrow", IMAGES[:5], LABELS[:5])
    write_arrow(folder / f"{own}-train-00001-of-00002.arrow", IMAGES[5:8], LABELS[5:8])
    write_arrow(folder / f"{own}-{tests}.arrow", IMAGES[8:], LABELS[8:])
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_a_set_of_the_cache_is_read_by_its_name(cache):
    cached(cache)
    check("hf:user/MyBirds")
    info = dataset_named("hf:user/my_birds")
    assert (info.ref.name, info.classes) == ("my_birds", NAMES)
    assert dataset_named(info.ref.location).ref == info.ref


def test_one_of_several_configurations_is_named(cache):
    cached(cache, config="large-0123")
    cached(cache, config="small")
    assert "has the configurations large-0123, small; name one, as in hf:user/my_birds:large-0123" in refusal(
        "hf:user/my_birds"
    )
    check("hf:user/my_birds:large")
    assert dataset_named("hf:user/my_birds:small").ref.name == "my_birds-small"
    assert "hf:user/my_birds:tiny is not in" in refusal("hf:user/my_birds:tiny")


def test_two_versions_are_not_guessed_between(cache):
    cached(cache)
    folder = cached(cache, digest="c3d4")
    assert "has 2 versions of hf:user/my_birds; name the folder of one, as hf:PATH" in refusal("hf:user/my_birds")
    check(f"hf:{folder}")


def test_a_split_without_a_split_word_is_passed_over_and_named(cache):
    folder = cached(cache, tests="validation")
    write_arrow(folder / "my_birds-extra.arrow", IMAGES, LABELS)
    write_arrow(folder / "cache-0123456789abcdef.arrow", IMAGES, LABELS)
    check("hf:user/my_birds")
    (line,) = dataset_lines([dataset_named("hf:user/my_birds").ref])
    assert "passed over: cache-0123456789abcdef.arrow, my_birds-extra.arrow" in line


def test_a_name_with_split_words_says_nothing_of_the_split(cache):
    cached(cache, name="test-train___val", own="val")
    check("hf:test-train/val")


def test_saved_folders_with_and_without_splits(tmp_path):
    saved = tmp_path / "test_of_mine"
    write_arrow(saved / "train" / "data-00000-of-00001.arrow", IMAGES[:8], LABELS[:8])
    write_arrow(saved / "test" / "data-00000-of-00001.arrow", IMAGES[8:], LABELS[8:])
    check(f"hf:{saved}")
    write_arrow(tmp_path / "whole" / "data-00000-of-00001.arrow", IMAGES, LABELS)
    info = dataset_named(f"hf:{tmp_path / 'whole'}")
    assert (info.ref.name, info.num_train, info.num_test) == ("whole", 10, 2)


def test_choices_are_those_of_parquet(cache):
    folder = cached(cache)
    shots = [pixels(1, (3, 9 + n, 20), n)[0] for n in range(12)]
    for file in folder.glob("*.arrow"):
        file.unlink()
    write_arrow(folder / "my_birds-train.arrow", shots, LABELS, column="img", label="fine_label")
    assert "[label=fine_label]" in refusal("hf:user/my_birds")
    info = dataset_named("hf:user/my_birds[label=fine_label,size=8]")
    assert (info.shape, info.num_train, info.num_test) == ((3, 8, 8), 10, 2)
    assert load(info.ref)[0].images.shape == (10, 3, 8, 8)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf", "dataset hf needs a path"),
        ("hf:user/none", "is not in {cache}/user___none: nothing is there; run `nrf fetch hf:user/none`"),
        ("hf:user/my_birds[splits=none]", "hf does not take [splits=...]"),
        ("hf:{cache}", "has no Arrow file of `datasets`"),
        ("hf:{cache}/none", "there is nothing at"),
        ("hf:user/my_birds={cache}/none", "there is nothing at"),
    ],
)
def test_a_set_that_is_not_there_is_refused_in_one_line(name, words, cache):
    cached(cache)
    assert words.format(cache=cache) in refusal(name.format(cache=cache))


def test_damaged_files_are_refused_in_one_line(cache):
    folder = cached(cache)
    file = folder / "my_birds-test.arrow"
    whole = file.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"ARROW1\0\0" + whole, whole[:200]):
        file.write_bytes(data)
        refusal("hf:user/my_birds")
    write_arrow(file, IMAGES[8:], LABELS[8:] + 5)
    assert "a row with label" in refusal("hf:user/my_birds")


def test_planning_needs_neither_torch_nor_the_library(cache, home):
    cached(cache)
    code = (
        "import sys\n"
        "from nrf_ray.data.catalogue import dataset_named\n"
        "print(dataset_named('hf:user/my_birds').num_train, {'torch', 'datasets'} & {*sys.modules})\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stdout.split() == ["8", "set()"], ended.stderr


def test_the_library_downloads_its_sets_itself(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'nrf_ray\[hf\]'"):
        fetch_dataset("hf:user/my_birds")
    asked = []
    library = ModuleType("datasets")
    library.__spec__ = ModuleSpec("datasets", None)
    library.load_dataset = lambda *words: asked.append(words)
    monkeypatch.setitem(sys.modules, "datasets", library)
    assert fetch_dataset("hf:user/my_birds:small") == cache
    fetch_dataset("hf:user/my_birds")
    assert asked == [("user/my_birds", "small"), ("user/my_birds", None)]


def test_what_the_library_itself_writes_is_read(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    columns = {"image": [{"bytes": png(image), "path": None} for image in IMAGES], "label": LABELS}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    whole = datasets.Dataset.from_dict(columns, features=features)
    splits = {"train": whole.select(range(8)), "test": whole.select(range(8, 12))}
    both = datasets.DatasetDict(splits)
    both.save_to_disk(tmp_path / "saved")
    check(f"hf:{tmp_path / 'saved'}")
    folder = tmp_path / "UsersBirds"
    for name, part in splits.items():
        part.to_parquet(folder / f"{name}.parquet")
    datasets.load_dataset("parquet", data_dir=str(folder), cache_dir=str(cache))
    assert [file.name for file in Path(cache).iterdir() if file.is_dir()] == ["parquet"]
    check("hf:parquet")
    assert dataset_named("hf:parquet").ref.name == "hf-parquet"
