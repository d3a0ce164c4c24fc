"""The datasets that a sweep can name, without the code that loads them (that is `load`).

A dataset is identified by its name and by the digest of its content. The digest of a built-in set is written here, so
that a sweep can be planned without reading the set, and is checked whenever the set is loaded. The digest of a set made
of files is over their bytes (see `facts`; `naming` says how such sets are named). The digest of a planted set is over
its parameters and the version of its generator (see `nrf_ray.data.planted`).
"""

from dataclasses import dataclass, field
from functools import cache

from nrf_ray.data.formats import FORMATS
from nrf_ray.data.located import Located, locate
from nrf_ray.data.outline import Kind
from nrf_ray.data.planted import is_planted, parse_planted, planted_digest, planted_name
from nrf_ray.data.published import PREFIX, size_of
from nrf_ray.data.pushed import PREFIX as PUSHED
from nrf_ray.data.pushed import located_of, pulled_as
from nrf_ray.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DatasetRef:
    """A dataset by its name and content, which enter keys, and the location of its files, which does not."""

    name: str
    """Name in tables and on the command line."""
    digest: str
    """sha256 over shapes, pixels and labels (`images.content_digest`), over files and choice of rows (`located`), or
    over the parameters of a planted set."""
    location: str = field(default="", compare=False)
    """Name with absolute paths; not part of the identity. Empty for a set without files."""
    formats: tuple[str, ...] = field(default=(), compare=False, metadata=FORMATS.names)
    """Formats of its files, which the digest covers unless they are of a plug-in."""


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Metadata of a dataset that planning needs."""

    ref: DatasetRef
    """Identity of the dataset."""
    shape: tuple[int, int, int]
    """Channels, height, width; for texts 1, tokens, coordinates of a token."""
    num_classes: int
    """Number of classes k."""
    num_train: int
    """Training examples."""
    num_test: int
    """Test examples."""
    kind: Kind = "images"
    """Kind of the examples."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of their labels; empty if they have none."""
    sizes: tuple[int, ...] = ()
    """Training examples of each class; empty if unknown until the examples are read or generated."""


DATASETS: dict[str, DatasetInfo] = {
    info.ref.name: info
    for info in (
        DatasetInfo(
            ref=DatasetRef(name="digits", digest="5d120973497f1f938f9611e97af80eb9b6b38d570877eb4f2b288cc344a4e282"),
            shape=(1, 8, 8),
            num_classes=10,
            num_train=1437,
            num_test=360,
            sizes=(142, 146, 141, 143, 148, 146, 142, 136, 137, 156),
        ),
    )
}
"""Datasets that come with a Python package."""


def dataset_named(name: str) -> DatasetInfo:
    """Return the metadata of the dataset called `name`, or raise ConfigError if there is no such dataset."""
    if name in DATASETS:
        return DATASETS[name]
    if is_planted(name):
        spec = parse_planted(name)
        return DatasetInfo(
            ref=DatasetRef(name=planted_name(spec), digest=planted_digest(spec)),
            shape=spec.kind.shape,
            num_classes=spec.classes,
            num_train=spec.train,
            num_test=spec.test,
            kind=spec.kind.reads,
        )
    if name.startswith(PREFIX):
        title = f"{name.removeprefix(PREFIX)} (not here)"
        return DatasetInfo(ref=DatasetRef(name=title, digest="", location=name), **size_of(name)._asdict())
    return info_from(pulled_as(name) if name.startswith(PUSHED) else locate(name))


def info_from(found: Located) -> DatasetInfo:
    """Return the metadata of a dataset of files."""
    return DatasetInfo(
        ref=DatasetRef(
            name=found.name.title,
            digest=found.content,
            location=found.name.location,
            formats=tuple(portion.files.kind for portion in (found.train, found.test)),
        ),
        shape=found.shape,
        num_classes=found.num_classes,
        num_train=found.train.count,
        num_test=found.test.count,
        kind=found.kind,
        classes=found.classes,
        sizes=found.sizes,
    )


def trainable(name: str) -> DatasetInfo:
    """Return the metadata of the dataset called `name`, or raise ConfigError if it has no training rows."""
    info = dataset_named(name)
    if not info.num_train:
        raise ConfigError(
            f"dataset {name!r} has no training rows: its files, or their names, say that all rows are for testing; "
            "give a folder that holds the training files too, or the training set before an @; write [splits=none] "
            "behind the path if its name does not stand for a split"
        )
    return info


@cache
def info_of(ref: DatasetRef) -> DatasetInfo:
    """Return the metadata of the dataset `ref`, or raise ConfigError if its content has changed."""
    if ref.location and not ref.location.startswith(PREFIX):
        info = info_from(located_of(ref.location, ref.digest))
    else:
        info = dataset_named(ref.location or ref.name)
    check_content(ref, info.ref.digest)
    return info


def check_content(ref: DatasetRef, found: str) -> None:
    """Raise ConfigError if `found` is not the digest in `ref`."""
    if found != ref.digest:
        reason = (
            f"the files at {ref.location} were changed after this run was planned; run the same command again"
            if ref.location
            else "another version of nrf_ray planned this run; use the same version on every machine"
        )
        raise ConfigError(f"dataset {ref.name} has content {found[:12]}, but {ref.digest[:12]} was expected: {reason}")
