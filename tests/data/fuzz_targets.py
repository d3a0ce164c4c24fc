"""Readers of files that people bring, each with sound files to change and another's reader to compare with."""

import gzip
import io
import struct
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
from PIL import Image

from nrf_ray.data.formats import FORMATS
from nrf_ray.data.outline import Format
from nrf_ray.data.readers import cifar, pictures
from nrf_ray.errors import ConfigError
from nrf_ray.models.weight_files import read_state
from tests.data.files import labels_of, pixels, png, python2_pickle, write_idx, write_parquet
from tests.data.reading import SPLIT

WIDEST = 2**22
"""Pixels of a mutated picture that are still compared: a few bytes can claim many, and decoding them takes long."""

Rows = list[tuple[Any, ...]]
"""What was read, in order: comparable with ==."""


class Unreadable(Exception):
    """The peer does not read the file either."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One reader, with files to mutate and a peer that reads the same files."""

    files: Callable[[], Sequence[bytes]]
    """Sound files."""
    ours: Callable[[Path, bytes], Rows]
    """Our reader, of a file's bytes; it may use the folder, which is empty."""
    peer: Callable[[Path, bytes], Rows]
    """The rows that somebody else's reader gives; raises whatever it likes where it gives none."""


def _rows_of(form: Format, path: Path) -> Rows:
    """Return every row of files of a format, in both splits."""
    outline, rows = form.outline(path), []
    for split in ("train", "test"):
        for batch in form.read(path, split, np.arange(outline.rows(split))):
            for value, label in zip(batch.images, batch.labels.tolist(), strict=True):
                rows.append((split, _plain(value), label))
    return rows


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else (value.shape, np.ascontiguousarray(value).tobytes())


def _picture_files() -> list[bytes]:
    colour, grey = pixels(1)[0], pixels(1, (1, 9, 7))[0]
    made = [png(colour), png(grey), png(colour, "P"), png(colour, "RGBA"), png(grey, "1"), png(grey, "LA")]
    out = io.BytesIO()
    Image.fromarray(colour.transpose(1, 2, 0)).save(out, "PNG", transparency=(1, 2, 3), dpi=(72, 72), icc_profile=b"x")
    made.append(out.getvalue())
    for options in ({"quality": 60}, {"progressive": True}, {"subsampling": 0, "comment": b"hello"}):
        out = io.BytesIO()
        Image.fromarray(colour.transpose(1, 2, 0)).save(out, "JPEG", **options)
        made.append(out.getvalue())
    return made


def _our_picture(folder: Path, data: bytes) -> Rows:
    shape = pictures.picture_shape(data, "x.png")
    if shape[1] * shape[2] > WIDEST:
        raise ConfigError("a picture that takes too long to try")
    return [_plain(pictures.decode(data, "x.png", shape))]


def _as_pillow_reads(data: bytes, channels: int | None = None) -> "np.ndarray[Any, Any]":
    with Image.open(io.BytesIO(data)) as image:
        grey = image.mode in ("1", "L", "LA") if channels is None else channels == 1
        array = np.asarray(image.convert("L" if grey else "RGB"))
    return array[None] if grey else array.transpose(2, 0, 1)


def _parquet_files(folder: Path, *forms: str) -> list[bytes]:
    made = []
    for form in forms:
        for split in (SPLIT, None):
            images, labels = pixels(12), np.arange(12) % 3
            made.append(write_parquet(folder / "a.parquet", images, labels, split=split, form=form).read_bytes())
    table = pa.table({"image": [png(image) for image in pixels(12)], "label": np.arange(12) % 3, "split": SPLIT})
    for options in ({"write_page_checksum": True}, {"compression": "zstd", "use_dictionary": False}):
        pq.write_table(table, folder / "a.parquet", **options)
        made.append((folder / "a.parquet").read_bytes())
    return made


SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation"), "test"),
}


def _pyarrow_rows(data: bytes, name: str) -> list[tuple[str, Any, int]]:
    """Return split, value and label of every row, the training rows first."""
    table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    splits = [SPLITS[s.lower()] for s in table["split"].to_pylist()] if "split" in table.column_names else None
    rows = zip(splits or ["train"] * len(table), table[name].to_pylist(), table["label"].to_pylist(), strict=True)
    return sorted(rows, key=lambda row: row[0] == "test")


