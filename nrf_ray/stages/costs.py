"""Estimated cost of a stage, in seconds of one device, computed from its config alone.

A pass over an image costs a fixed part (launching kernels, moving memory) and its multiply-adds. The backward pass of a
training step costs twice its forward pass (gradients with respect to weights and activations); an attack needs no
gradient with respect to the weights.

A stage gets one core and one thread, and a machine runs several stages of small networks in parallel. On 2 cores, two
trainings with one thread each processed 1.3 times as many images per second as one training with two threads at 8
pixels (quartiles 1.24 and 1.45, n = 5 rounds), and as many at 32 pixels (0.97 and 1.21), for resnet_s:
`python -m tests.benchmarks.training --case '*-packed'`.

Estimates are good to a factor of two, which is enough to order the work and to plan. Sources of the constants:

- "cpu", one core: measured on 2 shared cores of an AMD EPYC of family 26 (AVX-512; see `nrf_ray.run.forecast` for
  other processors), torch 2.14, fp32. The small networks train at 23 to 48 G multiply-adds per second at 8, 28 and 32
  pixels (except two, see `Architecture.drag`), and torchvision's at 42 to 76 at 32 and 224 pixels. Images of 8 pixels
  cost about 2e-5 s more.
- "a100", one NVIDIA A100: not measured here, but derived from KellerJordan's published re-run of the paper with a
  ResNet-50 on CIFAR-10. D_rand takes 20 minutes (50,000 images, 100 steps, 1.3 G multiply-adds forward and as many
  backward: 1.1e13 per second). Training on it takes about 1 hour (at 200 epochs 1.1e13 per second too, but neither the
  epochs nor the precision are stated). The fixed part is what remains of his small network's 200 epochs in 3.5 minutes.
  Loading data is not included; another precision or memory layout changes the estimate by a factor of two or three.
"""

from dataclasses import dataclass

from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.data.encoders import encoder_folder
from nrf_ray.data.naming import ENCODER_MARK, parse_name
from nrf_ray.errors import ConfigError, lookup
from nrf_ray.models.catalogue import ARCHITECTURES, ENCODER, TIMM, architecture_named, check_takes
from nrf_ray.stages.trial_build import check_builds

OVERHEAD = 0.05
"""Seconds of every stage for opening inputs, committing and scheduling."""

ATTACK_SHARE = 2 / 3
"""Cost of an attack step as a fraction of a training step's: all but the gradient with respect to the weights."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Speed of a device."""

    fixed: float
    """Seconds of one image's forward and backward pass in addition to its multiply-adds."""
    macs: float
    """Multiply-adds per second."""


_CORE = Throughput(fixed=2e-5, macs=4.5e10)
_A100 = Throughput(fixed=2e-5, macs=1.1e13)

DEVICES: dict[str, Throughput] = {"cpu": _CORE, "a100": _A100, "cuda": _A100}
"""Devices by name; `cuda`, the device that stages ask for, is estimated as an A100."""


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
    if arch.startswith(TIMM):
        check_builds(arch, info.shape)
    if arch == ENCODER and ENCODER_MARK in info.ref.location:
        check_takes(encoder_folder(parse_name(info.ref.location).train.encoder), height)


def image_seconds(arch: str, shape: tuple[int, int, int], device: str = "cpu") -> float:
    """Return the seconds of one forward and backward pass of one image of `shape` (c, h, w) on `device`."""
    speed, architecture = lookup(DEVICES, device, "device"), architecture_named(arch)
    drag = architecture.drag if device == "cpu" else 1.0
    return speed.fixed + 3 * architecture.macs(*shape[1:]) * drag / speed.macs


def attack_seconds(arch: str, info: DatasetInfo, images: int, steps: int, device: str = "cpu") -> float:
    """Return the seconds of an attack of `steps` steps on `images` images of `info` on `device`."""
    return OVERHEAD + ATTACK_SHARE * steps * images * image_seconds(arch, info.shape, device)
