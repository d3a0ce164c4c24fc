"""Sets of torchvision, in small files of its layouts: the pixels and labels that the files hold, in its splits."""

import bz2
import json
import os
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets
from PIL import Image

from nrf_ray.data import facts, outline_apart
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.fetch import fetch_dataset
from nrf_ray.data.load import load, train_pictures
from nrf_ray.data.readers import torchvision_sets
from nrf_ray.data.readers.torchvision_sets import SETS
from nrf_ray.errors import ConfigError
from tests.data.files import pixels, png
from tests.data.reading import refusal

TRAIN, TEST = 12, 6
LABELS = {"train": np.arange(TRAIN) % 3, "test": np.arange(TEST) % 3}


def images_of(split, shape):
    return pixels(TRAIN if split == "train" else TEST, shape, seed=len(split))


def write_idx(images, labels):
    images.parent.mkdir(parents=True, exist_ok=True)

    def write(pictures, numbers):
        n, _, height, width = pictures.shape
        images.write_bytes(struct.pack(">4I", 0x803, n, height, width) + pictures.tobytes())
        labels.write_bytes(struct.pack(">2I", 0x801, n) + np.asarray(numbers, np.uint8).tobytes())

    return write


def mnist(root, name="MNIST"):
    raw = root / name / "raw"
    for split, prefix in (("train", "train"), ("test", "t10k")):
        write = write_idx(raw / f"{prefix}-images-idx3-ubyte", raw / f"{prefix}-labels-idx1-ubyte")
        write(images_of(split, (1, 28, 28)), LABELS[split])
    return (1, 28, 28)


def letters(root):
    raw = root / "EMNIST" / "raw"
    for split in LABELS:
        start = f"emnist-letters-{split}"
        write = write_idx(raw / f"{start}-images-idx3-ubyte", raw / f"{start}-labels-idx1-ubyte")
        write(images_of(split, (1, 28, 28)), LABELS[split] + 1)
    return (1, 28, 28)


def svhn(root):
    for split, labels in LABELS.items():
        x = images_of(split, (3, 32, 32)).transpose(2, 3, 1, 0)
        y = np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)
        scipy.io.savemat(root / f"{split}_32x32.mat", {"X": x, "y": y})
    return (3, 32, 32)


def stl10(root):
    folder = root / "stl10_binary"
    folder.mkdir()
    for split, labels in LABELS.items():
        images_of(split, (3, 96, 96)).transpose(0, 1, 3, 2).tofile(folder / f"{split}_X.bin")
        (labels + 1).astype(np.uint8).tofile(folder / f"{split}_y.bin")
    (folder / "unlabeled_X.bin").write_bytes(b"")
    (folder / "class_names.txt").write_text("airplane\nbird\ncar\n")
    return (3, 96, 96)


def usps(root):
    for split, file in (("train", "usps.bz2"), ("test", "usps.t.bz2")):
        lines = []
        for image, label in zip(images_of(split, (1, 16, 16)), LABELS[split], strict=True):
            values = image.ravel() / 255 * 2 - 1
            lines.append(f"{label + 1} " + " ".join(f"{place}:{value:.8f}" for place, value in enumerate(values, 1)))
        (root / file).write_bytes(bz2.compress("\n".join(lines).encode()))
    return (1, 16, 16)


def gtsrb(root):
    base = root / "gtsrb" / "GTSRB"
    for number, (image, label) in enumerate(zip(images_of("train", (3, 9, 9)), LABELS["train"], strict=True)):
        file = base / "Training" / f"{label:05d}" / f"{number:05d}.ppm"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(file)
    lines = ["Filename;Width;Height;ClassId"]
    folder = base / "Final_Test" / "Images"
    folder.mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images_of("test", (3, 9, 9)), LABELS["test"], strict=True)):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{number:05d}.ppm")
        lines.append(f"{number:05d}.ppm;9;9;{label}")
    (root / "gtsrb" / "GT-final_test.csv").write_text("\n".join(lines) + "\n")
    return (3, 9, 9)


def flowers(root, shape=(3, 9, 9)):
    folder = root / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    for number, image in enumerate([*images_of("train", shape), *images_of("test", shape)], 1):
        (folder / "jpg" / f"image_{number:05d}.jpg").write_bytes(png(image))
    labels = np.concatenate([LABELS["train"], LABELS["test"]]) + 1
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": labels})
    ids = np.arange(1, TRAIN + TEST + 1)
    scipy.io.savemat(folder / "setid.mat", {"trnid": ids[:TRAIN], "valid": ids[:1], "tstid": ids[TRAIN:]})
    return shape


