"""The job script for Slurm, whose commands are stood in for: `srun` starts the ranks here, `scancel` signals them.

What is at stake: a job ends as its sweep ended, even where Ray's own command says that all is well; a job whose time is
over resumes; and its Ray has a token, a port and a folder of its own.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nrf_ray.graph.store import Store

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "sweeps" / "cluster" / "slurm.sbatch"
JOB = 4711
PORT = 20_000 + JOB

SRUN = """#!/usr/bin/env bash
# Starts one rank in a session of its own, so that a signal reaches the whole step.
test "$1" = rm && exec "$@"
echo $$ >"$STEP"
exec setsid "$@"
"""
SCANCEL = """#!/usr/bin/env bash
echo "scancel $*" >>"$TOLD"
kill -TERM -"$(cat "$STEP")"
"""
SCONTROL = """#!/usr/bin/env bash
echo "scontrol $*" >>"$TOLD"
"""
RAY = """#!/usr/bin/env bash
# Ray as it is started; with RAY_FAILS it does not start, and yet all is well.
echo "ray $*" >>"$TOLD"
echo "mode $RAY_AUTH_MODE token $RAY_AUTH_TOKEN_PATH folder $RAY_TMPDIR" >>"$TOLD"
test -z "$RAY_FAILS" || exit 0
while test "$1" != --; do shift; done
shift
"$@"
exit 0
"""


RANKS = """#!/usr/bin/env bash
# Starts a rank for each node, with a network, a Ray folder and processes of its own, which end with it.
test "$1" = rm && exec "$@"
: >"$STEP"
for ((rank = 0; rank < SLURM_JOB_NUM_NODES; rank++)); do
    $NODE$rank unshare --uts --mount --pid --fork --kill-child --mount-proc bash -c '
        hostname "$0"; mkdir -p "$RAY_TMPDIR"; mount -t tmpfs none "$RAY_TMPDIR"
        setsid "$@" & wait $!' "node$rank" "$@" &
    echo $! >>"$STEP"
done
code=0
for step in $(cat "$STEP"); do wait "$step" || code=$?; done
exit $code
"""
END_RANKS = """#!/usr/bin/env bash
echo "scancel $*" >>"$TOLD"
for step in $(cat "$STEP"); do
    test "$1" = --signal=TERM || { kill -KILL "$step"; continue; }
    for init in $(pgrep -P "$step"); do
        for rank in $(pgrep -P "$init"); do kill -TERM -- "-$rank"; done
    done 2>/dev/null
