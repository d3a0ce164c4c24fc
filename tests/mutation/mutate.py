"""Run the tests on mutants of the modules that matter most, and say which mutants no test notices.

`python -m tests.mutation.mutate` runs a fixed sample of all mutants and fails if one survives that `mutants.txt` calls
killed: then tests have become weaker. `--write` stores the outcomes there. After a change of the code `--state new
--write` is enough, and after new tests `--state survived --write`. Lines `equal NAME  # REASON` are written by hand:
these mutants behave like the code and are never run.

A parent process imports the heavy libraries once and forks a child for each mutant. The child imports the module with
the mistake and runs the tests until one fails. No file changes, so the digests of sources that are part of records stay
as they are. This is why it is neither mutmut, whose copies of functions change these digests and whose mutants have
numbers for names, nor cosmic-ray, which rewrites files and imports torch again for every mutant.

Tests that start another process see the code without the mistake there.
"""

import argparse
import ast
import contextlib
import gc
import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import NamedTuple

from tests.mutation.mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
STATES = Path(__file__).with_name("mutants.txt")
HEADER = "# Outcomes of mutants, written by `python -m tests.mutation.mutate --write`.\n"


class Row(NamedTuple):
    """A module and the tests that can catch a mistake in it. When code or tests move, only this table changes."""

    module: str
    share: float
    """Share of the module's mutants that are in the sample."""
    tests: tuple[str, ...]
    """Files below `tests/`, quick ones and those that catch most first. None may start Ray; importing it is well."""


CONSTRUCTIONS = (
    *("constructions/test_targeted_pgd.py", "constructions/test_matching.py", "constructions/test_controls.py"),
    *("attacks/test_hotflip.py", "attacks/test_modes.py", "constructions/test_stored_set.py"),
)
ROWS = (
    *(
        Row(
            f"nrf_ray.attacks.{name}",
            0.42,
            (
                *("attacks/test_restarts.py", "attacks/test_given.py", "attacks/test_pgd.py", "attacks/test_modes.py"),
                *("engine/test_meter.py", "attacks/test_robustness.py", "engine/test_unusual_networks.py"),
                *("attacks/test_hotflip.py", "training/test_fit.py", "attacks/test_autoattack.py"),
            ),
        )
        for name in ("losses", "pgd", "restarts", "run")
    ),
    Row(
        "nrf_ray.attacks.threat",
        0.48,
        (
            *("attacks/test_specs.py", "attacks/test_threat.py", "constructions/test_controls.py"),
            *("attacks/test_restarts.py", "attacks/test_pgd.py", "models/test_texts.py"),
        ),
    ),
    Row("nrf_ray.constructions.crafted", 1.0, CONSTRUCTIONS),
    Row("nrf_ray.constructions.targeted_pgd", 0.3, CONSTRUCTIONS),
    Row("nrf_ray.constructions.replaced_words", 0.15, (*CONSTRUCTIONS, "tables/test_text_features.py")),
    Row("nrf_ray.constructions.matching", 0.3, CONSTRUCTIONS),
    *(
        Row(
            f"nrf_ray.constructions.{name}",
            share,
            ("constructions/test_controls.py", "constructions/test_stored_set.py", "tables/test_text_features.py"),
        )
        for name, share in (("controls", 0.3), ("class_pattern", 0.6), ("class_words", 0.6))
    ),
    Row("nrf_ray.attacks.checks", 0.2, ("attacks/test_checks.py", "models/test_texts.py")),
    Row(
        "nrf_ray.graph.store",
        0.44,
        (
            *("graph/test_store.py", "graph/test_attempts.py", "graph/test_checkpoints.py", "graph/test_plan.py"),
            *("graph/test_hostile_store.py", "graph/test_execute.py", "graph/test_collecting.py"),
            *("graph/test_lease.py", "graph/test_garbage.py", "graph/test_s3.py"),
            "constructions/test_unfinished_sets.py",
        ),
    ),
    Row(
        "nrf_ray.graph.frontier",
        0.44,
        (
            *("graph/test_frontier.py", "graph/test_schedule.py", "graph/test_execute.py"),
            *("cluster/test_handout.py", "cluster/test_search.py", "cluster/test_live.py"),
            *("page/test_live.py", "run/test_forecast.py"),
        ),
    ),
)
LIBRARIES = (
    *(
        "anyio",
        "boto3",
        "cyclopts",
        "hypothesis",
        "numpy",
        "obstore",
        "pandas",
        "PIL.Image",
        "psutil",
        "pyarrow.parquet",
    ),
    *(
        "pytest",
        "ray.cluster_utils",
        "ray.tune",
        "rich.console",
        "safetensors.torch",
        "scipy.stats",
        "sklearn.datasets",
    ),
    *("tensorboardX", "torch", "torch.nn.functional", "torchvision"),
)
"""What tests import, apart from nrf_ray. The parent imports it."""
PLUGINS = ("--disable-plugin-autoload", "-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin")
PYTEST = (
    *("-o", "addopts=", *PLUGINS, "-p", "no:cacheprovider", "--strict-markers", "--import-mode=importlib"),
    *("--assert=plain", "--tb=short", "-x", "-q", "-m", "not slow and not gpu and not browser"),
)
MEMORY = 6 << 30
"""Bytes that a child may take: a mistake can make a loop endless."""
NOT_MUTATED = 70
"""Exit status of a child whose tests passed without importing the module."""


