"""The stages that a run works on now, `working.json`: for `nrf status` and `nrf report`, which see only the store.

The driver replaces the file as often as the page, and deletes it when the run ends; a run that was killed leaves it
behind. So it counts only while the driver that wrote it is alive.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nrf_ray.display.printing import span
from nrf_ray.graph.drivers import Driver
from nrf_ray.graph.headway import Headway
from nrf_ray.graph.process import identity
from nrf_ray.graph.store import Store
from nrf_ray.page.snapshot import StageFact, Working

MOST_LINES = 8
"""Maximum number of stages that `nrf status` prints for one run."""


@dataclass(frozen=True, kw_only=True)
class AtWork:
    """Contents of the file of one run."""

    process: Mapping[str, Any]
    """Identity of the driver process: host, machine, pid and start."""
    written: datetime
    """Time of writing, UTC."""
    left: float | None
    """Estimated seconds until the end of the run; None while unknown."""
    stages: tuple[Mapping[str, Any], ...]
    """Key, kind, title, seconds at work, expected seconds and headway of each stage."""

    def of(self, facts: Iterable[StageFact]) -> tuple[Working, ...]:
        """Return the stages at work, for the page, as far as they are among `facts`."""
        by_key = {fact.key: fact for fact in facts}
        return tuple(
            Working(
                fact=by_key[stage["key"]],
                since=stage["since"],
                expected=stage["expected"],
                headway=Headway.from_json(stage["headway"]),
            )
            for stage in self.stages
            if stage["key"] in by_key
        )

    def is_of(self, driver: Driver) -> bool:
        """Return whether `driver` wrote the file."""
        return driver.process == self.process

    def lines(self, run: str) -> Iterator[str]:
        """Yield what `nrf status` prints of the run called `run`."""
        left = "" if self.left is None else f", about {span(self.left)} left"
        age = (datetime.now(UTC) - self.written).total_seconds()
        yield f"  {run}: {len(self.stages)} stages at work{left} (as of {span(max(0.0, age))} ago)"
        for stage in self.stages[:MOST_LINES]:
            told = Headway.from_json(stage["headway"])
            words = [f"for {span(stage['since'])}"] if told is None else [told.text]
            words += [f"about {span(told.left)} left"] if told and told.left is not None else []
            yield f"    {stage['kind']} {stage['title']}: {', '.join(words)}"
        if len(self.stages) > MOST_LINES:
            yield f"    and {len(self.stages) - MOST_LINES} more"


def working_name(sweep: str) -> str:
    """Return the blob name of the file of a sweep."""
    return f"sweeps/{sweep}/working.json"


def working_file(working: Iterable[Working], left: float | None) -> bytes:
    """Return the file of a run of this process."""
    stages = [
        {
            "key": one.fact.key,
            "kind": one.fact.kind,
            "title": one.fact.title,
            "since": one.since,
            "expected": one.expected,
            "headway": one.headway.to_json() if one.headway else None,
        }
        for one in working
    ]
    told = {"process": identity(), "written": datetime.now(UTC).isoformat(), "left": left, "stages": stages}
    return json.dumps(told).encode() + b"\n"


def read_working(store: Store, sweep: str) -> AtWork | None:
    """Return the file of a sweep, or None if it is missing or damaged."""
    value = store.blobs.get_json(working_name(sweep))
    if value is None:
        return None
    try:
        found = AtWork(
            process=dict(value["process"]),
            written=datetime.fromisoformat(value["written"]),
            left=value["left"],
            stages=tuple(value["stages"]),
        )
        assert found.written.tzinfo
        times = [found.left or 0.0]
        for stage in found.stages:
            assert all(isinstance(stage[name], str) for name in ("key", "kind", "title"))
            assert "headway" in stage
            times += [stage["since"], stage["expected"] or 0.0]
        assert all(isinstance(time, float | int) and 0 <= time < math.inf for time in times)
    except (KeyError, TypeError, ValueError, AssertionError):
        return None
    return found
