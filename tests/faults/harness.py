"""Try every point at which a run touches files, each in a fork of its own, and judge what the next run makes of it.

Run as `python -m tests.faults.harness KIND FOLDER STRIDE`, where KIND is kill, freeze or the name of an error of the
system with an optional + (from that call on all fail), as `ENOSPC+`. Prints for every scenario, as JSON, how many
points there are, how many were tried (one in STRIDE), and what was wrong after which of them.
"""

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nrf_ray.errors import StoreError
from nrf_ray.graph import drivers
from nrf_ray.graph.folder import TEMPORARY
from nrf_ray.graph.record import launch_provenance
from nrf_ray.graph.source import source_digest
from tests.faults.inject import error_at, signal_at
from tests.faults.scenarios import SCENARIOS, half_committed, outcome, resume, run, without_sync
from tests.graph.toys import toy_text, tree

NOT_REACHED = 77


def start(work: Callable[[], Any], result: Path | None = None) -> int:
    """Run `work` in a fork, which writes what it returns as JSON to `result`; return the fork's process id."""
    pid = os.fork()
    if pid == 0:
        try:
            returned = work()
            if result is not None:
                result.write_text(json.dumps(returned))
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return pid


def forked(work: Callable[[], Any], result: Path | None = None) -> int:
    """Run `work` in a fork and return how it ended."""
    return os.waitpid(start(work, result), 0)[1]


def killed(folder: Path, point: int, act: Callable[[Path], Any]) -> tuple[bool, list[str]]:
    """Kill a run at a point; return whether it came so far, and what was wrong with how it ended."""

    def crash() -> None:
        signal_at(point, signal.SIGKILL)
        act(folder)

    status = forked(crash)
    if status == 0:
        return False, []
    return True, [] if os.WTERMSIG(status) == signal.SIGKILL else [f"ended with status {status}"]


def frozen(folder: Path, point: int, act: Callable[[Path], Any]) -> tuple[bool, list[str]]:
    """Stop a run at a point, let another do everything, and wake the first: it may change nothing that counts."""

    def freeze() -> None:
        signal_at(point, signal.SIGSTOP)
        act(folder)

    pid = start(freeze)
    status = os.waitpid(pid, os.WUNTRACED)[1]
    if not os.WIFSTOPPED(status):
        return False, [] if status == 0 else [f"ended with status {status}"]
    problems = [] if forked(lambda: run(folder)) == 0 else ["the other run failed"]
    before = {name: data for name, data in tree(folder).items() if _counts(name)}
    os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)
    after = tree(folder)
    return True, problems + [f"changed by who woke: {name}" for name in before if after.get(name) != before[name]]


def _counts(name: str) -> bool:
    """Return whether a file is a result: no lease, no checkpoint, no note, nothing of the quarantine."""
    file = name.rpartition("/")[2]
    noise = ("lease", "checkpoint-", "failure.json", TEMPORARY)
    return not file.startswith(noise) and name.partition("/")[0] not in ("attempts", "drivers", "quarantine")


def failing(number: int, ever_after: bool) -> Callable[..., tuple[bool, list[str]]]:
    """Return what lets a call fail with an error of the system."""

    def failed(folder: Path, point: int, act: Callable[[Path], Any]) -> tuple[bool, list[str]]:
        result = folder.parent / "failed.json"

        def fail() -> list[str]:
            count = error_at(point, number, ever_after=ever_after)
            try:
                errors = list(getattr(act(folder), "errors", {}).values())
            except StoreError as error:
                errors = [f"{type(error).__name__}: {error}"]
            if count.seen < point:
                os._exit(NOT_REACHED)
            return [
                error
                for error in errors
                if not error.startswith(("StoreFailed: cannot ", "StoreError: the store ", "needs "))
            ]

        status = forked(fail, result)
        if os.waitstatus_to_exitcode(status) == NOT_REACHED:
            return False, []
        return True, json.loads(result.read_text()) if status == 0 else [f"ended with status {status}"]

    return failed


def try_everywhere(
    work: Path, name: str, fault: Callable[..., tuple[bool, list[str]]], stride: int, expected: dict[str, Any]
) -> dict[str, Any]:
    """Return how many points one scenario has, how many were tried, and what was wrong after which of them."""
    prepare, act = SCENARIOS[name]
    prepared, folder, result = work / "prepared", work / "store", work / "result.json"
    prepared.mkdir()
    assert forked(lambda: prepare(prepared)) == 0

    def look_and_resume() -> list[str]:
        damaged = [] if name == "damaged_input" else half_committed(folder)
        return damaged + resume(folder, expected)

    wrong: dict[int, list[str]] = {}
    tried, torn, point = 0, 0, 1
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(prepared, folder)
        reached, problems = fault(folder, point, act)
        torn += any(Path(file).name.startswith(TEMPORARY) for file in tree(folder))
        ended = forked(look_and_resume, result)
        problems += json.loads(result.read_text()) if ended == 0 else [f"the next run ended with status {ended}"]
        if problems:
            wrong[point] = problems
        if not reached:
            return {"points": point - 1, "tried": tried, "torn": torn, "wrong": wrong}
        tried += 1
        point += stride


def main(kind: str, work: Path, stride: int) -> None:
    """Print what every scenario shows, as JSON."""
    launch_provenance()
    source_digest(toy_text.body)
    without_sync()
    drivers.BEAT_SECONDS, drivers.STALE_SECONDS, drivers.LOOK_SECONDS = 0.02, 0.15, 0.01
    faults = {"kill": killed, "freeze": frozen}
    fault = faults.get(kind) or failing(getattr(errno, kind.rstrip("+")), kind.endswith("+"))
    names = [name for name in SCENARIOS if not (kind == "freeze" and name == "full_of_garbage")]
    result = work / "expected.json"
    assert forked(lambda: (run(work / "uninterrupted"), outcome(work / "uninterrupted"))[1], result) == 0
    expected = json.loads(result.read_text())
    # One process a scenario: most of the time passes in waiting until a driver that was killed is seen to be dead.
    pids = {}
    for name in names:
        (work / name).mkdir()
        tries = partial(try_everywhere, work / name, name, fault, stride, expected)
        pids[name] = start(tries, work / name / "found.json")
    ends = {name: os.waitpid(pid, 0)[1] for name, pid in pids.items()}
    assert set(ends.values()) == {0}, ends
    print(json.dumps({name: json.loads((work / name / "found.json").read_text()) for name in names}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
