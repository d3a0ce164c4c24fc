"""Check whether our own Ray starts on this machine: first the known hindrances, then a start."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nrf_ray
from nrf_ray.cluster.local_start import hindrances
from nrf_ray.doctor.findings import Finding, fail, ok, warn

START_SECONDS = 120.0
"""Time after which a start of Ray counts as failed; on an idle machine it takes 5 s."""
CODE = """
import sys
import ray
from nrf_ray.cluster.session import connect
from nrf_ray.errors import NrfError
try:
    with connect(None):
        print(ray._private.worker.global_worker.node.get_session_dir_path())
except NrfError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True, kw_only=True)
class StartSeen:
    """Outcome of a start of Ray."""

    known: tuple[tuple[str, str], ...] = ()
    """Hindrances that keep Ray from starting, each with its remedy; if there are any, the start was not tried."""
    seconds: float | None = None
    """Duration of the start and the shutdown; None if the start was not tried, or failed."""
    problem: str | None = None
    """Error of the start; None if it did not fail."""


def look_at_start(*, tried: bool) -> StartSeen:
    """Return whether Ray starts here; if `tried` and no hindrance is known, start one and remove its files.

    That Ray gets its own token, so no token file is made for this user.
    """
    known = tuple((found.message, found.remedy) for found in hindrances())
    if known or not tried:
        return StartSeen(known=known)
    began = time.monotonic()
    places = [str(Path(nrf_ray.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment.pop("RAY_ADDRESS", None)
    try:
        done = subprocess.run(
            [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=START_SECONDS
        )
    except subprocess.TimeoutExpired:
        return StartSeen(problem=f"it had not started after {START_SECONDS:.0f} s")
    session = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode or not session.startswith("/"):
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return StartSeen(problem=said[-1])
    shutil.rmtree(session, ignore_errors=True)
    return StartSeen(seconds=time.monotonic() - began)


def judge_start(seen: StartSeen) -> list[Finding]:
    """Assess whether a sweep without --address can run here."""
    if seen.known:
        return [fail("ray", message, remedy) for message, remedy in seen.known]
    if seen.problem:
        return [
            fail("ray", f"Ray does not start here: {seen.problem}", "see the logs in the folder ray of $RAY_TMPDIR")
        ]
    if seen.seconds is None:
        return [ok("ray", "no known hindrance keeps Ray from starting here; a start was not tried (--no-start)")]
    if seen.seconds > START_SECONDS / 2:
        slow = f"it started and ended in {seen.seconds:.0f} s"
        return [warn("ray", slow, "wait until other work on this machine ends, or put RAY_TMPDIR on a faster disk")]
    return [ok("ray", f"a Ray started and ended here in {seen.seconds:.0f} s")]
