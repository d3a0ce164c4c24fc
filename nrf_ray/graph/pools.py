"""On how many slots the shards of one set are made.

A pool gets all of its slots at once, and while it waits for them others stand empty; so a pool is no larger than it has
to be. What it has to be follows from the work that is left: a set must be done, twice as early as need be, before the
stages that use it are the last ones running. A set that everything waits for gets all slots; one of a hundred, one.
In simulation (tests/benchmarks/schedule.py) pools over all slots, one at a time, took 27 hours where these take 19.
"""

import math

from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.stage import Stage

MARGIN = 2.0
"""How much faster a set is made than would do if every estimate were right."""


def shards_of(stage: Stage) -> int:
    """Return in how many files a stage makes its artifact, each of which may be made on another slot."""
    return int(getattr(stage.config, "num_shards", 1))


def pool_size(stage: Stage, frontier: Frontier, slots: int) -> int:
    """Return on how many of `slots` slots the shards of `stage` are made; 1 where a pool would gain nothing."""
    shards = shards_of(stage)
    most = min(shards, slots)
    if most <= 1:
        return 1
    spare = frontier.seconds_left / slots - frontier.seconds_after(stage.key)
    needed = MARGIN * frontier.seconds(stage.key)
    size = most if needed >= spare * most else math.ceil(needed / spare)
    return math.ceil(shards / math.ceil(shards / max(1, size)))
