"""What a plan says of every dataset, and what a run refuses before Ray starts: in one line, with exit code 2."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from nrf_ray import cli
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.load import load
from nrf_ray.run import command, datasets
from nrf_ray.run.datasets import dataset_lines, datasets_of, prepare
from tests.data.files import pixels, png, write_folder, write_parquet
from tests.data.reading import refusal
from tests.small import TEXT, grid_of
from tests.sweeps import nonrobust_features, transfer_grid
from tests.texts import corpus, write_texts


def line_of(name: str) -> str:
    """Return what a plan says of the set `name`."""
    (line,) = dataset_lines([dataset_named(name).ref])
    return line


def test_a_plan_says_what_a_folder_holds(tmp_path):
    root = write_folder(tmp_path / "birds", pixels(60), [*[0] * 40, *[1] * 15, *[2] * 5])
    (root / "README.md").write_text("birds")
    (root / "bee" / ".DS_Store").write_text("")
    sizes = dataset_named(f"folder:{root}").sizes
    assert line_of(f"folder:{root}") == (
        "dataset birds: folder, 60 files, one row in six drawn for testing; 50 training and 10 test rows; "
        f"3 classes of {sizes[2]} (cat) to {sizes[0]} (ant) training rows; images of 3 x 8 x 8; test rows that are "
        "training rows too are counted when it is first read; passed over: README.md, 1 hidden"
    )
    load(dataset_named(f"folder:{root}").ref)
    assert "; 0 test rows are training rows too; passed over" in line_of(f"folder:{root}")


def test_a_plan_says_what_two_sets_and_texts_hold(tmp_path):
    train = write_parquet(tmp_path / "a_train.parquet", pixels(40), np.arange(40) % 3)
    test = write_parquet(tmp_path / "a_test.parquet", pixels(20, seed=1), np.arange(20) % 3)
    assert (
        "a_train@a_test[:30,:10]: parquet, 1 file and parquet, 1 file; 30 training and 10 test rows; 3 classes of "
    ) in line_of(f"parquet:{train}@parquet:{test}[:30,:10]")
    texts, labels = corpus(60)
    path = write_texts(tmp_path / "reviews.csv", texts, labels)
    assert "; 2 classes of 2" in line_of(f"text-csv:{path}")
    assert "; texts of 1 x 9 x 192; " in line_of(f"text-csv:{path}")


def test_a_plan_says_that_rows_for_validation_are_test_rows(tmp_path):
    """Others keep them apart, so the test set has more rows than the published one."""
    said, labels = "; rows for validation are test rows too; ", np.arange(60) % 3
    names = ["train"] * 30 + ["test"] * 15
    column = write_parquet(tmp_path / "c.parquet", pixels(60), labels, split=[*names, *["Dev"] * 15])
    texts, opinions = corpus(60)
    written = write_texts(tmp_path / "t.csv", texts, opinions, split=[*names, *["validation"] * 15])
    for begin, end, split in ((0, 30, "train"), (30, 45, "val"), (45, 60, "test")):
        write_folder(tmp_path / "f" / split, pixels(60)[begin:end], labels[begin:end])
        write_parquet(tmp_path / "p" / f"a_{split}.parquet", pixels(60)[begin:end], labels[begin:end])
    for name in (f"parquet:{column}", f"text-csv:{written}", f"folder:{tmp_path / 'f'}", f"parquet:{tmp_path / 'p'}"):
        assert "30 training and 30 test rows" in line_of(name)
        assert said in line_of(name)
    (tmp_path / "p" / "a_test.parquet").unlink()
    assert said not in line_of(f"parquet:{tmp_path / 'p'}")


@pytest.mark.parametrize("name", ["digits", "planted-image", "planted-text[classes=3]", "published:cifar10"])
def test_a_plan_says_what_sets_without_files_hold(name):
    info = dataset_named(name)
    line = line_of(name)
    assert line.startswith(f"dataset {info.ref.name}: ")
    assert f"{info.num_train} training and {info.num_test} test rows; {info.num_classes} classes" in line


def call(monkeypatch, capsys, *flags, sweep=transfer_grid):
    """Return exit code and output of a sweep's command; Ray and the store are not to be touched by it."""
    monkeypatch.setattr(command, "_run", None)
    monkeypatch.setattr("sys.argv", ["transfer_grid.py", "--preset", "smoke", "--address", "local", *flags])
    with pytest.raises(SystemExit) as exit_:
        cli.sweep_main(getattr(sweep, sweep.__name__.rpartition(".")[2]), sweep.FLAGS)
    said = capsys.readouterr()
    return exit_.value.code, said.out, said.err


def write_set(root: Path) -> Path:
    images, labels = pixels(480), np.arange(480) % 3
    write_folder(root / "train", images[:240], labels[:240])
    return write_folder(root / "test", images[240:], labels[240:]).parent


@pytest.mark.parametrize("flags", [(), ("--plan",)], ids=["run", "plan"])
def test_a_picture_of_another_size_is_refused_before_anything_starts(flags, tmp_path, monkeypatch, capsys):
    root = write_set(tmp_path / "photos")
    (root / "train" / "cat" / "002.png").write_bytes(png(pixels(1, (3, 30, 24))[0]))
    code, out, err = call(
        monkeypatch, capsys, "--dataset", f"folder:{root}", "--store", str(tmp_path / "store"), *flags
    )
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "1 of 480 pictures cannot be used: train/cat/002.png is 24 x 30 pixels and the first picture 8 x 8" in err
    assert not (tmp_path / "store").exists()


