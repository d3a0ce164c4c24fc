"""A trial: it runs one stage.

A trial's process stays warm for the next stage. If a stage raises, its traceback is put into the store and the process
ends, since its condition is unknown: CUDA after an error, or memory that ran out. Faults of the system (a killed
process, a lost node) are raised unchanged, so that the driver can tell the two apart.
"""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.tune import Trainable

from nrf_ray.cluster.crash import crash_trace
from nrf_ray.cluster.curves import CurveWriter, load_writer
from nrf_ray.cluster.experiment import as_results
from nrf_ray.cluster.metrics import meter_process, metered
from nrf_ray.cluster.names import title_process
from nrf_ray.cluster.reports import Channel, Reporter, reporting
from nrf_ray.cluster.shards import PoolBroken, ShardRaised, map_on_actors
from nrf_ray.errors import CorruptArtifact, MissingArtifact
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.execute import (
    Context,
    MapShards,
    Replicate,
    Report,
    finished,
    map_here,
    replicate_nowhere,
    summary_of,
    work,
)
from nrf_ray.graph.record import Record
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from nrf_ray.stages.pushed_sets import bring

DONE, BAD_INPUT = "done", "bad input"
"""Ends of a trial that does not fail: committed; an input was damaged or missing and has to be built again."""


class StageRaised(Exception):
    """A stage raised; its traceback is in the store. The message is one line for people."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Settings that all trials of a run share."""

    sweep: str
    """Name of the sweep, for people."""
    store_uri: str
    stages: Mapping[Key, Stage]
    curves: str | None
    """Folder for learning curves, if they can be written."""
    crashes: str | None
    """Folder for the tracebacks of crashed processes, if all machines share one."""
    channel: Channel
    """Where stages report how far they are."""


class StageTrial(Trainable):  # type: ignore[misc]  # ray has no types
    """Trainable that runs the stage whose key is in its config, then the next stage that it is reset to."""

    def setup(self, config: dict[str, Any], *, job: Job) -> None:
        """Open the store; called once per process."""
        if job.curves:
            load_writer()  # so that it is not part of the seconds of a stage
        self.job = job
        self.store = Store.open(job.store_uri, create=False)
        self.reporter = Reporter(job.channel)
        self.reset_config(config)
        meter_process(job.sweep)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next stage in the same process."""
        self.stage = self.job.stages[Key(new_config["key"])]
        self.actors = int(new_config["actors"])
        return True

    def step(self) -> dict[str, Any]:
        """Run the stage, and report how it ended; raise StageRaised if it raised.

        The report has the stage's metrics, and the `seconds` of work if the work was done here, or None if another run
        had done it, and whether the stage was the `first` of its process.
        """
        title_process(f"{self.stage.kind.name}: {self.stage.title}")
        try:
            with (
                CurveWriter(self.job.curves, self.stage) as curve,
                crash_trace(self.job.crashes, self.stage.key),
                self.reporter.reporting(self.trial_id),
            ):
                done_before = finished(self.stage, self.store)
                record = done_before or self._worked(curve)
        except (CorruptArtifact, MissingArtifact) as error:
            return {"done": True, "end": BAD_INPUT, "error": summary_of(error)}
        except ShardRaised as error:
            raise self._noted(error.summary, error.trace) from None
        except Exception as error:
            if _is_fault_of_the_system(error):
                raise
            raise self._noted(summary_of(error), traceback.format_exc()) from None
        found = {**as_results(record.metrics), "done": True, "end": DONE}
        if done_before is not None:
            return {**found, "seconds": None}
        first = bool(record.provenance.get("first_of_process"))
        return {**found, "seconds": record.seconds, "first": first}

    def _worked(self, report: Report) -> Record:
        """Do the work of the stage; its datasets come from the store if their files are not on this machine."""
        bring(self.stage, self.store.blobs)
        return work(self._context(report))

    def _context(self, report: Report) -> Context:
        return Context(
            store=self.store,
            stage=self.stage,
            map_shards=self._map_shards(),
            replicate=self._replicate(),
            report=report,
        )

    def _noted(self, summary: str, trace: str) -> StageRaised:
        """Store how the stage failed; return the error in one line, with where it is stored."""
        path = self.store.note_failure(self.stage, summary, trace)
        return StageRaised(f"{summary} ({path})")

    def _map_shards(self) -> MapShards:
        """Return the function that makes the shards of a set, on a pool of actors if the trial has room for one."""
        if not self.actors:
            return map_here
        pool = partial(map_on_actors, stage=self.stage, actors=self.actors, crashes=self.job.crashes)
        return metered(pool, self.job.sweep)

    def _replicate(self) -> Replicate:
        """Return the function that runs a training on several workers, if the trial has room for them."""
        if not self.actors:
            return replicate_nowhere
        from nrf_ray.cluster.replicas import replicate_on_ray  # imports torch, which the driver does without

        # The first worker reports, since this process only waits.
        reports = partial(reporting, self.job.channel, self.trial_id)
        return partial(replicate_on_ray, resources=self.stage.resources, reports=reports)


def _is_fault_of_the_system(error: Exception) -> bool:
    """Return whether `error` means that a process or node was lost, not that the work raised."""
    return isinstance(error, PoolBroken) or (isinstance(error, RayError) and not isinstance(error, RayTaskError))
