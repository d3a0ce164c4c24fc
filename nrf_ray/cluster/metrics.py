"""What Prometheus can read of a run, from the metrics endpoint that Ray keeps on every node.

    ray_nrf_stages{sweep, kind, state}       stages of the run by how far they are        (of the driver)
    ray_nrf_cache_hits_total{sweep, kind}    stages that the plan found in the store      (of the driver)
    ray_nrf_shards_total{sweep}              shards of constructed sets that were made    (of each worker)
    ray_nrf_images_total{sweep, work}        images trained on, attacked, predicted       (of each worker)
    ray_nrf_pgd_steps_total{sweep}           gradient steps of attacks x images           (of each worker)

Rates are for the reader to take: `rate(ray_nrf_images_total[1m])`. The driver samples its stages on a thread of its
own; a worker counts as it works, at microseconds a batch. So no stage waits for a metric. Ray collects every ten
seconds: what a process counted after that, and before it ended, is lost. Warm processes end with the run, those of a
pool with its set; so shards are counted by the trial that they come back to.
"""

import threading
from collections import Counter as Count
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ray.util.metrics import Counter, Gauge

from nrf_ray import meter
from nrf_ray.graph.execute import MapShards, ShardWorker
from nrf_ray.graph.frontier import Frontier, Progress
from nrf_ray.graph.plan import Plan, State

SAMPLE_SECONDS = 2.0

METRICS: dict[str, tuple[type[Counter] | type[Gauge], str, tuple[str, ...]]] = {
    "nrf_stages": (Gauge, "Stages of the run by how far they are.", ("sweep", "kind", "state")),
    "nrf_cache_hits": (Counter, "Stages that the plan found in the store.", ("sweep", "kind")),
    "nrf_shards": (Counter, "Shards of constructed sets that were made.", ("sweep",)),
    "nrf_images": (Counter, "Images trained on, attacked or predicted.", ("sweep", "work")),
    "nrf_pgd_steps": (Counter, "Gradient steps of attacks, times the images that each moved.", ("sweep",)),
}
"""Every metric: its kind, what it says, and its labels. Ray adds `ray_` before, and `_total` after a counter."""


def exported(name: str) -> str:
    """Return the name under which Prometheus finds one of METRICS."""
    return f"ray_{name}_total" if METRICS[name][0] is Counter else f"ray_{name}"


def _metric(name: str) -> Counter | Gauge:
    kind, description, labels = METRICS[name]
    return kind(name, description, labels)


@contextmanager
def stage_metrics(sweep: str, plan: Plan, frontier: Frontier) -> Iterator[None]:
    """Publish how far the stages of a run are, until the context ends."""
    hits = _metric("nrf_cache_hits")
    for kind, count in Count(s.stage.kind.name for s in plan.steps if s.state is State.CACHED).items():
        hits.inc(count, {"sweep": sweep, "kind": kind})
    stop = threading.Event()
    gauge = _metric("nrf_stages")

    def watch() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            _sample(gauge, sweep, frontier)

    _sample(gauge, sweep, frontier)
    thread = threading.Thread(target=watch, name="stage metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _sample(gauge, sweep, frontier)


def _sample(gauge: Gauge, sweep: str, frontier: Frontier) -> None:
    """Set the gauge of every kind and state, also to 0, since Prometheus keeps the last value that it heard."""
    # A copy in one step: the frontier changes on another thread.
    states = list(frontier.state.items())
    counts = Count((frontier.stages[key].kind.name, state) for key, state in states)
    for kind in {kind for kind, _ in counts}:
        for state in Progress:
            gauge.set(counts[kind, state], {"sweep": sweep, "kind": kind, "state": state.value})


def meter_process(sweep: str) -> None:
    """Count the work of this process for Prometheus from now on, as work of `sweep`."""
    images, steps, shards = (_metric(name) for name in ("nrf_images", "nrf_pgd_steps", "nrf_shards"))

    def listener(work: meter.Work, amount: int) -> None:
        if amount == 0:
            return
        match work:
            case "pgd_steps":
                steps.inc(amount, {"sweep": sweep})
            case "shards":
                shards.inc(amount, {"sweep": sweep})
            case images_of:
                images.inc(amount, {"sweep": sweep, "work": images_of})

    meter.listen(listener)


def metered(map_shards: MapShards, sweep: str) -> MapShards:
    """Return `map_shards` with workers whose processes count their work."""

    def map_metered(make_worker: Callable[[], ShardWorker], shards: Sequence[int]) -> None:
        map_shards(partial(_metered_worker, make_worker, sweep), shards)

    return map_metered


def _metered_worker(make_worker: Callable[[], ShardWorker], sweep: str) -> ShardWorker:
    meter_process(sweep)
    return make_worker()
