"""What a cluster that runs already has: its nodes, what is free, and where its dashboard is. Starts nothing there."""

from dataclasses import dataclass

from nrf_ray.cluster.address import check_listening


@dataclass(frozen=True, kw_only=True)
class Node:
    """One living node."""

    address: str
    """Its address within the cluster."""
    cpus: float
    """CPUs that it lends."""
    gpus: float
    """GPUs that it lends."""
    kind: str
    """Model of its GPUs as Ray calls it; empty without."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A cluster as it is now."""

    nodes: tuple[Node, ...]
    """Its living nodes."""
    free_cpus: float
    """CPUs that nothing holds."""
    free_gpus: float
    """GPUs that nothing holds."""
    dashboard: str | None
    """Host and port of the dashboard, if one runs."""


def survey(address: str) -> Survey:
    """Return what the cluster at `address` has; raises ClusterError where it cannot be joined."""
    check_listening(address)
    # Here, so that whoever asks about no cluster does not wait for ray.
    import ray

    from nrf_ray.cluster.session import connect

    with connect(address) as dashboard:
        free = ray.available_resources()
        nodes = [_node(found["NodeManagerAddress"], found["Resources"]) for found in ray.nodes() if found["Alive"]]
        return Survey(
            nodes=tuple(nodes),
            free_cpus=free.get("CPU", 0.0),
            free_gpus=free.get("GPU", 0.0),
            dashboard=dashboard,
        )


def _node(address: str, resources: dict[str, float]) -> Node:
    kinds = [name.partition(":")[2] for name in resources if name.startswith("accelerator_type:")]
    return Node(
        address=address, cpus=resources.get("CPU", 0.0), gpus=resources.get("GPU", 0.0), kind=", ".join(sorted(kinds))
    )
