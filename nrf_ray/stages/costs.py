"""What a stage is expected to cost, in seconds of one device, from its config alone.

A pass over an image costs a fixed part (launching kernels, moving memory) and its multiply-adds. Training passes
forward and twice as far backward (to weights and to activations); an attack needs no gradient of weights.

A stage gets one core and one thread, so small networks fill a machine side by side. On 2 cores two trainings of one
thread did 1.3 times the images a second of one of two threads at 8 pixels (quartiles 1.24 and 1.45, n = 5 rounds), and
as many at 32 pixels (0.97 and 1.21), resnet_s: `python -m tests.benchmarks.training --case '*-packed'`.

Good to a factor of two, which is enough to order the work and to plan. Where the constants come from:

- "cpu", one core: measured on 2 shared cores of an AMD EPYC of family 26 (AVX-512; `nrf_ray.run.forecast` says what is
  known of others), torch 2.14, fp32. The small networks train at 23 to 48 G multiply-adds a second at 8, 28 and 32
  pixels (but for two, see `Architecture.drag`), and torchvision's at 42 to 76 at 32 and 224 pixels. Images of 8 pixels
  cost about 2e-5 s beyond that.
- "a100", one NVIDIA A100: not measured here, but taken from KellerJordan's published re-run of the paper with a
  ResNet-50 on CIFAR-10. D_rand takes 20 minutes (50,000 images, 100 steps, 1.3 G multiply-adds forward and as many
  backward: 1.1e13 a second) and training on it about 1 hour (at 200 epochs 1.1e13 a second too, but the epochs are not
  stated, nor the precision). The fixed part is all that his small network's 200 epochs in 3.5 minutes leave. Loading
  data is not in it; another precision or memory layout moves it by a factor of two or three.
"""

from dataclasses import dataclass

from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.errors import ConfigError, lookup
from nrf_ray.models.catalogue import ARCHITECTURES, TIMM, architecture_named
from nrf_ray.stages.trial_build import check_builds

OVERHEAD = 0.05
"""Opening inputs, committing, handing out."""

ATTACK_SHARE = 2 / 3
"""Of the work of a training step, what an attack step does: everything but the gradient of the weights."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """How fast a device is."""

    fixed: float
    """Seconds of one image's forward and backward pass beside its multiply-adds."""
    macs: float
    """Multiply-adds a second."""


_CORE = Throughput(fixed=2e-5, macs=4.5e10)
_A100 = Throughput(fixed=2e-5, macs=1.1e13)

DEVICES: dict[str, Throughput] = {"cpu": _CORE, "a100": _A100, "cuda": _A100}
"""Devices by name; `cuda`, what a stage asks for, is planned as an A100."""


def check_reads(arch: str, info: DatasetInfo) -> None:
    """Raise ConfigError if the architecture `arch` cannot read what `info` holds: its kind, or its size."""
    known, (_, height, width) = architecture_named(arch), info.shape
    if known.reads != info.kind:
        fitting = [one.name for one in ARCHITECTURES.values() if one.reads == info.kind]
        raise ConfigError(
            f"{arch} reads {known.reads}, and {info.ref.name} holds {info.kind}; take one of {', '.join(fitting)}"
        )
    smallest = known.smallest_side(height)
    if min(height, width) < smallest:
        fitting = [
            one.name
            for one in ARCHITECTURES.values()
            if one.reads == info.kind and min(height, width) >= one.smallest_side(height)
        ]
        raise ConfigError(
            f"{arch} takes {info.kind} of {smallest} x {smallest} and more, and those of {info.ref.name} are "
            f"{height} x {width}; take {' or '.join(fitting) or 'larger ones'}"
        )
    if arch.startswith(TIMM):
        check_builds(arch, info.shape)


def image_seconds(arch: str, shape: tuple[int, int, int], device: str = "cpu") -> float:
    """Return the seconds of one forward and backward pass of one image of `shape` (c, h, w) on `device`."""
    speed, architecture = lookup(DEVICES, device, "device"), architecture_named(arch)
    drag = architecture.drag if device == "cpu" else 1.0
    return speed.fixed + 3 * architecture.macs(*shape[1:]) * drag / speed.macs


def attack_seconds(arch: str, info: DatasetInfo, images: int, steps: int, device: str = "cpu") -> float:
    """Return the seconds of an attack of `steps` steps on `images` images of `info` on `device`."""
    return OVERHEAD + ATTACK_SHARE * steps * images * image_seconds(arch, info.shape, device)
