"""On how many slots a stage runs: those of its workers, or a pool for the shards of a set.

A pool gets all of its slots at once, and while it waits for them others stand empty; so a pool is no larger than it
has to be. Two things say what it has to be. The work that is left: a set must be done, twice as early as need be,
before the stages that use it are the last ones running. And the longest of the other stages: no set should take longer,
since estimates are wrong, and then a set on few slots holds everything up. A set that all wait for gets every slot.

In simulation (tests/benchmarks/schedule.py; four sweeps of the paper's size, ten seeds, 64 GPUs) pools over all slots,
one at a time, took 27.4 hours and these 18.8.
"""

import math

from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.stage import Stage, shards_of, workers_of

MARGIN = 2.0
"""How much faster a set is made than would do if every estimate were right."""


def pool_size(stage: Stage, frontier: Frontier, slots: int) -> int:
    """Return on how many of `slots` slots the shards of `stage` are made; 1 where a pool would gain nothing."""
    shards = shards_of(stage)
    most = min(shards, slots)
    if most <= 1:
        return 1
    spare = frontier.seconds_left / slots - frontier.seconds_after(stage.key)
    needed = MARGIN * frontier.seconds(stage.key)
    in_time = most if needed >= spare * most else math.ceil(needed / spare)
    others = frontier.longest_stage or math.inf
    like_others = math.ceil(frontier.seconds(stage.key) / others)
    size = min(most, max(1, in_time, like_others))
    return math.ceil(shards / math.ceil(shards / size))


def width(stage: Stage, frontier: Frontier, slots: int) -> int:
    """Return how many slots `stage` takes at once: one for each of its workers, or for each actor of its pool."""
    return workers_of(stage) if workers_of(stage) > 1 else pool_size(stage, frontier, slots)
