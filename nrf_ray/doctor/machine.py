"""Checks of this machine: disk space, memory, cores, and the number formats that it computes fast."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from nrf_ray.cluster.local_start import temporary_folder
from nrf_ray.doctor.findings import Finding, fail, ok, warn

GIB = 2**30
TF32_VARIABLES = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Space on the file system of one folder."""

    subject: str
    """Purpose of the folder: a key of `ROOMS`."""
    folder: str
    """Path of the folder."""
    free: float
    """Bytes."""
    total: float
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """Space that a folder needs."""

    fail: float
    """Free bytes below which nothing runs."""
    warn: float
    """Free bytes below which a long run may end early."""
    remedy: str
    """Action that helps if there is too little."""


ROOMS = {
    "store": Room(fail=GIB / 4, warn=5 * GIB, remedy="free some space, or keep the store elsewhere with --store"),
    "/tmp": Room(
        fail=GIB, warn=3 * GIB, remedy="free some space, or give Ray another folder: export RAY_TMPDIR=/a/larger/disk"
    ),
    "/dev/shm": Room(
        fail=0,
        warn=GIB / 2,
        remedy="Ray's object store is slow without it; start the container with --shm-size=1g",
    ),
}
FULL = 0.95
"""Ray stops creating objects if more than this share of a file system is used."""


@dataclass(frozen=True, kw_only=True)
class Cores:
    """Processors and memory."""

    usable: int
    """Cores that this process may use."""
    all: int
    """Cores of the machine."""
    load: float
    """Load average of the last minute: processes that run or wait for a core."""
    memory_free: float
    """Bytes."""
    memory: float
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One CUDA device."""

    name: str
    """Model name."""
    memory: float
    """Bytes."""
    bf16: bool
    """Whether the GPU computes in bfloat16."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Number formats and devices that torch can use here."""

    cpu: str
    """Vector instructions of torch's CPU kernels, such as AVX512."""
    cpu_bf16: tuple[str, ...]
    """The processor's instructions for bfloat16: avx512_bf16, amx."""
    gpus: tuple[Gpu, ...]
    """GPUs that torch can use."""
    driver: bool
    """Whether a driver for NVIDIA's GPUs is loaded."""
    tf32: tuple[str, ...]
    """Operations that stages compute in TF32 on GPUs although they ask for fp32: convolutions, matmuls."""
    forced: Mapping[str, str]
    """Environment variables that override torch's TF32 settings."""


def look_at_disks(store: Path | None) -> list[Disk]:
    """Return the disk space for a local store, for Ray's files and for Ray's object store."""
    folders = {"store": store, "/tmp": Path(temporary_folder()), "/dev/shm": Path("/dev/shm")}
    found = []
    for subject, folder in folders.items():
        if folder is not None and (existing := next((f for f in (folder, *folder.parents) if f.is_dir()), None)):
            if subject == "/dev/shm" and existing != folder:
                continue
            usage = shutil.disk_usage(existing)
            found.append(Disk(subject=subject, folder=str(folder), free=usage.free, total=usage.total))
    return found


def judge_disk(seen: Disk) -> Finding:
    """Assess whether there is enough space."""
    room = ROOMS[seen.subject]
    subject, free = f"disk {seen.subject}", f"{_size(seen.free)} free in {seen.folder}"
    if seen.free < room.fail:
        return fail(subject, f"only {free}", room.remedy)
    if seen.free < room.warn:
        return warn(subject, f"only {free}", room.remedy)
    if seen.subject == "/tmp" and seen.free < (1 - FULL) * seen.total:
        return warn(subject, f"{free}, but that is less than 5%, and then Ray stops creating objects", room.remedy)
    return ok(subject, free)


def look_at_cores() -> Cores:
    """Return the processors and the memory of this machine."""
    memory = psutil.virtual_memory()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Cores(
        usable=usable,
        all=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        memory_free=memory.available,
        memory=memory.total,
    )


def judge_cores(seen: Cores) -> list[Finding]:
    """Assess whether there are free cores and enough memory."""
    cores = f"{seen.usable} of {seen.all} cores usable; every stage uses as many threads as it asks for CPUs (1)"
    busy = warn(
        "threads",
        f"{cores}; load {seen.load:.1f}: other work is running",
        "results are the same, but wait until it ends before you measure times",
    )
    memory = f"{_size(seen.memory_free)} of {_size(seen.memory)} free"
    scarce = warn(
        "memory", f"only {memory}", "Ray ends stages at 95% of all memory; end other programs, or use fewer CPUs"
    )
    scarce_at = max(2 * GIB, 0.1 * seen.memory)
    return [
        busy if seen.load > seen.usable else ok("threads", cores),
        scarce if seen.memory_free < scarce_at else ok("memory", memory),
    ]


def look_at_numbers() -> Numbers:
    """Return what torch reports about the processor and the GPUs, with the settings that stages use."""
    import torch

    from nrf_ray.engine.precision import bfloat16_instructions, has_bfloat16, in_tf32, use_exact_float32

    use_exact_float32()
    gpus = {f"cuda:{index}": torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())}
    return Numbers(
        cpu=torch.backends.cpu.get_cpu_capability(),
        cpu_bf16=bfloat16_instructions(),
        gpus=tuple(Gpu(name=g.name, memory=g.total_memory, bf16=has_bfloat16(device)) for device, g in gpus.items()),
        driver=Path("/proc/driver/nvidia/version").exists(),
        tf32=in_tf32(),
        forced={name: value for name in TF32_VARIABLES if (value := os.environ.get(name))},
    )


def judge_numbers(seen: Numbers) -> list[Finding]:
    """Report the number formats of the processor and the GPUs, and warn of settings that change numbers silently."""
    bf16 = f"bf16 by {', '.join(seen.cpu_bf16)}" if seen.cpu_bf16 else "no bf16 instructions: bf16 would be slow"
    found = [ok("precision", f"CPU: fp32 by {seen.cpu}, {bf16}")]
    if seen.gpus:
        tf32 = " and ".join(seen.tf32)
        state = f"{tf32} in TF32" if seen.tf32 else "no TF32 in any stage"
        for gpu in seen.gpus:
            kinds = "bf16" if gpu.bf16 else "no bf16"
            found.append(ok("precision", f"GPU: {gpu.name}, {_size(gpu.memory)}, {kinds}, {state}"))
    elif seen.driver:
        found.append(
            warn(
                "precision",
                "there is an NVIDIA driver, but torch finds no GPU",
                "install the build of torch for your CUDA version, or check which GPUs CUDA_VISIBLE_DEVICES hides",
            )
        )
    if seen.forced:
        settings = ", ".join(f"{name}={value}" for name, value in seen.forced.items())
        found.append(warn("precision", f"{settings} overrides what stages ask for in TF32", "unset it"))
    return found


def _size(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
