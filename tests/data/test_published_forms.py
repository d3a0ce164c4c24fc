"""The forms in which others publish sets (IDX, CIFAR, tensors): what was written is read, and nothing is run."""

import io
import tarfile
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.formats import FORMATS
from nrf_ray.data.load import load, normalisation
from nrf_ray.data.readers import cifar
from nrf_ray.data.readers.cifar import Cifar
from nrf_ray.data.readers.strict_pickle import read_dictionary
from nrf_ray.errors import ConfigError
from tests.data.files import pixels, python2_pickle, write_idx, write_parquet
from tests.data.reading import IMAGES, LABELS, SPLIT, check, refusal

# IDX


@pytest.mark.parametrize("packed", [True, False])
def test_idx(packed, tmp_path):
    grey = pixels(12, (1, 5, 4))
    write_idx(tmp_path, (grey[:8], LABELS[:8]), (grey[8:], LABELS[8:]), packed=packed)
    check(f"fashion-mnist:{tmp_path}", grey)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("train-images-idx3-ubyte", lambda data: data[:-1], "shorter than its header says"),
        ("train-images-idx3-ubyte", lambda data: data + b"\0", "longer than its header says"),
        ("train-images-idx3-ubyte", lambda data: data[:9], "shorter than its header says"),
        ("train-images-idx3-ubyte", lambda data: b"\0\0\x0d\x03" + data[4:], "not an IDX file of bytes in 3"),
        ("train-images-idx3-ubyte", lambda data: data[:4] + b"\xff" * 12 + data[16:], "at most"),
        ("t10k-labels-idx1-ubyte", lambda data: data[:-1] + b"\x09", "a row with label 9"),
        ("t10k-labels-idx1-ubyte", lambda data: data[:7] + b"\x03" + data[8:-1], "do not fit together"),
    ],
)
def test_idx_that_is_damaged_is_refused(name, change, words, tmp_path):
    grey = pixels(12, (1, 5, 4))
    write_idx(tmp_path, (grey[:8], LABELS[:8]), (grey[8:], LABELS[8:]), packed=False)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    assert words in refusal(f"fashion-mnist:{tmp_path}")


def test_idx_whose_compression_is_damaged_or_that_is_gone_is_refused(tmp_path):
    grey = pixels(12, (1, 5, 4))
    write_idx(tmp_path, (grey[:8], LABELS[:8]), (grey[8:], LABELS[8:]))
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for damaged in (whole[:-9], b"\x1f\x8b" + b"\xff" * 30, b"hello"):
        file.write_bytes(damaged)
        refusal(f"fashion-mnist:{tmp_path}")
    file.unlink()
    assert "there is no train-images-idx3-ubyte or train-images-idx3-ubyte.gz" in refusal(f"fashion-mnist:{tmp_path}")


# CIFAR

TINY = {
    "cifar10": replace(cifar.CIFAR10, rows=2, test_rows=2),
    "cifar100": replace(cifar.CIFAR100, rows=10, test_rows=2),
}


@pytest.fixture(params=TINY)
def tiny(request, monkeypatch):
    """Return name and layout of a CIFAR set of ten training and two test rows."""
    layout = TINY[request.param]
    form = replace(FORMATS[request.param], files=layout.files, outline=layout.outline, read=layout.read)
    monkeypatch.setitem(FORMATS, request.param, form)
    return request.param, layout


PICTURES, NUMBERS = pixels(12, (3, 32, 32)), [*range(9, -1, -1), 0, 1]


def cifar_files(layout: Cifar, form):
    """Return names and bytes of the files of a tiny CIFAR set."""
    files, first = {}, 0
    for name in (*layout.train, *layout.test):
        n = layout.test_rows if name in layout.test else layout.rows
        images, labels = PICTURES[first : first + n].reshape(n, -1), NUMBERS[first : first + n]
        first += n
        if form == "python":
            extra = {b"batch_label": b"one", b"filenames": [b"a.png"] * n}
            files[name] = python2_pickle({**extra, b"data": images, layout.label: labels})
        else:
            marks = [bytes([7] * (layout.label_bytes - 1) + [label]) for label in labels]
            files[f"{name}.bin"] = b"".join(m + i.tobytes() for m, i in zip(marks, images, strict=True))
    return files


