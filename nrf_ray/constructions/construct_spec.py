"""What identifies a constructed set, as plain data, and what its files say of each row."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.registry import CRAFTS, craft_of
from nrf_ray.constructions.spec import Storage, construction_named
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError

COLUMNS = (
    "index", "start", "label", "true_label", "seed",
    "loss", "norm", "distance", "moved", "prediction", "prediction_stored",
)  # fmt: skip
"""What a shard says of each image, beside the image; `datasets.parquet` and `crafted.Crafted` explain."""

TEXTS = ("text", "original")
"""What a shard says beside that where words were replaced: the text, and the one that it was made of."""

HALF_A_LEVEL = 0.5 / 255
"""A change below it, in any norm, is rounded away in images of 8 bits."""


@dataclass(frozen=True, kw_only=True)
class ConstructSpec:
    """One constructed set."""

    dataset: DatasetRef
    """Its images are changed."""
    construction: str
    """Name of the construction."""
    craft: Any
    """How the images are made: the spec of a craft."""
    seed: int
    """Decides targets and starts, and the patterns of a control."""
    split: Literal["train", "test"] = "train"
    """Which images are changed; a set made of test images is for evaluation (paper D.3)."""
    storage: Storage = "uint8"
    """How pixels are kept."""
    shard_rows: int = 4096
    """Rows a file."""
    batch_rows: int = 256
    """Rows crafted together."""

    def __post_init__(self) -> None:
        features, found = construction_named(self.construction).features, craft_of(self.craft).features
        if found != features:
            wanted = next(spec.__name__ for spec, craft in CRAFTS.items() if craft.features == features)
            raise ConfigError(f"{self.construction} is made with a {wanted}, not with a {type(self.craft).__name__}")
        if self.storage == "uint8" and self.threat is not None and self.threat.eps < HALF_A_LEVEL:
            raise ConfigError(
                f"epsilon {self.threat.eps:g} is less than half of one of the 256 levels of a pixel "
                f"({HALF_A_LEVEL:.2g}), so nothing would be left of it in images that are kept as uint8; choose a "
                "larger epsilon, or --storage float32"
            )

    @property
    def num_rows(self) -> int:
        """How many images the set has."""
        info = info_of(self.dataset)
        return info.num_train if self.split == "train" else info.num_test

    @property
    def num_shards(self) -> int:
        """How many files the set has."""
        return math.ceil(self.num_rows / self.shard_rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image: channels, height, width."""
        return info_of(self.dataset).shape

    @property
    def threat(self) -> ThreatModel | None:
        """The ball that bounds every perturbation; None where only the box does."""
        return craft_of(self.craft).threat(self.craft)

    @property
    def is_control(self) -> bool:
        """Whether the images carry a pattern and no feature of a source."""
        return craft_of(self.craft).features == "pattern"

    @property
    def replaces_words(self) -> bool:
        """Whether its texts are whole words again, which people can read."""
        return craft_of(self.craft).replaces_words
