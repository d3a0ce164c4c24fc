"""Real limits of the system, in processes of their own: a named error that says what to do, and a run that goes on."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.store import Store
from tests.graph.toys import node, tree

ROOT = Path(__file__).parents[2]
NAMES = [f"stage {number}" for number in range(12)]
SCRIPT = """
import resource, sys
from nrf_ray.errors import StoreFailed
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from tests.faults.test_limits import NAMES
from tests.graph import toys

store = Store.open(sys.argv[1], create=True)
toys.HOOKS.update(dict.fromkeys(NAMES, lambda context: context.write("large.bin", bytes(40_000))))
{limit}
try:
    errors = run_inline([toys.node(name) for name in NAMES], store).errors.values()
except StoreFailed as error:
    errors = [f"StoreFailed: {{error}}"]
print(*errors, sep="\\n")
"""
LIMITS = {
    "size of a file": (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))",
        "File too large; the limit on file size is reached (ulimit -f)",
    ),
    "open files": (
        "keep = [open('/dev/null') for _ in range(20)]; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))",
        "Too many open files; too many open files; raise the limit (ulimit -n)",
    ),
    "disk": ("", "No space left on device; free some space"),
    "read-only disk": (
        "import subprocess; subprocess.run(['mount', '-o', 'remount,ro', sys.argv[1]], check=True)",
        "Read-only file system; the file system is read-only; choose another --store",
    ),
}


def in_a_small_disk(folder: Path, command: list[str]) -> list[str]:
    """Return `command` with a disk of 200 KB at `folder`, whose content is kept, in a name space of its own."""
    script = 'mount -t tmpfs -o size=200k tmpfs "$0" && "$@"; code=$?; cp -a "$0"/. "$0.kept"; exit $code'
    return ["unshare", "--mount", "sh", "-c", script, str(folder), *command]


def small_disks_work(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    folder.mkdir()
    return subprocess.run(in_a_small_disk(folder, ["true"]), capture_output=True, check=False).returncode == 0


SLOW = {"open files", "read-only disk"}


@pytest.mark.parametrize("limit", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in LIMITS])
def test_what_has_run_out_is_named_and_running_again_goes_on(limit: str, tmp_path: Path, tally: Counter[str]):
    code, words = LIMITS[limit]
    store, kept = tmp_path / "store", tmp_path / "store.kept"
    command = [sys.executable, "-c", SCRIPT.format(limit=code), str(store)]
    if "disk" in limit:
        if not small_disks_work(tmp_path / "trial"):
            pytest.skip("no disk can be mounted here")
        store.mkdir()
        kept.mkdir()
        command = in_a_small_disk(store, command)
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    errors = done.stdout.splitlines()
    tally["limits of the system reached"] += 1
    assert errors
    assert all(error.startswith("StoreFailed: cannot ") and words in error for error in errors), errors
    opened = Store.open(str(kept if "disk" in limit else store), create=True)
    assert not [name for name in tree(Path(opened.uri)) if "/.tmp-" in name], "no half-written file is left"
    assert [place for place in opened.places() if (record := opened.record(place)) and opened.problems(record)] == []
    frontier = run_inline([node(name) for name in NAMES], opened)
    assert set(frontier.state.values()) <= {Progress.DONE}