def dtd(root):
    for split, labels in LABELS.items():
        lines = []
        for number, (image, label) in enumerate(zip(images_of(split, (3, 9, 9)), labels, strict=True)):
            name = f"{'abc'[label]}/{split}_{number}.jpg"
            file = root / "dtd" / "dtd" / "images" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(image))
            lines.append(name)
        listed = root / "dtd" / "dtd" / "labels" / f"{split}1.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("\n".join(lines))
    return (3, 9, 9)


def food(root):
    lists = {}
    for split, labels in LABELS.items():
        for number, (image, label) in enumerate(zip(images_of(split, (3, 9, 9)), labels, strict=True)):
            name = "abc"[label]
            file = root / "food-101" / "images" / name / f"{split}_{number:02d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(image))
            lists.setdefault(split, {}).setdefault(name, []).append(f"{name}/{file.stem}")
        meta = root / "food-101" / "meta" / f"{split}.json"
        meta.parent.mkdir(exist_ok=True)
        meta.write_text(json.dumps(lists[split]))
    return (3, 9, 9)


LAYOUTS = {
    "MNIST": mnist,
    "KMNIST": lambda root: mnist(root, "KMNIST"),
    "FashionMNIST": lambda root: mnist(root, "FashionMNIST"),
    "EMNIST-letters": letters,
    "SVHN": svhn,
    "STL10": stl10,
    "USPS": usps,
    "GTSRB": gtsrb,
    "Flowers102": flowers,
    "DTD": dtd,
    "Food101": food,
}
SORTED = {"GTSRB": ("train",), "Food101": ("train", "test")}
"""Splits that torchvision sorts by class."""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let torchvision accept files of any digest: the real ones are large."""
    for module in ("svhn", "stl10", "flowers102"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda path, md5: os.path.isfile(path))


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_rows_are_those_in_the_files_in_torchvisions_splits(name, tmp_path):
    shape = LAYOUTS[name](tmp_path)
    info = dataset_named(f"torchvision:{name}={tmp_path}")
    assert (info.ref.name, info.shape, info.num_classes) == (name, shape, 3)
    for split, found in zip(LABELS, load(info.ref), strict=True):
        images, labels = images_of(split, shape), LABELS[split]
        order = np.argsort(labels, kind="stable") if split in SORTED.get(name, ()) else np.arange(len(labels))
        assert found.labels.tolist() == labels[order].tolist()
        assert np.abs(found.images.numpy().astype(int) - images[order]).max() <= (name == "USPS")


def test_every_name_is_a_class_of_torchvision_and_most_layouts_are_tried():
    assert all(hasattr(torchvision.datasets, known.kind) for known in SETS.values())
    untried = {known.kind for known in SETS.values()} - {SETS[name].kind for name in LAYOUTS}
    assert untried == {"QMNIST", "EuroSAT"}


def test_a_set_without_splits_gives_one_row_in_six_for_testing(tmp_path):
    for number, image in enumerate(pixels(12)):
        file = tmp_path / "eurosat" / "2750" / "abc"[number % 3] / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(image))
    info = dataset_named(f"torchvision:EuroSAT={tmp_path}")
    assert (info.num_train, info.num_test, info.classes) == (10, 2, ("a", "b", "c"))
    every = torch.cat([part.images for part in load(info.ref)])
    assert {image.numpy().tobytes() for image in every} == {image.tobytes() for image in pixels(12)}


def test_photos_of_any_size_are_resized_and_crops_are_cut_from_the_files(tmp_path):
    flowers(tmp_path)
    (tmp_path / "flowers-102" / "jpg" / "image_00003.jpg").write_bytes(png(pixels(1, (3, 12, 20))[0]))
    name = f"torchvision:Flowers102={tmp_path}"
    assert "image_00003.jpg is 20 x 12 pixels" in refusal(name)
    info = dataset_named(f"{name}[size=8]")
    assert (info.ref.name, info.shape) == ("Flowers102[size=8,crop=center]", (3, 8, 8))
    assert load(info.ref)[0].images.shape == (TRAIN, 3, 8, 8)
    assert [file[-9:] for file in train_pictures(info.ref)[:2]] == ["00001.jpg", "00002.jpg"]


def test_pictures_that_torchvision_opens_itself_are_resized_too(tmp_path):
    gtsrb(tmp_path)
    Image.new("RGB", (20, 12), "red").save(tmp_path / "gtsrb" / "GTSRB" / "Training" / "00001" / "00001.ppm")
    assert "holds pictures of 2 sizes, from 9 x 9 to 20 x 12 pixels; write [size=64,crop=center]" in refusal(
        f"torchvision:GTSRB={tmp_path}"
    )
    train, _ = load(dataset_named(f"torchvision:GTSRB={tmp_path}[size=4]").ref)
    assert train.images[4].flatten(1).tolist() == [[255] * 16, [0] * 16, [0] * 16]


def test_another_name_and_a_changed_file_are_another_set(tmp_path):
    mnist(tmp_path)
    mnist(tmp_path, "KMNIST")
    refs = [dataset_named(f"torchvision:{name}={tmp_path}").ref for name in ("MNIST", "KMNIST")]
    assert refs[0].digest != refs[1].digest
    file = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert dataset_named(f"torchvision:MNIST={tmp_path}").ref.digest != refs[0].digest


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torchvision", "unknown dataset of torchvision ''; known: MNIST, "),
        ("torchvision:CIFAR10", "unknown dataset of torchvision 'CIFAR10'"),
        ("torchvision:SVHN", "dataset torchvision:SVHN is not on this machine: nothing at "),
        ("torchvision:SVHN", "run `nrf fetch torchvision:SVHN`, or give its path as torchvision:SVHN=PATH"),
        ("torchvision:SVHN={root}", "there is no file train_32x32.mat; run `nrf fetch torchvision:SVHN`"),
        ("torchvision:MNIST={root}/none", "there is nothing at"),
        ("torchvision:MNIST={root}[label=fine]", "torchvision does not take [label=...]; it takes [size=...], [crop="),
    ],
)
def test_a_set_that_is_not_there_is_refused_in_one_line(name, words, tmp_path):
    assert words in refusal(name.format(root=tmp_path))


def test_damaged_files_are_refused_in_one_line(tmp_path):
    mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    assert "Dataset not found" in refusal(f"torchvision:MNIST={tmp_path}")
    mnist(tmp_path)
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-5])
    assert f"{tmp_path} is damaged, or another kind of file" in refusal(f"torchvision:MNIST={tmp_path}")


def test_planning_asks_a_child_process_once_and_imports_no_torch(tmp_path, home):
    mnist(home / "torchvision")
    time.sleep(facts.SETTLED_SECONDS)
    code = (
        "import subprocess, sys\n"
        "from nrf_ray.data import apart\n"
        "from nrf_ray.data.catalogue import dataset_named\n"
        "ran, run = [], subprocess.run\n"
        "subprocess.run = lambda *how, **more: (ran.append(how), run(*how, **more))[1]\n"
        "info = dataset_named('torchvision:MNIST')\n"
        "print(len(ran), info.num_train, info.num_classes, 'torch' in sys.modules)\n"
    )

    def planned():
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.split()

    assert planned() == ["1", str(TRAIN), "3", "False"]
    assert planned() == ["0", str(TRAIN), "3", "False"]


def test_torchvision_downloads_its_sets_itself(home, monkeypatch):
    asked = []
    monkeypatch.setattr(torchvision.datasets, "SVHN", lambda root, **how: asked.append((root, how)))
    assert fetch_dataset("torchvision:SVHN") == home / "torchvision"
    assert asked == [(str(home / "torchvision"), {"split": split, "download": True}) for split in LABELS]

    def no_network(root, **how):
        raise RuntimeError("Error downloading:\nno network")

    monkeypatch.setattr(torchvision.datasets, "SVHN", no_network)
    with pytest.raises(ConfigError, match=r"^torchvision cannot download SVHN: Error downloading: no network; put"):
        fetch_dataset("torchvision:SVHN")
    with pytest.raises(ConfigError, match="unknown dataset of torchvision 'CIFAR'"):
        fetch_dataset("torchvision:CIFAR")


def test_what_a_child_process_refuses_is_refused_here(tmp_path, monkeypatch):
    gtsrb(tmp_path)
    Image.new("RGB", (20, 12), "red").save(tmp_path / "gtsrb" / "GTSRB" / "Training" / "00001" / "00001.ppm")
    said = []
    monkeypatch.setattr("builtins.print", said.append)
    outline_apart.main("torchvision", f"torchvision:GTSRB={tmp_path}")
    monkeypatch.undo()
    monkeypatch.setattr(outline_apart, "said_apart", lambda *words, **more: json.loads(said[0]))
    monkeypatch.setattr(outline_apart, "sys", type("NoModules", (), {"modules": {}}))
    with pytest.raises(outline_apart.UnusablePictures, match="pictures of 2 sizes"):
        torchvision_sets.outline(tmp_path, name="GTSRB", choices=torchvision_sets.AS_IS)