done
"""


class Slurm:
    """A place where jobs are run: its commands, its home folder, and what the commands were told."""

    def __init__(self, folder: Path, commands: dict[str, str]) -> None:
        self.folder, self.bin, self.told = folder, folder / "bin", folder / "told.txt"
        self.bin.mkdir()
        for name, text in commands.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{self.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder / "home"),
            "SLURM_JOB_ID": str(JOB),
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_CPUS_PER_TASK": "2",
            "TOLD": str(self.told),
            "STEP": str(folder / "step"),
            "RAY_FAILS": "",
        }
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_TMPDIR"):
            self.environment.pop(name, None)

    def begin(self, *words: str, on: tuple[str, ...] = (), **changes: str) -> subprocess.Popen[str]:
        """Begin a job, `on` the first node."""
        return subprocess.Popen(
            [*on, "bash", str(SCRIPT), *words],
            cwd=self.folder,
            env={**self.environment, **changes},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **changes: str) -> tuple[int, str, str]:
        """Run a job to its end; return its exit code and what it printed."""
        job = self.begin(*words, **changes)
        out, err = job.communicate(timeout=60)
        return job.returncode, out, err

    def lines(self) -> list[str]:
        """Return what the commands were told."""
        return self.told.read_text().splitlines() if self.told.exists() else []


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path, {"srun": SRUN, "scancel": SCANCEL, "scontrol": SCONTROL, "ray": RAY})


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_job_ends_as_its_sweep_ended(slurm: Slurm, code: int) -> None:
    ended, _, _ = slurm.run("sh", "-c", f"exit {code}")
    assert ended == code


def test_a_ray_that_did_not_start_is_a_failure_though_its_command_says_0(slurm: Slurm) -> None:
    code, _, err = slurm.run("true", RAY_FAILS="yes")
    assert (code, "Ray did not start" in err) == (1, True)


def test_what_an_earlier_job_of_this_number_wrote_is_not_taken_for_this_one(slurm: Slurm) -> None:
    (slurm.folder / f"nrf_ray-{JOB}.exit").write_text("0")
    assert slurm.run("true", RAY_FAILS="yes")[0] == 1


def test_the_sweep_joins_a_ray_with_its_own_port_folder_and_token(slurm: Slurm) -> None:
    code, _, _ = slurm.run("sh", "-c", 'echo "sweep $*" >>"$TOLD"', "sweep", "--store", "a b")
    started, surroundings, sweep = slurm.lines()
    assert code == 0
    assert f"symmetric-run --address 127.0.0.1:{PORT} --min-nodes 1 --num-cpus 2 --num-gpus 0" in started
    token = slurm.folder / "home" / ".ray" / "auth_token"
    assert surroundings == f"mode token token {token} folder /tmp/nrf{JOB}"
    assert sweep == "sweep --store a b --address auto"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(token.read_text()) == 64


def test_a_token_that_others_could_read_is_kept_and_closed(slurm: Slurm) -> None:
    token = slurm.folder / "home" / ".ray" / "auth_token"
    token.parent.mkdir(parents=True)
    token.write_text("mine")
    token.chmod(0o644)
    assert slurm.run("true")[0] == 0
    assert (token.read_text(), stat.S_IMODE(token.stat().st_mode)) == ("mine", 0o600)


def test_a_port_in_use_is_passed_over(slurm: Slurm) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", PORT))
        taken.listen()
        assert slurm.run("true")[0] == 0
    assert f"--address 127.0.0.1:{PORT + 1}" in slurm.lines()[0]


def begun(slurm: Slurm, *words: str) -> subprocess.Popen[str]:
    """Begin a job whose sweep says that it works, and wait until it does."""
    job = slurm.begin(*words)
    deadline = time.monotonic() + 60
    while "works" not in slurm.lines():
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


STOPS = 'trap "exit 130" TERM; echo works >>"$TOLD"; while :; do sleep 0.1; done'


def test_a_job_whose_time_is_over_stops_its_sweep_and_queues_itself_again(slurm: Slurm) -> None:
    job = begun(slurm, "bash", "-c", STOPS)
    job.send_signal(signal.SIGUSR1)
    out, _ = job.communicate(timeout=60)
    assert job.returncode == 0
    assert "goes back into the queue" in out
    assert slurm.lines()[-2:] == [f"scancel --signal=TERM {JOB}", f"scontrol requeue {JOB}"]


def test_a_sweep_that_is_done_just_in_time_is_not_queued_again(slurm: Slurm) -> None:
    job = begun(slurm, "bash", "-c", STOPS)
    (slurm.folder / f"nrf_ray-{JOB}.exit").write_text("0\n")
    job.send_signal(signal.SIGUSR1)
    job.communicate(timeout=60)
    assert job.returncode == 0
    assert not any(line.startswith("scontrol") for line in slurm.lines())


def test_a_preempted_job_stops_its_sweep_and_leaves_the_rest_to_slurm(slurm: Slurm) -> None:
    job = begun(slurm, "bash", "-c", STOPS)
    job.send_signal(signal.SIGTERM)
    _, err = job.communicate(timeout=60)
    assert (job.returncode, "the sweep was killed" in err) == (1, True)
    assert slurm.lines()[-1] == f"scancel --signal=TERM {JOB}"


@pytest.mark.parametrize(("words", "said"), [((), "give the sweep's command"), (("a", "--address", "b"), "--address")])
def test_a_job_that_cannot_be_meant_ends_in_one_line(slurm: Slurm, words: tuple[str, ...], said: str) -> None:
    code, out, err = slurm.run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert slurm.lines() == []


def may_isolate() -> bool:
    """Return whether this process may make networks and processes apart from others."""
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return tried.returncode == 0 and shutil.which("ip") is not None


needs_isolation = pytest.mark.skipif(not may_isolate(), reason="may not make network and process namespaces")


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Slurm]:
    """Yield a place where jobs start a real Ray, whose processes end with the job's step."""
    slurm = Slurm(tmp_path, {"srun": RANKS, "scancel": END_RANKS, "scontrol": SCONTROL})
    slurm.environment |= {"NODE": "env NODE=", "SLURM_CPUS_PER_TASK": "1"}
    yield slurm
    subprocess.run(["scancel", str(JOB)], env=slurm.environment, check=False)
    shutil.rmtree(f"/tmp/nrf{JOB}", ignore_errors=True)


SWEEP = ("python", str(ROOT / "sweeps" / "transfer_grid.py"), "--preset", "smoke", "--store")


def wait_for_a_stage(store: Path, job: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not list(store.glob("*/*/record.json")):
        assert job.poll() is None, "".join(job.communicate())
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_isolation
def test_a_job_that_was_queued_again_resumes_on_a_real_ray(real: Slurm) -> None:
    store = real.folder / "runs"
    job = real.begin(*SWEEP, str(store))
    wait_for_a_stage(store, job)
    job.send_signal(signal.SIGUSR1)
    out, err = job.communicate(timeout=120)
    assert (job.returncode, "goes back into the queue" in out) == (0, True), (out, err)
    kept = {path.parent.name for path in store.glob("*/*/record.json")}
    subprocess.run(["scancel", str(JOB)], env=real.environment, check=False)  # Slurm ends what a step leaves behind

    job = real.begin(*SWEEP, str(store))
    out, err = job.communicate(timeout=600)
    assert job.returncode == 0, (out, err)
    assert kept <= {path.parent.name for path in store.glob("*/*/record.json")}
    opened = Store.open(str(store), create=False)
    assert opened.blobs.exists("sweeps/transfer_grid/results.parquet")
    assert len(kept) >= 1
    assert f"{len(kept)} cached" in out
