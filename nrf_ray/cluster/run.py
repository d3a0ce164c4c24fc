"""Run the missing stages of a sweep: the cluster, then the stages on it."""

import platform
from collections.abc import Callable, Mapping, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from nrf_ray.cluster.lean import without_runtime_environments
from nrf_ray.cluster.session import connect
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.plan import Plan
from nrf_ray.graph.stage import workers_of
from nrf_ray.graph.store import Store
from nrf_ray.sweep.sweep import Sweep

if TYPE_CHECKING:
    from nrf_ray.cluster.search import StageSearcher


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a run: states, times and slots."""

    frontier: Frontier
    seconds: Mapping[Key, float]
    """Seconds of work of each stage that this run did, counted like its cost: shards one after another."""
    slots: float
    """Stages that could run at once, averaged over the run."""
    firsts: Set[Key] = frozenset()
    """Stages in `seconds` that were the first of their process."""
    first_start: float | None = None
    """Time on the monotonic clock at which the first stage had its process; None if no stage ran."""
    last_end: float | None = None
    """Time on the monotonic clock at which the last stage ended; None if no stage ran."""

    @property
    def work_seconds(self) -> float:
        """Seconds of work, summed over the stages that this run did (not other runs) and over the slots of each."""
        return sum(seconds * workers_of(self.frontier.stages[key]) for key, seconds in self.seconds.items())

    def overhead(self, wall_seconds: float) -> float:
        """Return the share of the slots' time in which no stage worked: start-up, orchestration, the end of the run."""
        return 1.0 - self.work_seconds / (wall_seconds * self.slots)


Watch = Callable[["StageSearcher"], AbstractContextManager[object]]
"""Function that makes a context in which other code observes a searcher."""


def run_sweep(
    sweep: Sweep,
    plan: Plan,
    store: Store,
    *,
    address: str | None,
    dashboard: bool = False,
    log: Path,
    console: Console,
    watch: Watch = nullcontext,
) -> Outcome:
    """Run all stages of `plan` that are not committed; return the outcome.

    A local Ray has its `dashboard` only if that is asked for; the console gets lines on how to open it.

    Raises ClusterError before anything runs if the cluster cannot be reached or cannot meet a request, and during the
    run if a node runs out of memory.
    """
    with connect(address, dashboard=dashboard, meanwhile="nrf_ray.cluster.tuning") as place:
        # Imported here, because its import of Tune takes a second, in which Ray starts.
        from nrf_ray.cluster.tuning import run_stages

        if place:
            for line in dashboard_lines(place, local=address is None):
                console.print(line, soft_wrap=True)
        with nullcontext() if address else without_runtime_environments():
            return run_stages(sweep, plan, store, log=log, console=console, watch=watch)


def dashboard_lines(place: str, *, local: bool) -> list[str]:
    """Return how to open the dashboard at `place`, HOST:PORT; that of a `local` Ray ends with the run."""
    port = place.rpartition(":")[2]
    until = ", until the run ends" if local else ""
    return [
        f"dashboard http://{place}{until}; it asks for the token that `ray get-auth-token` prints",
        f"from another machine: ssh -L {port}:{place} {platform.node() if local else 'HEAD'}, then http://127.0.0.1:{port}",
    ]
