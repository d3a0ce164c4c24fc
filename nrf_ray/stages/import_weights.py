"""Stage that imports the weights of a network trained elsewhere, as a model like those of the stage `train`."""

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.models.catalogue import ARCHITECTURES, ENCODER
from nrf_ray.stages.costs import OVERHEAD, PREDICT_SHARE, image_seconds, seen_shape

Layout = Literal["names", "entry", "timm", "torchvision"]
"""How the names of a file are mapped: names, by the rules of `models.importing`; entry, likewise for an entry of
RobustBench, whose normalisation is known if the file has none; timm and torchvision, by the library."""


@dataclass(frozen=True, kw_only=True)
class ImportSpec:
    """File of weights, and how its network was trained."""

    arch: str = field(metadata=ARCHITECTURES.names)
    """Name of the architecture of the weights."""
    dataset: DatasetRef
    """Dataset whose images and classes the network was trained for."""
    training: Literal["standard", "adversarial"]
    """Kind of training, as stated by the authors of the weights."""
    threat: ThreatModel | None = None
    """Ball of the adversarial training, as stated by the authors; None if unknown, and for standard training."""
    sha256: str
    """Digest of the file, see `digest_of`: it identifies the weights, whatever their path."""
    layout: Layout = "names"
    """How the names of the file are mapped to those of the architecture."""
    weights: str = ""
    """Set of weights to take of a file with several, such as ema; empty if the file has one."""
    mean: tuple[float, ...] = ()
    """Mean per channel, subtracted from images before the first layer; empty if the file contains it."""
    std: tuple[float, ...] = ()
    """Standard deviation per channel, by which images are divided after that; empty if the file contains it."""
    size: tuple[int, int] | None = None
    """Height and width to which images are resized for the network; None if it takes those of the dataset."""
    location: str = field(compare=False)
    """Path of the file on every machine that may run the stage, or store:STAGE/KEY for a model of the store; not part
    of the stage's identity."""
    name: str = field(default="", compare=False)
    """Name of the model in tables, without a path; not part of the stage's identity."""

    def __post_init__(self) -> None:
        if info_of(self.dataset).kind == "texts":
            raise ConfigError(
                f"weights are imported for images, but {self.dataset.name} holds texts; for a pretrained encoder use "
                f"the architecture {ENCODER}"
            )
        if self.layout not in get_args(Layout):
            raise ConfigError(f"unknown layout {self.layout!r}; known: {', '.join(get_args(Layout))}")
        if self.threat and self.training != "adversarial":
            raise ConfigError(f"{self.training} training has no ball, but {self.threat} is given; leave it out")
        channels = {len(self.mean), len(self.std)}
        if channels not in ({0}, {info_of(self.dataset).shape[0]}):
            raise ConfigError(
                f"mean has {len(self.mean)} values and std {len(self.std)}; give both, one value per channel of "
                f"{self.dataset.name}, or neither"
            )
        if not all(map(math.isfinite, self.mean + self.std)) or min(self.std, default=1.0) <= 0:
            raise ConfigError(
                f"images are normalised with mean {self.mean} and std {self.std}; give finite numbers, and std above 0"
            )
        if max(self.mean + self.std, default=0.0) > 1:
            raise ConfigError(
                f"images are normalised with mean {self.mean} and std {self.std}, but their pixels are from 0 to 1; "
                "divide both by 255 if they are of pixels from 0 to 255"
            )

    @property
    def title(self) -> str:
        """Name of the model in tables: its own, or else one made from the digest of its file."""
        return self.name or f"file:{self.sha256[:12]}"


def digest_of(location: str) -> str:
    """Return the sha256 of the file at `location`, or raise ConfigError if it cannot be read."""
    try:
        with Path(location).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"the weights at {location} cannot be read: {error.strerror}") from error


BYTE_SECONDS = 1e-8
"""Seconds per byte of the file: hashed, read, built as a network, and written again."""
CHECKED = 512
"""Most test images on which an imported model is checked."""


def _cost(handle: Stage) -> float:
    config: ImportSpec = handle.config
    try:
        size = Path(config.location).stat().st_size
    except OSError:  # of the store, or a file that the stage itself refuses
        size = 0
    images = min(CHECKED, info_of(config.dataset).num_test)
    seconds = PREDICT_SHARE * images * image_seconds(config.arch, seen_shape(config), handle.resources.device)
    return 4 * OVERHEAD + BYTE_SECONDS * size + seconds


@stage(version=2, cost=_cost)
def import_weights(config: ImportSpec, context: Context) -> Metrics:
    """Write `weights.safetensors` as `train` does, and measure the accuracy of the model on a few test images.

    Raises ConfigError that names every tensor that does not match, or if the accuracy is not significantly above
    chance: then no stage that needs the model runs. The metric `doubt` is what to look at if the accuracy is poor.
    """
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.models.classifier import forward_macs, parameter_count
    from nrf_ray.stages.import_check import check_model
    from nrf_ray.stages.imported import imported
    from nrf_ray.stages.weights import FILE, place, save_weights

    device, info = prepare(context.stage.resources), info_of(config.dataset)
    model = imported(config, context.store).model
    found = check_model(place(model, device), config.dataset, CHECKED)
    if found.at_chance:
        raise ConfigError(f"{config.title} does not know {info.ref.name}: {found.doubt}")
    data = save_weights(model, arch=config.arch, shape=info.shape, num_classes=info.num_classes, size=config.size)
    context.write(FILE, data)
    return {
        "parameters": parameter_count(model),
        "macs": forward_macs(model, info.shape),
        "train_examples": None,  # columns of `results` that only training can fill
        "train_accuracy": None,
        "checked_accuracy": found.accuracy,
        "checked": found.n,
        "doubt": found.doubt,
    }