class Job(NamedTuple):
    """A run of the tests of a row: with a mutant, or with the module as it is."""

    row: Row
    tree: ast.Module
    mutant: Mutant | None = None


class Importer(SourceFileLoader):
    """Finds and loads one module from its syntax tree; the file is left alone."""

    tree: ast.Module

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the module's spec, or None for every other module."""
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> object:
        """Compile the tree."""
        return compile(self.tree, self.path, "exec", dont_inherit=True)


@dataclass(eq=False)
class Order:
    """A plugin of pytest: within a file the tests that took least time on the unmutated module run first."""

    seconds: Counter[str]

    def pytest_collection_modifyitems(self, items: list) -> None:
        """Sort the tests."""
        files = list(dict.fromkeys(item.path for item in items))
        items.sort(key=lambda item: (files.index(item.path), self.seconds[item.nodeid]))

    def pytest_runtest_logreport(self, report: object) -> None:
        """Add up the time of a test."""
        self.seconds[report.nodeid] += report.duration


def path_of(module: str) -> Path:
    """Return the file of a module."""
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def jobs_of(rows: tuple[Row, ...] = ROWS) -> list[Job]:
    """Return a job for every mutant of the modules in `rows`; no two names are equal."""
    repeats: Counter[str] = Counter()
    trees = [(row, ast.parse(path_of(row.module).read_text(encoding="utf-8"))) for row in rows]
    return [Job(row, tree, mutant) for row, tree in trees for mutant in mutants_of(tree, repeats)]


def in_sample(job: Job) -> bool:
    """Return whether a mutant is in the sample: by its name alone, so a new mutant moves no other in or out."""
    return int(hashlib.sha256(job.mutant.name.encode()).hexdigest()[:8], 16) < job.row.share * 16**8


def read_states() -> dict[str, str]:
    """Return what `mutants.txt` says of each mutant: killed, survived, or equal with the reason."""
    lines = STATES.read_text(encoding="utf-8").splitlines() if STATES.exists() else []
    states = {}
    for line in lines:
        if not line.startswith("#"):
            state, _, rest = line.partition(" ")
            name, _, reason = rest.strip().partition("  # ")
            states[name] = f"{state}  # {reason}" if reason else state
    return states


def write_states(states: dict[str, str]) -> None:
    """Write `mutants.txt`, sorted by name, so that a move of code changes no line."""
    parts = [(name, *state.partition("  # ")) for name, state in sorted(states.items())]
    STATES.write_text(HEADER + "".join(f"{s:<8} {name}{mark}{reason}\n" for name, s, mark, reason in parts), "utf-8")


