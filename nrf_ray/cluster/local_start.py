"""Requirements of our own Ray on this machine, checked before Ray is imported or anything is written.

Ray keeps its sockets, logs and sessions in a folder `ray` of the temporary folder, and its token in the home folder.
If these folders do not suit Ray, `ray.init` ends in a traceback, in some cases after half a minute.
"""

import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nrf_ray.errors import ClusterError, is_text, printable

SOCKET = "session_0000-00-00_00-00-00_000000_{pid}/sockets/plasma_store"
"""Longest path of a socket below Ray's folder, as Ray names it."""
MOST_BYTES = 107
"""Maximal length of the path of a socket on Linux, in bytes."""
REMEDY = "export RAY_TMPDIR=/tmp/{user} (or another short path of a folder that you may write to)"


@dataclass(frozen=True, kw_only=True)
class Hindrance:
    """Reason why our own Ray would not start."""

    message: str
    """Problem, with its values."""
    remedy: str
    """Action that helps."""


def check_can_start() -> None:
    """Raise ClusterError if Ray would not start on this machine."""
    for found in hindrances():
        raise ClusterError(f"Ray cannot start on this machine: {found.message}; {found.remedy}")


def hindrances() -> list[Hindrance]:
    """Return why Ray would not start on this machine; empty if there is no known hindrance."""
    return [found for found in (_of_folder(), _of_home()) if found]


def temporary_folder() -> str:
    """Return the folder in which Ray makes its folder `ray`, by the variables that Ray reads; it need not exist."""
    return os.environ.get("RAY_TMPDIR", os.environ.get("TMPDIR", "/tmp"))


def _of_folder() -> Hindrance | None:
    temporary = temporary_folder()
    remedy = REMEDY.format(user=f"ray-{os.getuid()}")
    if not is_text(temporary) or not os.path.isabs(temporary):
        return Hindrance(
            message=f"its temporary folder is {printable(temporary)!r}, which is not an absolute path", remedy=remedy
        )
    folder = Path(temporary) / "ray"
    size = len(os.fsencode(folder / SOCKET.format(pid=os.getpid())))
    if size > MOST_BYTES:
        message = f"its sockets below {folder} would have paths of {size} bytes, more than the maximum of {MOST_BYTES}"
        return Hindrance(message=message, remedy=remedy)
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir():
        return Hindrance(message=f"its folder would be in {place}, which is a file", remedy=remedy)
    if not may_write_to(place):
        owner = place.stat().st_uid
        whose = f" (it belongs to the user {owner})" if owner != os.getuid() else ""
        return Hindrance(message=f"its files would be in {place}{whose}, which you may not write to", remedy=remedy)
    return None


def may_write_to(folder: Path) -> bool:
    """Return whether a folder can be made in `folder`, by making one: os.access says so to root even of /proc."""
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".nrf-ray-", dir=folder))
    except OSError:
        return False
    return True


def token_file() -> Path | None:
    """Return the path of this user's token file, existing or not; None if Ray uses none, or there is no home folder."""
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    home = os.path.expanduser("~")  # HOME, or else the user's entry in passwd
    if named or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token" or not os.path.isabs(home):
        return None
    return Path(home, ".ray", "auth_token")


def _of_home() -> Hindrance | None:
    home = os.path.expanduser("~")
    if not os.path.isabs(home) or os.environ.get("HOME") == "":
        message = "this user has no known home folder: HOME is not set" + (
            ", and passwd has no entry" if home == "~" else " to an absolute path"
        )
        return Hindrance(message=message, remedy="export HOME=/a/folder/that/you/may/write/to")
    file = token_file()
    if file is None:
        return None
    place = next(path for path in (file, *file.parents) if path.exists())
    if place == file and file.is_file() and os.access(file, os.R_OK):
        return None
    if place != file and place.is_dir() and may_write_to(place):
        return None
    return Hindrance(
        message=f"its token file would be {file}; you may not {'read it' if place == file else f'write to {place}'}",
        remedy="set HOME to a folder that you may write to, or give a token in RAY_AUTH_TOKEN",
    )


def make_token() -> None:
    """Make the token file that Ray would make, readable by this user only: Ray leaves its permissions to the umask."""
    file = token_file()
    if file is None:
        return
    file.parent.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as opened:
        opened.write(secrets.token_hex(32))
