"""Classes: their order, that none is lost, and that two sets agree on which is which."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nrf_ray.data.catalogue import DATASETS, dataset_named
from nrf_ray.data.classes import matched
from nrf_ray.data.digits import arrays
from nrf_ray.data.extra import check_same_classes
from nrf_ray.data.formats import FORMATS
from nrf_ray.data.load import load
from nrf_ray.data.readers import cifar, idx, imagenet
from nrf_ray.data.readers.class_order import in_order
from nrf_ray.data.splitting import split_rows
from nrf_ray.errors import ConfigError
from nrf_ray.run.datasets import dataset_lines
from tests.data.files import pixels, png, write_folder, write_parquet
from tests.data.reading import refusal


def write_classes(root: Path, names, *, each=6, seed=0) -> Path:
    """Write `each` pictures of every class; all pixels of a picture are the place of its class in `names`."""
    for place, name in enumerate(names):
        images = np.full((each, 1, 4, 4), place, np.uint8)
        images[:, 0, 0, 0] = np.arange(each) + 100 * seed
        for number, image in enumerate(images):
            file = root / name / f"{number:02d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(image))
    return root


def classes_seen(split) -> dict[int, int]:
    """Return from each label of a split to the class that its pictures show."""
    found = {(int(label), int(image[0, 3, 3])) for image, label in zip(split.images, split.labels, strict=True)}
    assert len({label for label, _ in found}) == len(found)
    return dict(sorted(found))


# Order


def test_class_folders_called_by_numbers_are_asked_about_and_read_either_way(tmp_path):
    root = write_classes(tmp_path / "a", [str(number) for number in range(12)])
    said = refusal(f"folder:{root}")
    assert "class 2 is 2 in numerical order but 10 in text order" in said
    assert "[classes=number] or [classes=text]" in said
    by_number, by_text = (load(dataset_named(f"folder:{root}[classes={order}]").ref)[0] for order in ("number", "text"))
    assert classes_seen(by_number) == {label: label for label in range(12)}
    assert list(classes_seen(by_text).values()) == [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    refs = [dataset_named(f"folder:{root}[classes={order}]").ref for order in ("number", "text")]
    assert refs[0].digest != refs[1].digest
    assert [ref.name for ref in refs] == ["a[classes=number]", "a"]


@pytest.mark.parametrize(
    "names",
    [
        ("class_9", "class_10"), ("c8.old", "c08b.old", "c10.old")[::2], ("9", "010"), ("a 2 b", "a 11 b"),
        ("2_pear", "10_apple"), ("2.pear", "10.apple"), ("1-2", "10-11"), ("0.5", "2.5", "10.25"), ("-5", "-1", "5"),
        ("class-5", "class-10"),
    ],
    ids=lambda names: " ".join(names),
)  # fmt: skip
def test_numbers_inside_names_are_asked_about_too(names, tmp_path):
    root = write_classes(tmp_path / "a", names)
    if sorted(names) == list(names):
        assert dataset_named(f"folder:{root}").num_classes == 2
        return
    assert "[classes=number] or [classes=text]" in refusal(f"folder:{root}")
    seen = classes_seen(load(dataset_named(f"folder:{root}[classes=number]").ref)[0])
    assert seen == {label: label for label in range(len(names))}


@pytest.mark.parametrize(
    "names", [("0", "1", "9"), ("00", "02", "10"), ("n01440764", "n01443537"), ("ant2", "bee10"), ("001.b", "002.a")]
)
def test_where_both_orders_are_one_nothing_is_asked(names, tmp_path):
    root = write_classes(tmp_path / "a", names)
    assert classes_seen(load(dataset_named(f"folder:{root}").ref)[0]) == {place: place for place in range(len(names))}


@pytest.mark.parametrize(
    "names",
    [
        ("set1_class2", "set1_class10"), ("background", "c1", "c2", "c10"), ("2_1", "2_10", "10_1"),
        ("class2", "Class10"), ("1.2.9", "1.2.10"), ("day 9", "day 10", "night 1"), ("01", "1", "2", "10"),
        ("1_x", "1.5_x", "10_x"), ("-10", "-9.5", "-9", "3"), ("\uff12", "\uff11\uff10"), ("2019-2", "2019-10"),
    ],
    ids=lambda names: " ".join(names),
)  # fmt: skip
def test_every_number_in_a_name_counts_whatever_the_other_names_are(names, tmp_path):
    """Regression: only the first number counted, and only if the text before it was the same in all names."""
    with pytest.raises(ConfigError, match=r"in text order.*\[classes=number\] or \[classes=text\]"):
        in_order(tmp_path, names, "")
    assert in_order(tmp_path, names, "text") == sorted(names)
    if "01" in names:
        with pytest.raises(ConfigError, match="differ only in zeros"):
            in_order(tmp_path, names, "number")
    else:
        assert in_order(tmp_path, names, "number") == list(names)


@pytest.mark.parametrize(
    "names",
    [
        ("Class2", "class10"), ("Zebra", "ant"), ("Zebra1", "ant2"), ("c-x", "c1"), ("1e3", "2e2"), ("0.25", "0.5"),
        ("-x", "1"), ("ant", "ant2", "bee"), ("2_1", "2_10"), ("a 1", "a-2"),
    ],
    ids=lambda names: " ".join(names),
)  # fmt: skip
def test_orders_that_differ_by_no_number_are_not_asked_about(names, tmp_path):
    assert in_order(tmp_path, names, "") == list(names) == sorted(names)


def test_the_order_of_numbers_is_refused_where_there_is_none(tmp_path):
    root = write_classes(tmp_path / "a", ("ant", "bee"))
    assert "which have no numbers, or differ only in zeros or case; write [classes=text]" in refusal(
        f"folder:{root}[classes=number]"
    )
    root = write_classes(tmp_path / "b", ("1", "01", "2"))
    assert "which have no numbers, or differ only in zeros or case; write [classes=text]" in refusal(
        f"folder:{root}[classes=number]"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder:{0}[classes=alphabet]", "write [classes=number] or [classes=text]"),
        ("folder:{0}[classes=]", "write [classes=number] or [classes=text]"),
        ("folder:{0}[splits=test]", "write [splits=none]"),
        ("folder:{0}[order=text]", "unknown choice in"),
        ("folder:{0}[classes=text][classes=number]", "gives [classes=...] twice"),
        ("folder:{0}[label=x]", "folder does not take [label=...]; it takes [classes=...], [splits=...]"),
        ("cifar10:{0}[classes=text]", "cifar10 does not take [classes=...]; leave it out"),
        ("parquet:{0}[classes=text]", "parquet does not take [classes=...]; it takes [label=...], [splits=...]"),
    ],
)
def test_choices_that_cannot_be_made_are_refused(name, words, tmp_path):
    root = write_classes(tmp_path / "a", ("ant", "bee"))
    assert words in refusal(name.format(root))


@pytest.mark.parametrize("choice", ["", "[classes=text]", "[splits=none]"])
def test_what_no_reader_expects_is_one_line_whatever_was_chosen(choice, tmp_path, monkeypatch):
    def broken(*arguments):
        raise IndexError("out of\nrange")

    monkeypatch.setattr("nrf_ray.data.readers.sized.check_files", broken)
    root = write_classes(tmp_path / "a", ("ant", "bee"))
    assert "is damaged, or another kind of file (IndexError: out of range)" in refusal(f"folder:{root}{choice}")


@pytest.mark.parametrize("end", ["[:8]", "[:8,:4]", "[classes=text]", "[label=x]", "@cifar10", "@folder:b", "#hf:b"])
def test_a_path_that_ends_as_a_name_may_end_is_never_taken_for_another(end, tmp_path):
    """Regression: with a[:8] and a side by side, a was read."""
    write_classes(tmp_path / "a", ("ant", "bee"))
    write_classes(tmp_path / f"a{end}", ("ant", "bee"))
    assert f"a{end}: the end of its path means" in refusal(f"folder:{tmp_path / 'a'}{end}")
    assert "give the path another name" in refusal(f"folder:{tmp_path / 'a'}{end}")


def test_brackets_in_a_path_are_a_part_of_it(tmp_path):
    root = write_classes(tmp_path / "a[v=2]", ("ant", "bee"))
    assert dataset_named(f"folder:{root}[classes=text][:6,:2]").num_train == 6


# ImageNet


@pytest.fixture
def restricted(monkeypatch):
    """Make Restricted ImageNet as large as a test: 1000 folders of which twelve are read, pictures of 8 x 8."""
    monkeypatch.setattr(imagenet, "RANGES", {"low": (2, 3), "middle": (10, 11), "high": (997, 999)})
    monkeypatch.setattr(imagenet, "SIDE", 8)
    monkeypatch.setattr(imagenet, "RESIZED", 8)


def write_imagenet(root: Path, names) -> Path:
    for split in ("train", "val"):
        for number, name in enumerate(names):
            folder = root / split / name
            folder.mkdir(parents=True)
            if any(first <= number <= last for first, last in imagenet.RANGES.values()):
                image = np.full((3, 8, 8), number % 256, np.uint8)
                image[0, 0, 0] = 255 if split == "val" else 0
                (folder / "a.png").write_bytes(png(image))
    return root


def test_imagenet_folders_called_by_class_indices_are_in_that_order(restricted, tmp_path):
    root = write_imagenet(tmp_path, [str(number) for number in range(1000)])
    train, _ = load(dataset_named(f"restricted-imagenet:{root}").ref)
    assert train.images[:, 0, 3, 3].tolist() == [number % 256 for number in (2, 3, 10, 11, 997, 998, 999)]
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    again, _ = load(dataset_named(f"restricted-imagenet:{root}[classes=number]").ref)
    assert again.images.equal(train.images)
    assert "are class indices; leave out [classes=text]" in refusal(f"restricted-imagenet:{root}[classes=text]")


def test_imagenet_folders_called_otherwise_are_refused(restricted, tmp_path):
    root = write_imagenet(tmp_path / "a", [f"class {number:04d}" for number in range(1000)])
    assert "WordNet ids (n01440764) or by class indices from 0 to 999" in refusal(f"restricted-imagenet:{root}")
    root = write_imagenet(tmp_path / "b", [str(number) for number in range(1, 1001)])
    assert "any other order would be a guess" in refusal(f"restricted-imagenet:{root}")
    root = write_imagenet(tmp_path / "c", [*(f"n{number:08d}" for number in range(999)), "tench"])
    assert "has the folders tench" in refusal(f"restricted-imagenet:{root}")


def test_an_imagenet_picture_that_does_not_open_is_named_in_the_plan(restricted, tmp_path):
    root = write_imagenet(tmp_path, [f"n{number:08d}" for number in range(1000)])
    (root / "train" / "n00000010" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    with pytest.raises(ConfigError, match=r"1 of 15 pictures cannot be used: n00000010/b\.png"):
        dataset_named(f"restricted-imagenet:{root}")


# No class is lost


def test_a_class_that_the_draw_takes_away_is_refused(tmp_path):
    images, labels = pixels(60), np.arange(60) % 3
    alone = split_rows(60)[1][0]
    labels[alone] = 3
    file = write_parquet(tmp_path / "a.parquet", images, labels)
    said = refusal(f"parquet:{file}")
    assert "has no training rows for 1 of its 4 classes (3), because one row in 6 is drawn for testing" in said
    labels[split_rows(60)[0][0]] = 3
    file = write_parquet(tmp_path / "b.parquet", images, labels)
    assert dataset_named(f"parquet:{file}").sizes[3] == 1


def test_a_class_of_one_picture_is_refused_where_it_is_drawn(tmp_path):
    root = write_folder(tmp_path / "a", pixels(30), np.arange(30) % 3)
    (root / "dog").mkdir()
    (root / "dog" / "1.png").write_bytes(png(pixels(1, seed=2)[0]))
    drawn = 30 in split_rows(31)[1]
    if drawn:
        assert "(dog)" in refusal(f"folder:{root}")
    else:
        assert dataset_named(f"folder:{root}").sizes[3] == 1


def test_few_rows_of_many_classes_are_refused(tmp_path):
    labels = np.arange(600) % 100
    file = write_parquet(tmp_path / "a.parquet", pixels(600, (1, 4, 4)), labels, form="uint8")
    said = refusal(f"parquet:{file}[:20,:20]")
    assert "of its 100 classes" in said
    assert "20 of the other 500 are selected: select more" in said
    info = dataset_named(f"parquet:{file}")
    assert (sum(info.sizes), min(info.sizes) > 0) == (500, True)


def test_few_rows_of_cifar_100_are_refused_though_its_plan_reads_no_labels(tmp_path, monkeypatch):
    layout = replace(cifar.CIFAR100, rows=500, test_rows=100)
    form = replace(FORMATS["cifar100"], files=layout.files, outline=layout.outline, read=layout.read)
    monkeypatch.setitem(FORMATS, "cifar100", form)
    for name, images in (("train", pixels(500, (3, 32, 32))), ("test", pixels(100, (3, 32, 32), seed=1))):
        rows = [bytes([0, number % 100]) + image.tobytes() for number, image in enumerate(images)]
        (tmp_path / f"{name}.bin").write_bytes(b"".join(rows))
    said = refusal(f"cifar100:{tmp_path}[:20,:20]")
    assert "of its 100 classes" in said
    assert "20 of 500 training rows are selected: select more" in said
    assert dataset_named(f"cifar100:{tmp_path}").sizes == (), "not known before it is read"
    load(dataset_named(f"cifar100:{tmp_path}").ref)
    assert dataset_named(f"cifar100:{tmp_path}").sizes == (5,) * 100


# Two sets


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_two_sets_are_matched_by_the_names_of_their_classes(kind, tmp_path):
    train = write_classes(tmp_path / "train", ("ant", "bee", "cat"))
    if kind == "folder":
        write_classes(tmp_path / "b" / "train", ("Cat", "bee"))
        test = write_classes(tmp_path / "b" / "test", ("Cat", "bee"), seed=1).parent
        shows = {0: 2, 1: 1}
    else:
        images = np.repeat(np.array([0, 1], np.uint8), 6).reshape(12, 1, 1, 1) * np.ones((1, 1, 4, 4), np.uint8)
        images[:, 0, 0, 0] = np.arange(12) + 100
        names = ["Cat", "bee"]
        about = f'{{"info": {{"features": {{"label": {{"names": {str(names).replace(chr(39), chr(34))}}}}}}}}}'
        table = pa.table(
            {"image": [png(image) for image in images], "label": [0] * 6 + [1] * 6, "split": ["test"] * 12}
        )
        test = tmp_path / "b.parquet"
        pq.write_table(table.replace_schema_metadata({"huggingface": about}), test)
        shows = {0: 2, 1: 1}
    found = load(dataset_named(f"folder:{train}@{kind}:{test}").ref)
    assert classes_seen(found[0]) == {0: 0, 1: 1, 2: 2}
    assert classes_seen(found[1]) == {shows[place]: place for place in (0, 1)} | {}
    same = dataset_named(f"folder:{train}@folder:{write_split(tmp_path / 'c', ('ant', 'bee', 'cat'))}")
    assert classes_seen(load(same.ref)[1]) == {0: 0, 1: 1, 2: 2}


def write_split(root: Path, names) -> Path:
    write_classes(root / "train", names)
    write_classes(root / "test", names, seed=1)
    return root


def test_a_class_that_is_not_trained_on_is_not_tested_on(tmp_path):
    train = write_classes(tmp_path / "a", ("ant", "bee", "cat"))
    test = write_split(tmp_path / "b", ("bee", "dog"))
    assert "is tested on 1 classes that it is not trained on (dog)" in refusal(f"folder:{train}@folder:{test}")


def test_names_that_are_numbers_are_labels_of_a_set_without_names(tmp_path):
    names = [str(number) for number in range(11)]
    train = write_classes(tmp_path / "a", names)
    labels = np.repeat(np.arange(11), 2)
    images = labels.astype(np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 1, 4, 4), np.uint8)
    images[:, 0, 0, 0] = np.tile([200, 201], 11)
    split = ["train", "test"] * 11
    test = write_parquet(tmp_path / "b.parquet", images, labels, split=split)
    for order in ("number", "text"):
        found = load(dataset_named(f"folder:{train}[classes={order}]@parquet:{test}").ref)
        assert classes_seen(found[0]) == classes_seen(found[1])


def matched_pairs(train, test) -> dict[str, str]:
    """Return the training class of each test class, by name."""
    info = DATASETS["digits"]
    ours, theirs = (replace(info, classes=tuple(names), num_classes=len(names)) for names in (train, test))
    found = matched(ours, theirs, "a@b").relabel or range(len(test))
    return {name: train[label] for name, label in zip(test, found, strict=True)}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (("1", "2", "3", "unknown"), ("1", "2", "3")),
        (("-1", "0", "1"), ("0", "1")),
        (("1", "10", "2", "other"), ("1", "2")),
        (("0.25", "0.5", "1"), ("0.5", "1")),
        (("1", "3", "5"), ("1", "3")),
        (("01", "1"), ("1", "01")),
        (("1.5", "15"), ("15", "1.5")),
        (("c", "c++"), ("c++", "c")),
        (("+", "-"), ("-", "+")),
        (("Cat", "cat"), ("cat",)),
    ],
)
def test_classes_of_equal_names_are_the_same_whatever_the_names_are(train, test):
    """Regression: with folders 1, 2, 3, unknown and 1, 2, 3, the test class 1 was taken for the label 1, class 2."""
    assert matched_pairs(train, test) == {name: name for name in test}


def test_numeric_and_other_folder_names_are_matched_by_name_when_read(tmp_path):
    train = write_classes(tmp_path / "a", ("1", "2", "3", "unknown"))
    test = write_split(tmp_path / "b", ("1", "2", "3"))
    found = load(dataset_named(f"folder:{train}@folder:{test}").ref)
    assert [classes_seen(part) for part in found] == [{0: 0, 1: 1, 2: 2, 3: 3}, {0: 0, 1: 1, 2: 2}]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("Cat", "cat"), ("ice_cream", "Ice Cream"), ("ice-cream", "icecream"), ("class_1", "class1"), ("3-d", "3d")],
)
def test_names_that_differ_in_case_and_blanks_are_one_class_and_said(ours, theirs, tmp_path):
    assert matched_pairs(("ant", ours), (theirs, "ant")) == {theirs: ours, "ant": "ant"}
    train = write_classes(tmp_path / "a", ("ant", ours))
    test = write_split(tmp_path / "b", ("ant", theirs))
    line = dataset_lines([dataset_named(f"folder:{train}@folder:{test}").ref])[0]
    assert f"test classes are matched by name ({theirs} as {ours})" in line


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("c++", "c"), ("O+", "O-"), ("1.5", "15"), ("1_5", "15"), ("1-5", "1_5"), ("neg-1", "neg1"), ("a-", "a"),
        ("x#", "x"), ("0", "00"), ("-1", "1"), ("a.b", "ab"), ("_cat", "cat"), ("a/b", "ab"),
    ],
)  # fmt: skip
def test_names_that_differ_in_a_sign_with_a_meaning_are_two_classes(ours, theirs):
    """Regression: all signs were dropped before names were compared."""
    with pytest.raises(ConfigError) as error:
        matched_pairs(("ant", ours), ("ant", theirs))
    assert f"not trained on ({theirs}); it is trained on ant, {ours}: give the classes the same names" in str(error)


@pytest.mark.parametrize(
    ("train", "test", "named"),
    [
        (("Cat", "cat"), ("CAT",), "'Cat' and 'cat' and 'CAT'"),
        (("ant", "cat"), ("cat", "Cat"), "'cat' and 'Cat'"),
        (("ant", "cat"), ("Cat", "CAT"), "'cat' and 'Cat' and 'CAT'"),
    ],
)
def test_names_that_may_be_the_same_class_in_two_ways_are_refused(train, test, named):
    with pytest.raises(ConfigError, match=f"has the classes {named}, and it is a guess"):
        matched_pairs(train, test)


def test_a_set_without_names_is_matched_with_numbers_only_where_they_are_the_labels(tmp_path):
    images, labels = pixels(24, (1, 4, 4)), np.arange(24) // 2 % 3
    test = write_parquet(tmp_path / "b.parquet", images, labels, split=["train", "test"] * 12)
    odd = write_classes(tmp_path / "a", ("1", "2", "3", "unknown"))
    said = refusal(f"folder:{odd}@parquet:{test}")
    assert "the class '1', label 0, in the other, so the number 1 could be either" in said
    plain = write_classes(tmp_path / "c", ("0", "1", "2", "unknown"))
    assert dataset_named(f"folder:{plain}@parquet:{test}").num_classes == 4
    turned = write_classes(tmp_path / "d", [str(number) for number in range(11)])
    line = dataset_lines([dataset_named(f"folder:{turned}[classes=text]@parquet:{test}").ref])[0]
    assert "test classes are matched by number, for one set has no names" in line


def test_the_released_order_of_cifar_10_meets_other_names_with_a_question(tmp_path):
    names = cifar.CIFAR10.classes
    assert list(names) == sorted(names), "class folders called so have CIFAR's own order"
    info = type(DATASETS["digits"])(
        ref=DATASETS["digits"].ref, shape=(3, 32, 32), num_classes=10, num_train=1, num_test=1, classes=names
    )
    root = write_split(tmp_path / "a", ("plane", "car", *names[2:]))
    with pytest.raises(ConfigError, match=r"not trained on \(car, plane\)"):
        check_same_classes(info, dataset_named(f"folder:{root}"))
    root = write_split(tmp_path / "b", names)
    check_same_classes(info, dataset_named(f"folder:{root}"))
    turned = type(info)(**{**vars(info), "classes": names[::-1]})
    with pytest.raises(ConfigError, match=r"in another order.*behind an @"):
        check_same_classes(turned, dataset_named(f"folder:{root}"))


def test_files_that_number_the_same_classes_otherwise_are_refused(tmp_path):
    for name, classes in (("train", '["ant", "bee"]'), ("test", '["bee", "ant"]')):
        table = pa.table({"image": [png(image) for image in pixels(4)], "label": [0, 1, 0, 1]})
        about = f'{{"info": {{"features": {{"label": {{"names": {classes}}}}}}}}}'
        pq.write_table(table.replace_schema_metadata({"huggingface": about}), tmp_path / f"{name}.parquet")
    said = refusal(f"parquet:{tmp_path}")
    assert "labels mean different classes" in said


def test_known_names_are_as_many_as_the_classes():
    assert [len(names) for names in (cifar.CIFAR10.classes, cifar.CIFAR100.classes, idx.CLASSES)] == [10, 100, 10]


def test_the_sizes_of_the_classes_of_the_digits_are_those_of_its_file():
    labels = torch.from_numpy(arrays()[0].labels)
    assert DATASETS["digits"].sizes == tuple(labels.bincount().tolist())
