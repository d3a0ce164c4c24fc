"""The program that starts the processes of our own Ray does what Ray's own would do, which is often nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from ray._private import ray_constants
from ray._private.runtime_env.context import RuntimeEnvContext

from nrf_ray.cluster import session, start_worker
from nrf_ray.cluster.start_worker import next_start

PROGRAMS = Path(ray.__file__).parent / "_private" / "workers"
WORKER, OWN = str(PROGRAMS / "default_worker.py"), str(PROGRAMS / "setup_worker.py")
PYTHON = "--language=PYTHON"


def context(**settings: object) -> str:
    """Return the option by which Ray passes a runtime environment on."""
    return f"--serialized-runtime-env-context={RuntimeEnvContext(**settings).serialize()}"


@pytest.mark.parametrize(
    ("asked", "variables"),
    [
        pytest.param((), {}, id="nothing"),
        pytest.param((context(),), {}, id="none"),
        pytest.param(("--serialized-runtime-env-context={}",), {}, id="empty"),
        pytest.param((context(env_vars={"ONE": "1 'a'"}),), {"ONE": "1 'a'"}, id="variables"),
    ],
)
def test_with_variables_at_most_the_process_follows_at_once(asked: tuple[str, ...], variables: dict[str, str]) -> None:
    arguments = ["-s", WORKER, "--node-ip-address=127.0.0.1", "--session-name=a b", *asked, PYTHON, "--startup-token=1"]
    following = ["-s", WORKER, "--node-ip-address=127.0.0.1", "--session-name=a b", "--startup-token=1"]
    assert next_start(arguments, sys.executable) == (following, variables)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param((context(env_vars={"PATH": "/mine:${PATH}"}), PYTHON), id="a variable in a variable"),
        pytest.param((context(command_prefix=["nsys"]), PYTHON), id="prefix"),
        pytest.param((context(py_executable="/other/python"), PYTHON), id="another Python"),
        pytest.param((context(override_worker_entrypoint="/other.py"), PYTHON), id="another program"),
        pytest.param((context(), "--language=JAVA"), id="Java"),
        pytest.param((context(),), id="no language"),
    ],
)
def test_whatever_else_is_asked_goes_to_rays_own_program(asked: tuple[str, ...]) -> None:
    arguments = ["-s", WORKER, *asked, "--startup-token=1"]
    assert next_start(arguments, sys.executable) == ([OWN, *arguments], {})
    assert Path(OWN).is_file()


def test_what_follows_has_the_variables_and_the_arguments(tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("import os, sys; print(os.environ['ONE'], os.environ['HOME'], sys.argv[1:])")
    command = [sys.executable, start_worker.__file__, str(worker), "--a=b c", context(env_vars={"ONE": "1"}), PYTHON]
    environment = os.environ | {"HOME": "/home", "ONE": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1 /home ['--a=b c']\n"


def test_ray_is_told_of_it_by_its_path() -> None:
    assert session.ray_constants is ray_constants
    assert start_worker.__file__ == ray_constants.SETUP_WORKER_FILENAME


def test_it_imports_nothing_of_ray() -> None:
    code = (
        f"import runpy, sys; runpy.run_path({start_worker.__file__!r}); print({{'ray', 'nrf_ray'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "set()\n"