def _pyarrow_pictures(folder: Path, data: bytes) -> Rows:
    found, channels = [], None
    for split, value, label in _pyarrow_rows(data, "image"):
        if isinstance(value, dict):
            value = value["bytes"]
        if isinstance(value, bytes):
            array = _as_pillow_reads(value, channels)
        else:
            array = np.array(value)
            array = np.rint(array * 255) if array.dtype.kind == "f" else array
            side = int((array.size / 3) ** 0.5)
            array = array.astype(np.uint8).reshape((3, side, side) if 3 * side**2 == array.size else (1, -1))
            array = array if array.ndim == 3 else array.reshape(1, int(array.size**0.5), -1)
        channels = channels or len(array)
        found.append((split, _plain(array), label))
    return found


def _text_parquet_files(folder: Path) -> list[bytes]:
    texts = [f"text {number} größe, the film is {'dull' if number % 2 else 'fine'}" for number in range(12)]
    table = pa.table({"text": texts, "label": [n % 2 for n in range(12)], "split": SPLIT})
    made = []
    for options in ({}, {"write_page_checksum": True, "compression": "none"}, {"use_dictionary": False}):
        pq.write_table(table, folder / "a.parquet", **options)
        made.append((folder / "a.parquet").read_bytes())
    return made


CSV = (
    b"text,label,split",
    b"the film is dull,0,train",
    b'"a bright, moving story",1,train',
    b'"she said ""fine""",1,train',
    "größe der kamera,0,train".encode(),
    b'"two\nlines",1,train',
    b"its awful music,0,test",
    b"a lovely scene,1,validation",
    b"",
)


def _csv_files() -> list[bytes]:
    whole = b"\n".join(CSV)
    plain = b"label,text\n0,a b\n1,c d\n0,e\n"
    return [whole, b"\r\n".join(CSV), b"\xef\xbb\xbf" + whole, plain]


def _pandas_rows(folder: Path, data: bytes) -> Rows:
    frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    splits = frame["split"] if "split" in frame else ["train"] * len(frame)
    rows = [
        (SPLITS[s.lower()], text, int(label))
        for s, text, label in zip(splits, frame["text"], frame["label"], strict=True)
    ]
    return sorted(rows, key=lambda row: row[0] == "test")


def _our_idx(folder: Path, data: bytes) -> Rows:
    """Read a set whose training images are `data`, packed or not."""
    write_idx(folder, (pixels(6, (1, 4, 5)), labels_of(6)), (pixels(3, (1, 4, 5)), labels_of(3)), packed=False)
    name = "train-images-idx3-ubyte"
    (folder / name).unlink()
    (folder / (f"{name}.gz" if data[:1] == b"\x1f" else name)).write_bytes(data)
    return [row[1:] for row in _rows_of(FORMATS["fashion-mnist"], folder) if row[0] == "train"]


def _idx_files() -> list[bytes]:
    plain = struct.pack(">4I", 0x803, 6, 4, 5) + pixels(6, (1, 4, 5)).tobytes()
    return [plain, gzip.compress(plain, mtime=0)]


def _numpy_idx(folder: Path, data: bytes) -> Rows:
    whole = gzip.decompress(data) if data[:1] == b"\x1f" else data
    array = np.frombuffer(whole[16:], np.uint8).reshape(struct.unpack(">3I", whole[4:16]))
    return [(_plain(image[None]), label) for image, label in zip(array, labels_of(6).tolist(), strict=True)]


TINY = replace(cifar.CIFAR10, rows=3, test_rows=3, train=("data_batch_1",))


def _cifar_files() -> list[bytes]:
    images = pixels(3, (3072,))
    table = np.concatenate([np.arange(3, dtype=np.uint8)[:, None], images], axis=1)
    pickled = python2_pickle({b"batch_label": b"one", b"data": images, b"labels": [0, 1, 2]})
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in ("data_batch_1", "test_batch"):
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(pickled)
            archive.addfile(entry, io.BytesIO(pickled))
    return [table.tobytes(), pickled, out.getvalue()]


def _our_cifar(folder: Path, data: bytes) -> Rows:
    ending = {b"\x80": "", b"\x1f": ".tar.gz"}.get(data[:1], ".bin")
    if ending == ".tar.gz":
        (folder / "cifar-10-python.tar.gz").write_bytes(data)
    else:
        (folder / f"data_batch_1{ending}").write_bytes(data)
        (folder / f"test_batch{ending}").write_bytes(_cifar_files()[0 if ending else 1])
    form = replace(FORMATS["cifar10"], files=TINY.files, outline=TINY.outline, read=TINY.read)
    return [row[1:] for row in _rows_of(form, folder) if row[0] == "train"]


