"""What a run takes besides its stages, here and at another commit: the smallest sweep, and runs that find everything.

    python -m tests.benchmarks.startup CLONE [rounds] [case ...]

CLONE is a folder with the other commit; both run with this Python, alternately, and each round begins with the other.
Cases: `smoke` (wall time of `--preset smoke` from an empty store, and from the command to the first committed stage),
`cached` (the same command again), `memory` (PSS of all processes of `smoke`, at its largest), and `main`, the main job
with everything in the store, which each of both computes once before: some minutes. Without names, all but `main`.

A sample is in seconds or MiB; the ratio of the row of the other commit is what this one takes of it. Run nothing else.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.benchmarks.harness import OUT, report, result
from tests.benchmarks.processes import MemoryWatch, OthersWatch

ROOT = Path(__file__).parents[2]
SMOKE = ("--preset", "smoke")
LOOK_SECONDS = 0.01
"""Between two looks for the first record."""

Samples = Mapping[str, float]
"""Samples of one run, by case."""


class Side:
    """One of the two commits, with the stores that its repeated commands read."""

    def __init__(self, clone: Path, stores: Path) -> None:
        self._clone, self._stores = clone, stores
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self._environment["PYTHONPATH"] = str(clone)

    def smoke(self) -> Samples:
        """Run the smallest sweep from nothing; return its wall time, and the time to the first committed stage."""
        with tempfile.TemporaryDirectory() as folder:
            store, began, first = Path(folder) / "runs", time.perf_counter(), float("nan")
            process = self._start(store, *SMOKE)
            while process.poll() is None:
                if first != first and next(store.glob("*/*/record.json"), None):
                    first = time.perf_counter() - began
                time.sleep(LOOK_SECONDS)
            return {"smoke": self._ended(process, began), "first stage": first}

    def memory(self) -> Samples:
        """Run the smallest sweep from nothing; return the largest sum of PSS over all its processes."""
        with tempfile.TemporaryDirectory() as folder:
            process = self._start(Path(folder) / "runs", *SMOKE)
            with MemoryWatch() as watch:
                self._ended(process, 0.0)
        return {"memory": watch.largest_sum}

    def cached(self) -> Samples:
        """Run the smallest sweep where everything is in the store."""
        return {"cached": self._again("smoke", *SMOKE)}

    def main(self) -> Samples:
        """Run the main job where everything is in the store."""
        return {"main": self._again("main")}

    def _again(self, name: str, *flags: str) -> float:
        store = self._stores / name
        if not store.exists():
            self._ended(self._start(store, *flags), 0.0)
        began = time.perf_counter()
        return self._ended(self._start(store, *flags), began)

    def _start(self, store: Path, *flags: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "sweeps/transfer_grid.py", "--store", str(store), *flags]
        self._said: list[str] = []
        process = subprocess.Popen(
            command, cwd=self._clone, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        threading.Thread(target=self._said.extend, args=(process.stdout,), daemon=True).start()
        return process

    def _ended(self, process: "subprocess.Popen[str]", began: float) -> float:
        """Return the seconds since `began` when the process has ended; show what it said if it failed."""
        if process.wait():
            raise SystemExit(f"{process.args} in {self._clone} failed:\n{''.join(self._said)}")
        return time.perf_counter() - began


CASES: dict[str, Callable[[Side], Samples]] = {
    "smoke": Side.smoke,
    "cached": Side.cached,
    "memory": Side.memory,
    "main": Side.main,
}


def main() -> None:
    """Run the cases in every round, and keep the samples."""
    clone, *given = sys.argv[1:] or sys.exit(__doc__)
    rounds = int(given.pop(0)) if given and given[0].isdigit() else 3
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        sides = {"here": Side(ROOT, Path(folder, "here")), "other": Side(Path(clone), Path(folder, "other"))}
        for case in given or [name for name in CASES if name != "main"]:
            found: dict[str, dict[str, list[float]]] = defaultdict(lambda: {name: [] for name in sides})
            if case in ("cached", "main"):
                for side in sides.values():
                    CASES[case](side)  # which fills its store
            with OthersWatch() as others:
                for turn in range(rounds):
                    for name in list(sides)[:: 1 if turn % 2 else -1]:
                        for measured, value in CASES[case](sides[name]).items():
                            print(f"{measured:12} {name:6} {value:8.2f}", flush=True)
                            found[measured][name].append(value)
            for measured, samples in found.items():
                rows = [
                    result(
                        "startup", measured, name, own, unit="MiB" if measured == "memory" else "s", threads=2,
                        first=samples["here"], load=load, others=others.cores,
                    )
                    for name, own in samples.items()
                ]  # fmt: skip
                report(OUT / "startup.parquet", rows)


if __name__ == "__main__":
    main()
