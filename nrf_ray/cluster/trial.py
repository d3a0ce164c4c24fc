"""What one trial does: one stage.

A trial's process stays warm for the next stage. A stage that raises does not fail the trial: its traceback goes into
the store and the trial reports it, so that only faults of the system (a killed process, a lost node) make Tune retry.
"""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray.tune import Trainable

from nrf_ray.cluster.curves import CurveWriter
from nrf_ray.cluster.shards import map_on_actors
from nrf_ray.errors import CorruptArtifact, MissingArtifact
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.execute import execute, map_here, summary_of
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store

DONE, FAILED, BAD_INPUT = "done", "failed", "bad input"
"""How a trial ends: committed; the stage raised; an input was damaged or gone and has to be built again."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all trials of a run share."""

    store_uri: str
    stages: Mapping[Key, Stage]
    actors: Mapping[Key, int]
    """Stages that work with a pool of Ray Data actors, and how many each gets."""
    curves: str | None
    """Folder for learning curves, if they can be kept."""


class StageTrial(Trainable):  # type: ignore[misc]  # ray has no types
    """Runs the stage whose key is in its config, then the next one it is reset to."""

    def setup(self, config: dict[str, Any], *, job: Job) -> None:
        """Open the store; called once a process."""
        self.job = job
        self.store = Store.open(job.store_uri, create=False)
        self.key = Key(config["key"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next stage in the same process."""
        self.key = Key(new_config["key"])
        return True

    def step(self) -> dict[str, Any]:
        """Run the stage, and report how it ended."""
        stage = self.job.stages[self.key]
        actors = self.job.actors.get(self.key, 0)
        map_shards = partial(map_on_actors, resources=stage.resources, actors=actors) if actors else map_here
        try:
            with CurveWriter(self.job.curves, stage) as curve:
                execute(stage, self.store, map_shards=map_shards, report=curve)
        except (CorruptArtifact, MissingArtifact) as error:
            return {"done": True, "end": BAD_INPUT, "error": summary_of(error)}
        except Exception as error:
            path = self.store.note_failure(stage, summary_of(error), traceback.format_exc())
            return {"done": True, "end": FAILED, "error": f"{summary_of(error)} ({path})"}
        return {"done": True, "end": DONE}
