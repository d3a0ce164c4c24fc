"""Estimated cost of a stage, in seconds of one device, computed from its config alone.

A pass over a batch costs a fixed part (launching kernels, moving memory) and the multiply-adds of its images; `devices`
has the speeds. The backward pass of a training step costs twice its forward pass (gradients with respect to weights and
activations); an attack needs no gradient with respect to the weights, a prediction only the forward pass.

A stage gets one core and one thread, and a machine runs several stages of small networks in parallel. On 2 cores, two
trainings with one thread each processed 1.3 times as many images per second as one training with two threads at 8
pixels (quartiles 1.24 and 1.45, n = 5 rounds), and as many at 32 pixels (0.97 and 1.21), for resnet_s:
`python -m tests.benchmarks.training --case '*-packed'`.

Estimates are good to a factor of two, which is enough to order the work and to plan. The constants of a core were
measured on 2 shared cores of an AMD EPYC of family 26 (AVX-512; see `nrf_ray.run.machine` for other processors), torch
2.14, fp32. The small networks train at 23 to 48 G multiply-adds per second at 8, 28 and 32 pixels (except two, see
`Architecture.drag`), and torchvision's at 42 to 76 at 32 and 224 pixels.
"""

from typing import Any

from nrf_ray.data.catalogue import DatasetInfo, DatasetRef, info_of
from nrf_ray.data.encoders import encoder_folder
from nrf_ray.data.naming import ENCODER_MARK, parse_name
from nrf_ray.engine.mode import Mode
from nrf_ray.errors import ConfigError
from nrf_ray.graph.stage import Stage
from nrf_ray.models.catalogue import ARCHITECTURES, ENCODER, TIMM, TORCHVISION, architecture_named, check_takes
from nrf_ray.stages.devices import BATCH_SECONDS, device_named
from nrf_ray.stages.trial_build import check_builds

OVERHEAD = 0.05
"""Seconds of every stage for opening inputs, committing and scheduling."""

ATTACK_SHARE = 2 / 3
"""Cost of an attack step as a fraction of a training step's: all but the gradient with respect to the weights."""

PREDICT_SHARE = 1 / 3
"""Cost of a prediction as a fraction of a training step's: the forward pass."""

BATCH = 256
"""Images of a batch wherever networks predict and attacks run: `engine.predict.BATCH`, which needs torch."""

VALUE_SECONDS = 2e-9
"""Seconds to read one stored value of a constructed set (parquet to tensor), or to make one of a planted set."""
ROW_SECONDS = 2e-5
"""The same for one row, in addition to its values."""


def check_reads(arch: str, info: DatasetInfo) -> None:
    """Raise ConfigError if the architecture `arch` cannot read the kind or the size of the data of `info`."""
    known, (_, height, width) = architecture_named(arch), info.shape
    if known.reads != info.kind:
        fitting = [one.name for one in ARCHITECTURES.values() if one.reads == info.kind]
        raise ConfigError(
            f"{arch} reads {known.reads}, but {info.ref.name} holds {info.kind}; use one of {', '.join(fitting)}"
        )
    smallest = known.smallest_side(height)
    if min(height, width) < smallest:
        fitting = [
            one.name
            for one in ARCHITECTURES.values()
            if one.reads == info.kind and min(height, width) >= one.smallest_side(height)
        ]
        raise ConfigError(
            f"{arch} needs {info.kind} of at least {smallest} x {smallest}, but those of {info.ref.name} are "
            f"{height} x {width}; use {' or '.join(fitting) or 'larger ones'}"
        )
    if height % known.multiple or width % known.multiple:
        raise ConfigError(
            f"{arch} needs images whose sides are multiples of {known.multiple}, but those of {info.ref.name} are "
            f"{height} x {width}; use another architecture"
        )
    if arch.startswith((TIMM, TORCHVISION)):
        check_builds(arch, info.shape)
    if arch == ENCODER and ENCODER_MARK in info.ref.location:
        check_takes(encoder_folder(parse_name(info.ref.location).train.encoder), height)


def image_seconds(
    arch: str, shape: tuple[int, int, int], device: str = "cpu", *, batch: int = 128, mode: Mode = "faithful"
) -> float:
    """Return the seconds of a training step on `device` per image of `shape` (c, h, w), in batches of `batch`."""
    found, architecture = device_named(device), architecture_named(arch)
    drag = 1.0 if found.on_gpu else architecture.drag
    return BATCH_SECONDS / batch + 3 * architecture.macs(*shape[1:]) * drag / found.macs(mode)


def attack_seconds(handle: Stage, model: Stage, *, images: int, steps: float, mode: Mode = "faithful") -> float:
    """Return the seconds in which the stage `handle` attacks `model` on `images` images for `steps` steps in `mode`."""
    return ATTACK_SHARE * steps * images * _per_image(handle, model, images, mode)


def predict_seconds(handle: Stage, model: Stage, *, images: int) -> float:
    """Return the seconds in which the stage `handle` predicts `images` images by `model`."""
    return PREDICT_SHARE * images * _per_image(handle, model, images, "faithful")


def _per_image(handle: Stage, model: Stage, images: int, mode: Mode) -> float:
    """Return the seconds of a training step of `model` on the device of `handle`, per image."""
    config = model.config
    return image_seconds(
        config.arch, seen_shape(config), handle.resources.device, batch=max(1, min(images, BATCH)), mode=mode
    )


def seen_shape(config: Any) -> tuple[int, int, int]:
    """Return the shape of the images that the network of `config` computes on: its own size, or the dataset's."""
    channels, height, width = info_of(config.dataset).shape
    height, width = getattr(config, "size", None) or (height, width)
    return channels, height, width


def read_seconds(dataset: DatasetRef, rows: int) -> float:
    """Return the seconds to read `rows` stored rows of a set made from `dataset`, or to make them if it is planted."""
    channels, height, width = info_of(dataset).shape
    return rows * (ROW_SECONDS + VALUE_SECONDS * channels * height * width)


def fit_seconds(rows: int, features: int, classes: int) -> float:
    """Return the seconds to fit a linear classifier of `classes` classes to `rows` points with `features` features."""
    return rows * classes * (2e-8 * features + 1e-5)


def rows_of(made: Stage) -> int:
    """Return the number of rows of the set that the stage `made` writes: a constructed or a relabelled set."""
    rows = getattr(made.config, "num_rows", None)
    return int(info_of(made.config.dataset).num_train if rows is None else rows)
