"""Checks of the cluster's address and of the store for it, before ray is imported or anything is written."""

import os
import re
import socket

from nrf_ray.errors import ClusterError, ConfigError
from nrf_ray.graph.uri import folder_named, without_secrets

CONNECT_SECONDS = 5.0
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the process that it starts for `ray job submit`."""


def check_address(address: str | None, store_uri: str) -> str | None:
    """Return the address to join, or None to start a local Ray; raise ConfigError for what cannot work."""
    found = os.environ.get("RAY_ADDRESS") if address is None else address
    if found is None or found == "local":  # as in Ray
        return None
    if not found.strip():
        raise ConfigError("the address of the cluster is empty; give one, or leave --address and RAY_ADDRESS out")
    if found.startswith(("http://", "https://")):
        raise ConfigError(
            f"{without_secrets(found)} is the address of Ray's dashboard, which takes jobs: use it with "
            "`ray job submit --address`. To join the cluster from here give --address auto or HOST:6379"
            + ("" if address else ", or unset RAY_ADDRESS to run on this machine")
        )
    if found.startswith("ray://"):
        raise ConfigError(
            f"{without_secrets(found)} is the address of a Ray client server, through which sweeps do not run: start "
            "the sweep on a node of the cluster with --address auto, or send it there with `ray job submit --address "
            "http://HOST:8265`"
        )
    if found != "auto" and not re.fullmatch(r"[^\s/:]+:[0-9]{1,5}|\[[^\s/]+\]:[0-9]{1,5}", found):
        raise ConfigError(
            f"{without_secrets(found)!r} is not an address of a cluster; give auto on one of its nodes, or HOST:6379"
        )
    folder = folder_named(store_uri)
    if folder is not None and not folder.is_absolute():
        where = (
            "a job works in a copy of its working directory, which is deleted when the job ends"
            if JOB in os.environ
            else f"the work runs on the cluster at {found}, where that path is another folder"
        )
        raise ConfigError(
            f"the store {store_uri} is relative, but {where}; give --store as an absolute path that all nodes share, "
            "or as a URI such as s3://bucket/runs"
        )
    return found


def check_listening(address: str) -> None:
    """Raise ClusterError if nothing answers at HOST:PORT; Ray itself would try for minutes."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            f"nothing answers at {address} ({error.strerror or error}); start Ray there with "
            "`RAY_AUTH_MODE=token ray start --head`, or leave --address out to run on this machine"
        ) from error
