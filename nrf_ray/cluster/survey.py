"""Survey of a running cluster: its nodes, free resources and dashboard. Starts no work there."""

from dataclasses import dataclass

from nrf_ray.cluster.address import check_listening


@dataclass(frozen=True, kw_only=True)
class Node:
    """One living node."""

    address: str
    """Its address within the cluster."""
    cpus: float
    """CPUs that it offers."""
    gpus: float
    """GPUs that it offers."""
    kind: str
    """Ray's name for the model of its GPUs; empty if it has no GPUs."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Nodes and free resources of a cluster now."""

    nodes: tuple[Node, ...]
    """Its living nodes."""
    free_cpus: float
    """CPUs that nothing holds."""
    free_gpus: float
    """GPUs that nothing holds."""
    dashboard: str | None
    """Host and port of the dashboard, if one runs."""


def survey(address: str) -> Survey:
    """Return the nodes and resources of the cluster at `address`; raise ClusterError if it cannot be joined."""
    check_listening(address)
    # Imported here, so that commands without a cluster do not wait for ray.
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
