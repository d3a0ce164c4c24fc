"""Sets of one's own: readers give the pixels and labels that were written, and refuse what is not as it should be."""

import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.load import load, normalisation, train_pictures
from nrf_ray.data.readers import pictures
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import execute
from nrf_ray.graph.store import Store
from nrf_ray.stages.train import TrainSpec
from nrf_ray.stages.train import train as train_stage
from nrf_ray.training import crops, fit
from nrf_ray.training.recipes import Augmentation, Recipe
from tests.data.files import pixels, png, write_folder, write_parquet
from tests.data.reading import IMAGES, LABELS, SPLIT, check, refusal

# parquet


@pytest.mark.parametrize("form", ["png", "hf", "uint8", "float"])
def test_parquet_of_every_form(form, tmp_path):
    check(f"parquet:{write_parquet(tmp_path / 'a.parquet', IMAGES, LABELS, split=SPLIT, form=form)}")


def test_parquet_of_grey_images_of_one_row_group_and_of_a_folder_of_shards(tmp_path):
    grey = pixels(12, (1, 8, 8))
    check(f"parquet:{write_parquet(tmp_path / 'grey.parquet', grey, LABELS, split=SPLIT, form='uint8')}", grey)
    shards = tmp_path / "shards"
    for name, rows in (("train-0", slice(0, 5)), ("train-1", slice(5, 8)), ("test-0", slice(8, 12))):
        write_parquet(shards / f"{name}.parquet", IMAGES[rows], LABELS[rows], form="hf")
    check(f"parquet:{shards}")


def test_rows_of_mixed_splits_keep_their_order(tmp_path):
    split = ["test" if i % 3 == 1 else "train" for i in range(12)]
    file = write_parquet(tmp_path / "a.parquet", IMAGES, np.arange(12) // 3 % 2, split=split)
    train, test = load(dataset_named(f"parquet:{file}").ref)
    mask = np.array(split) == "test"
    assert np.array_equal(train.images, IMAGES[~mask])
    assert np.array_equal(test.images, IMAGES[mask])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": LABELS + 1}, "no training row has label 0"),
        ({"labels": LABELS - 1}, "labels from -1"),
        ({"labels": LABELS * 2}, "no training row has label 1"),
        ({"labels": LABELS * 0}, "has 1 classes"),
        ({"labels": LABELS.astype(float)}, "labels of type double"),
        ({"labels": [None, *LABELS[1:]]}, "1 rows without a label"),
        ({"labels": [*LABELS[:11], 7]}, "a row with label 7"),
        ({"split": ["train"] * 11 + ["unseen"]}, "a split called 'unseen'"),
        ({"split": ["train"] * 11 + [None]}, "1 rows without a split"),
    ],
)
def test_parquet_with_wrong_columns_is_refused(change, words, tmp_path):
    arguments = {"images": IMAGES, "labels": LABELS, "split": SPLIT, **change}
    assert words in refusal(f"parquet:{write_parquet(tmp_path / 'a.parquet', **arguments)}")


