"""Settings of all tests: hypothesis is the same on every run, and short. A store that only tests may use.

What only costs time is left out: garbage collections look at no module, item or class that was there before the tests,
and nothing waits for the disk. What several processes of one test run read is made by the first that asks for it. A
command that a test calls does not end the process of the tests, which ends as commands do once it has loaded Ray.

Ray's processes get their share of a busy machine. By default they are nicer than all others and would starve on it.

And the tally of faults: every test adds what it tried, and the end of the test run prints the sums. It is here since
the process that prints collects no tests, and knows no other conftest.
"""

import atexit
import fcntl
import gc
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from nrf_ray.cluster import leave
from nrf_ray.graph import bucket

settings.register_profile("nrf", max_examples=50, deadline=None, derandomize=True)
settings.load_profile("nrf")

os.environ.update(RAY_worker_niceness="0")

skips_shutdown, leave.skips_shutdown = leave.skips_shutdown, lambda: False

TRIED = "faults tried"

MakeOnce = Callable[[str, Callable[[Path], object]], Path]

pytest_plugins = ("tests.plugged", "tests.trained", "tests.tiny_run", "tests.elsewhere")

FIRST = (
    *("analysis/test_notebooks.py", "cluster/", "docs/", "tables/", "faults/", "inspection/", "page/", "results/"),
    *("models/", "stages/", "attacks/", "constructions/", "gaussian/", "training/"),
)
"""What takes longest comes first: files are handed out in order, and no process shall be busy alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the items into the order of `FIRST`, and leave them else as they are."""

    def place(item: pytest.Item) -> int:
        file = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((place for place, start in enumerate(FIRST) if file.startswith(start)), len(FIRST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Take what is there out of garbage collections, since it stays; collect less often. torch has one thread."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


ended: list[tuple[pytest.Session, object]] = []
"""The test run, once it has ended in a process that skips its shutdown, and the last exception until then."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take note of the end; the process of xdist that runs tests is left alone, since nobody looks at how it ends."""
    if "PYTEST_XDIST_WORKER" not in os.environ and skips_shutdown():
        ended.append((session, getattr(sys, "last_value", None)))


@atexit.register  # the first to be registered is the last to be called
def leave_with_its_exit_code() -> None:
    """End this process before Ray's destructors can crash it, as they may if it has left Ray several times."""
    for session, before in ended:
        failed_late = getattr(sys, "last_value", None) is not before
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1 if failed_late else int(session.exitstatus))


@pytest.fixture(scope="session", autouse=True)
def without_sync() -> Iterator[None]:
    """Leave fsync out in the processes of tests: only a power cut would show it, and each takes milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Return the folder `name`, filled by `make` where no process of this test run has filled it before."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def filled(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process in which `make` failed
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return filled


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an object store in this process; it is gone with whoever opened it, so users are refused it."""
    service = bucket.Service("this process", "NONE", "none are needed", part="")
    monkeypatch.setitem(bucket.SERVICES, "memory", service)
    return "memory:///"


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """What this test has tried, by kind."""
    tried: Counter[str] = Counter()
    yield tried
    request.node.user_properties.append((TRIED, dict(tried)))  # which reach the process that prints


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was tried, and what was lost or wrong after it."""
    reports = [report for kept in terminalreporter.stats.values() for report in kept]
    ends = [report.user_properties for report in reports if getattr(report, "when", "") == "teardown"]
    tried: Counter[str] = Counter()
    for value in (value for properties in ends for name, value in properties if name == TRIED):
        tried.update(value)
    if tried:
        wrong = tried.pop("lost or wrong artifacts", 0)
        words = ", ".join(f"{count} {what}" for what, count in sorted(tried.items()))
        terminalreporter.write_line(f"faults tried: {words}; lost or wrong artifacts: {wrong}")
