"""The page of a run, written during the run and at its end.

A thread of the driver reads the frontier and writes the page. It may spend 1/50 of the time on pages and 1/100 on the
tables in them: the longer one took, the later the next one follows. If the page cannot be written, the run reports it
once and continues: the results are in the tables, and `nrf report` can write the page again at any time.
"""

import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import pandas as pd

from nrf_ray.graph.canonical import Key, digest
from nrf_ray.graph.execute import summary_of
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.headway import Headway
from nrf_ray.graph.plan import Plan
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from nrf_ray.graph.uri import without_secrets
from nrf_ray.page.collect import Known
from nrf_ray.page.document import document
from nrf_ray.page.gallery import chosen_sets
from nrf_ray.page.outline import checked, ended, finished_before, outline_name, outline_of, page_name
from nrf_ray.page.snapshot import HELD, RunState, StageFact, Standing, Working
from nrf_ray.page.stage_states import by_frontier
from nrf_ray.page.working import working_file, working_name
from nrf_ray.sweep.sweep import Sweep

LOCAL_SECONDS, REMOTE_SECONDS = 5.0, 30.0
"""Seconds between two writes of the page, to a local store and to an object store."""
PAGE_SHARE, TABLE_SHARE = 50, 100
"""Wait before the next page, and before the next update of the tables, in multiples of the time the last one took."""
PATIENCE = 0.5
"""Seconds that a run that ends early waits for a page that is being written."""

Say = Callable[[str], None]


class Workers(Protocol):
    """Interface to the running stages, implemented by the searcher."""

    frontier: Frontier

    def at_work(self) -> list[Stage]:
        """Return the stages that have a process."""

    def headway(self) -> Mapping[Key, Headway]:
        """Return how far the stages are that have reported."""


class Pace:
    """Waiting time between repetitions of some work; as a context around the work, it measures how long that took."""

    def __init__(self, least: float, share: int) -> None:
        """The first time is at once, then every `least` seconds, but for at most 1/`share` of the time."""
        self._least, self._share = least, share
        self._due = time.monotonic()

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        now = time.monotonic()
        self._due = now + max(self._least, self._share * (now - self._began))

    @property
    def seconds(self) -> float:
        """Seconds left to wait."""
        return max(0.0, self._due - time.monotonic())


