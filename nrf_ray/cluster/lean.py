"""Parts of Ray that a run on this machine does without, by names of Ray that are not public.

Of the processes that `ray.init` starts, a local run without dashboard needs two: the GCS and the raylet. The others are
the dashboard's server, which starts and is waited for even without a dashboard, but then does nothing; the monitor of
the autoscaler; the process that sends logs to drivers; workers for tasks, which no trial is; and two agents, see
`idle_agent`. On a cluster that a run joins, nothing is changed.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

from nrf_ray.cluster import idle_agent

SYSTEM = {"prestart_worker_first_driver": False}
"""Settings of Ray's core with which it starts no workers in advance."""


@contextmanager
def without_idle_processes() -> Iterator[None]:
    """Start Ray in this context without the processes that do nothing for a local run."""
    from ray._private import parameter, services  # after its environment variables are set, see `session`

    with (
        _replaced(parameter, "RayParams", partial(parameter.RayParams, no_monitor=True, include_log_monitor=False)),
        _replaced(services, "start_api_server", lambda *arguments, **more: (None, None)),
        _replaced(services, "_build_python_executable_command_memory_profileable", _command_of_agent),
    ):
        yield


@contextmanager
def without_runtime_environments() -> Iterator[None]:
    """Let Tune give its trials no runtime environment: local processes have the driver's variables anyway."""
    from ray.tune.execution import class_cache  # whose import takes a second

    with _replaced(class_cache, "DEFAULT_ENV_VARS", {}), _replaced(class_cache, "ENV_VARS_TO_PROPAGATE", set()):
        yield


def _command_of_agent(component: str, session_dir: str, unbuffered: bool = True) -> list[str]:
    """Return the first words of an agent's command, to which Ray adds the agent's own program and its arguments."""
    return [sys.executable, "-S", idle_agent.__file__]


@contextmanager
def _replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    """Give `name` of `module` another value in this context."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
