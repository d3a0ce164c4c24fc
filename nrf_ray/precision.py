"""What the two modes mean on a device: float32, or bfloat16 where a layer allows it and the hardware has it."""

import torch

from nrf_ray.errors import ConfigError
from nrf_ray.specs import Mode


def autocast(mode: Mode, device: str) -> torch.autocast:
    """Return the context in which a network computes as `mode` says on `device`; it can be entered again and again.

    Raises ConfigError for "fast" where `device` has no bfloat16: there it would be emulated, many times slower.
    """
    kind = torch.device(device).type
    if mode == "fast" and not has_bfloat16(kind):
        raise ConfigError(
            f"mode 'fast' computes in bfloat16, which this {kind} device does not have (a CPU needs avx512_bf16 or "
            "amx); use mode 'faithful'"
        )
    return torch.autocast(kind, torch.bfloat16, enabled=mode == "fast")


def has_bfloat16(kind: str) -> bool:
    """Return whether devices of `kind`, cpu or cuda, compute in bfloat16 here without emulating it."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
