"""Columns that tell splits, files without rows and missing files are refused; so are encodings of seven bits."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nrf_ray.data.located import locate
from nrf_ray.data.readers.seven_bits import check_seven_bits
from nrf_ray.errors import ConfigError
from tests.data.files import pixels, png, write_parquet
from tests.data.reading import IMAGES, LABELS, SPLIT, refusal
from tests.texts import corpus, write_texts

TEXTS, OPINIONS = corpus(12)
DICTIONARY = pa.array(SPLIT).dictionary_encode()


def written(path, column, values):
    """Write a parquet set of 12 images with one more column."""
    return write_parquet(path, IMAGES, LABELS, **{column: values if isinstance(values, pa.Array) else pa.array(values)})


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("subset", SPLIT),
        ("_split", DICTIONARY),
        ("fold", [*["Training"] * 8, *["PrivateTest"] * 4]),
        ("partition", pa.array(SPLIT, pa.large_string())),
        ("set", [*["val"] * 6, *["test"] * 6]),
        ("is_test", [0] * 8 + [1] * 4),
        ("isTest", [False] * 8 + [True] * 4),
        ("set", [None, *["train"] * 7, *["test"] * 4]),
    ],
)
def test_a_column_that_tells_splits_is_refused(column, values, tmp_path):
    """Regression: one row in six was drawn for testing, and rows for testing were trained on."""
    said = refusal(f"parquet:{written(tmp_path / 'a.parquet', column, values)}")
    assert f"column {column!r} of {tmp_path}/a.parquet holds split names" in said
    assert "call it split, with the values train and test, or leave it out" in said


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("subset", ["train"] * 12),
        ("set", [*["train"] * 7, "test", *["other"] * 4]),
        ("fold", [0, 1] * 6),
        ("vehicle", ["train", "plane"] * 6),
    ],
)
def test_an_ordinary_column_is_not(column, values, tmp_path):
    path = written(tmp_path / "a.parquet", column, values)
    assert locate(f"parquet:{path}").train.available == 12


def test_a_column_that_files_or_split_agree_with_is_not(tmp_path):
    for name, word in (("train", "train"), ("test", "validation"), ("dev", "test")):
        written(tmp_path / "a" / f"{name}.parquet", "subset", [word] * 12)
    assert locate(f"parquet:{tmp_path / 'a'}").test.available == 24
    told = write_parquet(tmp_path / "b.parquet", IMAGES, LABELS, split=SPLIT, subset=pa.array(SPLIT[::-1]))
    assert locate(f"parquet:{told}").test.available == 4
    odd = written(tmp_path / "c.parquet", "subset", SPLIT)
    assert locate(f"parquet:{odd}[splits=none]").train.available == 12
    written(tmp_path / "a" / "train.parquet", "subset", SPLIT)
    assert "column 'subset'" in refusal(f"parquet:{tmp_path / 'a'}")


def test_a_column_of_texts_that_tells_splits_is_refused(tmp_path):
    columns = {"text": TEXTS, "label": OPINIONS, "usage": SPLIT}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert "column 'usage'" in refusal(f"text-parquet:{tmp_path / 'a.parquet'}")
    lines = [f"{text},{label},{split}" for text, label, split in zip(TEXTS, OPINIONS, SPLIT, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label,usage", *lines]))
    assert "column 'usage'" in refusal(f"text-csv:{tmp_path / 'a.csv'}")


# Files without rows, and missing files


def test_a_file_without_rows_is_ignored_only_beside_rows_of_its_split(tmp_path):
    """Regression: one row in six of the training file was drawn for testing."""
    write_parquet(tmp_path / "train.parquet", IMAGES, LABELS)
    pq.write_table(pq.read_table(tmp_path / "train.parquet")[:0], tmp_path / "test.parquet")
    said = refusal(f"parquet:{tmp_path}")
    assert f"{tmp_path}/test.parquet has no rows, and no other file in {tmp_path} has rows for testing" in said
    write_parquet(tmp_path / "test2_test.parquet", IMAGES, LABELS)
    assert locate(f"parquet:{tmp_path}").test.available == 12
    write_texts(tmp_path / "train.csv", TEXTS, OPINIONS)
    (tmp_path / "csv").mkdir()
    (tmp_path / "train.csv").rename(tmp_path / "csv/train.csv")
    (tmp_path / "csv/test.csv").write_text("text,label\n")
    assert "test.csv has no rows" in refusal(f"text-csv:{tmp_path / 'csv'}")


@pytest.mark.parametrize(
    ("numbers", "total", "missing"),
    [
        ((0, 2), 3, "1 of 3 files are missing: {}00001-of-00003"),
        ((0,), 9, "8 of 9 files are missing"),
        ((1, 3), 3, "2-of"),
    ],
)
def test_a_missing_file_is_named(numbers, total, missing, tmp_path):
    for number in numbers:
        write_parquet(tmp_path / f"train-{number:05d}-of-{total:05d}-c0ffee.parquet", IMAGES, LABELS)
    assert missing.format(tmp_path / "train-") in refusal(f"parquet:{tmp_path}")
    for number in range(min(numbers), min(numbers) + total):
        write_parquet(tmp_path / f"train-{number:05d}-of-{total:05d}-c0ffee.parquet", IMAGES, LABELS)
    assert locate(f"parquet:{tmp_path}").train.available == 12 * total


def test_two_columns_of_images_are_refused(tmp_path):
    images = pa.array([png(image) for image in pixels(12, seed=1)], pa.binary())
    path = write_parquet(tmp_path / "a.parquet", IMAGES, np.asarray(LABELS), img=images)
    assert "has the columns image and img, and either could hold the images" in refusal(f"parquet:{path}")


# CSV that is nearly right, and encodings of seven bits


@pytest.mark.parametrize(
    ("header", "remedy"),
    [
        ("text;label", "separated by semicolons, not by commas; write it again, as in pandas.read_csv(FILE, sep=';')"),
        ("text\tlabel", "separated by tabs, not by commas"),
        ("sep=,\ntext,label", "remove the first line"),
        ("Text,Label", "rename 'Text' to 'text' and 'Label' to 'label'"),
        (" text, label", "rename ' text' to 'text' and ' label' to 'label'"),
    ],
)
def test_the_remedy_for_a_csv_that_is_nearly_right_is_said(header, remedy, tmp_path):
    (tmp_path / "a.csv").write_text(f"{header}\ngood film,1\nbad film,0\n")
    assert remedy in refusal(f"text-csv:{tmp_path / 'a.csv'}")


@pytest.mark.parametrize(
    ("codec", "name", "text"),
    [("utf-7", "UTF-7", "schöne Größe"), ("utf-7", "UTF-7", "Привет мир"), ("hz", "HZ", "我们 好")],
)
def test_encodings_of_seven_bits_are_refused(codec, name, text, tmp_path):
    """Regression: their letters were read as words."""
    lines = "".join(f"{text} {number},{number % 2}\n" for number in range(12))
    (tmp_path / "a.csv").write_bytes(("text,label\n" + lines).encode(codec))
    assert f"a.csv is {name} and not UTF-8" in refusal(f"text-csv:{tmp_path / 'a.csv'}")
    with pytest.raises(ConfigError, match=f"convert the file: iconv -f {name} -t UTF-8"):
        check_seven_bits("a.csv", [text.encode(codec).decode()])


@pytest.mark.parametrize(
    "text",
    ["C++ and C", "call +1-800-555", "1+1=2", "REST+API-driven", "Google+ rocks", "~5 people ~~ 10", "~{FOUR~} ~{~a~}"],
)
def test_ordinary_texts_with_these_signs_are_not(text):
    check_seven_bits("a.csv", [text, f"{text} again"])