class RunPage:
    """The page of one run of a sweep, as a context around the whole run."""

    def __init__(self, sweep: Sweep, plan: Plan, store: Store, *, expected: float | None, say: Say) -> None:
        """`expected` is the estimated duration in seconds; `say` prints one line for the user."""
        self.name = page_name(sweep.name)
        self._sweep, self._store, self._say = sweep, store, say
        self._outline = outline_of(
            sweep,
            plan,
            command=_command(),
            script_sha256=_script_sha256(),
            expected=expected,
            began=datetime.now(UTC),
        )
        earlier = None if plan.todo() else finished_before(self._outline, store)
        self._checks_only = earlier is not None
        self._outline = earlier or self._outline
        self._known = Known(self._outline, store)
        self._facts = by_frontier(self._outline, Frontier(plan.todo(), plan.cost), frozenset())
        self._sets = chosen_sets(sweep.stages())
        self._seen: dict[Key, float] = {}
        """Time at which a stage was first seen at work."""
        self._lock = threading.Lock()
        self._said = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stopped(error)

    @contextmanager
    def watching(self, workers: Workers, say: Say) -> Iterator[None]:
        """Write the page at intervals until the context ends; until then, `say` prints one line for the user."""
        stop = threading.Event()
        self._say, before = say, self._say
        thread = threading.Thread(target=self._watch, args=(workers, stop), daemon=True)
        thread.start()
        try:
            yield
        except BaseException as error:
            # Before Ray is shut down: that may take longer than an interrupted process has left.
            stop.set()
            thread.join(PATIENCE)
            self._facts = self._look(workers)[0]
            self._stopped(error)
            raise
        finally:
            stop.set()
            self._say = before
        thread.join()  # otherwise it could still replace the final tables by earlier ones
        self._facts = self._look(workers)[0]

    def finish(self, frames: Mapping[str, pd.DataFrame], overheads: Mapping[str, float] | None = None) -> None:
        """Write the last page of a run that reached its end, with its tables `frames` and its measured `overheads`."""
        held = all(fact.standing in HELD for fact in self._facts)
        failed = any(fact.standing is Standing.FAILED for fact in self._facts)
        why = "" if held or failed else "It ended before all stages had run; run the same command again to resume."
        with self._guarded():
            self._known.take(frames, self._sweep.pictures(self._store))
        with self._guarded():
            self._learn(self._facts)
        with self._guarded():
            self._end(RunState.FINISHED if held else RunState.FAILED, why, overheads)

    def _watch(self, workers: Workers, stop: threading.Event) -> None:
        least = LOCAL_SECONDS if self._store.blobs.root else REMOTE_SECONDS
        pages, tables = Pace(least, PAGE_SHARE), Pace(least, TABLE_SHARE)
        with self._guarded():
            self._store.blobs.replace(outline_name(self._sweep.name), self._outline.to_bytes())
        while not stop.wait(pages.seconds):
            with self._guarded(), pages:
                facts, working = self._look(workers)
                self._write(facts, working, workers.frontier.expected_left(self._elapsed(), workers.headway()))
            if tables.seconds <= 0 and not stop.is_set():
                with tables:
                    with self._guarded():
                        self._learn(facts)
                    with self._guarded():
                        self._known.fill(self._sweep, facts)

    def _look(self, workers: Workers) -> tuple[list[StageFact], tuple[Working, ...]]:
        """Return the current state of every stage, and the stages at work."""
        now, stages = time.monotonic(), workers.at_work()
        self._seen = {stage.key: self._seen.get(stage.key, now) for stage in stages}
        facts = by_frontier(self._outline, workers.frontier, self._seen.keys())
        by_key, told = {fact.key: fact for fact in facts}, workers.headway()
        working = tuple(
            Working(
                fact=by_key[stage.key],
                since=now - self._seen[stage.key],
                expected=workers.frontier.seconds(stage.key),
                headway=told.get(stage.key),
            )
            for stage in stages
        )
        return facts, working

    def _learn(self, facts: list[StageFact]) -> None:
        """Read new records and curves, and examples of the finished sets."""
        self._known.read(facts)
        held = {fact.key for fact in facts if fact.standing in HELD}
        self._known.show_sets([stage for stage in self._sets if stage.key in held and self._store.has(stage)])

    def _stopped(self, error: BaseException) -> None:
        """Write the last page of a run that `error` ended, from the data read so far, unless it is already written."""
        if self._outline.ended is not None:
            return
        interrupted = isinstance(error, KeyboardInterrupt)
        why = "It was stopped; run the same command again to resume." if interrupted else summary_of(error)
        with self._guarded():
            self._end(RunState.INTERRUPTED if interrupted else RunState.FAILED, why)

    def _end(self, state: RunState, why: str, overheads: Mapping[str, float] | None = None) -> None:
        with self._lock:
            now = checked(self._outline) if self._checks_only else ended(self._outline, state, why, overheads)
            self._outline = self._known.outline = now
            self._store.blobs.replace(outline_name(self._sweep.name), self._outline.to_bytes())
            self._store.blobs.delete(working_name(self._sweep.name))
            page = document(self._known.snapshot(self._facts, state=state))
            self._store.blobs.replace(self.name, page)

    def _write(self, facts: list[StageFact], working: tuple[Working, ...], left: float | None) -> None:
        with self._lock:
            if self._outline.ended is None:
                self._store.blobs.replace(working_name(self._sweep.name), working_file(working, left))
                page = document(self._known.snapshot(facts, state=RunState.RUNNING, working=working, left=left))
                self._store.blobs.replace(self.name, page)

    def _elapsed(self) -> float:
        return (datetime.now(UTC) - datetime.fromisoformat(self._outline.began)).total_seconds()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Report the first error in any such context, and continue."""
        try:
            yield
        except Exception as error:
            if not self._said:
                self._say(f"cannot write the report; the run continues without it: {summary_of(error)}")
            self._said = True


def _command() -> str:
    """Return the command line of the run; the sweep file is relative to the working directory if it is inside it."""
    script = Path(sys.argv[0])
    here = script.absolute()
    shown = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else Path(script.name)
    words = ["python", str(shown), *map(without_secrets, sys.argv[1:])]
    return shlex.join(words)


def _script_sha256() -> str:
    """Return the sha256 of the sweep file of the run; empty if there is none, as with `python -c`."""
    script = Path(sys.argv[0])
    return digest(script.read_bytes()) if script.is_file() else ""
