"""The datasets that a sweep can name, without the code that loads them (that is `load`).

A dataset is identified by its name and by the digest of its content. The digest of a built-in set is written here, so
that a sweep can be planned without reading it, and is checked whenever the set is loaded.
"""

from dataclasses import dataclass, field
from functools import cache

from nrf_ray.errors import ConfigError, lookup


@dataclass(frozen=True, kw_only=True)
class DatasetRef:
    """A dataset by name and content, which enter keys, and the place of its files, which does not."""

    name: str
    """Name in tables and on the command line."""
    digest: str
    """sha256 over shapes, pixels and labels of both splits, see `images.content_digest`."""
    location: str = field(default="", compare=False)
    """Where its files are; no part of its identity. Empty for a set that comes with a package."""


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What planning needs to know of a dataset."""

    ref: DatasetRef
    """Its identity."""
    shape: tuple[int, int, int]
    """Channels, height, width."""
    num_classes: int
    """Number of classes k."""
    num_train: int
    """Training examples."""
    num_test: int
    """Test examples."""
    mean: tuple[float, ...]
    """Per channel, subtracted inside the model."""
    std: tuple[float, ...]
    """Per channel, divided by inside the model."""


DATASETS: dict[str, DatasetInfo] = {
    info.ref.name: info
    for info in (
        DatasetInfo(
            ref=DatasetRef(name="digits", digest="5d120973497f1f938f9611e97af80eb9b6b38d570877eb4f2b288cc344a4e282"),
            shape=(1, 8, 8),
            num_classes=10,
            num_train=1437,
            num_test=360,
            mean=(0.3,),
            std=(0.35,),
        ),
    )
}
"""Every dataset."""


def dataset_named(name: str) -> DatasetInfo:
    """Return what is known of the dataset called `name`, or raise ConfigError with the known names."""
    return lookup(DATASETS, name, "dataset")


@cache
def info_of(ref: DatasetRef) -> DatasetInfo:
    """Return what is known of the dataset that `ref` means, or raise ConfigError where its content has changed."""
    info = dataset_named(ref.name)
    if info.ref.digest != ref.digest:
        raise ConfigError(
            f"dataset {ref.name} has content {info.ref.digest[:12]}, but {ref.digest[:12]} was expected: another "
            "version of nrf_ray planned this run; use the same on every machine"
        )
    return info
