"""CIFAR-10 and CIFAR-100 in their published forms: binary or Python, unpacked or as the archive.

The binary form is rows of label bytes and 3072 pixels; the Python form is a pickle, which `strict_pickle` reads.
Members of an archive are read by name into memory. Nothing is unpacked to disk, and decompression stops at
`MAX_ARCHIVE_BYTES`.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nrf_ray.data.outline import Batch, Outline, Rows, Split, in_batches
from nrf_ray.data.readers.encoding import Capped
from nrf_ray.data.readers.strict_pickle import read_dictionary
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SHAPE = (3, 32, 32)
PIXELS = 3072
MAX_MEMBERS = 64
MAX_BYTES = 2**28
MAX_ARCHIVE_BYTES = 2**29
"""Largest decompressed size of an archive, headers included; CIFAR's archives have less than 2**28."""


CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@dataclass(frozen=True, kw_only=True)
class Cifar:
    """One of the two sets."""

    classes: tuple[str, ...]
    """Names of the classes, in the order of the labels."""
    rows: int
    """Rows of each training file."""
    train: tuple[str, ...]
    """Names of the files with the training rows, Python form."""
    test: tuple[str, ...]
    """Names of the files with the test rows, Python form."""
    test_rows: int = 10_000
    """Rows of the test file."""
    label: bytes
    """Key of the labels in the Python form."""
    label_bytes: int
    """Label bytes of a row in the binary form; the last byte is the label."""
    archives: tuple[str, ...]
    """Names of the archives."""
    folders: tuple[str, ...]
    """Names of the folders in the archives."""

    def files(self, path: Path) -> Sequence[Path]:
        """Return the path of the archive, or of the data files."""
        for place in (path, *(path / name for name in (*self.folders, *self.archives))):
            if place.is_file():
                return [place]
            for ending in (".bin", ""):
                found = [place / f"{name}{ending}" for name in (*self.train, *self.test)]
                if found[0].is_file():
                    missing = next((file for file in found if not file.is_file()), None)
                    if missing:
                        raise ConfigError(f"there is no {missing.name} in {place}")
                    return found
        raise ConfigError(f"there is no {' or '.join((*self.archives, *self.folders, self.train[0]))} in {path}")

    def outline(self, path: Path) -> Outline:
        """Return the outline, which is the same for every copy; `read` refuses a copy that does not match it."""
        self.files(path)
        return Outline(
            shape=SHAPE,
            num_classes=len(self.classes),
            num_train=self.rows * len(self.train),
            num_test=self.test_rows * len(self.test),
            classes=self.classes,
        )

    def read(self, path: Path, split: Split, rows: Rows) -> Iterator[Batch]:
        """Yield `rows` of `split`."""
        import numpy as np

        names = self.train if split == "train" else self.test
        expected = self.rows if split == "train" else self.test_rows
        parts = [self._parse(name, data, expected) for name, data in self._contents(path, names)]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        yield from in_batches(images.reshape(-1, *SHAPE), labels, rows)

    def _contents(self, path: Path, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
        """Yield names (ending in .bin in the binary form) and bytes of the files called `names`, in that order."""
        files = self.files(path)
        if len(files) == 1:
            yield from _members(files[0], names)
            return
        for file in files:
            if file.name.removesuffix(".bin") in names:
                if file.stat().st_size > MAX_BYTES:
                    raise ConfigError(f"{file} is larger than any file of CIFAR; download it again")
                yield str(file), file.read_bytes()

    def _parse(self, name: str, data: bytes, rows: int) -> "tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]":
        import numpy as np

        if name.endswith(".bin"):
            width = self.label_bytes + PIXELS
            if len(data) != rows * width:
                raise ConfigError(f"{name} has {len(data)} bytes, not {rows} rows of {width}; download it again")
            table = np.frombuffer(data, np.uint8).reshape(rows, width)
            return table[:, self.label_bytes :], table[:, self.label_bytes - 1].astype(np.int64)
        found = read_dictionary(data, name)
        images, labels = found.get(b"data"), found.get(self.label)
        if getattr(images, "shape", None) != (rows, PIXELS) or not _are_labels(labels, rows):
            raise ConfigError(f"{name} does not hold {rows} images with {self.label.decode()}; download it again")
        assert images is not None, "it has a shape"
        return images, np.array(labels, dtype=np.int64)


def _are_labels(labels: object, rows: int) -> bool:
    return isinstance(labels, list) and len(labels) == rows and all(type(label) is int for label in labels)


def _members(archive: Path, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield the members of `archive` whose names, without folder and .bin, are `names`, in that order."""
    found: dict[str, tuple[str, bytes]] = {}
    try:
        with (
            gzip.open(archive) as content,
            tarfile.open(fileobj=Capped(content, archive, MAX_ARCHIVE_BYTES), mode="r|") as opened,
        ):
            for count, member in enumerate(opened):
                name = Path(member.name).name
                if count >= MAX_MEMBERS or member.size > MAX_BYTES:
                    raise ConfigError(f"{archive} has more or larger members than CIFAR's archives")
                if member.isreg() and name.removesuffix(".bin") in names and (file := opened.extractfile(member)):
                    found[name.removesuffix(".bin")] = (f"{archive}/{name}", file.read())
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ConfigError(f"{archive} is not a readable archive: {error}") from error
    missing = next((name for name in names if name not in found), None)
    if missing:
        raise ConfigError(f"there is no {missing} in {archive}")
    yield from (found[name] for name in names)


CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
wolf woman worm
"""

CIFAR10 = Cifar(
    classes=CIFAR10_CLASSES,
    rows=10_000,
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test=("test_batch",),
    label=b"labels",
    label_bytes=1,
    archives=("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"),
    folders=("cifar-10-batches-py", "cifar-10-batches-bin"),
)

CIFAR100 = Cifar(
    classes=tuple(CIFAR100_CLASSES.split()),
    rows=50_000,
    train=("train",),
    test=("test",),
    label=b"fine_labels",
    label_bytes=2,
    archives=("cifar-100-python.tar.gz", "cifar-100-binary.tar.gz"),
    folders=("cifar-100-python", "cifar-100-binary"),
)
