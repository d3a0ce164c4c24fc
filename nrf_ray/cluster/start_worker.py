"""Start a process of our own Ray, in place of Ray's `setup_worker.py`, which Ray runs by its path.

If a process has a runtime environment, Ray starts Python twice: the first imports ray, which takes a second of a CPU,
only to apply the environment; then it is replaced by the second, the process itself. Tune gives all its processes one,
of a few variables. This program, which imports nothing of Ray, asks the process of `forks.py` for a fork with these
variables, which is there at once. If that process does not answer, this program sets the variables and is replaced by
the second process. If anything else is to be applied, Ray's own program runs.
"""

import json
import os
import resource
import socket
import struct
import sys

CONTEXT, LANGUAGE = "--serialized-runtime-env-context=", "--language="
"""Options that are for this program only."""
SOCKET = "NRF_RAY_FORKS"
"""Variable with the abstract address, in hexadecimal, at which `forks.py` takes requests, if it runs."""
OOM = "/proc/self/oom_score_adj"
"""File by which the raylet makes its workers the first that the kernel ends if memory runs out."""
JOB = {"RAY_JOB_ID": "01000000"}
"""Variable that Ray's core reads once, when it is loaded: the first job of a cluster, which is that of its driver."""


def next_start(arguments: list[str], executable: str) -> tuple[list[str], dict[str, str]]:
    """Return arguments of Python, and variables to be set, that do what `arguments` of `setup_worker.py` ask for."""
    values = {option: "" for option in (CONTEXT, LANGUAGE)}
    rest = []
    for argument in arguments:
        option = next((option for option in values if argument.startswith(option)), None)
        if option:
            values[option] = argument.removeprefix(option)
        else:
            rest.append(argument)
    context = json.loads(values[CONTEXT] or "{}")
    variables = context.pop("env_vars", {})
    same_python = context.pop("py_executable", executable) == executable
    if values[LANGUAGE] == "PYTHON" and same_python and not any(context.values()) and not _refers(variables):
        return rest, variables
    worker = next(argument for argument in arguments if argument.endswith(".py"))
    return [os.path.join(os.path.dirname(worker), "setup_worker.py"), *arguments], {}


def _refers(variables: dict[str, str]) -> bool:
    """Return whether a value refers to another variable, which Ray would put in its place."""
    return any("$" in value for value in variables.values())


def forked(arguments: list[str], environment: dict[str, str]) -> bool:
    """Ask for a fork that runs `arguments` of Python with this process's files; return whether there is one now.

    There is none if no process takes requests, for another job, and if the arguments begin with options of Python or
    with Ray's own program.
    """
    plain = not arguments[0].startswith("-") and not arguments[0].endswith("setup_worker.py")
    if SOCKET not in environment or not plain or not JOB.items() <= environment.items():
        return False
    request = {
        "arguments": arguments,
        "environment": environment,
        "folder": os.getcwd(),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    }
    try:
        with open(OOM, encoding="ascii") as file:
            request["oom"] = file.read()
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(bytes.fromhex(environment[SOCKET]))
            if not of_this_user(asked):
                return False
            socket.send_fds(asked, [b"3"], [0, 1, 2])
            asked.sendall(json.dumps(request).encode())
            asked.shutdown(socket.SHUT_WR)
            return asked.recv(1) != b""
    except OSError:
        return False


def of_this_user(connected: socket.socket) -> bool:
    """Return whether the process at the other end is of this process's user: everyone may use an abstract address."""
    _, user, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return bool(user == os.geteuid())


if __name__ == "__main__":
    following, set_before = next_start(sys.argv[1:], sys.executable)
    surroundings = os.environ | set_before
    if not forked(following, dict(surroundings)):
        os.execve(sys.executable, [sys.executable, *following], surroundings)