def run_child(job: Job, folder: Path, output: str) -> int:
    """Run the tests of `job` in this process, which ends after it; return the exit status."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    os.dup2(1, 2)
    print(f"\n{job.row.module}: {job.mutant.name if job.mutant else 'unmutated'}", flush=True)
    if job.mutant:
        job.mutant.apply()
    importer = Importer(job.row.module, str(path_of(job.row.module)))
    importer.tree = job.tree
    sys.meta_path.insert(0, importer)
    times = folder / f"{job.row.module}.json"
    order = Order(Counter(json.loads(times.read_text()) if job.mutant else {}))
    import pytest

    options = [*PYTEST, f"--basetemp={folder / str(os.getpid())}"]
    if job.mutant:  # a test that waits for ever ends sooner than by its usual limit
        options += ["-o", f"timeout={10 * max(order.seconds.values()) + 10:.0f}"]
    code = int(pytest.main([*options, *(f"tests/{test}" for test in job.row.tests)], plugins=[order]))
    if not job.mutant:
        times.write_text(json.dumps(order.seconds))
    loader = getattr(sys.modules.get(job.row.module), "__loader__", None)
    return code if code or loader is importer else NOT_MUTATED


def outcomes(jobs: list[Job], limits: dict[str, float], args: argparse.Namespace, folder: Path) -> Iterator[tuple]:
    """Run `jobs`, so many at once; yield (job, exit status, seconds) as each ends. Kill what runs beyond its limit."""
    waiting, running = jobs[::-1], {}
    try:
        while waiting or running:
            while waiting and len(running) < args.workers:
                job = waiting.pop()
                sys.stdout.flush()
                pid = os.fork()
                if pid == 0:
                    code = 1
                    try:
                        code = run_child(job, folder, args.verbose)
                    except BaseException:
                        traceback.print_exc()
                    finally:
                        os._exit(code)
                running[pid] = (job, time.monotonic())
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                job, began = running.pop(pid)
                _end(pid)
                shutil.rmtree(folder / str(pid), ignore_errors=True)
                yield job, os.waitstatus_to_exitcode(status), time.monotonic() - began
            for pid, (job, began) in running.items():
                if time.monotonic() - began > limits.get(job.row.module, 600):
                    _end(pid)
            time.sleep(0.02)
    finally:
        for pid in running:
            _end(pid)


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description="Run the tests on mutants of some modules.")
    parser.add_argument("--list", action="store_true", help="print the mutants and what is known of them; then exit")
    parser.add_argument("--all", action="store_true", help="all mutants, not only the sample")
    parser.add_argument("--state", choices=["new", "killed", "survived"], help="only mutants of this state; see --list")
    parser.add_argument("--module", choices=[row.module for row in ROWS], help="only mutants of this module")
    parser.add_argument("--only", metavar="NAME", help="only this mutant")
    parser.add_argument("--workers", type=int, default=2, help="mutants at once, default 2")
    parser.add_argument("--verbose", metavar="FILE", default=os.devnull, help="append what pytest prints to this file")
    parser.add_argument("--write", action="store_true", help="store the outcomes of the sample in mutants.txt")
    args = parser.parse_args()
    known, everything = read_states(), jobs_of()
    jobs = [job for job in everything if args.all or args.only or in_sample(job)]
    jobs = [job for job in jobs if args.module in (None, job.row.module) and args.only in (None, job.mutant.name)]
    jobs = [job for job in jobs if args.state in (None, known.get(job.mutant.name, "new"))]
    if args.list:
        for job in jobs:
            print(f"{known.get(job.mutant.name, 'new'):<8} {job.mutant.name}")
        return 0
    jobs = [job for job in jobs if not known.get(job.mutant.name, "").startswith("equal")]
    if args.only and not jobs:
        parser.error(f"there is no mutant {args.only!r}; --list --all names all")
    found: dict[str, str] = {}
    try:
        if jobs:
            run(jobs, args, found)
    finally:
        if args.write:  # what is known when the run is stopped, too
            names = {job.mutant.name for job in everything if in_sample(job)}
            write_states({name: state for name, state in {**known, **found}.items() if name in names})
    weaker = [name for name, state in found.items() if state == "survived" and known.get(name) == "killed"]
    for name in weaker:
        print(f"was killed, survives now: {name}")
    return 1 if weaker and not args.write else 0


def run(jobs: list[Job], args: argparse.Namespace, found: dict[str, str]) -> None:
    """Run the tests on the unmutated modules, then on the mutants; print a line for each; put the states in `found`."""
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # children are killed then, too
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # a fork takes no threads along
    for library in LIBRARIES:
        importlib.import_module(library)
    from hypothesis import Phase, settings

    settings.register_profile("fast", phases=(Phase.explicit, Phase.generate))  # a smaller example costs minutes
    settings.load_profile("fast")
    sys.modules["torch"].set_num_threads(1)
    assert "nrf_ray" not in sys.modules
    gc.freeze()  # pytest collects garbage several times at its end
    seconds, limits, began = Counter(), {}, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        unmutated = {job.row: Job(job.row, job.tree) for job in jobs}
        for job, code, took in outcomes([*unmutated.values()], limits, args, Path(name)):
            print(f"{'passed' if code == 0 else 'FAILED':<9} {took:6.1f} s  {job.row.module} unmutated", flush=True)
            if code:
                sys.exit(f"the tests of {job.row.module} end with {code} without a mutant; see --verbose FILE")
            limits[job.row.module] = 10 * took + 10
        for job, code, took in outcomes(jobs, limits, args, Path(name)):
            state = {0: "survived", -signal.SIGKILL: "timed out"}.get(code, "killed")
            found[job.mutant.name] = "survived" if code == 0 else "killed"
            seconds[job.row.module] += took
            print(f"{state:<9} {took:6.1f} s  {job.mutant.name}", flush=True)
    for row in unmutated:
        states = Counter(found[job.mutant.name] for job in jobs if job.row == row)
        print(
            f"{row.module}: {states.total()} mutants, {states['killed']} killed, {states['survived']} survived,",
            end=" ",
        )
        print(f"{seconds[row.module]:.0f} s")
    print(f"{len(found)} mutants in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
