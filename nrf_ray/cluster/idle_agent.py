"""Stand in for an agent of our own Ray until it is needed.

A raylet waits for two agents. One exports metrics and reads logs for the dashboard; a local run has none, so this
program, which imports nothing of Ray, says that this agent has no ports, and does nothing until the raylet ends. The
other prepares runtime environments, which few processes have: this program says its port, and is replaced by the agent
when the first request comes. The raylet repeats a request that gets no answer. Each agent takes a second of a CPU to
start, and 60 to 100 MiB.
"""

import os
import select
import socket
import sys

METRICS = "agent.py"
"""Name of the program of the agent that exports metrics."""
NO_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
PORT, FLAG = "runtime_env_agent_port", "--runtime-env-agent-port="
LOOK_SECONDS = 0.2
"""Time between two looks for the raylet."""


def say_port(options: dict[str, str], name: str, port: int) -> None:
    """Write the file in which the raylet looks for a port of an agent with these options; -1 means that it has none."""
    path = os.path.join(options["--session-dir"], f"{name}_{options['--node-id']}")
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        file.write(str(port))
    os.replace(f"{path}.part", path)


def requested(listeners: list[socket.socket], raylet: int) -> bool:
    """Wait for a request at one of `listeners`, and return True; return False if the raylet ends before."""
    while os.getppid() == raylet:
        if select.select(listeners, [], [], LOOK_SECONDS)[0]:
            return True
    return False


def stand_in(program: str, *arguments: str) -> list[str]:
    """Stand in for the agent `program`; return the arguments of Python that start it, none if it is not needed."""
    raylet = os.getppid()
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if os.path.basename(program) == METRICS:
        for name in NO_PORTS:
            say_port(options, name, -1)
        requested([], raylet)
        return []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options["--node-ip-address"], 0))
        listener.listen()
        port = listener.getsockname()[1]
        say_port(options, PORT, port)
        if not requested([listener], raylet):
            return []
    return ["-u", program, *(argument for argument in arguments if not argument.startswith(FLAG)), f"{FLAG}{port}"]


if __name__ == "__main__":
    command = stand_in(*sys.argv[1:])
    if command:
        os.execv(sys.executable, [sys.executable, *command])
