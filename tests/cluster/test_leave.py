"""How the process of a command ends: what Ray does while the interpreter shuts down changes nothing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nrf_ray.cluster.leave import leave_with
from nrf_ray.errors import INTERRUPTED
from tests.signals import ctrl_c_is_minded

ROOT = Path(__file__).resolve().parents[2]

LIKE_RAY = """
import atexit, ctypes, sys, types

def load_ray():
    sys.modules["ray._private"] = types.ModuleType("ray._private")
    atexit.register(ctypes.CDLL(None).abort)

"""
"""A library that aborts the process while the interpreter shuts down, as Ray at times.

Only a part of it is in `sys.modules`, as after an interrupted import.
"""

SWEEP = """
import os, runpy, signal
from nrf_ray import errors
from nrf_ray.run import command as commands
from nrf_ray.graph.plan import Plan

def make_plan(*arguments, **more):
    load_ray()
    return {end}

commands.make_plan = make_plan
runpy.run_path("sweeps/transfer_grid.py", run_name="__main__")
"""
"""A sweep that loads that library and then comes to an end."""


def python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code, *arguments]
    with ctrl_c_is_minded():
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)


@pytest.mark.parametrize(
    ("end", "code", "errors"),
    [
        pytest.param("Plan(())", 0, "", id="finished"),
        pytest.param("exec('raise errors.ConfigError(\"no\")')", 2, "error: no\n", id="mistake"),
        pytest.param("exec('raise errors.StoreFailed(\"full\")')", 1, "error: full\n", id="failed"),
        pytest.param("sys.exit(1)", 1, "", id="exit"),
        pytest.param("os.kill(os.getpid(), signal.SIGTERM)", INTERRUPTED, "stopped: finished stages", id="SIGTERM"),
        pytest.param("os.kill(os.getpid(), signal.SIGINT)", INTERRUPTED, "stopped: finished stages", id="Ctrl-C"),
        pytest.param("1 / 0", 1, "Traceback (most recent call last)", id="fault"),
    ],
)
def test_every_end_of_a_sweep_keeps_its_exit_code(end: str, code: int, errors: str, tmp_path: Path) -> None:
    """Regression: a stopped sweep ended by SIGABRT after it had said that it was stopped."""
    done = python(LIKE_RAY + SWEEP.format(end=end), "--store", str(tmp_path / "store"))
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(errors)
    assert code == 1 or done.stderr.count("\n") == bool(errors)


def test_a_command_of_nrf_keeps_its_exit_code() -> None:
    code = "from nrf_ray import cli\nload_ray()\nsys.argv = ['nrf', 'no-such-command']\ncli.nrf_main()"
    done = python(LIKE_RAY + code)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


LEAVE = LIKE_RAY + "from nrf_ray.cluster.leave import leave_with\nload_ray()\n"


def test_what_was_printed_last_is_written() -> None:
    done = python(LEAVE + "print('out'); sys.stdout.write('last'); leave_with(lambda: 3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\nlast", "")


def test_output_that_nobody_reads_is_exit_code_1_without_a_traceback() -> None:
    code = (
        LEAVE + "read, write = os.pipe(); os.close(read)\nsys.stdout = open(write, 'w')\nprint(); leave_with(lambda: 0)"
    )
    done = python("import os\n" + code)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_profiler_still_gets_its_turn(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nfrom nrf_ray.cluster.leave import *\nsys.modules['ray'] = sys\nleave_with(int)\n")
    command = [sys.executable, "-m", "cProfile", "-o", str(tmp_path / "profile"), str(script)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    assert (tmp_path / "profile").exists()


def test_without_ray_the_interpreter_shuts_down_as_always() -> None:
    code = "import atexit\nfrom nrf_ray.cluster.leave import leave_with\natexit.register(print, 'bye')\nleave_with(int)"
    done = python(code)
    assert (done.returncode, done.stdout) == (0, "bye\n")
    with pytest.raises(SystemExit) as end:
        leave_with(lambda: 3)
    assert end.value.code == 3


HALF_STARTED = """
import os, runpy, signal, sys, time
from nrf_ray.run import command as commands

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(5)

slow = Slow()
number = getattr(signal, sys.argv.pop())
plain = commands._run

def run(*arguments):
    import ray._raylet
    core_worker = ray._raylet.CoreWorker

    def make(*arguments):
        made = core_worker(*arguments)
        os.kill(os.getpid(), number)
        return made

    ray._raylet.CoreWorker = make
    return plain(*arguments)

commands._run = run
runpy.run_path("sweeps/transfer_grid.py", run_name="__main__")
"""
"""A sweep that gets a signal when Ray's C++ core has just started, in a process whose shutdown takes 5 s."""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_core_of_ray_starts_ends_in_one_line(number: signal.Signals, tmp_path: Path) -> None:
    """Regression: Ray's own handler of SIGTERM set an alarm, and 3 s later the process ended by SIGABRT."""
    store = tmp_path / "store"
    done = python(HALF_STARTED, "--preset", "smoke", "--store", str(store), number.name)
    assert (done.returncode, done.stderr.count("\n")) == (INTERRUPTED, 1), done.stderr
    assert done.stderr.startswith("stopped")
    assert "SIGTERM" not in next(store.glob("logs/*/ray.log")).read_text()
