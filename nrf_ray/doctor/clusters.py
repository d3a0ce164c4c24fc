"""The cluster that a sweep would join: can it be joined, what does it have, can it see the store?"""

import os
from collections import Counter
from collections.abc import Sequence

from nrf_ray.cluster.address import check_address
from nrf_ray.cluster.survey import Survey, survey
from nrf_ray.doctor.findings import Finding, fail, ok, warn
from nrf_ray.doctor.network import Listener
from nrf_ray.errors import ClusterError, ConfigError
from nrf_ray.graph.blobs import local_root


def is_local(address: str | None) -> bool:
    """Return whether a sweep would start a Ray of its own: neither `address` nor RAY_ADDRESS names a cluster."""
    return (os.environ.get("RAY_ADDRESS") if address is None else address) in (None, "local")


def look_at_cluster(address: str | None, store: str) -> Survey | str | None:
    """Return what the cluster has, why it cannot be joined, or None where no cluster was named.

    `address` or RAY_ADDRESS names it; sweeps go by the same rule.
    """
    if address is None and "RAY_ADDRESS" not in os.environ:
        return None
    try:
        found = check_address(address, store)
        return None if found is None else survey(found)
    except (ConfigError, ClusterError) as error:
        return str(error)


def judge_cluster(seen: Survey | str | None, store: str, listeners: Sequence[Listener]) -> list[Finding]:
    """Return what a sweep on the cluster would find there."""
    match seen:
        case str():
            return [fail("cluster", seen, "mend that, or leave --address out to run on this machine")]
        case None:
            heads = [str(listener.port) for listener in listeners if listener.role == "head"]
            here = f"; a Ray head runs here: look with --address 127.0.0.1:{heads[0]}" if heads else ""
            return [ok("cluster", f"none was named, so sweeps start a Ray of their own on this machine{here}")]
        case Survey():
            return _judge_survey(seen, store)


def _judge_survey(seen: Survey, store: str) -> list[Finding]:
    kinds = Counter((node.cpus, node.gpus, node.kind) for node in seen.nodes)
    nodes = ", ".join(f"{count} with {_has(*kind)}" for kind, count in sorted(kinds.items(), reverse=True))
    where = f"; dashboard http://{seen.dashboard}" if seen.dashboard else ""
    free = f"free: {seen.free_cpus:g} CPUs, {seen.free_gpus:g} GPUs"
    found = [ok("cluster", f"nodes: {nodes}; {free}{where}")]
    if seen.free_cpus < 1:
        found.append(
            warn(
                "cluster", "no CPU is free, so a sweep would wait", "see in the dashboard who holds them, or add a node"
            )
        )
    if len(seen.nodes) > 1 and local_root(store) is not None:
        found.append(
            warn(
                "cluster",
                f"{len(seen.nodes)} nodes, and the store is the folder {store}",
                "see to it that all nodes share that folder, or give --store as a URI such as s3://bucket/runs",
            )
        )
    return found


def _has(cpus: float, gpus: float, kind: str) -> str:
    return f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs{f' ({kind})' if kind else ''}" if gpus else "")
