"""Spec of a constructed set, as plain data, and the columns of its files."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.registry import CRAFTS, craft_of
from nrf_ray.constructions.spec import CONSTRUCTIONS, Storage, construction_named
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError

COLUMNS = (
    "index", "start", "label", "true_label", "seed",
    "loss", "norm", "distance", "moved", "prediction", "prediction_stored",
)  # fmt: skip
"""Columns of a shard besides the image; `datasets.parquet` and `crafted.Crafted` explain them."""

TEXTS = ("text", "original")
"""Further columns of a shard if words were replaced: the new text, and the original that it was made from."""

HALF_A_LEVEL = 0.5 / 255
"""Half the distance between two pixel levels. A smaller change, in any norm, is rounded away in 8-bit images."""


@dataclass(frozen=True, kw_only=True)
class ConstructSpec:
    """Spec of one constructed set."""

    dataset: DatasetRef
    """Dataset whose images are changed."""
    construction: str = field(metadata=CONSTRUCTIONS.names)
    """Name of the construction."""
    craft: Any = field(metadata=CRAFTS.names)
    """Spec of the crafting method."""
    seed: int
    """Seed of targets and starts, and of the patterns of a control."""
    split: Literal["train", "test"] = "train"
    """Split whose images are changed; a set made of test images is for evaluation (paper D.3)."""
    storage: Storage = "uint8"
    """How pixels are stored."""
    batch_rows: int = 256
    """Rows crafted in one batch."""
    shard_rows: int = field(default=4096, compare=False)
    """Rows per file, whole batches; in no key, as the rows do not depend on it."""

    def __post_init__(self) -> None:
        if self.batch_rows < 1 or self.shard_rows < 1 or (self.shard_rows % self.batch_rows and self.num_shards > 1):
            raise ConfigError(
                f"a set cannot have {self.shard_rows} rows per file, crafted {self.batch_rows} at a time: files hold "
                "whole batches, so that rows do not depend on the number of files"
            )
        features, found = construction_named(self.construction).features, craft_of(self.craft).features
        if found != features:
            wanted = next(name for name, craft in CRAFTS.items() if craft.features == features)
            raise ConfigError(f"{self.construction} is made with a {wanted}, not with a {type(self.craft).__name__}")
        if self.storage == "uint8" and self.threat is not None and self.threat.eps < HALF_A_LEVEL:
            raise ConfigError(
                f"epsilon {self.threat.eps:g} is less than half of one of the 256 levels of a pixel "
                f"({HALF_A_LEVEL:.2g}), so storing images as uint8 would remove the perturbation; choose a larger "
                "epsilon, or --storage float32"
            )

    @property
    def num_rows(self) -> int:
        """Number of images in the set."""
        info = info_of(self.dataset)
        return info.num_train if self.split == "train" else info.num_test

    @property
    def num_shards(self) -> int:
        """Number of files of the set."""
        return math.ceil(self.num_rows / self.shard_rows)

    def rows_of(self, shard: int) -> range:
        """Return the rows of the file with index `shard`."""
        first = shard * self.shard_rows
        return range(first, min(first + self.shard_rows, self.num_rows))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image: channels, height, width."""
        return info_of(self.dataset).shape

    @property
    def threat(self) -> ThreatModel | None:
        """Ball that bounds every perturbation, or None if only the box bounds it."""
        return craft_of(self.craft).threat(self.craft)

    @property
    def is_control(self) -> bool:
        """Whether the images carry a pattern and no feature of a source."""
        return craft_of(self.craft).features == "pattern"

    @property
    def replaces_words(self) -> bool:
        """Whether its texts consist of whole words, so that people can read them."""
        return craft_of(self.craft).replaces_words
