"""Which files are a set, and which rows are for testing: by names alone, for every reader, and never in silence."""

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.data import members
from nrf_ray.data.catalogue import dataset_named, trainable
from nrf_ray.data.load import load, shared_rows
from nrf_ray.data.members import CSV, DATA, PARQUET, PICTURES, WORDS, split_in, tree_of
from nrf_ray.data.places import STORE
from nrf_ray.data.shared_rows import shared
from nrf_ray.errors import ConfigError
from nrf_ray.graph.store import MARKER
from tests.data.files import pixels, png, write_folder, write_parquet
from tests.data.reading import IMAGES, LABELS, check, refusal
from tests.texts import corpus, write_texts

TEXTS, OPINIONS = corpus(60)
TRAIN, TEST = slice(0, 40), slice(40, 60)


def sizes(name: str) -> tuple[int, int]:
    """Return the training and the test rows of the set `name`."""
    info = dataset_named(name)
    return info.num_train, info.num_test


def write_rows(file: Path, part: slice) -> Path:
    """Write some rows of one set of 60, as the name of `file` says: pictures as parquet, texts as CSV."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.name.lower().endswith(CSV):
        plain = write_texts(file.with_name("plain.csv"), TEXTS[part], OPINIONS[part])
        data = plain.read_bytes()
        plain.unlink()
        file.write_bytes(gzip.compress(data) if file.name.lower().endswith(".gz") else data)
    else:
        write_parquet(file, pixels(60)[part], (np.arange(60) % 3)[part])
    return file


# The words of a split


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("birds_train.parquet",), {"train"}),
        (("en-test.csv",), {"test"}),
        (("test1", "a.csv"), {"test"}),
        (("TRAIN.csv",), {"train"}),
        (("my training set.csv",), {"train"}),
        (("dev", "00.csv"), {"test"}),
        (("a_eval_1.csv",), {"test"}),
        (("x.val.parquet",), {"test"}),
        (("train_test.csv",), {"train", "test"}),
        (("test", "train.csv"), {"train", "test"}),
        (("latest.csv",), set()),
        (("contest.csv",), set()),
        (("birdstrain.csv",), set()),
        (("trained.csv",), set()),
        (("tests.csv",), set()),
        (("évaluation.csv",), set()),
        (("testé.csv",), set()),
    ],
)
def test_a_word_of_a_split_counts_between_what_are_no_letters(parts, said):
    assert split_in(parts) == said


LETTERS = st.text(st.characters(categories=["L"]), min_size=1, max_size=5)
SEPARATORS = st.text("_-. 0123456789", min_size=1, max_size=3)


@given(st.sampled_from(sorted(WORDS)), LETTERS, LETTERS, SEPARATORS, SEPARATORS, st.booleans())
def test_every_word_is_found_between_separators_and_never_inside_letters(word, before, after, left, right, upper):
    said = word.upper() if upper else word
    free = not split_in((before, after))
    assert split_in((f"{left}{said}{right}",)) == {WORDS[word]}
    assert split_in((f"{before}{left}{said}{right}{after}",)) >= {WORDS[word]}
    if free:
        assert split_in((f"{before}{left}{said}{right}{after}",)) == {WORDS[word]}
    assert WORDS[word] not in split_in((f"q{said}q",))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("birds_train.parquet", "birds_test.parquet"),
        ("en-train.csv", "en-test.csv"),
        ("training.csv", "testing.csv"),
        ("train.csv", "test.CSV"),
        ("train.csv", "test.csv.gz"),
        ("train.parquet", "test.parq"),
        ("train.parquet", "test.PARQUET"),
        ("train.parquet", "more/test.parquet"),
        ("train.pq", "valid/0.pq"),
        ("train.csv", "dev.csv"),
        ("Train/a.parquet", "Validation/a.parquet"),
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
    ],
)
def test_files_named_for_two_splits_are_never_pooled(train, test, tmp_path):
    write_rows(tmp_path / "set" / train, TRAIN)
    write_rows(tmp_path / "set" / test, TEST)
    kind = "text-csv" if ".csv" in train else "parquet"
    name = f"{kind}:{tmp_path / 'set'}"
    assert sizes(name) == (40, 20)
    if kind == "parquet":
        found = load(dataset_named(name).ref)
        assert np.array_equal(found[0].images, pixels(60)[TRAIN])
        assert np.array_equal(found[1].images, pixels(60)[TEST])


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["Split", "SPLIT ", " split"])
def test_a_column_that_is_nearly_called_split_is_asked_about(form, name, tmp_path):
    table = pa.table({"text": TEXTS, "label": OPINIONS, name: ["train"] * 40 + ["test"] * 20})
    if form == "csv":
        pa.csv.write_csv(table, tmp_path / "a.csv")
    else:
        pq.write_table(table, tmp_path / "a.parquet")
    assert f"a column called {name!r}; call it split" in refusal(f"text-{form}:{tmp_path}")


@pytest.mark.parametrize(
    "names", [("training", "testing"), ("train", "val"), ("birds_train", "birds_test"), ("Train", "Test")]
)
def test_folders_of_pictures_named_for_two_splits_are_never_pooled(names, tmp_path):
    for name, part in zip(names, (slice(0, 8), slice(8, 12)), strict=True):
        write_folder(tmp_path / name, IMAGES[part], LABELS[part])
    order = np.concatenate([np.argsort(LABELS[:8], kind="stable"), 8 + np.argsort(LABELS[8:], kind="stable")])
    check(f"folder:{tmp_path}", IMAGES[order], LABELS[order])


def test_a_class_that_is_called_like_a_split_is_asked_about(tmp_path):
    root = write_folder(tmp_path / "glass", IMAGES, LABELS, names=("beaker", "flask", "test_tube"))
    said = refusal(f"folder:{root}")
    assert "the folder of pictures test_tube may be a class or a split" in said
    assert "[splits=none]" in said
    info = dataset_named(f"folder:{root}[splits=none]")
    assert (info.num_classes, info.num_train, info.num_test) == (3, 10, 2)
    assert info.ref.name == "glass", "the set of before, when no such name was taken for a split"
    plain = write_folder(tmp_path / "other" / "glass", IMAGES, LABELS, names=("beaker", "flask", "tube"))
    assert dataset_named(f"folder:{plain}[splits=none]").ref == dataset_named(f"folder:{plain}").ref


def test_that_no_name_stands_for_a_split_makes_another_set_of_files_that_have_two(tmp_path):
    write_rows(tmp_path / "set" / "train.parquet", TRAIN)
    write_rows(tmp_path / "set" / "test.parquet", TEST)
    split, pooled = (dataset_named(f"parquet:{tmp_path / 'set'}{choice}") for choice in ("", "[splits=none]"))
    assert (split.num_train, split.num_test, pooled.num_train, pooled.num_test) == (40, 20, 50, 10)
    assert split.ref.digest != pooled.ref.digest


@pytest.mark.parametrize(
    "names", [("train_test.csv",), ("train.csv", "test_train.csv"), ("test/train.csv", "test/b.csv")]
)
def test_a_name_of_two_splits_is_refused(names, tmp_path):
    for number, name in enumerate(names):
        write_rows(tmp_path / "set" / name, (TRAIN, TEST)[number])
    assert "the name has words of two splits" in refusal(f"text-csv:{tmp_path / 'set'}")
    assert sum(sizes(f"text-csv:{tmp_path / 'set'}[splits=none]")) in (40, 60)


@pytest.mark.parametrize(
    ("train", "test", "asked"),
    [
        ("trainset", "testset", True),
        ("birdsTrain", "birdsTest", True),
        ("trn", "tst", True),
        ("mytrain", "myval", True),
        ("TrainSet/a", "DevSet/a", True),
        ("latest", "contest", False),
        ("strain", "strain2", False),
        ("trainer-contest", "trainer-latest", False),
    ],
)
def test_names_that_look_like_two_splits_are_asked_about(train, test, asked, tmp_path):
    """Regression: the rows of trainset.parquet and testset.parquet were pooled, and a test split was drawn."""
    for number, name in enumerate((train, test)):
        write_parquet(tmp_path / "a" / f"{name}.parquet", pixels(24, seed=number), np.arange(24) % 3)
    if asked:
        said = refusal(f"parquet:{tmp_path / 'a'}")
        assert f"cannot tell whether {train}.parquet and {test}.parquet in" in said
        assert "write [splits=none] behind the path if no name" in said
    info = dataset_named(f"parquet:{tmp_path / 'a'}{'[splits=none]' if asked else ''}")
    assert (info.num_train, info.num_test) == (40, 8)


def test_a_column_says_more_than_names(tmp_path):
    split = ["train"] * 50 + ["test"] * 10
    write_texts(tmp_path / "set" / "train_test.csv", TEXTS, OPINIONS, split=split)
    assert sizes(f"text-csv:{tmp_path / 'set'}") == (50, 10)


def test_files_for_testing_alone_are_a_test_set_and_none_to_train_on(tmp_path):
    train, test = write_rows(tmp_path / "x_train.parquet", TRAIN), write_rows(tmp_path / "x_test.parquet", TEST)
    info = dataset_named(f"parquet:{train}@parquet:{test}")
    assert (info.num_train, info.num_test) == (40, 20)
    assert sizes(f"parquet:{test}") == (0, 20)
    with pytest.raises(ConfigError, match=r"has no training rows.*\[splits=none\]"):
        trainable(f"parquet:{test}")
    assert trainable(f"parquet:{test}[splits=none]").num_train == 17


# Every file is used, refused, or passed over and said


@pytest.mark.parametrize("kind", ["parquet", "text-csv", "folder"])
@pytest.mark.parametrize("ending", sorted(DATA))
def test_a_file_with_a_data_ending_is_used_or_named(kind, ending, tmp_path):
    root, own = tmp_path / "set", {"parquet": PARQUET, "text-csv": CSV, "folder": PICTURES}[kind]
    if kind == "folder":
        write_folder(root, IMAGES, LABELS)
        odd = root / "bee" / f"odd{ending}"
    else:
        write_rows(root / ("a" + own[0]), TRAIN)
        odd = root / "deep" / f"odd{ending.upper()}"
    if ending in own:
        if kind == "folder":
            odd.write_bytes(png(pixels(1, seed=3)[0]))
        else:
            write_rows(odd, TEST)
        assert sum(sizes(f"{kind}:{root}")) == (13 if kind == "folder" else 60)
    else:
        odd.parent.mkdir(exist_ok=True)
        odd.write_bytes(b"anything")
        assert f"{odd.parent.name}/{odd.name}" in refusal(f"{kind}:{root}")


@pytest.mark.parametrize("kind", ["parquet", "text-csv", "folder"])
def test_what_is_no_data_is_passed_over_and_said(kind, tmp_path):
    root = tmp_path / "set"
    if kind == "folder":
        write_folder(root, IMAGES, LABELS)
    else:
        write_rows(root / f"a.{kind.removeprefix('text-')}", TRAIN)
    name = f"{kind}:{root}"
    before = dataset_named(name).ref
    for other in ("README.md", "LICENSE", "about.json", "notes.txt", "_SUCCESS"):
        (root / other).write_text("words")
    for hidden in (f"._a.{kind.removeprefix('text-')}", ".DS_Store"):
        (root / hidden).write_bytes(b"\0\5\x16\7")
    for folder in (".ipynb_checkpoints", "__MACOSX"):
        (root / folder).mkdir()
        (root / folder / "a.csv").write_text("no")
        (root / folder / "a.png").write_text("no")
    assert dataset_named(name).ref == before
    form = members.PICTURES if kind == "folder" else {"parquet": PARQUET, "text-csv": CSV}[kind]
    passed = members.passed_over(root, form)
    assert passed == ["LICENSE", "README.md", "_SUCCESS", "about.json", "notes.txt", "4 hidden"]


def test_a_store_and_the_data_home_inside_a_set_are_no_part_of_it(tmp_path, monkeypatch):
    """As where somebody keeps the results beside the data: their shards have the columns of a set."""
    monkeypatch.setenv("NRF_DATA", str(tmp_path / "cache"))
    write_rows(tmp_path / "train.parquet", TRAIN)
    write_rows(tmp_path / "test.parquet", TEST)
    name = f"parquet:{tmp_path}"
    load(dataset_named(name).ref)
    write_rows(tmp_path / "runs" / "construct" / "part-00000.parquet", TRAIN)
    (tmp_path / "runs" / MARKER).write_text("{}")
    assert STORE == MARKER
    assert (tmp_path / "cache" / "datasets").is_dir()
    assert sizes(name) == (40, 20)


def test_a_data_file_without_its_ending_is_refused(tmp_path):
    write_rows(tmp_path / "set" / "a.parquet", TRAIN)
    shutil.copy(tmp_path / "set" / "a.parquet", tmp_path / "set" / "b")
    assert "holds data by its first bytes but not by its ending" in refusal(f"parquet:{tmp_path / 'set'}")


def test_pictures_beside_the_folders_of_classes_and_below_them_are_refused(tmp_path):
    root = write_folder(tmp_path / "a", IMAGES, LABELS)
    (root / "stray.png").write_bytes(png(IMAGES[0]))
    assert "stray.png cannot be in a class" in refusal(f"folder:{root}")
    (root / "stray.png").unlink()
    (root / "bee" / "old").mkdir()
    (root / "bee" / "old" / "x.png").write_bytes(png(IMAGES[0]))
    assert "bee/old/x.png cannot be in a class" in refusal(f"folder:{root}")


PLACES = "PATH/train/<class>/ and PATH/test/<class>/"


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("training", "val"), ("a/train", "a/test")])
def test_splits_below_the_folders_of_classes_are_named_and_never_mixed(train, test, tmp_path):
    """Regression: the advice was to move the pictures into the folder of the class, so all were training pictures."""
    for name, rows in (("ant", slice(0, 6)), ("bee", slice(6, 12))):
        for split in (train, test):
            write_folder(tmp_path / name, IMAGES[rows], LABELS[rows] * 0, names=(split,))
    said = refusal(f"folder:{tmp_path}")
    assert f"the folders {', '.join(sorted((f'ant/{test}', f'ant/{train}')))}, " in said
    assert f"the split comes first: move the pictures into {PLACES}" in said


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("trainset", "testset"), ("birdsTrain", "birdsTest"), ("trainA", "testA"), ("traindata", "testdata"),
        ("trains", "tests"), ("mytrain", "myval"),
    ],
)  # fmt: skip
def test_folders_that_look_like_two_splits_are_to_be_named_train_and_test(train, test, tmp_path):
    for name in (train, test):
        write_folder(tmp_path / "a" / name, IMAGES, LABELS)
        write_folder(tmp_path / "b", IMAGES, LABELS * 0, names=(name,))
        write_folder(tmp_path / "c" / "ant", IMAGES, LABELS * 0, names=(name,))
    said = refusal(f"folder:{tmp_path / 'a'}")
    assert f"cannot tell whether {train}/ant and {test}/ant in" in said
    assert said.endswith(f"rename the folders, so that pictures are in {PLACES}")
    assert f"cannot tell whether ant/{train} and ant/{test} in" in refusal(f"folder:{tmp_path / 'c'}")
    assert f"cannot tell whether {train} and {test} in" in refusal(f"folder:{tmp_path / 'b'}")
    assert dataset_named(f"folder:{tmp_path / 'b'}[splits=none]").num_classes == 2


def test_classes_of_which_only_some_look_like_splits_are_classes(tmp_path):
    write_folder(tmp_path, IMAGES, LABELS, names=("trains", "valleys", "bees"))
    plain = dataset_named(f"folder:{tmp_path}")
    assert plain.classes == ("bees", "trains", "valleys")
    assert dataset_named(f"folder:{tmp_path}[splits=none]").ref == plain.ref


def test_pictures_in_folders_of_unknown_splits_are_not_advised_into_one_class(tmp_path):
    for name in ("fit", "score"):
        write_folder(tmp_path / name, IMAGES, LABELS)
    assert f"or, in two splits, from {PLACES}" in refusal(f"folder:{tmp_path}")
    for name in ("train", "test"):
        write_folder(tmp_path / "b" / name, IMAGES, LABELS)
    write_folder(tmp_path / "b" / "train" / "ant", IMAGES, LABELS * 0, names=("test",))
    assert "the folders train/ant/test are named for splits below" in refusal(f"folder:{tmp_path / 'b'}")
    (tmp_path / "b" / "train" / "ant" / "test").rename(tmp_path / "b" / "train" / "ant" / "old")
    assert "move them there, each within its split" in refusal(f"folder:{tmp_path / 'b'}")


def test_links_are_followed_and_those_to_nowhere_or_in_circles_refused(tmp_path):
    write_rows(tmp_path / "elsewhere" / "part" / "b.parquet", TEST)
    write_rows(tmp_path / "set" / "train.parquet", TRAIN)
    (tmp_path / "set" / "test").symlink_to(tmp_path / "elsewhere" / "part")
    name = f"parquet:{tmp_path / 'set'}"
    assert sizes(name) == (40, 20)
    (tmp_path / "set" / "round").symlink_to(tmp_path / "set")
    assert "is a link to a folder that contains it" in refusal(name)
    (tmp_path / "set" / "round").unlink()
    (tmp_path / "set" / "test").unlink()
    (tmp_path / "set" / "test").symlink_to(tmp_path / "gone")
    assert "is a link to nowhere" in refusal(name)


def test_a_pipe_is_not_waited_for(tmp_path):
    write_rows(tmp_path / "set" / "a.parquet", TRAIN)
    os.mkfifo(tmp_path / "set" / "b.parquet")
    assert "b.parquet is neither a file nor a folder" in refusal(f"parquet:{tmp_path / 'set'}")
    assert "is neither a file nor a folder" in refusal(f"parquet:{tmp_path / 'set' / 'b.parquet'}")


def test_a_name_that_is_no_utf_8_is_refused_in_one_line(tmp_path):
    write_rows(tmp_path / "set" / "a.parquet", TRAIN)
    write_rows(tmp_path / "b.parquet", TEST).rename(tmp_path / "set" / os.fsdecode(b"caf\xe9.parquet"))
    assert r"the name of the file caf\xe9.parquet is not UTF-8" in refusal(f"parquet:{tmp_path / 'set'}")


@given(names=st.lists(st.text("aé._-T1", min_size=1, max_size=6), unique=True, max_size=8), data=st.data())
def test_every_file_of_any_name_is_used_or_passed_over(names, data, tmp_path_factory):
    """With any names and endings, nothing is lost: what is hidden, used, other and foreign are all there is."""
    root = tmp_path_factory.mktemp("tree")
    endings = [data.draw(st.sampled_from(["", ".csv", ".CSV", ".md", ".csv.gz", ".json"])) for _ in names]
    whole = {name + ending for name, ending in zip(names, endings, strict=True)} - {".", ".."}
    for name in whole:
        (root / name).write_text("x")
    tree = tree_of(root, CSV)
    used = {member.parts[0] for member in tree.files}
    assert used == {name for name in whole if not name.startswith(".") and name.lower().endswith(CSV)}
    assert len(used) + len(tree.others) + tree.hidden == len(whole)
    assert [member.parts for member in tree.files] == sorted(member.parts for member in tree.files)


# Rows that are in both splits


def test_equal_rows_of_both_splits_are_counted_and_refused_above_one_in_a_hundred(tmp_path):
    images = pixels(400, (3, 3, 3))
    labels = np.arange(400) % 3
    split = ["train"] * 200 + ["test"] * 200
    for copies in (0, 1, 2, 3):
        images[200 : 200 + copies] = images[:copies]
        file = write_parquet(tmp_path / f"{copies}.parquet", images, labels, split=split, form="uint8")
        ref = dataset_named(f"parquet:{file}").ref
        if copies <= 2:
            assert shared_of(ref) == copies
        else:
            with pytest.raises(
                ConfigError, match=r"3 of 200 test rows are training rows too \(1\.5%; at most 1% may be\)"
            ):
                load(ref)


def shared_of(ref):
    """Return how many test rows of `ref` are training rows too."""
    load(ref)
    shared_rows.cache_clear()
    return shared_rows(ref)


def test_texts_of_equal_words_are_counted_and_not_texts_that_are_equal_when_cut(tmp_path):
    texts = [f"{text} {number}" for number, text in enumerate(TEXTS)]
    split = ["train"] * 40 + ["test"] * 20
    path = write_texts(tmp_path / "a.csv", texts, OPINIONS, split=split)
    assert shared_of(dataset_named(f"text-csv:{path}").ref) == 0
    texts[50] = texts[3]
    path = write_texts(tmp_path / "b.csv", texts, OPINIONS, split=split)
    assert "1 of 20 test rows are training rows too" in refusal(f"text-csv:{path}")
    texts[50] = f"  {texts[3].upper()} "
    path = write_texts(tmp_path / "c.csv", texts, OPINIONS, split=split)
    assert "1 of 20 test rows are training rows too" in refusal(f"text-csv:{path}"), "no model sees a difference"


def test_rows_are_counted_by_content_alone():
    train, test = pixels(300, (3, 5, 5)), pixels(100, (3, 5, 5), seed=1)
    test[7], test[50], test[51] = train[299], train[0], train[0]
    assert shared(train, test) == 3
    assert shared(train.astype(np.float32), test.astype(np.float32)) == 3
    near = train.copy()
    near[:, 0, 0, 0] ^= 1
    assert shared(train, near) == 0
    assert shared(train[:0], test) == shared(train, test[:0]) == 0


# Shards, columns


def test_a_shard_without_rows_is_none(tmp_path):
    for form in ("png", "uint8"):
        root = tmp_path / form
        write_parquet(root / "train-1.parquet", IMAGES[:8], LABELS[:8], form=form)
        write_parquet(root / "test-0.parquet", IMAGES[8:], LABELS[8:], form=form)
        schema = pq.read_schema(root / "train-1.parquet")
        pq.write_table(schema.empty_table(), root / "train-0.parquet")
        pq.write_table(pa.table({"image": pa.nulls(0), "label": pa.nulls(0)}), root / "test-1.parquet")
        check(f"parquet:{root}")
    pq.write_table(schema.empty_table(), tmp_path / "none.parquet")
    assert "has no rows" in refusal(f"parquet:{tmp_path / 'none.parquet'}")


def test_the_parquet_of_cifar_on_the_hub_is_read_and_its_label_asked_for(tmp_path):
    """uoft-cs/cifar100 as Hugging Face keeps it: `img`, a struct, with `fine_label` and `coarse_label`."""
    images = pa.array([{"bytes": png(image), "path": None} for image in IMAGES])
    table = pa.table({"img": images, "fine_label": LABELS, "coarse_label": LABELS // 2})
    pq.write_table(table.slice(0, 8), tmp_path / "train-00000-of-00001.parquet")
    pq.write_table(table.slice(8), tmp_path / "test-00000-of-00001.parquet")
    said = refusal(f"parquet:{tmp_path}")
    assert "name the column of labels (of fine_label, coarse_label)" in said
    assert "[label=fine_label]" in said
    check(f"parquet:{tmp_path}[label=fine_label]")
    check(f"parquet:{tmp_path}[label=coarse_label]", labels=LABELS // 2)
    refs = [dataset_named(f"parquet:{tmp_path}[label={name}]").ref for name in ("fine_label", "coarse_label")]
    assert refs[0].digest != refs[1].digest
    assert refs[0].name.endswith("[label=fine_label]")
    assert "has no column other" in refusal(f"parquet:{tmp_path}[label=other]")


def test_the_labels_of_texts_may_be_in_another_column(tmp_path):
    path = tmp_path / "a.csv"
    rows = "".join(f"{text},{label}\n" for text, label in zip(TEXTS, OPINIONS, strict=True))
    path.write_text(f"text,stars\n{rows}")
    assert "has no column label" in refusal(f"text-csv:{path}")
    assert sizes(f"text-csv:{path}[label=stars]") == (50, 10)
    pq.write_table(pa.table({"text": TEXTS, "stars": OPINIONS}), tmp_path / "a.parquet")
    assert "name the column of labels (of stars)" in refusal(f"text-parquet:{tmp_path / 'a.parquet'}")
    assert sizes(f"text-parquet:{tmp_path / 'a.parquet'}[label=stars]") == (50, 10)
