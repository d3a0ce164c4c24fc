"""Decoded images as arrays on disk, written once and mapped into memory by every process that reads them.

A prepared set is the folder `<data home>/datasets/<content digest>`, see `whole`.
"""

import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nrf_ray.data.facts import Stamp, noted, stamp_of
from nrf_ray.data.located import Located
from nrf_ray.data.outline import Batch, check_labels
from nrf_ray.data.places import data_home
from nrf_ray.data.portions import Portion
from nrf_ray.data.shared_rows import check_shared, count_shared, count_trained_on, note_sums, row_sums
from nrf_ray.data.whole import ArrayFile, Facts, mapped, read_manifest, whole
from nrf_ray.data.words import Scaling, WordTable
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
WORDS = ("vocabulary", "vectors")
"""Arrays of the table of words of texts: a JSON list of the words as UTF-8 (a word may be any text), and vectors."""


MOST_UNKNOWN = 0.5
"""Largest share of the words of a split that may be unknown: with more, a text is mostly one repeated vector."""


class Prepared(NamedTuple):
    """A prepared set, mapped into memory; writing into an array changes this process's copy only."""

    train_images: "npt.NDArray[np.uint8]"
    """[n, c, h, w]"""
    train_labels: "npt.NDArray[np.int64]"
    """[n]"""
    test_images: "npt.NDArray[np.uint8]"
    """[m, c, h, w]"""
    test_labels: "npt.NDArray[np.int64]"
    """[m]"""
    mean: tuple[float, ...]
    """Per channel of the training pixels, in [0, 1]."""
    std: tuple[float, ...]
    """Per channel of the training pixels, in [0, 1]."""


class Written(NamedTuple):
    """Statistics of a split that has been written."""

    levels: "npt.NDArray[np.int64]"
    """Count of each level in each channel, [c, 256]."""
    sums: "npt.NDArray[np.uint64]"
    """`row_sums` of its images, [n]; empty for texts, which are compared as texts."""


def prepared(located: Located) -> Prepared:
    """Return the arrays of `located`; prepare them first if they are missing or damaged."""
    return _opened(*_whole(located))


def prepared_words(located: Located) -> WordTable:
    """Return the table of words with which the texts of `located` were embedded."""
    import numpy as np

    folder, manifest = _whole(located)
    words, vectors = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in WORDS)
    scaling = Scaling(tuple(manifest["mean"]), tuple(manifest["std"]))
    return WordTable(words=tuple(json.loads(words.tobytes())), vectors=vectors, scaling=scaling)


def shared_rows(located: Located) -> int:
    """Return how many test rows of `located`, which must be prepared, are training rows too."""
    return count_shared(located, place_of(located)[0])


def check_trained_on(train: Located, test: Located) -> None:
    """Raise ConfigError if too many test rows of `test` are training rows of `train`; both must be prepared images."""
    if train.shape == test.shape and train.train.count and test.test.count:
        count = count_trained_on(train, place_of(train)[0], test, place_of(test)[0])
        check_shared(test, count, train.name.title)


def is_prepared(located: Located) -> bool:
    """Return whether `located` is prepared."""
    return read_manifest(*place_of(located)) is not None


def place_of(located: Located) -> tuple[Path, tuple[str, ...]]:
    """Return the folder of `located`, and the names of the arrays in it."""
    return data_home() / "datasets" / located.digest, (*ARRAYS, *WORDS) if located.kind == "texts" else ARRAYS


def _whole(located: Located) -> tuple[Path, Facts]:
    """Return folder and manifest of `located`; prepare it first if it is missing or damaged."""
    folder, names = place_of(located)
    manifest = whole(folder, names, partial(_write, located), what=f"dataset {located.name.title}")
    check_shared(located, count_shared(located, folder))
    noted(located.digest, lambda: _label_counts(located, folder))
    return folder, manifest


def _label_counts(located: Located, folder: Path) -> list[int]:
    """Return the training rows of each class."""
    import numpy as np

    return [int(n) for n in np.bincount(mapped(folder, "train_labels"), minlength=located.num_classes)]


def _opened(folder: Path, manifest: Facts) -> Prepared:
    arrays = {name: mapped(folder, name) for name in ARRAYS}
    return Prepared(**arrays, mean=tuple(manifest["mean"]), std=tuple(manifest["std"]))


def _stamps(located: Located) -> list[Stamp]:
    used = [portion.files for portion in (located.train, located.test)]
    return [stamp_of(files.path, files.format.files(files.path)) for files in used]


def _write(located: Located, folder: Path) -> Facts:
    """Write the arrays, and return the manifest with mean and std per channel."""
    before = _stamps(located)
    files: Facts = {}
    table = _write_words(located, folder, files) if located.kind == "texts" else None
    train = _write_split(located, located.train, folder, "train", files, table)
    test = _write_split(located, located.test, folder, "test", files, table)
    note_sums(located, train.sums, test.sums)
    if table is not None:
        mean, std = table.scaling.mean, table.scaling.std
    else:
        mean, std = located.train.files.format.normalisation or _mean_and_std(train.levels)
    if 0.0 in std:
        raise ConfigError(
            f"dataset {located.name.title} has a channel whose training pixels are all equal, so it cannot be "
            "normalised; check its images"
        )
    if table is None:
        _check_range(located, train.levels)
    if _stamps(located) != before:
        raise ConfigError(f"the files of dataset {located.name.title} were changed while they were read; run again")
    return {"dataset": located.name.title, "files": files, "mean": list(mean), "std": list(std)}


