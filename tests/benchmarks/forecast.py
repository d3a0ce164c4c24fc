"""How far the forecast of a whole run is from the time that the run takes: four grids, without and with records.

    python -m tests.benchmarks.forecast [rounds] [grid ...]

Each grid runs from an empty store, so that its forecast has no records. Then the next grid runs in the same store with
other seeds, so that it has the records of another grid, and none of its stages is there already. Both numbers are in
the run file. A sample is expected over actual seconds: 1 is right, .6 is 40% low. Asked for: .6 to 1.4 without records,
.85 to 1.15 with those of another grid. Run nothing else meanwhile: a forecast is for a machine that is free.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.benchmarks.harness import OUT, report, result
from tests.benchmarks.processes import OthersWatch

ROOT = Path(__file__).parents[2]
SMALL_ARCHS = "vgg_s,inception_s,resnet_s,resnet_m,densenet_s"


@dataclass(frozen=True, kw_only=True)
class GridRun:
    """One grid, as a sweep file and its flags."""

    name: str
    sweep: str
    """Name of the sweep file."""
    flags: tuple[str, ...]
    """All flags but the store and the seeds."""

    def run(self, store: Path, seeds: str) -> float:
        """Run the grid; return its expected over its actual seconds."""
        command = [sys.executable, f"sweeps/{self.sweep}.py", "--store", str(store), "--seeds", seeds, *self.flags]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
        about = json.loads((store / "sweeps" / self.sweep / "run.json").read_text())
        began, ended = (datetime.fromisoformat(about[moment]) for moment in ("began", "ended"))
        actual = (ended - began).total_seconds()
        print(f"{self.name:10} seeds {seeds}: expected {about['expected']:.1f} s, took {actual:.1f} s", flush=True)
        return float(about["expected"]) / actual


GRIDS = (
    GridRun(name="smoke", sweep="transfer_grid", flags=("--preset", "smoke")),
    GridRun(name="archs", sweep="transfer_grid", flags=("--arch", SMALL_ARCHS, "--epsilon", "1.0")),
    GridRun(name="nonrobust", sweep="nonrobust_features", flags=("--preset", "smoke", "--arch", "vgg_s,resnet_s")),
    GridRun(name="recipes", sweep="recipe_search", flags=("--preset", "smoke")),
)


def main() -> None:
    """Run all grids in every round, and keep the samples."""
    given = sys.argv[1:]
    rounds = int(given.pop(0)) if given and given[0].isdigit() else 3
    grids = [grid for grid in GRIDS if not given or grid.name in given]
    samples: dict[tuple[str, str], list[float]] = defaultdict(list)
    load = os.getloadavg()[0]
    with OthersWatch() as others:
        for _ in range(rounds):
            for grid, following in zip(grids, [*grids[1:], grids[0]], strict=True):
                with tempfile.TemporaryDirectory() as folder:
                    samples[grid.name, "no records"].append(grid.run(Path(folder) / "runs", "0"))
                    samples[following.name, "records of another grid"].append(following.run(Path(folder) / "runs", "1"))
    for grid in grids:
        rows = [
            result(
                "forecast", grid.name, basis, samples[grid.name, basis],
                unit="expected/actual", threads=2, load=load, others=others.cores,
            )
            for basis in ("no records", "records of another grid")
        ]  # fmt: skip
        report(OUT / "forecast.parquet", rows)


if __name__ == "__main__":
    main()
