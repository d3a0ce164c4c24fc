"""Stage that imports the weights of a network trained elsewhere, as a model like those of the stage `train`."""

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.models.catalogue import ARCHITECTURES, ENCODER
from nrf_ray.stages.costs import OVERHEAD


@dataclass(frozen=True, kw_only=True)
class ImportSpec:
    """File of weights, and how its network was trained."""

    arch: str = field(metadata=ARCHITECTURES.names)
    """Name of the architecture of the weights."""
    dataset: DatasetRef
    """Dataset whose images and classes the network was trained for."""
    training: Literal["standard", "adversarial"]
    """Kind of training, as stated by the authors of the weights."""
    sha256: str
    """Digest of the file, see `digest_of`: it identifies the weights, whatever their path."""
    mean: tuple[float, ...] = ()
    """Mean per channel, subtracted from images before the first layer; empty if the file contains it."""
    std: tuple[float, ...] = ()
    """Standard deviation per channel, by which images are divided after that; empty if the file contains it."""
    location: str = field(compare=False)
    """Path of the file on every machine that may run the stage; not part of the stage's identity."""

    def __post_init__(self) -> None:
        if info_of(self.dataset).kind == "texts":
            raise ConfigError(
                f"weights are imported for images, but {self.dataset.name} holds texts; for a pretrained encoder use "
                f"the architecture {ENCODER}"
            )
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


def digest_of(location: str) -> str:
    """Return the sha256 of the file at `location`, or raise ConfigError if it cannot be read."""
    try:
        with Path(location).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"the weights at {location} cannot be read: {error.strerror}") from error


BYTE_SECONDS = 1e-8
"""Seconds per byte of the file: hashed, read, built as a network, and written again."""


def _cost(handle: Stage) -> float:
    try:
        size = Path(handle.config.location).stat().st_size
    except OSError:  # the stage itself refuses it
        size = 0
    return 4 * OVERHEAD + BYTE_SECONDS * size


@stage(version=1, cost=_cost, on_gpu=False)
def import_weights(config: ImportSpec, context: Context) -> Metrics:
    """Write `weights.safetensors` as `train` does, or raise ConfigError that names every tensor that does not match."""
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.models.classifier import forward_macs, parameter_count
    from nrf_ray.models.importing import has_normaliser, load_state
    from nrf_ray.models.weight_files import MAX_BYTES, WeightsError, read_state
    from nrf_ray.stages.weights import FILE, new_model, save_weights

    prepare(context.stage.resources)
    info, path = info_of(config.dataset), Path(config.location)
    if (found := digest_of(config.location)) != config.sha256:
        raise ConfigError(
            f"the weights at {path} have sha256 {found[:12]}, not {config.sha256[:12]}: this is another file"
        )
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"the weights at {path} have more than {MAX_BYTES} bytes: this is not a file of weights")
    model = new_model(config.arch, config.dataset, seed=0)
    try:
        state = read_state(path.read_bytes())
        if has_normaliser(state) == bool(config.mean):
            raise ConfigError(
                f"the weights at {path} "
                + (
                    "include mean and std; omit those of the config"
                    if config.mean
                    else "do not include the normalisation of images; give the mean and std used in training"
                )
            )
        if config.mean:
            model.mean.view(-1).copy_(model.mean.new_tensor(config.mean))
            model.std.view(-1).copy_(model.std.new_tensor(config.std))
        load_state(model, state)
    except WeightsError as error:
        shape = " x ".join(map(str, info.shape))
        raise ConfigError(
            f"{path} does not fit {config.arch} for images of {shape} and {info.num_classes} classes: {error}"
        ) from error
    context.write(FILE, save_weights(model, arch=config.arch, shape=info.shape, num_classes=info.num_classes))
    return {
        "parameters": parameter_count(model),
        "macs": forward_macs(model, info.shape),
        "train_examples": None,  # columns of `results` that only training can fill
        "train_accuracy": None,
    }