@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
def test_cifar(form, packed, tiny, tmp_path):
    name, layout = tiny
    files = cifar_files(layout, form)
    folder = layout.folders[form == "binary"]
    if packed:
        with tarfile.open(tmp_path / layout.archives[form == "binary"], "w:gz") as archive:
            for file, data in {**files, "readme.html": b"hello"}.items():
                entry = tarfile.TarInfo(f"{folder}/{file}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    else:
        (tmp_path / folder).mkdir()
        for file, data in files.items():
            (tmp_path / folder / file).write_bytes(data)
    if name == "cifar10":
        check(f"{name}:{tmp_path}", PICTURES, NUMBERS, tests=2)
        assert normalisation(dataset_named(f"{name}:{tmp_path}").ref)[1] == (0.2023, 0.1994, 0.2010), "the paper's"
    else:
        check(f"{name}:{tmp_path}", PICTURES, NUMBERS, tests=2)
    assert not list(tmp_path.rglob("readme*")), "nothing is unpacked"


@pytest.mark.parametrize("tiny", ["cifar10"], indirect=True)
def test_cifar_that_is_damaged_is_refused(tiny, tmp_path):
    _, layout = tiny
    for form in ("python", "binary"):
        folder = tmp_path / form
        folder.mkdir()
        for file, data in cifar_files(layout, form).items():
            (folder / file).write_bytes(data)
        first = next(file for file in folder.iterdir() if "_3" in file.name)
        whole = first.read_bytes()
        for damaged in (whole[:-1], whole[: len(whole) // 2], b""):
            first.write_bytes(damaged)
            assert "data_batch_3" in refusal(f"cifar10:{folder}")
        first.unlink()
        assert f"there is no {first.name}" in refusal(f"cifar10:{folder}")
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(b"no archive")
    assert "not a readable archive" in refusal(f"cifar10:{archive}")
    with tarfile.open(archive, "w:gz") as opened:
        opened.addfile(tarfile.TarInfo("../../data_batch_1"))
    assert "is damaged" in refusal(f"cifar10:{archive}") or "there is no" in refusal(f"cifar10:{archive}")
    with tarfile.open(archive, "w:gz") as opened:
        for number in range(100):
            opened.addfile(tarfile.TarInfo(f"x{number}"))
    assert "more or larger members" in refusal(f"cifar10:{archive}")


def ran(*arguments):
    raise AssertionError("a pickle ran something")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x80\x02cos\nsystem\nU\x04true\x85R.", "names os.system"),
        (b"\x80\x02ctests.data.test_readers\nran\n)R.", "names tests.data.test_readers.ran"),
        (b"\x80\x02cnumpy.core.multiarray\nscalar\n)R.", "names numpy.core.multiarray.scalar"),
        (b"(S'true'\nios\nsystem\n.", "operation STRING"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93)R.", "operation SHORT_BINUNICODE"),
        (b"\x80\x02\x82\x01.", "operation EXT1"),
        (b"\x80\x02U\x01aQ.", "operation BINPERSID"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "stores value number 2147483647"),
        (b"\x80\x02].", "not a dictionary"),
        (b"\x80\x02}U\x01ab.", "is damaged"),
        (b"\x80\x02}", "is damaged"),
        (b"", "is damaged"),
        (python2_pickle({b"data": np.zeros((2, 3), np.uint8)}).replace(b"J\x03\0\0\0", b"J\x04\0\0\0"), "is damaged"),
        (python2_pickle({b"data": np.zeros((2, 3), np.uint8)}).replace(b"u1", b"O8"), "not a plain array"),
    ],
)
def test_a_hostile_pickle_runs_nothing(data, words):
    with pytest.raises(ConfigError) as error:
        read_dictionary(data, "batch")
    assert words in str(error.value)


# released tensors


def save(folder, images, labels):
    folder.mkdir(exist_ok=True)
    torch.save(images, folder / "CIFAR_ims")
    torch.save(labels, folder / "CIFAR_lab")
    return folder


@pytest.mark.parametrize("legacy", [True, False], ids=["of 2019", "zip"])
def test_released_tensors_with_the_test_set_of_another(legacy, tmp_path):
    test = write_parquet(tmp_path / "b.parquet", IMAGES, LABELS, split=SPLIT)
    floats = torch.from_numpy(IMAGES[:8]).float() / 255
    folder = tmp_path / "robust_CIFAR"
    folder.mkdir()
    for name, value in (("CIFAR_ims", floats), ("CIFAR_lab", torch.from_numpy(LABELS[:8]))):
        torch.save(list(value.split(3)), folder / name, _use_new_zipfile_serialization=not legacy)
    name = f"tensors:{folder}@parquet:{test}"
    assert dataset_named(name).ref.name == "robust_CIFAR@b"
    check(name)
    assert "has no test rows; name the set to test on behind an @" in refusal(f"tensors:{folder}")


class Hostile:
    """What torch.save would pickle as a call."""

    def __reduce__(self):
        return (ran, ())


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (Hostile(), torch.arange(3), "CIFAR_ims holds no plain tensors"),
        ([], torch.arange(3), "no tensor and no list of tensors"),
        ({"a": 1}, torch.arange(3), "no tensor and no list of tensors"),
        ([torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 5, 5)], torch.arange(3), "do not fit together"),
        (torch.zeros(3, 4, 4), torch.arange(3), "expected [n, c, h, w] and [n]"),
        (torch.zeros(3, 3, 4, 4), torch.arange(4), "expected [n, c, h, w] and [n]"),
        (torch.zeros(3, 3, 4, 4), torch.arange(3.0), "expected whole numbers"),
    ],
)
def test_tensors_that_are_no_set_are_refused(images, labels, words, tmp_path):
    assert words in refusal(f"tensors:{save(tmp_path / 'a', images, labels)}")


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images.requires_grad_(),
        lambda images: torch.nn.Parameter(images),
        lambda images: images.bfloat16(),
    ],
    ids=["requires_grad", "parameter", "bfloat16"],
)
def test_tensors_as_people_save_them_are_read(change, tmp_path):
    levels = torch.from_numpy(IMAGES[:8]) // 4 * 4
    images = change(levels.float() / 255)
    test = write_parquet(tmp_path / "b.parquet", IMAGES, LABELS, split=["train"] * 8 + ["test"] * 4)
    folder = save(tmp_path / "a", images, torch.from_numpy(LABELS[:8]))
    train, _ = load(dataset_named(f"tensors:{folder}@parquet:{test}").ref)
    exact = (images.detach().double() * 255).round().byte()
    assert torch.equal(train.images, exact)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images: images * 255, r"pixels from 0.0 to 252.4"),
        (lambda images: images - 0.1, "pixels from -0.1"),
        (lambda images: images.where(images < 0.5, torch.nan), "pixels from nan to nan"),
        (lambda images: (images * 255).long(), "pixels of type int64"),
        (lambda images: images > 0.5, "pixels of type bool"),
    ],
)
def test_tensors_whose_values_are_no_pixels_are_refused_in_the_plan(change, words, tmp_path):
    """Regression: the plan accepted them."""
    folder = save(tmp_path / "a", change(torch.linspace(0, 0.99, 8 * 48).reshape(8, 3, 4, 4)), torch.arange(8) % 2)
    test = write_parquet(tmp_path / "b.parquet", IMAGES, LABELS, split=["test"] * 12)
    with pytest.raises(ConfigError, match=words):
        dataset_named(f"tensors:{folder}@parquet:{test}")


