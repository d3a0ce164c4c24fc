"""A stage that says what it works on, as trainings and attacks do, and stays long enough to be watched."""

import time
from dataclasses import dataclass

from nrf_ray.engine import meter
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, stage
from nrf_ray.graph.store import Artifact

TRAINED, ATTACKED, STEPS = 30, 20, 140


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How long it stays."""

    name: str
    seconds: float


@stage(version=1, cost=lambda handle: handle.config.seconds)
def counting(config: Counting, context: Context, *, first: Artifact | None = None) -> Metrics:
    """Count some work, and wait until it has been read."""
    meter.count("trained", TRAINED)
    meter.count("attacked", ATTACKED)
    meter.count("pgd_steps", STEPS)
    meter.count("predicted", 0)
    time.sleep(config.seconds)
    return {"value": 1}