def test_what_only_decoding_shows_is_refused_before_anything_starts(tmp_path, monkeypatch, capsys):
    root = write_set(tmp_path / "photos")
    whole = (root / "train" / "cat" / "002.png").read_bytes()
    (root / "train" / "cat" / "002.png").write_bytes(whole[: len(whole) // 2])
    flags = ("--dataset", f"folder:{root}", "--store", str(tmp_path / "store"))
    assert call(monkeypatch, capsys, *flags, "--plan")[0] == 0, "the header is whole"
    code, _, err = call(monkeypatch, capsys, *flags)
    assert (code, err.count("\n")) == (2, 1)
    assert "train/cat/002.png is damaged" in err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS"),
        (b"\n<!DOCTYPE html><html></html>", "HTML"),
        (gzip.compress(b"text,label\na b,0\n", mtime=0), "gzip"),
        (b"PK\x03\x04" + bytes(60), "ZIP archive"),
    ],
    ids=["lfs", "html", "gzip", "zip"],
)
def test_a_file_of_another_kind_is_called_what_it_is(head, kind, tmp_path):
    root = write_folder(tmp_path / "birds", pixels(12), np.arange(12) % 3)
    (root / "ant" / "000.png").write_bytes(head)
    assert kind in refusal(f"folder:{root}")
    (tmp_path / "a.csv").write_bytes(head)
    said = refusal(f"text-csv:{tmp_path / 'a.csv'}")
    assert kind in said
    assert "iconv" not in said
    (tmp_path / "a.parquet").write_bytes(head)
    assert kind in refusal(f"parquet:{tmp_path / 'a.parquet'}")


def test_a_damaged_file_of_its_own_kind_is_not_called_another(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(60))
    said = refusal(f"parquet:{tmp_path / 'a.parquet'}")
    assert "is not a readable parquet file" in said
    assert "let its name end" not in said


def test_test_rows_that_are_trained_on_are_refused_before_anything_starts(tmp_path, monkeypatch, capsys):
    root = write_set(tmp_path / "photos")
    for number in ("000", "003", "006"):
        (root / "test" / "ant" / f"{number}.png").write_bytes((root / "train" / "ant" / f"{number}.png").read_bytes())
    code, _, err = call(monkeypatch, capsys, "--dataset", f"folder:{root}", "--store", str(tmp_path / "store"))
    assert (code, err.count("\n")) == (2, 1)
    assert "dataset photos: 3 of 240 test rows are training rows too (1.2%; at most 1% may be): remove them from" in err
    assert not (tmp_path / "store").exists()
    shutil.rmtree(tmp_path / "home" / "datasets")
    monkeypatch.setattr(datasets, "prepared", None)  # what was counted is not counted again
    for more in ((), ("--plan",)):
        flags = ("--dataset", f"folder:{root}", "--store", str(tmp_path / "store"), *more)
        assert call(monkeypatch, capsys, *flags) == (2, "", err)


def test_an_extra_test_set_is_neither_the_dataset_nor_its_training_images(tmp_path, monkeypatch, capsys):
    """Regression: neither was noticed."""
    images, labels = pixels(480), np.arange(480) % 3
    own = write_parquet(tmp_path / "own.parquet", images, labels, split=["train"] * 400 + ["test"] * 80)
    flags = ("--dataset", f"parquet:{own}", "--store", str(tmp_path / "store"), "--extra-test")
    code, out, err = call(monkeypatch, capsys, *flags, f"parquet:{own}", sweep=nonrobust_features)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "extra test set own is the dataset itself, which is tested on anyway; leave it out" in err
    for copies in (3, 2):
        others = np.concatenate([images[:copies], pixels(200 - copies, seed=1)])
        other = write_parquet(tmp_path / f"other{copies}.parquet", others, labels[:200], split=["test"] * 200)
        if copies == 3:
            code, _, err = call(monkeypatch, capsys, *flags, f"parquet:{other}", sweep=nonrobust_features)
            assert (code, err.count("\n")) == (2, 1)
            assert "dataset other3: 3 of 200 test rows are training rows of own too (1.5%; at most 1% may be)" in err
            assert not (tmp_path / "store").exists()
        else:
            with pytest.raises(TypeError, match="'NoneType' object is not callable"):  # the run begins
                call(monkeypatch, capsys, *flags, f"parquet:{other}", sweep=nonrobust_features)


def test_sets_are_prepared_once_and_their_names_said(tmp_path):
    root = write_set(tmp_path / "photos")
    ref = dataset_named(f"folder:{root}").ref
    said: list[str] = []
    prepare([ref, dataset_named("digits").ref], said.append)
    assert said == ["reading dataset photos: 480 rows"]
    prepare([ref], said.append)
    assert len(said) == 1


def test_every_dataset_of_a_sweep_is_found_once():
    grid = grid_of(TEXT, datasets=("planted-text",), seeds=(0,), constructions=("d_det",))
    sweep = transfer_grid.transfer_grid(grid)
    assert [ref.name for ref in datasets_of(sweep.stages())] == ["planted-text"]
