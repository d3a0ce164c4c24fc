"""Files that somebody made to do harm: none is unpacked, none runs anything, and none takes memory without end."""

import contextlib
import gzip
import io
import resource
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.load import load
from nrf_ray.data.readers import cifar, columns, pictures
from nrf_ray.errors import ConfigError
from nrf_ray.models.weight_files import WeightsError, read_state
from tests.data.files import pixels, png, write_parquet

KIB, MIB, GIB = 2**10, 2**20, 2**30


@pytest.fixture(autouse=True)
def frugal():
    """See that a test does not take much memory: a bomb that goes off fails it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 900 * KIB, "more than 900 MiB"


def refusal(name: str) -> str:
    """Return the one line with which the set `name` is refused."""
    with pytest.raises(ConfigError) as error:
        load(dataset_named(name).ref)
    assert "\n" not in str(error.value)
    return str(error.value)


# Archives


def member(name: str, kind: bytes = tarfile.REGTYPE, **about: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for key, value in about.items():
        setattr(made, key, value)
    return made


HOSTILE_MEMBERS = [
    member("data_batch_1", tarfile.SYMTYPE, linkname="/etc/passwd"),
    member("data_batch_1", tarfile.LNKTYPE, linkname="../../../etc/passwd"),
    member("data_batch_1", tarfile.CHRTYPE, devmajor=1, devminor=5),
    member("data_batch_1", tarfile.BLKTYPE, devmajor=8, devminor=0),
    member("data_batch_1", tarfile.FIFOTYPE),
    member("data_batch_1", tarfile.DIRTYPE),
    member("../../../../tmp/nrf-escaped/data_batch_1"),
    member("/tmp/nrf-escaped/data_batch_1"),
]


@pytest.mark.parametrize("entry", HOSTILE_MEMBERS, ids=lambda entry: f"{entry.type.decode()} {entry.name}")
def test_members_that_lead_out_are_neither_followed_nor_unpacked(entry: tarfile.TarInfo, tmp_path: Path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.addfile(entry)
    refusal(f"cifar10:{tmp_path / 'a.tar.gz'}")
    assert not list(tmp_path.rglob("data_batch_1"))
    assert not Path("/tmp/nrf-escaped").exists()


def test_an_archive_of_endless_zeros_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cifar, "MAX_ARCHIVE_BYTES", 20 * MIB)
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as file:
        for number in range(10):
            file.write(member(f"other {number}", size=8 * MIB).tobuf())
            file.write(bytes(8 * MIB))
    assert "unpacks to more than 20971520 bytes" in refusal(f"cifar10:{tmp_path / 'a.tar.gz'}")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_header_that_claims_gigabytes_takes_no_memory(kind: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cifar, "MAX_ARCHIVE_BYTES", 20 * MIB)
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as file:
        file.write(member("x", kind, size=3 * GIB).tobuf(format=tarfile.GNU_FORMAT))
        for _ in range(30):
            file.write(bytes(MIB))
    assert "unpacks to more than" in refusal(f"cifar10:{tmp_path / 'a.tar.gz'}")


def torch_zip(compression: int, value: object) -> bytes:
    """Return a file of torch.save whose members are packed again."""
    plain, packed = io.BytesIO(), io.BytesIO()
    torch.save(value, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", compression) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry.filename))
    return packed.getvalue()


def test_a_compressed_file_of_tensors_is_not_unpacked(tmp_path: Path):
    bomb = torch_zip(zipfile.ZIP_DEFLATED, torch.zeros(3 * MIB))
    assert len(bomb) < MIB
    for name in ("CIFAR_ims", "CIFAR_lab"):
        (tmp_path / name).write_bytes(bomb)
    assert "is compressed, unlike files of torch.save" in refusal(f"tensors:{tmp_path}")
    with pytest.raises(WeightsError, match=r"is compressed, unlike files of torch\.save"):
        read_state(torch_zip(zipfile.ZIP_DEFLATED, {"w": torch.zeros(3 * MIB)}))
    assert read_state(torch_zip(zipfile.ZIP_STORED, {"w": torch.zeros(3)}))["w"].shape == (3,)


# safetensors


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10 * GIB) + b'{"w":{}}',
        struct.pack("<Q", 62) + b'{"w":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,4]}}'[:62] + bytes(4),
        struct.pack("<Q", 64) + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,9999999999]}} ' + bytes(4),
        struct.pack("<Q", 100_000) + b'{"w":' + b"[" * 99_995,
    ],
    ids=["header beyond the file", "header of gigabytes", "shape beyond the file", "offsets beyond the file", "deep"],
)
def test_weights_whose_header_lies_are_refused(data: bytes):
    with pytest.raises(WeightsError):
        read_state(data)


# arrays


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 32, 32, 3)}", b"short"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387904, 32, 32, 3)}", b"short"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n."),
        ("__import__('os').system('true')", b""),
        ("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n."),
    ],
    ids=["too short", "beyond memory", "objects", "code", "objects in a record"],
)
def test_array_files_that_lie_or_hold_objects_are_refused(header: str, body: bytes, tmp_path: Path):
    data = header.encode().ljust(118) + b"\n"
    whole = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(data)) + data + body
    for name in ("cifar10.1_v6_data.npy", "cifar10.1_v6_labels.npy"):
        (tmp_path / name).write_bytes(whole)
    assert "not a readable array" in refusal(f"cifar10.1:{tmp_path}")


def test_an_archive_of_arrays_is_no_array(tmp_path: Path):
    for name in ("cifar10.1_v6_data.npy", "cifar10.1_v6_labels.npy"):
        with (tmp_path / name).open("wb") as file:
            np.savez_compressed(file, bomb=np.zeros(20 * MIB, np.uint8))
    assert "it does not begin like an .npy file" in refusal(f"cifar10.1:{tmp_path}")


# parquet


def test_a_parquet_file_of_endless_rows_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(columns, "MAX_ROWS", 100_000)
    file = tmp_path / "a.parquet"
    same = pa.DictionaryArray.from_arrays(np.zeros(300_000, np.int8), pa.array([png(pixels(1)[0])]))
    pq.write_table(pa.table({"image": same, "label": np.zeros(300_000, np.int64)}), file)
    assert file.stat().st_size < 100 * KIB
    assert "has 300000 rows" in refusal(f"parquet:{file}")


def test_a_parquet_file_of_endless_pixels_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(columns, "MAX_GROUP_BYTES", MIB)
    file = tmp_path / "a.parquet"
    table = pa.table({"image": pa.array([bytes(20 * MIB)]), "label": [0]})
    pq.write_table(table, file, compression="zstd", use_dictionary=False)
    assert file.stat().st_size < 100 * KIB
    assert "row groups of up to" in refusal(f"parquet:{file}")


# pictures


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


BOMBS = {
    "more pixels than are read": picture(9_000, 9_000, chunk(b"IDAT", zlib.compress(bytes(1000)))),
    "endless text": picture(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200 * MIB), 1))),
    "an endless profile": picture(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200 * MIB), 1))),
    "more data than pixels": picture(8, 8, chunk(b"IDAT", zlib.compress(bytes(200 * MIB), 1))),
    "no data": picture(8, 8),
}


@pytest.mark.parametrize("name", BOMBS)
def test_pictures_that_unpack_without_end_are_refused_or_stay_small(name: str):
    with contextlib.suppress(ConfigError):
        assert pictures.decode(BOMBS[name], "x.png", (3, 8, 8)).shape == (3, 8, 8)


def test_an_ordinary_file_is_still_read(tmp_path: Path):
    file = write_parquet(tmp_path / "a.parquet", pixels(12), np.arange(12) % 3, split=["train"] * 8 + ["test"] * 4)
    assert [len(split) for split in load(dataset_named(f"parquet:{file}").ref)] == [8, 4]