def _write_words(located: Located, folder: Path, files: Facts) -> WordTable:
    """Make the table of words from the training texts, write it, and return it."""
    import numpy as np

    portion = located.train
    embedding = portion.files.format.embedding
    assert embedding is not None, "texts have an embedding"
    batches = portion.files.format.read(portion.files.path, portion.split, portion.rows())
    table = embedding.learn([embedding.tokenise(text) for batch in batches for text in batch.images])
    arrays = (np.frombuffer(json.dumps(table.words, ensure_ascii=False).encode(), np.uint8), table.vectors)
    for name, array in zip(WORDS, arrays, strict=True):
        with ArrayFile(folder, name, "|u1", array.shape) as out:
            out.write(array.tobytes())
        files[name] = out.entry
    return table


def _batches(located: Located, portion: Portion, table: WordTable | None) -> Iterator[Batch]:
    """Yield the rows of one split as images, with the training split's labels; texts are embedded by `table`.

    Raises ConfigError after the last row if more than `MOST_UNKNOWN` of the words are not in the table.
    """
    import numpy as np

    embedding, labels = located.train.files.format.embedding, np.array(portion.relabel, np.int64)
    words = unknown = 0
    for batch in portion.files.format.read(portion.files.path, portion.split, portion.rows()):
        own = labels[batch.labels] if portion.relabel else batch.labels
        if table is None or embedding is None:
            yield Batch(batch.images, own)
        else:
            tokenised = [embedding.tokenise(text) for text in batch.images]
            words, unknown = words + sum(map(len, tokenised)), unknown + table.unknown(tokenised)
            yield Batch(table.embed(tokenised, located.shape[1]), own)
    if unknown > MOST_UNKNOWN * words:
        raise ConfigError(
            f"dataset {located.name.title}: {unknown} of {words} words in the texts of {portion.files.path} are "
            f"unknown to its embedding (at most {MOST_UNKNOWN:.0%} may be), so its models would read nearly nothing: "
            "give training texts with the words of the test texts, or name an embedding with #hf:NAME behind the path"
        )


def _write_split(
    located: Located, portion: Portion, folder: Path, split: str, files: Facts, table: WordTable | None
) -> Written:
    """Write images and labels of one split while reading them."""
    import numpy as np

    rows, shape = portion.rows(), located.shape
    levels = np.zeros((shape[0], 256), dtype=np.int64)
    labels, sums = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.uint64)]
    with ArrayFile(folder, f"{split}_images", "|u1", (len(rows), *shape)) as out:
        for batch in _batches(located, portion, table):
            if batch.images.shape[1:] != shape or batch.images.dtype != np.uint8:
                raise ConfigError(
                    f"dataset {located.name.title} has images of shape {batch.images.shape[1:]} and {shape}; give all "
                    "its images one shape"
                )
            images = np.ascontiguousarray(batch.images)
            out.write(images.tobytes())
            sums += [] if table else [row_sums(images)]
            labels.append(batch.labels)
            for channel in range(shape[0]):
                levels[channel] += np.bincount(batch.images[:, channel].ravel(), minlength=256)
    together = np.concatenate(labels)
    if len(together) != len(rows):
        raise ConfigError(
            f"dataset {located.name.title} has {len(together)} {split} rows, but {len(rows)} were expected; check "
            "its files"
        )
    check_labels(together.tolist(), located.num_classes, portion.files.path)
    with ArrayFile(folder, f"{split}_labels", "<i8", (len(rows),)) as names:
        names.write(together.astype("<i8").tobytes())
    files[f"{split}_images"], files[f"{split}_labels"] = out.entry, names.entry
    return Written(levels, np.concatenate(sums))


def _check_range(located: Located, levels: "npt.NDArray[np.int64]") -> None:
    """Raise ConfigError if no training pixel is above 1 of 255: such pixels were in [0, 1] and lost their values."""
    if levels.any() and not levels[:, 2:].any():
        raise ConfigError(
            f"dataset {located.name.title} has no training pixel above 1 of 255: its images are black, or were divided "
            "by 255 once too often; write whole numbers from 0 to 255, or floats from 0 to 1"
        )


def _mean_and_std(levels: "npt.NDArray[np.int64]") -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std per channel from the counts of levels [c, 256]; sums are exact, so order does not matter."""
    means, stds = [], []
    for counts in levels.tolist():
        n = sum(counts)
        if n == 0:  # no training split, so no normalisation
            return (), ()
        first = sum(level * count for level, count in enumerate(counts)) / n
        second = sum(level * level * count for level, count in enumerate(counts)) / n
        means.append(first / 255)
        stds.append(math.sqrt(max(0.0, second - first * first)) / 255)
    return tuple(means), tuple(stds)
