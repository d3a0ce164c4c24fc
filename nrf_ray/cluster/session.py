"""Connect to Ray, quietly.

Without an address a fresh local Ray is started and stopped again; an address (or RAY_ADDRESS, which `ray job` sets)
joins a running cluster. Ray's environment variables must be set before ray is imported, so this module sets them
first. Token authentication keeps Ray's default: on.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

from nrf_ray.cluster.variables import set_variables

set_variables()

import ray  # noqa: E402  (after the variables that it reads when it is imported)
from ray._private import ray_constants  # noqa: E402

from nrf_ray.cluster import start_worker  # noqa: E402
from nrf_ray.cluster.interrupt import handlers_kept  # noqa: E402
from nrf_ray.cluster.lean import SYSTEM, without_idle_processes  # noqa: E402
from nrf_ray.cluster.local_start import check_can_start, make_token, temporary_folder  # noqa: E402
from nrf_ray.errors import ClusterError  # noqa: E402

# In this process, but not in Ray's workers. Otherwise Ray's C++ core handles SIGTERM before Python does: it prints a
# traceback, and aborts the process 3 s later unless it has ended (https://github.com/ray-project/ray/pull/64830).
ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = True
# The program that starts the processes of a Ray which this process starts.
ray_constants.SETUP_WORKER_FILENAME = start_worker.__file__

LOOPBACK = "127.0.0.1"
"""Address at which a dashboard of ours listens: whoever reaches it and has the token can run code."""
OBJECT_STORE_BYTES = 256 * 2**20
"""Only handles and manifest rows go through Ray's object store; images and weights go through ours."""


@contextmanager
def connect(address: str | None, *, dashboard: bool = False, meanwhile: str = "ray") -> Iterator[str | None]:
    """Join the cluster at `address`, or start a local one, with its `dashboard` if asked; leave or stop it at the end.

    Yields host and port of the dashboard, if one runs. The module `meanwhile` is imported on another thread while Ray
    starts, which is mostly waiting.
    """
    imports = threading.Thread(target=import_module, args=(meanwhile,), daemon=True)
    imports.start()
    try:
        with handlers_kept():
            context = _join(address, dashboard)
        imports.join()
        yield context.dashboard_url or None
    finally:
        ray.shutdown()  # also if an interrupt left Ray half started


def _join(address: str | None, dashboard: bool) -> Any:
    """Return Ray's context of the cluster at `address`, or of a new local one, or raise ClusterError."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        check_can_start()
    try:
        if address is None:
            make_token()
            with nullcontext() if dashboard else without_idle_processes():
                return ray.init(
                    address="local",
                    include_dashboard=dashboard,
                    dashboard_host=LOOPBACK,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _system_config=SYSTEM,
                    **quiet,
                )
        return ray.init(address=address, **quiet)
    except Exception as error:  # a plain Exception if, for example, the raylet takes too long to start
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        remedy = (
            f"its logs are in {temporary_folder()}/ray/session_latest/logs, and `nrf doctor` looks for causes"
            if address is None
            else "if it runs with token authentication, set RAY_AUTH_MODE=token here too; start a cluster with "
            "`RAY_AUTH_MODE=token ray start --head`, or omit --address"
        )
        raise ClusterError(f"no Ray at {address or 'this machine'}: {reason}; {remedy}") from error
