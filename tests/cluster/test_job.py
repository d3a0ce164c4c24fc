"""`ray job submit`, as a person uses it: a head node of its own on this machine, token authentication on."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
RAY = (sys.executable, "-m", "ray.scripts.scripts")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Head:
    """A head node on the loopback interface, and the commands that a person types to use it."""

    def __init__(self) -> None:
        # Also of the agent, which takes jobs: by itself it takes one port, and a second Ray on the machine gets none.
        self.gcs, self.dashboard = free_port(), free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment = {**kept, **token, "RAY_worker_niceness": "0", "PYTHONWARNINGS": ""}
        self.process = subprocess.Popen(
            [
                *RAY, "start", "--head", "--node-ip-address=127.0.0.1", f"--port={self.gcs}", "--num-cpus=2",
                f"--dashboard-port={self.dashboard}", f"--dashboard-agent-listen-port={free_port()}",
                "--disable-usage-stats", "--block",
            ],
            env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def wait(self) -> None:
        """Return when the dashboard answers."""
        deadline = time.monotonic() + 240
        while not self.listens() or self.call("job", "list").returncode:
            assert self.process.poll() is None, "the head node ended"
            assert time.monotonic() < deadline, "the head node does not answer"
            time.sleep(0.2)

    def listens(self) -> bool:
        """Return whether the dashboard takes connections: asking it by a command takes seconds of a CPU."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.dashboard)) == 0

    def call(self, *words: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """Run `ray job ...` against this head."""
        return subprocess.run(
            [*RAY, *words, "--address", f"http://127.0.0.1:{self.dashboard}"],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    def submit(self, *flags: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Submit the main job in its smallest form; the head's agent, which takes it, may start after the dashboard."""
        submit = ("job", "submit", "--address", f"http://127.0.0.1:{self.dashboard}", "--working-dir", ".")
        deadline = time.monotonic() + 240
        while True:
            done = subprocess.run(
                [*RAY, *submit, *options, "--", sys.executable, "sweeps/transfer_grid.py", "--preset", "smoke", *flags],
                cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=400,
            )  # fmt: skip
            if "No available agent to submit job" not in done.stderr or time.monotonic() > deadline:
                return done
            time.sleep(1)

    def stop(self) -> None:
        """End this head, and nothing else."""
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    started = Head()
    try:
        started.wait()
        yield started
    finally:
        started.stop()


def records(store: Path) -> int:
    return len(list(store.glob("*/*/record.json")))


def test_a_job_is_stopped_cleanly_and_the_same_job_again_finishes_it(head: Head, tmp_path: Path) -> None:
    store = tmp_path / "store"
    started = head.submit(
        "--store", f"file://{store}", options=("--no-wait", "--submission-id", f"stopped-{os.getpid()}")
    )
    assert started.returncode == 0, started.stdout + started.stderr
    deadline = time.monotonic() + 400
    while records(store) < 2:
        assert time.monotonic() < deadline, head.call("job", "logs", f"stopped-{os.getpid()}").stdout
        time.sleep(0.1)
    stopped = head.call("job", "stop", f"stopped-{os.getpid()}")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    logs = head.call("job", "logs", f"stopped-{os.getpid()}").stdout
    assert "run the same command again" in logs
    assert "Traceback" not in logs
    assert not list(store.glob("*/*/lease.json")), "nothing waits for a run that is over"
    assert not list((store / "drivers").glob("*"))
    kept = {path: path.stat().st_mtime_ns for path in store.glob("*/*/record.json")}

    again = head.submit("--store", f"file://{store}")

    assert again.returncode == 0, again.stdout + again.stderr
    assert "succeeded" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "a finished stage was run again"
    results = pq.read_table(store / "sweeps" / "transfer_grid" / "results.parquet")
    assert len(results) > 0


def test_a_relative_store_is_refused_for_its_reason(head: Head) -> None:
    refused = head.submit("--store", "runs")
    assert refused.returncode != 0
    assert "deleted when the job ends" in refused.stdout
    assert "Traceback" not in refused.stdout.partition("Job ")[0]


def test_without_the_token_nobody_submits(head: Head) -> None:
    head_without = {name: value for name, value in head.environment.items() if not name.startswith("RAY_")}
    refused = subprocess.run(
        [*RAY, "job", "list", "--address", f"http://127.0.0.1:{head.dashboard}"],
        env={**head_without, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "token" in refused.stderr


def test_the_dashboards_address_is_explained(head: Head, tmp_path: Path) -> None:
    environment = {**head.environment, "RAY_ADDRESS": f"http://127.0.0.1:{head.dashboard}"}
    done = subprocess.run(
        [sys.executable, "sweeps/transfer_grid.py", "--preset", "smoke", "--store", str(tmp_path / "store")],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "ray job submit" in done.stderr
    assert done.stderr.count("\n") == 1
