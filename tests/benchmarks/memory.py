"""What crafting holds in memory: 50,000 images of CIFAR's size on two actors, in 4 shards and in 16.

    python -m tests.benchmarks.memory

Reported is the largest resident memory that any of Ray's working processes (the actors and the trial) ever had, pages
that it shares with others in full, and the largest sum over all processes of the build, Ray's own included, a shared
page once. A set of few steps holds as much as one of many, and takes less time.
"""

from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatch
from multiprocessing import get_context

from tests.benchmarks.builds import Build, through_ray_data, workshop
from tests.benchmarks.harness import command_line, pinned, report, result
from tests.benchmarks.processes import MemoryWatch

ACTORS, REPEATS = 2, 2
SHARDS = (4, 16)


def peaks(images: int, arch: str, shards: int) -> tuple[float, float]:
    """Return the largest worker and the largest sum of one build, in MiB, in a Ray of its own."""
    with workshop() as shop:
        stage = shop.stage(Build(images=images, arch=arch, steps=1, shards=shards))
        store = shop.store_for(stage)
        with MemoryWatch() as watch:
            through_ray_data(stage, store, ACTORS)
    return watch.largest_worker, watch.largest_sum


def measured(images: int, arch: str, shards: int) -> tuple[float, float]:
    """Return `peaks` as a process of its own finds them."""
    with pinned(ACTORS), ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(peaks, images, arch, shards).result()


def main() -> None:
    """Measure every number of shards in turn, and report both peaks."""
    options = command_line(__doc__ or "")
    for arch in ("resnet_s", "resnet_m"):
        case = f"50000-{arch}"
        if not fnmatch(case, options.case) or options.list:
            print(case)
            continue
        found = {shards: [] for shards in SHARDS}
        for _ in range(options.repeats or REPEATS):
            for shards in SHARDS:
                found[shards].append(measured(50_000, arch, shards))
        rows = [
            result("memory", case, f"{what}, {shards} shards", [pair[which] for pair in found[shards]],
                   unit="MiB", threads=ACTORS)
            for which, what in enumerate(("largest worker", "all processes"))
            for shards in SHARDS
        ]  # fmt: skip
        report(options.out / "memory.parquet", rows, add=options.add)


if __name__ == "__main__":
    main()
