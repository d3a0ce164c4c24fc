"""Prometheus metrics of a run, from the metrics endpoint that Ray keeps on every node of a cluster.

    ray_nrf_stages{sweep, kind, state}       stages of the run, by state                  (from the driver)
    ray_nrf_cache_hits_total{sweep, kind}    stages that the plan found in the store      (from the driver)
    ray_nrf_shards_total{sweep}              finished shards of constructed sets          (from the driver)
    ray_nrf_images_total{sweep, work}        images trained on, attacked, predicted       (from each worker)
    ray_nrf_pgd_steps_total{sweep}           gradient steps of attacks x images           (from each worker)

Compute rates in Prometheus: `rate(ray_nrf_images_total[1m])`. The driver samples its stages on a separate thread; a
worker counts as it works, which takes microseconds a batch. So no stage waits for a metric. Ray collects every ten
seconds, and the counts of a process after its last collection are lost: those of the last seconds of a pool of actors,
and of a run. So the driver counts shards, which are few and must be exact, when their set is done. A local Ray has no
such endpoint, see `lean`.
"""

import threading
from collections import Counter as Count
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ray.util.metrics import Counter, Gauge

from nrf_ray.engine import meter
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.execute import MapShards, ShardWorker
from nrf_ray.graph.frontier import Frontier, Progress
from nrf_ray.graph.plan import Plan, State
from nrf_ray.graph.stage import is_sharded, shards_of

SAMPLE_SECONDS = 2.0

METRICS: dict[str, tuple[type[Counter] | type[Gauge], str, tuple[str, ...]]] = {
    "nrf_stages": (Gauge, "Stages of the run, by state.", ("sweep", "kind", "state")),
    "nrf_cache_hits": (Counter, "Stages that the plan found in the store.", ("sweep", "kind")),
    "nrf_shards": (Counter, "Finished shards of constructed sets.", ("sweep",)),
    "nrf_images": (Counter, "Images trained on, attacked or predicted.", ("sweep", "work")),
    "nrf_pgd_steps": (Counter, "Gradient steps of attacks, times the images that each moved.", ("sweep",)),
}
"""Every metric: type, description and labels. Ray adds the prefix `ray_`, and the suffix `_total` for counters."""


def exported(name: str) -> str:
    """Return the name under which Prometheus finds one of METRICS."""
    return f"ray_{name}_total" if METRICS[name][0] is Counter else f"ray_{name}"


def _metric(name: str) -> Counter | Gauge:
    kind, description, labels = METRICS[name]
    return kind(name, description, labels)


@contextmanager
def stage_metrics(sweep: str, plan: Plan, frontier: Frontier) -> Iterator[None]:
    """Publish the states of the stages of a run until the context ends."""
    hits = _metric("nrf_cache_hits")
    for kind, count in Count(s.stage.kind.name for s in plan.steps if s.state is State.CACHED).items():
        hits.inc(count, {"sweep": sweep, "kind": kind})
    stop = threading.Event()
    sample = _Sampler(sweep, frontier)

    def watch() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            sample()

    sample()
    thread = threading.Thread(target=watch, name="stage metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        sample()


class _Sampler:
    """Publisher of the states of the stages of a frontier; each call publishes them once."""

    def __init__(self, sweep: str, frontier: Frontier) -> None:
        self._sweep, self._frontier = sweep, frontier
        self._stages, self._shards = _metric("nrf_stages"), _metric("nrf_shards")
        self._finished: set[Key] = set()

    def __call__(self) -> None:
        # A copy in one step: the frontier changes on another thread.
        states = list(self._frontier.state.items())
        stages = self._frontier.stages
        counts = Count((stages[key].kind.name, state) for key, state in states)
        for kind in {kind for kind, _ in counts}:
            for state in Progress:
                # Also 0, since Prometheus keeps the last value that it received.
                self._stages.set(counts[kind, state], {"sweep": self._sweep, "kind": kind, "state": state.value})
        finished = {key for key, state in states if state is Progress.DONE} - self._finished
        self._finished |= finished
        if made := sum(shards_of(stages[key]) for key in finished if is_sharded(stages[key])):
            self._shards.inc(made, {"sweep": self._sweep})


def meter_process(sweep: str) -> None:
    """Count the work of this process for Prometheus from now on, as work of `sweep`."""
    images, steps = _metric("nrf_images"), _metric("nrf_pgd_steps")

    def listener(work: meter.Work, amount: int) -> None:
        if amount == 0:
            return
        if work == "pgd_steps":
            steps.inc(amount, {"sweep": sweep})
        else:
            images.inc(amount, {"sweep": sweep, "work": work})

    meter.listen(listener)


def metered(map_shards: MapShards, sweep: str) -> MapShards:
    """Return `map_shards` with workers whose processes count their work."""

    def map_metered(make_worker: Callable[[], ShardWorker], shards: Sequence[int]) -> None:
        map_shards(partial(_metered_worker, make_worker, sweep), shards)

    return map_metered


def _metered_worker(make_worker: Callable[[], ShardWorker], sweep: str) -> ShardWorker:
    meter_process(sweep)
    return make_worker()