def _numpy_cifar(folder: Path, data: bytes) -> Rows:
    if data[:1] in (b"\x80", b"\x1f"):
        raise Unreadable("nobody else reads such a pickle without running it")
    table = np.frombuffer(data, np.uint8).reshape(3, 3073)
    return [(_plain(row[1:].reshape(3, 32, 32)), int(row[0])) for row in table]


def _saved(content: object, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, **options)
    return out.getvalue()


def _tensor_files() -> list[bytes]:
    images = torch.from_numpy(pixels(6, (3, 4, 4)))
    return [
        _saved([images]),
        _saved([images[:2].float() / 255, images[2:].float() / 255]),
        _saved(images, _use_new_zipfile_serialization=False),
    ]


def _our_tensors(folder: Path, data: bytes) -> Rows:
    (folder / "CIFAR_ims").write_bytes(data)
    (folder / "CIFAR_lab").write_bytes(_saved([torch.arange(6) % 2]))
    return _rows_of(FORMATS["tensors"], folder)


def _torch_tensors(folder: Path, data: bytes) -> Rows:
    found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    images = torch.cat(list(found) if isinstance(found, list | tuple) else [found])
    levels = images if images.dtype == torch.uint8 else (images.double() * 255).round().to(torch.uint8)
    labels = [0, 1] * 3
    return [("train", _plain(image.numpy()), label) for image, label in zip(levels, labels, strict=True)]


STATE = {"conv.weight": torch.rand(2, 3), "conv.bias": torch.rand(2), "steps": torch.tensor(3)}


def _state_rows(state: Any) -> Rows:
    return sorted((name, str(tensor.dtype), _plain(tensor.detach().float().numpy())) for name, tensor in state.items())


def _torch_state(folder: Path, data: bytes) -> Rows:
    found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return _state_rows(next((one for one in found.values() if isinstance(one, dict)), found))


def _npy_files() -> list[bytes]:
    out = io.BytesIO()
    np.save(out, pixels(4, (32, 32, 3)))
    return [out.getvalue()]


def _our_arrays(folder: Path, data: bytes) -> Rows:
    (folder / "cifar10.1_v6_data.npy").write_bytes(data)
    np.save(folder / "cifar10.1_v6_labels.npy", np.arange(4))
    return _rows_of(FORMATS["cifar10.1"], folder)


def _numpy_arrays(folder: Path, data: bytes) -> Rows:
    images = np.load(io.BytesIO(data), allow_pickle=False)
    return [("test", _plain(image.transpose(2, 0, 1)), label) for label, image in enumerate(images)]


def _our_file(kind: str, ending: str) -> Callable[[Path, bytes], Rows]:
    """Return a reader of a set that is one file."""

    def read(folder: Path, data: bytes) -> Rows:
        file = folder / f"a.{ending}"
        file.write_bytes(data)
        return _rows_of(FORMATS[kind], file)

    return read


def _in_a_folder(make: Callable[..., list[bytes]], *arguments: str) -> Callable[[], list[bytes]]:
    def made() -> list[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            return make(Path(folder), *arguments)

    return made


TARGETS: dict[str, Target] = {
    "pictures": Target(files=_picture_files, ours=_our_picture, peer=lambda f, data: [_plain(_as_pillow_reads(data))]),
    "parquet": Target(
        files=_in_a_folder(_parquet_files, "png", "hf", "uint8", "float"),
        ours=_our_file("parquet", "parquet"),
        peer=_pyarrow_pictures,
    ),
    "text-parquet": Target(
        files=_in_a_folder(_text_parquet_files),
        ours=_our_file("text-parquet", "parquet"),
        peer=lambda folder, data: list(_pyarrow_rows(data, "text")),
    ),
    "csv": Target(files=_csv_files, ours=_our_file("text-csv", "csv"), peer=_pandas_rows),
    "idx": Target(files=_idx_files, ours=_our_idx, peer=_numpy_idx),
    "cifar": Target(files=_cifar_files, ours=_our_cifar, peer=_numpy_cifar),
    "tensors": Target(files=_tensor_files, ours=_our_tensors, peer=_torch_tensors),
    "weights": Target(
        files=lambda: [_saved(STATE), _saved({"state_dict": STATE, "epoch": 3})],
        ours=lambda folder, data: _state_rows(read_state(data)),
        peer=_torch_state,
    ),
    "safetensors": Target(
        files=lambda: [safetensors.torch.save(STATE, {"format": "pt"})],
        ours=lambda folder, data: _state_rows(read_state(data)),
        peer=lambda folder, data: _state_rows(safetensors.torch.load(data)),
    ),
    "arrays": Target(files=_npy_files, ours=_our_arrays, peer=_numpy_arrays),
}
"""Every reader of files that people bring."""
