"""What stands in for the agents of our own Ray: says what the raylet waits for, and is the agent once one is needed."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import ray
from ray import NodeID
from ray._raylet import (
    DASHBOARD_AGENT_LISTEN_PORT_NAME,
    METRICS_AGENT_PORT_NAME,
    METRICS_EXPORT_PORT_NAME,
    RUNTIME_ENV_AGENT_PORT_NAME,
    get_port_filename,
    persist_port,
    wait_for_persisted_port,
)

from nrf_ray.cluster import idle_agent

AGENTS = Path(ray.__file__).parent
METRICS = AGENTS / "dashboard" / "agent.py"
ENVIRONMENTS = AGENTS / "_private" / "runtime_env" / "agent" / "main.py"
NO_PORTS = (METRICS_AGENT_PORT_NAME, METRICS_EXPORT_PORT_NAME, DASHBOARD_AGENT_LISTEN_PORT_NAME)
NODE = NodeID.from_random().hex()


def arguments(program: Path, folder: Path) -> list[str]:
    """Return a command of an agent, as the raylet starts it."""
    options = {"session-dir": folder, "node-id": NODE, "node-ip-address": "127.0.0.1", "runtime-env-agent-port": 0}
    return [str(program), *(f"--{name}={value}" for name, value in options.items()), "--head"]


def test_the_programs_are_those_of_ray() -> None:
    assert METRICS.is_file()
    assert ENVIRONMENTS.is_file()
    assert METRICS.name == idle_agent.METRICS != ENVIRONMENTS.name
    assert idle_agent.NO_PORTS == NO_PORTS
    assert idle_agent.PORT == RUNTIME_ENV_AGENT_PORT_NAME


def test_a_port_is_said_as_ray_says_it(tmp_path: Path) -> None:
    for folder in ("ours", "rays"):
        (tmp_path / folder).mkdir()
    idle_agent.say_port({"--session-dir": str(tmp_path / "ours"), "--node-id": NODE}, idle_agent.PORT, 54321)
    persist_port(str(tmp_path / "rays"), NODE, RUNTIME_ENV_AGENT_PORT_NAME, 54321)
    said = {file.relative_to(tmp_path).parts: file.read_text() for file in tmp_path.glob("*/*")}
    name = get_port_filename(NODE, RUNTIME_ENV_AGENT_PORT_NAME)
    assert said == {("ours", name): "54321", ("rays", name): "54321"}


@contextmanager
def standing_in(program: Path, folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", psutil.Process]]:
    """Start the stand-in for an agent below a process that waits, as below a raylet; yield both."""
    command = [sys.executable, "-S", idle_agent.__file__, *arguments(program, folder)]
    code = f"import subprocess; print(subprocess.Popen({command}).pid, flush=True); input()"
    raylet = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert raylet.stdout is not None
    agent = psutil.Process(int(raylet.stdout.readline()))
    with raylet:
        yield raylet, agent
        raylet.kill()
    agent.wait(20)


def port_in(folder: Path, name: str) -> int:
    return int(wait_for_persisted_port(str(folder), NODE, name, timeout_ms=20_000))


def test_an_agent_of_metrics_has_no_ports_and_ends_with_the_raylet(tmp_path: Path) -> None:
    with standing_in(METRICS, tmp_path) as (_, agent):
        assert [port_in(tmp_path, name) for name in NO_PORTS] == [-1, -1, -1]
        assert agent.is_running()
    assert {file.name for file in tmp_path.iterdir()} == {get_port_filename(NODE, name) for name in NO_PORTS}


def test_it_is_replaced_by_the_agent_at_the_first_request(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(
        "import json, os, sys\n"
        "json.dump([sys.argv[1:], os.getpid(), sys.flags.no_site], open(sys.argv[0] + '.part', 'w'))\n"
        "os.rename(sys.argv[0] + '.part', sys.argv[0] + '.said')\n"
    )
    said = tmp_path / "main.py.said"
    with standing_in(program, tmp_path) as (_, agent):
        port = port_in(tmp_path, RUNTIME_ENV_AGENT_PORT_NAME)
        time.sleep(3 * idle_agent.LOOK_SECONDS)
        assert not said.exists()
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
        deadline = time.monotonic() + 20
        while not said.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        given, pid, without_site = json.loads(said.read_text())
    expected = [word for word in arguments(program, tmp_path)[1:] if not word.startswith(idle_agent.FLAG)]
    assert (given, pid, without_site) == ([*expected, f"{idle_agent.FLAG}{port}"], agent.pid, 0)


def test_without_a_request_it_ends_with_the_raylet(tmp_path: Path) -> None:
    with standing_in(ENVIRONMENTS, tmp_path) as (_, agent):
        assert port_in(tmp_path, RUNTIME_ENV_AGENT_PORT_NAME) > 0
    assert not agent.is_running()


LOCAL = """
import os, sys
import psutil
import ray
from nrf_ray.cluster.leave import leave_with
from nrf_ray.cluster.session import connect

@ray.remote(runtime_env={"env_vars": {"ONE": "1"}})
def told():
    return os.environ["ONE"]

def main():
    with connect(None):
        names = [process.name() for process in psutil.Process().children(recursive=True)]
        print(sorted(name if name[:6] != "python" else "stand-in" for name in names))
        print(ray.get(told.remote()))
    return 0

leave_with(main)
"""


@pytest.mark.slow
def test_a_local_ray_has_two_processes_and_runtime_environments_nevertheless() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", LOCAL], env=environment, capture_output=True, text=True, timeout=200)
    processes, told = done.stdout.splitlines()
    assert (processes, told) == ("['gcs_server', 'raylet', 'stand-in', 'stand-in']", "1"), done.stderr
