"""Precision of the two modes on a device: float32 without TF32, or bfloat16 if the hardware supports it."""

import torch

from nrf_ray.engine.mode import Mode
from nrf_ray.errors import ConfigError


def autocast(mode: Mode, device: str) -> torch.autocast:
    """Return the context in which a network computes in `mode` on `device`; it can be entered repeatedly.

    Raises ConfigError for "fast" if `device` does not support bfloat16: emulation would be many times slower.
    """
    kind = torch.device(device).type
    if mode == "fast" and not has_bfloat16(kind):
        raise ConfigError(
            f"mode 'fast' computes in bfloat16, which this {kind} device does not have (a CPU needs avx512_bf16 or "
            "amx); use mode 'faithful'"
        )
    return torch.autocast(kind, torch.bfloat16, enabled=mode == "fast")


def has_bfloat16(device: str) -> bool:
    """Return whether `device` (cpu, cuda, cuda:1) computes in bfloat16 without emulating it."""
    found = torch.device(device)
    if found.type == "cuda":
        with torch.cuda.device(found):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(bfloat16_instructions())


def bfloat16_instructions() -> tuple[str, ...]:
    """Return the bfloat16 instructions of this machine's CPU that torch computes with."""
    found = {"avx512_bf16": torch.cpu._is_avx512_bf16_supported(), "amx": torch.cpu._is_amx_tile_supported()}
    return tuple(name for name, there in found.items() if there)


def use_exact_float32() -> None:
    """Make GPUs compute float32 as float32; by default they use TF32, which has ten bits, for some layers."""
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"


def in_tf32() -> tuple[str, ...]:
    """Return the operations for which torch now uses TF32 on GPUs although float32 is requested."""
    found = {
        "convolutions": torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
        "matmuls": torch.backends.cuda.matmul.fp32_precision,
    }
    return tuple(name for name, precision in found.items() if precision == "tf32")
