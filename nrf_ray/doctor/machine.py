"""This machine: room on its disks, memory, cores, and the kinds of numbers that it computes fast."""

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
    """Room on the file system of one folder."""

    subject: str
    """What the folder is for."""
    folder: str
    """The folder."""
    free: float
    """Bytes."""
    total: float
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """How much room a folder needs."""

    fail: float
    """Free bytes below which nothing runs."""
    warn: float
    """Free bytes below which a long run may end early."""
    remedy: str
    """What to do about too little."""


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
"""Ray stops making objects on a file system that is fuller than this share."""


@dataclass(frozen=True, kw_only=True)
class Cores:
    """Processors and memory."""

    usable: int
    """Cores that this process may use."""
    all: int
    """Cores of the machine."""
    load: float
    """Processes that wanted a core in the last minute, on average."""
    memory_free: float
    """Bytes."""
    memory: float
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One CUDA device."""

    name: str
    """Its model."""
    memory: float
    """Bytes."""
    bf16: bool
    """Whether it computes in bfloat16."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What torch can compute with here."""

    cpu: str
    """The vector instructions of its kernels, as AVX512."""
    cpu_bf16: tuple[str, ...]
    """Instructions for bfloat16 that the processor has: avx512_bf16, amx."""
    gpus: tuple[Gpu, ...]
    """The GPUs that torch can use."""
    driver: bool
    """Whether a driver for NVIDIA's GPUs is loaded."""
    tf32: tuple[str, ...]
    """What stages compute in TF32 on GPUs, though they ask for fp32: convolutions, matmuls."""
    forced: Mapping[str, str]
    """Environment variables that change this behind torch's back."""


def look_at_disks(store: Path | None) -> list[Disk]:
    """Return the room for a local store, for Ray's files and for its object store."""
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
    """Return whether there is room enough."""
    room = ROOMS[seen.subject]
    subject, free = f"disk {seen.subject}", f"{_size(seen.free)} free in {seen.folder}"
    if seen.free < room.fail:
        return fail(subject, f"only {free}", room.remedy)
    if seen.free < room.warn:
        return warn(subject, f"only {free}", room.remedy)
    if seen.subject == "/tmp" and seen.free < (1 - FULL) * seen.total:
        return warn(subject, f"{free}, but that is less than 5%, where Ray stops making objects", room.remedy)
    return ok(subject, free)


def look_at_cores() -> Cores:
    """Return processors and memory of this machine."""
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
    """Return whether there are free cores and enough memory."""
    cores = f"{seen.usable} of {seen.all} cores usable; every stage computes on as many threads as it asks for CPUs (1)"
    busy = warn(
        "threads",
        f"{cores}; load {seen.load:.1f}: other work is running",
        "results stay the same, but wait for it to end before you time anything",
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
    """Return what torch says of the processor and the GPUs, set up as stages set it up."""
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
    """Return what the processor and the GPUs compute with, and what would change numbers unseen."""
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
                "install the build of torch for your CUDA version, or see what CUDA_VISIBLE_DEVICES hides",
            )
        )
    if seen.forced:
        settings = ", ".join(f"{name}={value}" for name, value in seen.forced.items())
        found.append(
            warn("precision", f"{settings} decides what is computed in TF32, whatever a stage asks for", "unset it")
        )
    return found


def _size(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
