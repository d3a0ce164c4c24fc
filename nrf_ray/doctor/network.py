"""Checks of who can reach this machine's Ray, and whether a token keeps strangers out.

Anyone who can talk to Ray can run code as you (CVE-2023-48022), unless token authentication is on. Ray binds most of
its ports to every network interface, so what matters is whether the token is on. A token never protects Ray's metrics.
"""

import ipaddress
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import psutil

from nrf_ray.doctor.findings import Finding, fail, ok, warn

ROLES = (
    ("gcs_server", "head"),
    ("raylet/raylet", "raylet"),
    ("client.server", "client server"),
    ("dashboard/dashboard.py", "dashboard"),
    ("_private/monitor.py", "metrics"),
    ("ray::DashboardAgent", "agent"),
    ("ray::", "worker"),
)
"""Part of a Ray process's command line, and the role of the process; the first match counts."""

START = "RAY_AUTH_MODE=token ray start --head"

METRICS_PORTS = (44217, 44227)
"""Ports at which the autoscaler and the dashboard publish metrics; each node's agent uses a port that varies."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Port at which a process of Ray listens."""

    role: str
    """Role of the process, as in `ROLES`."""
    host: str
    """Address that the port is bound to."""
    port: int
    """Port number."""
    token: bool
    """Whether the process was started with token authentication."""

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach the port if no firewall prevents it."""
        address = ipaddress.ip_address(self.host)
        return not (getattr(address, "ipv4_mapped", None) or address).is_loopback


@dataclass(frozen=True, kw_only=True)
class Authentication:
    """Authentication settings that this shell would use with a cluster."""

    mode: str | None
    """RAY_AUTH_MODE; None if it is not set."""
    source: str | None
    """Environment variable or file with the token; None if there is no token. The token itself is never read."""
    readable: bool
    """Whether other users of this machine may read the file."""


def look_at_listeners() -> list[Listener]:
    """Return the ports of this machine's processes of Ray; only root sees other users' processes."""
    found = []
    processes: dict[int, tuple[str, bool] | None] = {}
    for connection in psutil.net_connections("inet"):
        if connection.status != psutil.CONN_LISTEN or connection.pid is None or not connection.laddr:
            continue
        if connection.pid not in processes:
            processes[connection.pid] = _process(connection.pid)
        host, port = connection.laddr
        if (process := processes[connection.pid]) is not None:
            role, token = process
            role = "metrics" if port in METRICS_PORTS else role
            found.append(Listener(role=role, host=host, port=port, token=token))
    return sorted(found, key=lambda listener: (listener.role, listener.port))


def _process(pid: int) -> tuple[str, bool] | None:
    """Return the role of a process and whether it was started with token authentication, or None if it is not Ray's."""
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline())
        role = next((role for part, role in ROLES if part in command), None)
        # Ray overwrites the environment of its Python processes with their titles; that of their raylet is intact.
        owner = process.parent() if command.startswith("ray::") else process
        return None if role is None or owner is None else (role, owner.environ().get("RAY_AUTH_MODE") == "token")
    except psutil.Error:
        return None


def judge_listeners(seen: list[Listener]) -> list[Finding]:
    """Assess who can reach this machine's Ray, and with which rights."""
    if not seen:
        return [ok("exposure", "no Ray runs on this machine, so no port of Ray is open")]
    found = []
    exposed = [listener for listener in seen if listener.exposed]
    guarded = [listener for listener in exposed if listener.token and listener.role != "metrics"]
    if strangers := [listener for listener in exposed if not listener.token and listener.role != "metrics"]:
        found.append(
            fail(
                "exposure",
                "without token authentication, anyone who reaches this machine can run code as you: "
                f"{_named(strangers)}",
                f"stop that Ray and start it with `{START}`",
            )
        )
    if guarded:
        found.append(ok("exposure", f"open to the network, guarded by the token: {_named(guarded)}"))
    if any(listener.role == "dashboard" for listener in exposed):
        found.append(
            warn(
                "exposure",
                "the dashboard is open to the network, where the token travels in clear text",
                "omit --dashboard-host and use `ssh -L 8265:127.0.0.1:8265 HEAD`",
            )
        )
    if metrics := [listener for listener in exposed if listener.role in ("metrics", "agent")]:
        found.append(
            warn(
                "exposure",
                f"Ray's metrics are open to the network without a token: {_named(metrics)}",
                "let your firewall open these ports to your Prometheus only",
            )
        )
    if not exposed:
        found.append(ok("exposure", f"Ray listens on this machine's own addresses only: {_named(seen)}"))
    return found


def _named(listeners: list[Listener]) -> str:
    """Return the roles with their ports, as `raylet at 4000, 4001`; workers, which are many, are only counted."""
    ports: dict[str, list[str]] = {}
    for listener in listeners:
        ports.setdefault(listener.role, []).append(str(listener.port))
    return "; ".join(
        f"{len(at)} workers" if role == "worker" else f"{role} at {', '.join(at)}" for role, at in ports.items()
    )


def look_at_authentication() -> Authentication:
    """Return the authentication mode and where the token is, in Ray's order of search; never the token."""
    file = Path(os.path.expanduser(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"))
    source, readable = None, False
    if os.environ.get("RAY_AUTH_TOKEN"):
        source = "RAY_AUTH_TOKEN"
    elif file.is_file():
        source = str(file)
        readable = bool(file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    return Authentication(mode=os.environ.get("RAY_AUTH_MODE"), source=source, readable=readable)


def judge_authentication(seen: Authentication) -> list[Finding]:
    """Assess the authentication settings of this shell."""
    there = f"a token in {seen.source}" if seen.source else "no token yet"
    found = []
    match seen.mode:
        case "token" if seen.source is None:
            found.append(
                warn("authentication", "RAY_AUTH_MODE=token, but there is no token", "ray get-auth-token --generate")
            )
        case "token":
            found.append(ok("authentication", f"RAY_AUTH_MODE=token, {there}"))
        case None:
            message = f"a sweep on this machine turns token authentication on automatically ({there})"
            found.append(ok("authentication", f"{message}; for `ray start` and clusters set RAY_AUTH_MODE=token"))
        case mode:
            found.append(
                fail(
                    "authentication",
                    f"RAY_AUTH_MODE={mode}: anyone who reaches a Ray that is started here can run code as you",
                    "export RAY_AUTH_MODE=token",
                )
            )
    if seen.readable:
        found.append(warn("authentication", f"other users may read {seen.source}", f"chmod 600 {seen.source}"))
    return found
