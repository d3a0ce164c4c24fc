"""The machine that a forecast is for: this one, or a number of devices of a named kind."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nrf_ray.errors import ConfigError
from nrf_ray.graph.record import accelerators, cpuinfo, processor
from nrf_ray.graph.stage import Resources, Stage
from nrf_ray.stages.devices import DEVICES, REFERENCE, gpu_of, is_model

MOST_DEVICES = 10_000
"""Maximum number of cores or accelerators in a simulated schedule, which keeps an entry for each of them."""
WITHOUT_AVX512 = 2.1
"""Slowdown factor of a core of an x86 processor without AVX-512, whose vectors are half as wide.

For the main job, two cores of a Zen 3 took 471 and 491 s, and two cores with AVX-512 204 to 214 s (n = 3). For the
planted sets, the former took 1,036 s and the latter 507 s (n = 1 each).
"""
ALL_CORES = 1.3
"""Slowdown factor of stages that run on all cores of a machine at once: they share caches and memory, and the cores
with the driver and Ray's processes. The stages of the main job took 1.0 to 1.5 times what their formulas say on two
cores with AVX-512 (310 to 480 s of work, n = 3), and 1.35 times on two cores of a Zen 3 (n = 1)."""


@dataclass(frozen=True, kw_only=True)
class _Priced(Resources):
    """Request for GPUs of one model, for which the formulas of stages state their costs."""

    model: str
    """Name of the model in `DEVICES`."""

    @property
    def device(self) -> str:
        """Name of the model, which the formulas look up in place of the torch device."""
        return self.model


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Machine that a forecast is for."""

    name: str
    """Model of the processor or of the accelerator, by which records are matched."""
    count: int
    """Number of cores or accelerators."""
    resources: Resources
    """Resources that every stage asks for."""
    device: str = "cpu"
    """Name in `DEVICES` of the device that the formulas of the stages are for."""
    slower: float = 1.0
    """Slowdown factor relative to that device, if known beforehand."""

    @property
    def slots(self) -> int:
        """Number of stages that run at once. Sharing an accelerator is assumed to gain nothing."""
        share = self.resources.gpus or self.resources.cpus
        return max(1, int(self.count // max(1.0, share)))

    def seconds(self, stage: Stage) -> float:
        """Return the expected seconds of `stage` by the formula of its kind."""
        if not stage.resources.gpus:
            return stage.cost() * self.slower
        priced = _Priced(cpus=stage.resources.cpus, gpus=stage.resources.gpus, model=self.device)
        return stage.kind.cost(stage.on(priced, stage.inputs)) * self.slower

    def is_like(self, provenance: Mapping[str, Any]) -> bool:
        """Return whether a record with this provenance comes from such a machine."""
        if provenance.get("device") != self.resources.device or provenance.get("gpus") != self.resources.gpus:
            return False
        names = provenance.get("accelerators", []) if self.resources.gpus else [provenance.get("processor", "")]
        return any(is_model(self.name, name) for name in names)

    def __str__(self) -> str:
        """Return the number and the name of the devices."""
        return f"{self.count} x {self.name}" if self.resources.gpus else f"{self.count} cores of {self.name}"


def this_machine(resources: Resources) -> Machine:
    """Return the machine that this process runs on, for stages that ask for `resources`."""
    if not resources.gpus:
        return _cores(os.cpu_count() or 1, resources)
    found = accelerators()
    known = gpu_of(found)
    return Machine(
        name=found[0] if found else REFERENCE,
        count=max(1, len(found)),
        resources=resources,
        device=known.name if known else REFERENCE,
    )


def _cores(count: int, resources: Resources) -> Machine:
    """Return `count` cores like those of this machine. Processors that list no flags are assumed to be fast."""
    flags = next((line.split() for line in cpuinfo() if line.startswith("flags")), ["avx512f"])
    slower = (1.0 if "avx512f" in flags else WITHOUT_AVX512) * (ALL_CORES if count > 1 else 1.0)
    return Machine(name=processor(), count=count, resources=resources, slower=slower)


def machine_named(text: str, resources: Resources) -> Machine:
    """Return the machine that `text` names, as in 8xa100 or 16xcpu, for stages that ask for `resources`."""
    match = re.fullmatch(r"([1-9][0-9]*)x([a-z0-9]+)", text)
    if match is None:
        raise ConfigError(f"--plan-on {text!r} is not a machine; write it as 8xa100 (known: {', '.join(DEVICES)})")
    if int(match[1]) > MOST_DEVICES:
        raise ConfigError(f"--plan-on {text} is too many to simulate; give at most {MOST_DEVICES} devices")
    device, count = DEVICES.named(match[2]), int(match[1])
    if not device.on_gpu:
        return _cores(count, Resources())
    on_gpus = resources if resources.gpus else Resources(gpus=1)
    return Machine(name=device.name, count=count, resources=on_gpus, device=device.name)
