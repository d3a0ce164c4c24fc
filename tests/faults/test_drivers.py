"""Several drivers at once on one sweep and one store: nothing is mixed, and nothing is computed more than twice."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from nrf_ray.graph.garbage import collect
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import walk
from nrf_ray.graph.store import RECORD, Store, place_of
from tests.faults.drive import FILES, GOALS
from tests.graph.toys import tree

ROOT = Path(__file__).parents[2]
STAGES = list(walk(GOALS))


def start(store: Path, diary: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "tests.faults.drive", str(store), str(diary)], cwd=ROOT)


def problems(folder: Path) -> list[str]:
    """Return what is lost, wrong or left over in a store whose sweep has ended."""
    store = Store.open(str(folder), create=False)
    found = [f"missing: {stage.title}" for stage in make_plan(GOALS, store).todo()]
    for stage in STAGES:
        artifact = store.artifact(stage)
        found += store.problems(artifact.record)
        if len({artifact.read(name)[:32] for name in FILES}) != 1:
            found.append(f"{stage.title} is of two processes")
        level = int(stage.config.name.partition(".")[0])
        if artifact.record.metrics != {"depth": 1 + level}:
            found.append(f"{stage.title} measured {artifact.record.metrics}")
    collect(store)
    names = {place_of(s).file(n) for s in STAGES for n in (RECORD, *(e.blob for e in store.artifact(s).record.files))}
    found += [
        f"left over: {name}"
        for name in set(tree(folder)) - names - {"nrf-store.json"}
        if not name.startswith("attempts/")
    ]
    return found


@pytest.mark.parametrize("count", [2, 4])
def test_drivers_share_a_sweep_out(count: int, tmp_path: Path, tally: Counter[str]):
    runs = [start(tmp_path / "store", tmp_path / "diary") for _ in range(count)]
    assert [run.wait(60) for run in runs] == [0] * count
    computed = Counter((tmp_path / "diary").read_text().split())
    wrong = problems(tmp_path / "store")
    tally["concurrent drivers"] += count
    tally["stages that they computed twice"] += sum(times - 1 for times in computed.values())
    tally["lost or wrong artifacts"] += len(wrong)
    assert wrong == []
    assert set(computed) == {stage.config.name for stage in STAGES}
    assert max(computed.values()) <= 2


@pytest.mark.parametrize(
    "seed", [pytest.param(0, id="0"), *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 9))]
)
def test_drivers_that_are_killed_stopped_and_started_lose_nothing(seed: int, tmp_path: Path, tally: Counter[str]):
    chance = random.Random(seed)
    store, diary = tmp_path / "store", tmp_path / "diary"
    runs = [start(store, diary) for _ in range(4)]
    gone: list[subprocess.Popen[bytes]] = []
    for _ in range(6):
        time.sleep(chance.uniform(0.05, 0.4))
        run = runs.pop(chance.randrange(len(runs)))
        how = chance.choice([signal.SIGKILL, signal.SIGSTOP])
        run.send_signal(how)
        tally["drivers killed at random" if how == signal.SIGKILL else "drivers stopped at random and woken late"] += 1
        gone.append(run)
        runs.append(start(store, diary))
    assert [run.wait(100) for run in runs] == [0] * len(runs)
    names = [name for name in tree(store) if name.endswith((RECORD, ".bin")) and not name.startswith("quarantine")]
    results = {name: (store / name).read_bytes() for name in names}
    for run in gone:
        run.send_signal(signal.SIGCONT)
        run.wait(60)
    wrong = [f"changed by who woke: {name}" for name, data in results.items() if (store / name).read_bytes() != data]
    wrong += problems(store)
    tally["lost or wrong artifacts"] += len(wrong)
    assert wrong == []
