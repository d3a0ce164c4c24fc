"""The main job against a straightforward sequential script, on grids of four sizes: wall time and memory.

    python -m tests.benchmarks.main_job [--case 'one-*'] [--add]

`sweeps/transfer_grid.py` from nothing, Ray's start included, against `tests.benchmarks.sequential`, which does what the
same rows need cell by cell with torchattacks; see there for what it shares, and what it leaves out. Both have two
cores. The rate is in cells per second; a cell is a student or a victim at one radius.
Memory is the largest sum over all processes, a shared page once (PSS). The last grid is the default one: the sequential
script would need an hour for it, so it begins no cell after fifteen minutes. It goes seed by seed and radius by
radius, each as long as the others, so its rate is known after the first of them.
"""

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.benchmarks.harness import Case, Contender, main
from tests.benchmarks.processes import MemoryWatch

ROOT = Path(__file__).parents[2]
CELLS = "cells.csv"
"""Where the script writes a line a cell."""


@dataclass(frozen=True, kw_only=True)
class GridSize:
    """One grid, as flags that both scripts take."""

    name: str
    archs: tuple[str, ...]
    epsilons: tuple[float, ...]
    seeds: tuple[int, ...]
    beside_sharing: bool = True
    """Whether the script that shares is measured too: it takes minutes for large grids."""
    seconds: float = math.inf
    """After how many the script begins no further cell."""

    @property
    def flags(self) -> list[str]:
        """For the command line."""
        axes = {"--arch": self.archs, "--epsilon": self.epsilons, "--seeds": self.seeds}
        return [word for flag, values in axes.items() for word in (flag, ",".join(map(str, values)))]

    @property
    def cells(self) -> int:
        """Students and victims at one radius: 3 constructions, 3 controls for the two architectures that have them."""
        controls = sum(arch in ("vgg_s", "resnet_s") for arch in self.archs)
        return len(self.seeds) * len(self.epsilons) * (4 * len(self.archs) + 3 * controls)


ALL = ("vgg_s", "inception_s", "resnet_s", "resnet_m", "densenet_s")
SIZES = (
    GridSize(name="one", archs=("resnet_s",), epsilons=(1.0,), seeds=(0,)),
    GridSize(name="archs", archs=ALL, epsilons=(1.0,), seeds=(0,)),
    GridSize(name="radii", archs=ALL, epsilons=(1.0, 1.5), seeds=(0,), beside_sharing=False),
    GridSize(name="default", archs=ALL, epsilons=(1.0, 1.5), seeds=(0, 1, 2), beside_sharing=False, seconds=900.0),
)


@dataclass
class Script:
    """A command that is run in an empty folder, the memory that it took, and what it got done."""

    command: Callable[[Path], list[str]]
    cells: float
    """Of the grid; of one that writes them into a file, those of the last run."""
    peaks: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Run it once; its output is shown where it fails."""
        with tempfile.TemporaryDirectory() as folder, MemoryWatch() as watch:
            began = time.perf_counter()
            done = subprocess.run(self.command(Path(folder)), cwd=ROOT, capture_output=True, text=True)
            self.seconds.append(time.perf_counter() - began)
            if (table := Path(folder) / CELLS).exists():
                self.cells = len(table.read_text().splitlines())
        if done.returncode:
            raise SystemExit(f"{done.args} failed:\n{done.stdout}\n{done.stderr}")
        self.peaks.append(watch.largest_sum)

    def check(self) -> dict[str, float]:
        """Return peak memory, and the seconds and cells of the last run."""
        return {"peak_mib": max(self.peaks), "seconds": self.seconds[-1], "cells": self.cells}


def rivals(size: GridSize) -> list[Contender]:
    """Return the sweep, the script and, beside small grids, the script that shares what it can."""

    def sweep(folder: Path) -> list[str]:
        return [sys.executable, "sweeps/transfer_grid.py", "--store", str(folder / "runs"), *size.flags]

    def script(folder: Path, *more: str) -> list[str]:
        own = ["--out", str(folder / CELLS), "--seconds", str(size.seconds), *more]
        return [sys.executable, "-m", "tests.benchmarks.sequential", *own, *size.flags]

    scripts = {"main job": Script(sweep, size.cells), "sequential": Script(script, size.cells)}
    if size.beside_sharing:
        scripts["sequential, sharing"] = Script(lambda folder: script(folder, "--share"), size.cells)
    return [
        Contender(name=name, run=each.run, work=partial(getattr, each, "cells"), check=each.check)
        for name, each in scripts.items()
    ]


def cases() -> list[Case]:
    """Return the four sizes."""
    return [
        Case(
            name=size.name,
            contenders=partial(rivals, size),
            threads=2,
            unit="cells",
            repeats=1,
            warm_ups=0,
        )
        for size in SIZES
    ]


if __name__ == "__main__":
    main("main_job", __doc__, cases())
