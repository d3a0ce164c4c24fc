"""Checks of store and data: can artifacts be stored, does the first of two writers win, which datasets are here?"""

import threading
import uuid
from dataclasses import dataclass

from obstore.exceptions import BaseError

from nrf_ray.cluster.local_start import may_write_to
from nrf_ray.data.extra import is_here
from nrf_ray.data.formats import FORMATS
from nrf_ray.data.places import VARIABLE, data_home
from nrf_ray.doctor.findings import Finding, fail, ok, warn
from nrf_ray.errors import ConfigError, NrfError
from nrf_ray.graph.folder import check_medium
from nrf_ray.graph.store import Store

STORE_SECONDS = 10.0
"""Time after which a store that has not answered counts as unreachable."""


@dataclass(frozen=True, kw_only=True)
class StoreSeen:
    """Observed behaviour of a store."""

    where: str
    """Folder or URI of the store."""
    exists: bool
    """Whether the store exists already."""
    problem: str | None
    """Why the store cannot be used; None if it can."""
    first_wins: bool
    """Whether a second writer of the same name was refused; every guarantee about artifacts depends on this."""


@dataclass(frozen=True, kw_only=True)
class DataSeen:
    """Datasets whose files are in their default folders."""

    here: tuple[str, ...]
    """Names of the datasets that are here."""
    remedies: tuple[str, ...]
    """Names of the missing datasets, each with how to get it."""
    home: str = ""
    """Folder for downloads and prepared copies; empty if it cannot be named."""
    problem: str = ""
    """Why there is no such folder, or why it is not writable; empty if it is usable."""


def look_at_store(uri: str) -> StoreSeen:
    """Return how the store at `uri` behaves; leave nothing behind, and create no store.

    A folder and a bucket are both written to: only this shows whether a file system has hard links, and what
    credentials allow.
    """
    found: list[StoreSeen] = []
    # A client of an object store retries for minutes, which is too long for `nrf doctor`.
    thread = threading.Thread(target=lambda: found.append(_try(uri)), daemon=True)
    thread.start()
    thread.join(STORE_SECONDS)
    problem = f"it did not answer within {STORE_SECONDS:.0f} s"
    return found[0] if found else StoreSeen(where=uri, exists=False, problem=problem, first_wins=True)


def _try(uri: str) -> StoreSeen:
    exists, first_wins, problem = False, True, None
    try:
        store = Store.open(uri, create=False)
        root = store.blobs.root
        if root is not None:
            exists = root.is_dir()
            place = next(folder for folder in (root, *root.parents) if folder.exists())
            if not may_write_to(place):
                problem = f"{place} is not writable"
            check_medium(root)
        else:
            exists = bool(store.blobs.folders())
            name = f"doctor/{uuid.uuid4().hex}"
            try:
                store.blobs.put_new(name, b"first")
                first_wins = not store.blobs.put_new(name, b"second")
            finally:
                store.blobs.delete(name)
    except (NrfError, BaseError, OSError) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
    return StoreSeen(where=uri, exists=exists, problem=problem, first_wins=first_wins)


def judge_store(seen: StoreSeen) -> Finding:
    """Assess whether a sweep can store its artifacts there."""
    if seen.problem:
        return fail("store", f"{seen.where}: {seen.problem}", "choose another --store, or correct its access rights")
    if not seen.first_wins:
        return fail(
            "store",
            f"{seen.where} lets a second writer overwrite the first, so two runs could damage each other's artifacts",
            "use a store with conditional writes (S3, GCS, Azure and MinIO have them), or a shared folder",
        )
    return ok("store", f"{seen.where} is writable{'' if seen.exists else '; the first sweep creates it'}")


def look_at_data() -> DataSeen:
    """Return which of the named datasets are in their default folders."""
    try:
        home = data_home()
    except ConfigError as error:
        return DataSeen(here=("digits",), remedies=(), problem=str(error))
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    problem = "" if may_write_to(place) else f"you may not write to {place}"
    here, remedies = ["digits"], []
    for name, form in FORMATS.items():
        if not (form.known and form.listed):
            continue
        if is_here(name):
            here.append(name)
        else:
            remedies.append(f"{name}: {form.remedy}")
    return DataSeen(here=tuple(here), remedies=tuple(remedies), home=str(home), problem=problem)


def judge_data(seen: DataSeen) -> Finding:
    """Report which datasets are here; missing datasets are not a fault."""
    remedy = f"export {VARIABLE}=/a/folder/that/you/may/write/to"
    if not seen.home:
        return fail("data", seen.problem, remedy)
    if seen.problem:
        return warn("data", f"copies of data are stored in {seen.home}, and {seen.problem}", remedy)
    missing = f"; not here, if you want them: {'; '.join(seen.remedies)}" if seen.remedies else ""
    return ok("data", f"{', '.join(seen.here)} ($NRF_DATA is {seen.home}){missing}")
