"""Devices that costs are estimated for: a CPU core, and GPUs by the peak rates of their data sheets.

Networks reach a part of a GPU's peak. NVIDIA's DeepLearningExamples train a ResNet-50 v1.5 (24.5 GFLOP per image) at
367 images/s on one V100 in float32, which is .57 of its peak, and at 2,470 images/s on one A100 in mixed precision, .19
of its peak. The same parts are assumed for all GPUs, so a GPU's estimate is good to a factor of two or three, until the
store has records of such a GPU: these replace the estimate. In mode `faithful` networks compute in float32 without
TF32, in mode `fast` in bfloat16; so `faithful` takes the peak of float32 outside the tensor cores. On GPUs whose tensor
cores are only twice as fast as the rest, `fast` is assumed to be as fast as `faithful`, and not slower.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from nrf_ray.engine.mode import Mode
from nrf_ray.errors import ConfigError, Registry

FLOPS_PER_MAC = 2.0
"""Floating-point operations of a multiply-add."""
FLOAT32_SHARE = 0.57
"""Share of the peak of float32 that a network reaches on a GPU."""
BFLOAT16_SHARE = 0.19
"""Share of the peak of bfloat16 that a network reaches on a GPU."""
BATCH_SECONDS = 2.56e-3
"""Seconds of a batch's forward and backward pass on any device in addition to its multiply-adds.

On a core it was measured with images of 8 pixels, in batches of 128. On a GPU it is what remains of a training of a
small network, 200 epochs of CIFAR-10 in 3.5 minutes on an A100 (KellerJordan); there, the CPU that starts the kernels
limits it.
"""


@dataclass(frozen=True, kw_only=True)
class Device:
    """Speed of a CPU core or of one GPU."""

    name: str
    """Name in --plan-on."""
    float32: float
    """Multiply-adds per second of a network in mode `faithful`."""
    bfloat16: float | None
    """Multiply-adds per second of a network in mode `fast`; None if the device has no bfloat16."""
    product: str
    """Product that the figures are of: those of a GPU are from its data sheet, those of a core were measured."""
    on_gpu: bool = True
    """Whether it is a GPU."""

    def macs(self, mode: Mode) -> float:
        """Return the multiply-adds per second in `mode`; raise ConfigError if the device cannot compute in it."""
        if mode == "faithful":
            return self.float32
        if self.bfloat16 is None:
            raise ConfigError(
                f"mode 'fast' computes in bfloat16, which a {self.name} does not have; plan with --mode faithful, or "
                "name another device with --plan-on"
            )
        return self.bfloat16


def _gpu(name: str, product: str, float32: float, bfloat16: float | None) -> Device:
    """Return a GPU from the peaks of its data sheet, in TFLOP/s, of bfloat16 on tensor cores without sparsity."""
    reached = float32 * FLOAT32_SHARE
    reached_fast = None if bfloat16 is None else max(reached, bfloat16 * BFLOAT16_SHARE)
    return Device(
        name=name,
        float32=reached * 1e12 / FLOPS_PER_MAC,
        bfloat16=None if reached_fast is None else reached_fast * 1e12 / FLOPS_PER_MAC,
        product=product,
    )


DEVICES: Registry[Device] = Registry.of(
    "device",
    (
        Device(
            name="cpu",
            float32=4.5e10,
            bfloat16=7.2e10,  # 1.5 to 1.7 times float32 in tests/benchmarks, where the processor has it
            product="one core of an AMD EPYC with AVX-512",
            on_gpu=False,
        ),
        _gpu("a100", "NVIDIA A100 SXM", 19.5, 312),
        _gpu("h100", "NVIDIA H100 SXM", 67, 989.5),
        _gpu("h200", "NVIDIA H200 SXM", 67, 989.5),
        _gpu("b200", "NVIDIA B200, HGX", 75, 2250),
        _gpu("l40s", "NVIDIA L40S", 91.6, 362),
        _gpu("l4", "NVIDIA L4", 30.3, 121),
        _gpu("a10g", "NVIDIA A10G", 35, 70),
        _gpu("v100", "NVIDIA V100 SXM2", 15.7, None),
        _gpu("t4", "NVIDIA T4", 8.1, None),
        _gpu("rtx4090", "NVIDIA GeForce RTX 4090", 82.6, 165.2),
        _gpu("rtx5090", "NVIDIA GeForce RTX 5090", 104.8, 209.5),
        _gpu("mi300x", "AMD Instinct MI300X", 163.4, 1307.4),
    ),
)
"""Every device by the name that --plan-on takes."""

REFERENCE = "a100"
"""GPU that the cost of a stage is stated for if it asks for a GPU and no model is named."""


def device_named(name: str) -> Device:
    """Return the device called `name`, or raise ConfigError with the known names; `cuda` is the reference GPU."""
    return DEVICES.named(REFERENCE if name == "cuda" else name)


def is_model(name: str, model: str) -> bool:
    """Return whether `model`, as a driver names a GPU or CPU, is the device `name`: "l4" is an "NVIDIA L4", no L40S."""
    return re.search(rf"(?<![a-z0-9]){re.escape(_packed(name))}(?![a-z0-9])", _packed(model)) is not None


def gpu_of(models: Iterable[str]) -> Device | None:
    """Return the first known GPU among `models`, as drivers name them; None if there is none."""
    gpus = [device for device in DEVICES.values() if device.on_gpu]
    return next((gpu for model in models for gpu in gpus if is_model(gpu.name, model)), None)


def _packed(name: str) -> str:
    """Return `name` in lower case, with "RTX 4090" as one word."""
    return name.lower().replace("rtx ", "rtx")
