"""Workers of our own Ray as forks: each is like a process that Python started, and they end with the driver."""

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nrf_ray.cluster import forks, start_worker
from nrf_ray.cluster.start_worker import JOB, SOCKET, forked

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks are for Linux")

PROGRAM = """
import json, os, random, resource, signal, sys
import numpy as np
import ray
from ray._raylet import Config
print("to stderr", file=sys.stderr)
json.dump({
    "name": __name__,
    "arguments": sys.argv,
    "folder": os.getcwd(),
    "environment": dict(os.environ),
    "core": Config.worker_register_timeout_seconds(),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "open": len(os.listdir("/proc/self/fd")) - 1,
    "random": [random.random(), np.random.random(), ray.NodeID.from_random().hex()],
    "parent": os.getppid(),
    "child signal": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
}, sys.stdout)
sys.exit(3)
"""
"""A program that says what it was started with."""

SERVE = "import sys; from nrf_ray.cluster import forks; forks.MODULES = ('numpy',); {}; forks.serve(int(sys.argv[1]))"


@contextmanager
def serving(before: str = "None") -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Start the process that can be forked, after the code `before`; yield its address, and the process."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(b"")
        listener.listen()
        address = listener.getsockname().hex()
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE.format(before), str(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            env=os.environ | forks.ENVIRONMENT,
        )
    try:
        yield address, process
    finally:
        with process:
            process.kill()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, int]]:
    with serving() as (address, process):
        yield address, process.pid


def started(address: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Start PROGRAM as Ray starts a worker; return what it wrote, and what it wrote to stderr."""
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, start_worker.__file__, str(program), *arguments, "--language=PYTHON"]
    environment = {name: value for name, value in os.environ.items() if name != "HOME"} | {
        SOCKET: address,
        **JOB,
        "RAY_worker_register_timeout_seconds": "33",
    }
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=100)
    return json.loads(done.stdout) | {"stderr": done.stderr, "code": done.returncode}


def test_a_fork_is_what_the_process_itself_would_be(served: tuple[str, int], tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        fork, plain = started(served[0], tmp_path, "--a=b c"), started("", tmp_path, "--a=b c")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (fork.pop("parent"), plain.pop("parent")) == (served[1], os.getpid())
    assert (fork.pop("code"), plain.pop("code")) == (0, 3), "a fork is no child of who asked for it"
    assert (fork["environment"].pop(SOCKET), plain["environment"].pop(SOCKET)) == (served[0], "")
    assert all(mine != others for mine, others in zip(fork.pop("random"), plain.pop("random"), strict=True))
    assert fork == plain
    assert fork["core"] == 33
    assert (fork["name"], fork["stderr"], fork["files"]) == ("__main__", "to stderr\n", [soft - 1, hard])
    assert fork["open"] == 3, "no file of the process that was forked"


def test_forks_have_other_random_numbers_than_each_other(served: tuple[str, int], tmp_path: Path) -> None:
    first, second = (started(served[0], tmp_path)["random"] for _ in range(2))
    assert all(one != other for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(
            "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", id="thread"
        ),
        pytest.param("from ray import NodeID; NodeID.from_random()", id="seeded generator"),
        pytest.param("forks.MODULES = ('no_such_module',)", id="import fails"),
    ],
)
def test_a_process_that_cannot_be_forked_ends_and_workers_start_without_it(before: str, tmp_path: Path) -> None:
    with serving(before) as (address, process):
        assert started(address, tmp_path)["parent"] == os.getpid()
        assert process.wait(60) == ("no_such_module" in before)


def test_it_ends_with_the_driver() -> None:
    with serving() as (_, process):
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def test_broken_requests_change_nothing(served: tuple[str, int], tmp_path: Path) -> None:
    for text in (b"", b"{", b"[]" * 10):
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(bytes.fromhex(served[0]))
            asked.sendall(text)
    assert started(served[0], tmp_path)["parent"] == served[1]


def test_nobody_else_is_served_or_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An abstract address is open to all users of the machine."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(b"")
        listener.listen()
        assert not forked(["program.py"], JOB | {SOCKET: listener.getsockname().hex()})
        connected, _ = listener.accept()
        with connected:
            assert connected.recv(1) == b"", "nothing was sent to another user's process"
            with pytest.raises(ValueError, match="another user"):
                forks._received(connected)


@pytest.mark.parametrize("first", ["-s", "setup_worker.py"])
def test_what_is_no_program_of_a_worker_is_not_asked_for(first: str) -> None:
    assert not forked([first, "more.py"], JOB | {SOCKET: "00"})


def test_without_a_listener_there_is_no_fork() -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(b"")
        address = gone.getsockname().hex()
    assert not forked(["program.py"], JOB | {SOCKET: address})


def test_the_driver_says_where_and_takes_it_back() -> None:
    with forks.forks():
        assert bytes.fromhex(os.environ[SOCKET])
    assert SOCKET not in os.environ
