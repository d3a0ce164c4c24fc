"""Resources of the cluster at this moment.

Nodes join and leave while a sweep runs, so resources are not counted once and kept: code that must know how much can
run, or whether a node was lost in the meantime, asks here. Each answer costs a call to Ray's head node, so `now` reuses
answers for a second.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import ray

from nrf_ray.errors import ClusterError
from nrf_ray.graph.stage import SMALLEST_SHARE, Resources

LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Node:
    """CPUs and GPUs of one living node, in use or not."""

    cpus: float
    gpus: float

    def slots(self, request: Resources) -> int:
        """Return how many runs with this request fit at once; a share of a GPU is never split between two GPUs."""
        by_cpu = math.floor(self.cpus / request.cpus + SMALLEST_SHARE)
        if request.gpus == 0:
            return by_cpu
        if request.gpus < 1:
            return min(by_cpu, int(self.gpus) * request.sharers)
        return min(by_cpu, int(self.gpus / request.gpus))


@dataclass(frozen=True)
class Cluster:
    """The living nodes, by id."""

    nodes: Mapping[str, Node]

    def slots(self, request: Resources) -> int:
        """Return how many runs with this request fit at once."""
        return sum(node.slots(request) for node in self.nodes.values())

    def check_can_meet(self, request: Resources, workers: int = 1) -> None:
        """Raise ClusterError if no node can ever meet `request`, or the cluster cannot for `workers` at once."""
        slots = self.slots(request)
        if workers > 1 and 0 < request.gpus < 1:
            raise ClusterError(
                f"workers of one training cannot share a GPU, and each would get {request.gpus:g} of one; give "
                "--gpus-per-trial 1, or use a recipe with one worker"
            )
        if slots >= workers:
            return
        if slots:
            raise ClusterError(
                f"a training by {workers} workers needs {workers} x {request.cpus:g} CPUs and {request.gpus:g} GPUs at "
                f"once, and the cluster has room for {slots}; add nodes, or use a recipe with fewer workers"
            )
        asked = f"a stage asks for {request.cpus:g} CPUs and {request.gpus:g} GPUs"
        if request.gpus and not any(node.gpus for node in self.nodes.values()):
            raise ClusterError(
                f"{asked}, but the cluster has no GPU on any of its {len(self.nodes)} nodes; leave --gpus-per-trial "
                "out to run on CPUs, or join a cluster with GPUs by --address"
            )
        nodes = self.nodes.values()
        largest = f"{max(node.cpus for node in nodes):g} CPUs and {max(node.gpus for node in nodes):g} GPUs"
        raise ClusterError(
            f"{asked}, but no node of the cluster has them (largest: {largest}); lower --gpus-per-trial or add a node"
        )


def living_nodes() -> dict[str, Node]:
    """Return the nodes that Ray counts as alive, by id."""
    return {
        node["NodeID"]: Node(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in ray.nodes()
        if node["Alive"]
    }


class Capacity:
    """The cluster as it is now, and its losses of nodes since the run began."""

    def __init__(
        self,
        look: Callable[[], Mapping[str, Node]] = living_nodes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look, self._clock = look, clock
        self._lock = threading.Lock()
        self._last_loss = -math.inf
        self._looked_at = clock()
        self._cluster = Cluster(dict(look()))

    def now(self, *, at_most_old: float = LOOK_SECONDS) -> Cluster:
        """Return the living nodes as they were at most `at_most_old` seconds ago."""
        with self._lock:
            if self._clock() - self._looked_at >= at_most_old:
                before = set(self._cluster.nodes)
                self._cluster = Cluster(dict(self._look()))
                self._looked_at = self._clock()
                if before - set(self._cluster.nodes):
                    self._last_loss = self._looked_at
            return self._cluster

    def lost_a_node_since(self, moment: float) -> bool:
        """Return whether a node was lost after `moment`, on this object's clock; ask Ray again."""
        self.now(at_most_old=0.0)
        return self._last_loss >= moment

    def moment(self) -> float:
        """Return the time on this object's clock."""
        return self._clock()
