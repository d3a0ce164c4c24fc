"""Number of slots that a stage runs on: one for each of its workers, or a pool of slots for the shards of a set.

A pool reserves all its slots at once, and free slots stay idle until it has them; so it is made as small as two limits
allow. (1) Deadline: the set must be done, with a safety factor of 2, before the stages that use it are the only ones
left. (2) Balance: no set should take longer than the longest other stage, because estimates are wrong and a set on few
slots would then delay the run. A set that all remaining stages wait for gets every slot.

In simulation (tests/benchmarks/schedule.py; four sweeps of the paper's size, ten seeds, 64 GPUs), pools over all slots,
one at a time, took 27.4 hours; pools of these sizes took 18.8 hours.
"""

import math

from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.stage import Stage, shards_of, workers_of

MARGIN = 2.0
"""Safety factor: how much faster a set is made than would suffice if every estimate were right."""


def pool_size(stage: Stage, frontier: Frontier, slots: int) -> int:
    """Return how many of `slots` slots make the shards of `stage`; 1 if a pool would gain nothing."""
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
