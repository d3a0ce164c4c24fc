"""Small files of images in every form that is read, for tests."""

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def pixels(n, shape=(3, 8, 8), seed=0):
    """Return n images [n, c, h, w] of uint8."""
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def labels_of(n, classes=3):
    """Return labels that are sorted by class, as in many files."""
    return np.sort(np.arange(n) % classes)


def png(image, mode=None):
    """Return an image [c, h, w] as PNG bytes, converted to `mode`."""
    array = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    picture = Image.fromarray(array)
    out = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(out, "PNG")
    return out.getvalue()


def write_idx(folder: Path, train, test, *, packed=True):
    """Write the four files of an IDX set; a split is images [n, 1, h, w] and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in (("train", train), ("t10k", test)):
        n, _, height, width = images.shape
        contents = {
            f"{name}-images-idx3-ubyte": struct.pack(">4I", 0x803, n, height, width) + images.tobytes(),
            f"{name}-labels-idx1-ubyte": struct.pack(">2I", 0x801, n) + np.asarray(labels, np.uint8).tobytes(),
        }
        for file, data in contents.items():
            if packed:
                (folder / f"{file}.gz").write_bytes(gzip.compress(data, mtime=0))
            else:
                (folder / file).write_bytes(data)
    return folder


def write_parquet(path: Path, images, labels, *, split=None, form="png", **more):
    """Write a parquet set whose images are png, hf (struct of bytes and path), uint8 or float lists."""
    flat = images.reshape(len(images), -1)
    encoded = [png(image) for image in images] if form in ("png", "hf") else []
    column = {
        "png": lambda: pa.array(encoded, pa.binary()),
        "hf": lambda: pa.array([{"bytes": data, "path": None} for data in encoded]),
        "uint8": lambda: pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1]),
        "float": lambda: pa.FixedSizeListArray.from_arrays(
            pa.array((flat.ravel() / np.float32(255)).astype(np.float32)), flat.shape[1]
        ),
    }[form]()
    columns = {"image": column, "label": pa.array(labels), **more}
    if split is not None:
        columns["split"] = pa.array(split)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=7)
    return path


def write_folder(root: Path, images, labels, *, names=("ant", "bee", "cat")):
    """Write one folder of PNG a class."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        file = root / names[label] / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(image))
    return root


def python2_pickle(entries):
    """Return a dictionary as Python 2 pickled those of CIFAR, by protocol 2; arrays, lists of numbers and bytes."""

    def text(value):
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    def item(value):
        if isinstance(value, bytes):
            return text(value)
        if isinstance(value, list):
            return b"](" + b"".join(item(v) if isinstance(v, bytes) else b"K" + bytes([v]) for v in value) + b"e"
        rows, columns = (b"J" + struct.pack("<i", n) for n in value.shape)
        dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87Rr\x05\x00\x00\x00"
        return start + b"(K\x01" + rows + columns + b"\x86" + dtype + b"\x89" + text(value.tobytes()) + b"tb"

    return b"\x80\x02}q\x01(" + b"".join(text(key) + item(value) for key, value in entries.items()) + b"u."
