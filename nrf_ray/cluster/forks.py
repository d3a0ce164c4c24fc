"""One process that has imported what stages need, of which the workers of our own Ray are forks.

A worker imports ray, torch and our code before its first stage, which takes seconds of a CPU. A fork has them at once,
and shares their memory. The process starts when a run is planned, so it imports while Ray itself starts; requests that
come earlier wait. It ends with the driver.

A fork has only one thread, and the state of every random generator. So the process must have neither other threads nor
a generator that has been seeded; it checks that after its imports, and ends if it cannot be forked. Wherever it is
missing, workers start as Ray starts them.
"""

import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nrf_ray.cluster.start_worker import JOB, OOM, SOCKET, of_this_user
from nrf_ray.cluster.variables import set_variables

MODULES = (
    "ray._private.workers.default_worker",
    "nrf_ray.cluster.trial",
    "torch",
    "torch.utils.flop_counter",
    "tensorboardX",
    "nrf_ray.training.fit",
    "nrf_ray.stages.weights",
    "nrf_ray.constructions.crafted",
    "nrf_ray.attacks.checks",
    "nrf_ray.attacks.robustness",
)
"""Modules that the process imports, with all that they import: Ray's program of a worker, and what most stages need."""
ENVIRONMENT = {
    **JOB,
    "OMP_NUM_THREADS": "1",  # Ray's value for a worker of one CPU; stages set torch's threads themselves
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's jemalloc starts a thread when it is loaded
}
"""Variables that the process has besides the driver's."""
WAITING = 64
"""Requests that may wait while the process imports."""
SECONDS = 5.0
"""Time for a request to arrive, which is sent at once."""


@contextmanager
def forks() -> Iterator[None]:
    """Let the workers of a Ray that starts in this context be forks, on Linux; elsewhere forks are unsafe."""
    if not sys.platform.startswith("linux"):
        yield
        return
    set_variables()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(b"")  # Linux chooses a free abstract address, which has no file
        listener.listen(WAITING)
        address = listener.getsockname()
        process = _start(listener)
    os.environ[SOCKET] = address.hex()
    try:
        yield
    finally:
        del os.environ[SOCKET]
        with process:
            process.kill()


def _start(listener: socket.socket) -> "subprocess.Popen[bytes]":
    """Start the process, with Ctrl-C blocked as in all processes of Ray, since a terminal sends it to all of them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(
            [sys.executable, "-c", f"from nrf_ray.cluster.forks import serve; serve({listener.fileno()})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            env=os.environ | ENVIRONMENT,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(descriptor: int) -> None:
    """Import `MODULES`, then fork for each request at the socket `descriptor`, until stdin ends with the driver."""
    listener = socket.socket(fileno=descriptor)
    # Ray's core reads this once, when it is loaded: a worker ends when the process with this id does.
    os.environ["RAY_RAYLET_PID"] = str(os.getpid())
    _import_all()
    if not _can_be_forked():
        return
    gc.collect()
    gc.freeze()  # otherwise a collection in a fork would copy all that it shares
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that forks that end leave nothing to wait for
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connected, _ = listener.accept()
        with connected, suppress(OSError, ValueError):
            connected.settimeout(SECONDS)
            request, files = _received(connected)
            if os.fork() == 0:
                break
            for file in files:
                os.close(file)
            connected.sendall(b"1")
    else:
        return
    listener.close()
    _become(request, files)


def _import_all() -> None:
    """Import `MODULES`.

    Actor classes get random ids when they are imported. Ray's generator would be seeded by that, and every fork would
    continue the same numbers, so they come from the system instead.
    """
    from ray import ActorClassID, actor

    class FromSystem:
        """In place of the class of ids, in the only use of its generator."""

        @staticmethod
        def from_random() -> ActorClassID:
            return ActorClassID(os.urandom(len(ActorClassID.nil().binary())))

    actor.ActorClassID = FromSystem
    for name in MODULES:
        importlib.import_module(name)
    actor.ActorClassID = ActorClassID


def _can_be_forked() -> bool:
    """Return whether this process has one thread, and its forks other random ids than each other."""
    return len(os.listdir("/proc/self/task")) == 1 and _id_in_a_fork() != _id_in_a_fork()


def _id_in_a_fork() -> bytes:
    from ray import NodeID

    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, NodeID.from_random().binary())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        found = pipe.read()
    os.wait()
    return found


def _received(connected: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return a request and the files that came with it; raise ValueError if it is not one of this user's."""
    if not of_this_user(connected):
        raise ValueError("another user")
    _, files, _, _ = socket.recv_fds(connected, 1, 3)
    text = b"".join(iter(lambda: connected.recv(2**16), b""))
    return json.loads(text), files


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Run the requested program in this fork, as if Python had started with it."""
    import numpy as np
    from ray._raylet import Config  # type: ignore[attr-defined]

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)  # as the raylet does for its workers, whose groups it kills when they end
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    resource.setrlimit(resource.RLIMIT_NOFILE, request["files"])
    Path(OOM).write_text(request["oom"], encoding="ascii")
    Config.initialize(b"")  # Ray's core took its settings from the environment when it was loaded
    np.random.seed()  # noqa: NPY002  (as in a new process; Python's own generator does so itself)
    sys.argv[:] = request["arguments"]
    runpy.run_path(sys.argv[0], run_name="__main__")
