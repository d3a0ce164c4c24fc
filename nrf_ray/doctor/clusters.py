"""Checks of the cluster that a sweep would join: can it be joined, what does it have, can its nodes see the store?"""

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
    """Return whether a sweep would start its own Ray: neither `address` nor RAY_ADDRESS names a cluster."""
    return (os.environ.get("RAY_ADDRESS") if address is None else address) in (None, "local")


def look_at_cluster(address: str | None, store: str) -> Survey | str | None:
    """Return the cluster's resources, or why it cannot be joined, or None if no cluster is named.

    `address` or RAY_ADDRESS names the cluster, by the same rule as for sweeps.
    """
    if address is None and "RAY_ADDRESS" not in os.environ:
        return None
    try:
        found = check_address(address, store)
        return None if found is None else survey(found)
    except (ConfigError, ClusterError) as error:
        return str(error)


def judge_cluster(seen: Survey | str | None, store: str, listeners: Sequence[Listener]) -> list[Finding]:
    """Assess whether a sweep can run on the cluster."""
    match seen:
        case str():
            return [fail("cluster", seen, "fix this, or omit --address to run on this machine")]
        case None:
            heads = [str(listener.port) for listener in listeners if listener.role == "head"]
            here = f"; a Ray head runs here: check it with --address 127.0.0.1:{heads[0]}" if heads else ""
            return [ok("cluster", f"none is named, so sweeps start their own Ray on this machine{here}")]
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
                "cluster",
                "no CPU is free, so a sweep would wait",
                "look in the dashboard for what uses them, or add a node",
            )
        )
    if len(seen.nodes) > 1 and local_root(store) is not None:
        found.append(
            warn(
                "cluster",
                f"{len(seen.nodes)} nodes, and the store is the folder {store}",
                "make sure that all nodes share this folder, or give --store a URI such as s3://bucket/runs",
            )
        )
    return found


def _has(cpus: float, gpus: float, kind: str) -> str:
    return f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs{f' ({kind})' if kind else ''}" if gpus else "")