def quantised(images):
    """Return images as 8-bit quantised tensors, which torch calls deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(images, 1 / 255, 0, torch.quint8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (quantised, "quantised"),
        (lambda images: images.to_sparse(), "sparse"),
        (lambda images: images.cfloat(), "complex"),
        (lambda images: images.to(torch.float8_e4m3fn), "float8"),
        (lambda images: images[:, :, :0], "no pixels"),
    ],
)
def test_tensors_that_are_not_plain_are_refused_in_one_line(change, words, tmp_path):
    folder = save(tmp_path / "a", change(torch.rand(6, 3, 4, 4)), torch.arange(6) % 3)
    assert words in refusal(f"tensors:{folder}@tensors:{folder}")
    folder = save(tmp_path / "b", torch.rand(6, 3, 4, 4), (torch.arange(6) % 3).cfloat())
    assert "complex" in refusal(f"tensors:{folder}@tensors:{folder}")


def test_a_tensor_set_names_other_data_in_its_folder(tmp_path):
    folder = save(tmp_path / "a", torch.rand(6, 3, 4, 4), torch.arange(6) % 3)
    (folder / "CIFAR_ims_test.pt").write_bytes(b"x")
    assert "CIFAR_ims_test.pt" in refusal(f"tensors:{folder}@tensors:{folder}")


# extra test sets


def test_extra_test_sets_have_a_test_split_only(tmp_path):
    np.save(tmp_path / "cifar10.1_v6_data.npy", PICTURES.transpose(0, 2, 3, 1))
    np.save(tmp_path / "cifar10.1_v6_labels.npy", np.array(NUMBERS))
    np.save(tmp_path / "fog.npy", PICTURES[:5].transpose(0, 2, 3, 1))
    np.save(tmp_path / "labels.npy", np.array(NUMBERS[:5]))
    check(f"cifar10.1:{tmp_path}", PICTURES, NUMBERS, tests=12)
    check(f"cifar10-c.fog:{tmp_path}", PICTURES[:5], NUMBERS[:5], tests=5)
    np.save(tmp_path / "labels.npy", np.array([0, 1, 2, 3, 10]))
    assert "a row with label 10" in refusal(f"cifar10-c.fog:{tmp_path}")
    np.save(tmp_path / "labels.npy", np.array([None] * 5), allow_pickle=True)
    assert "not a readable array" in refusal(f"cifar10-c.fog:{tmp_path}")
    np.save(tmp_path / "labels.npy", np.arange(4))
    assert "CIFAR-10 has images" in refusal(f"cifar10-c.fog:{tmp_path}")