def binary(dtype, high):
    """Return 12 images of 48 values, each 0 or `high`."""
    values = np.random.default_rng(0).integers(0, 2, 12 * 48) * high
    return pa.FixedSizeListArray.from_arrays(pa.array(values.astype(dtype)), 48)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array(["text"] * 12), "images of type string"),
        (pa.array([b"nonsense"] * 12), "row 0 of"),
        (pa.array([None] * 12, pa.binary()), "12 rows without the bytes of an image"),
        (pa.array([png(image) for image in IMAGES[:11]] + [None]), "1 rows without the bytes of an image"),
        (pa.array([png(image) for image in IMAGES[:11]] + [png(IMAGES[11])[:60]]), "row 11 of"),
        (pa.array([png(image) for image in IMAGES[:11]] + [png(pixels(1, (3, 8, 9))[0])]), "is 9 x 8 pixels"),
        (pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(12 * 50, np.uint8)), 50), "not a square of three"),
        (pa.FixedSizeListArray.from_arrays(pa.array(np.full(12 * 48, 2.0)), 48), "pixels from 2.0 to 2.0"),
        (pa.FixedSizeListArray.from_arrays(pa.array(np.full(12 * 48, np.nan)), 48), "pixels from nan"),
        (pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(12 * 48, np.int32)), 48), "pixels of type int32"),
        (pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(12 * 48, np.uint8)), 48), "training pixels are all equal"),
        (
            binary(np.uint8, 1),
            "no training pixel above 1 of 255: its images are black, or were divided by 255 once too",
        ),
        (binary(np.float32, 1 / 255), "no training pixel above 1 of 255"),
    ],
)
def test_parquet_with_wrong_images_is_refused(column, words, tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": column, "label": LABELS}), file)
    assert words in refusal(f"parquet:{file}")


def test_parquet_that_is_none_or_lacks_columns_is_refused(tmp_path):
    file = write_parquet(tmp_path / "a.parquet", IMAGES, LABELS)
    whole = file.read_bytes()
    for damaged in (whole[:-10], whole[:200], b""):
        file.write_bytes(damaged)
        assert "not a readable parquet file" in refusal(f"parquet:{file}")
    pq.write_table(pa.table({"picture": [1], "label": [0]}), file)
    assert "has no column image; it has picture, label" in refusal(f"parquet:{file}")
    (tmp_path / "empty").mkdir()
    assert "there is no file *.parquet" in refusal(f"parquet:{tmp_path / 'empty'}")


# folders


def test_folders_with_and_without_splits(tmp_path):
    write_folder(tmp_path / "a" / "train", IMAGES[:8], LABELS[:8])
    write_folder(tmp_path / "a" / "test", IMAGES[8:], LABELS[8:])
    (tmp_path / "a" / "train" / "ant" / ".DS_Store").write_text("")
    order = np.concatenate([np.argsort(LABELS[:8], kind="stable"), 8 + np.argsort(LABELS[8:], kind="stable")])
    check(f"folder:{tmp_path / 'a'}", IMAGES[order], LABELS[order])
    whole = write_folder(tmp_path / "größe x", IMAGES, LABELS)
    info = dataset_named(f"folder:{whole}")
    assert (info.ref.name, info.num_train, info.num_test) == ("größe-x", 10, 2)
    train, test = load(info.ref)
    together = {
        (image.numpy().tobytes(), int(label))
        for s in (train, test)
        for image, label in zip(s.images, s.labels, strict=True)
    }
    assert together == {(image.tobytes(), int(label)) for image, label in zip(IMAGES, LABELS, strict=True)}


def test_pictures_of_every_mode_are_rgb(tmp_path):
    root = write_folder(tmp_path / "a", IMAGES, LABELS)
    for number, mode in ((3, "L"), (6, "P"), (9, "RGBA")):
        (root / "ant" / f"{number:03d}.png").write_bytes(png(IMAGES[number], mode))
    info = dataset_named(f"folder:{root}")
    assert info.shape == (3, 8, 8)
    assert load(info.ref)[0].images.shape[1:] == (3, 8, 8)


def damage_size(root):
    (root / "bee" / "001.png").write_bytes(png(pixels(1, (3, 8, 9))[0]))


def damage_depth(root):
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(root / "bee" / "001.png")


def damage_colour(root):
    (root / "ant" / "000.png").write_bytes(png(IMAGES[0], "L"))


def damage_bytes(root):
    (root / "bee" / "001.png").write_bytes(png(IMAGES[1])[:50])


def damage_other(root):
    (root / "bee" / "notes.txt").write_bytes(png(IMAGES[1]))


def damage_empty(root):
    for file in (root / "cat").iterdir():
        file.unlink()


def damage_split(root):
    (root / "train").mkdir()


def damage_one_class(root):
    for name in ("bee", "cat"):
        (root / name).rename(root.parent / name)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_size, "is 9 x 8 pixels and the first picture 8 x 8"),
        (damage_depth, "1 of 12 pictures cannot be used: bee/001.png has 16 bits per channel"),
        (damage_colour, "has colours and the first picture is grey"),
        (damage_bytes, "001.png"),
        (damage_other, "notes.txt holds data by its first bytes but not by its ending"),
        (damage_empty, "no training picture of class cat"),
        (damage_split, "it needs train and test, or one folder per class"),
        (damage_one_class, "has 1 folders of pictures"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_folder_that_is_no_set_is_refused(damage, words, tmp_path):
    root = write_folder(tmp_path / "a", IMAGES, LABELS)
    damage(root)
    assert words in refusal(f"folder:{root}")


def test_classes_of_train_and_test_have_to_be_the_same(tmp_path):
    write_folder(tmp_path / "train", IMAGES, LABELS)
    write_folder(tmp_path / "test", IMAGES, LABELS, names=("ant", "bee", "dog"))
    assert "in only one of train and test: cat, dog" in refusal(f"folder:{tmp_path}")


def test_a_picture_that_claims_to_be_huge_is_never_decoded():
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(ConfigError, match=r"x\.png is not a readable PNG or JPEG|at most"):
        pictures.picture_shape(bomb, "x.png")
    small = bomb.replace(struct.pack(">I", 30_000), struct.pack(">I", 9_000))
    with pytest.raises(ConfigError):
        pictures.picture_shape(small, "x.png")


# restricted ImageNet


@pytest.mark.slow
def test_restricted_imagenet_has_the_papers_nine_classes(tmp_path, monkeypatch):
    for split, centre in (("train", 0), ("val", 255)):  # else every test row would be a training row too
        for number in range(1000):
            (tmp_path / split / f"n{number:08d}").mkdir(parents=True)
        for number in (0, 150, 151, 268, 281, 282, 30, 37, 80, 382, 397, 118, 319, 999):
            image = np.full((3, 300, 260), number % 256, np.uint8)
            image[:, 140:160, 120:140] = centre
            (tmp_path / split / f"n{number:08d}" / "a.JPEG").write_bytes(png(image))
    info = dataset_named(f"restricted-imagenet:{tmp_path}")
    assert (info.shape, info.num_classes, info.num_train, info.num_test) == ((3, 224, 224), 9, 11, 11)
    train, _ = load(info.ref)
    levels = [151, 268, 281, 282, 30, 37, 80, 382, 397, 118, 319]
    assert train.images[:, 0, 0, 0].tolist() == [level % 256 for level in levels]
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]
    assert normalisation(info.ref)[0] == (0.4717, 0.4499, 0.3837)
    files = [str(tmp_path / "train" / f"n{level:08d}" / "a.JPEG") for level in levels]
    assert train_pictures(info.ref) == tuple(files)
    fewer = dataset_named(f"restricted-imagenet:{tmp_path}[:10]").ref
    kept = [files[levels.index(level)] for level in levels if level % 256 in load(fewer)[0].images[:, 0, 0, 0]]
    assert train_pictures(fewer) == tuple(kept)
    recipe = Recipe(epochs=1, lr=0.01, batch_size=11, augmentation=Augmentation(min_area=0.08))
    seen = set()
    monkeypatch.setattr(fit, "crops_of", lambda found, *how: (seen.update(found), crops.crops_of(found, *how))[1])
    stage = train_stage(TrainSpec(arch="resnet_s", dataset=info.ref, recipe=recipe, seed=0))
    execute(stage, Store.open(str(tmp_path / "store"), create=True))
    assert seen == set(files), "training crops are cut from the files"
    (tmp_path / "train" / "n00000000").rename(tmp_path / "gone")
    assert "has 999 folders; ImageNet has 1000" in refusal(f"restricted-imagenet:{tmp_path}")
