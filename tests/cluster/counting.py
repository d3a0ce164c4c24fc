"""A stage that says what it works on, as trainings and attacks do, and stays long enough to be watched."""

from dataclasses import dataclass
from pathlib import Path

from nrf_ray.engine import meter
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, stage
from nrf_ray.graph.store import Artifact
from tests.cluster.toys import wait_for

TRAINED, ATTACKED, STEPS = 30, 20, 140


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How long it stays."""

    name: str
    until: str = ""
    """File that ends its wait; without one it does not wait."""


@stage(version=1, cost=lambda handle: 1.0)
def counting(config: Counting, context: Context, *, first: Artifact | None = None) -> Metrics:
    """Count some work, and stay until it has been read."""
    meter.count("trained", TRAINED)
    meter.count("attacked", ATTACKED)
    meter.count("pgd_steps", STEPS)
    meter.count("predicted", 0)
    if config.until:
        wait_for(Path(config.until).exists, "nobody read the counts")
    return {"value": 1}
