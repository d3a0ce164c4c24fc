"""Start a process of our own Ray, in place of Ray's `setup_worker.py`, which Ray runs by its path.

If a process has a runtime environment, Ray starts Python twice: the first imports ray, which takes a second of a CPU,
only to apply the environment; then it is replaced by the second, the process itself. Tune gives all its processes one,
of a few variables. This program, which imports nothing of Ray, sets them and is replaced by the second at once. If
anything else is to be applied, Ray's own program runs.
"""

import json
import os
import sys

CONTEXT, LANGUAGE = "--serialized-runtime-env-context=", "--language="
"""Options that are for this program only."""


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


if __name__ == "__main__":
    following, set_before = next_start(sys.argv[1:], sys.executable)
    os.execve(sys.executable, [sys.executable, *following], os.environ | set_before)
