"""Prepared sets in a store, for machines that have neither their files nor a folder of that name.

    <store>/datasets/<digest>/train_images.npy.00000   parts of an array, in order
    <store>/datasets/<digest>/set.json                 what a plan knows of the set, and its manifest; written last

`pull` brings the arrays to where this machine prepares its own, and what a plan knows to `<data home>/pushed`. A set is
found there by its content, so its name, its digest and the keys of stages are those of the set made of files.
"""

import hashlib
import json
import uuid
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from nrf_ray.data.located import Located, locate
from nrf_ray.data.naming import Files, Name, parse_name
from nrf_ray.data.outline import Choices
from nrf_ray.data.places import data_home
from nrf_ray.data.portions import Portion
from nrf_ray.data.prepared import is_prepared, place_of, prepared
from nrf_ray.data.shared_rows import known_shared, note_shared
from nrf_ray.data.whole import Facts, read_manifest, whole
from nrf_ray.errors import ConfigError

PREFIX = "pushed:"
"""Prefix of the name of a set that was pulled, before the start of its digest."""
FOLDER, ABOUT = "datasets", "set.json"
PART = 2**26
"""Bytes of each part of an array but the last."""


class Blobs(Protocol):
    """Bytes under names, as a store keeps them."""

    def get(self, name: str) -> bytes | None:
        """Return the bytes under `name`, or None if there are none."""

    def put_new(self, name: str, data: bytes) -> bool:
        """Write bytes unless there are some of that name."""


def push(located: Located, blobs: Blobs) -> int:
    """Prepare `located` if it is not, and write it into a store; return the bytes of its arrays.

    Raises ConfigError if a plug-in reads its files: the content digest does not cover what it makes of them.
    """
    if any(portion.files.plugin for portion in (located.train, located.test)):
        raise ConfigError(
            f"dataset {located.name.title} is read by a plug-in, and only sets of this package's formats can be "
            "pushed; store its images as parquet"
        )
    prepared(located)
    folder, names = place_of(located)
    manifest = read_manifest(folder, names)
    assert manifest is not None, "it is prepared"
    for name in manifest["files"]:
        with (folder / f"{name}.npy").open("rb") as file:
            for part, data in enumerate(iter(partial(file.read, PART), b"")):
                blobs.put_new(_part(located.content, name, part), data)
    told = replace(located, name=replace(located.name, told=located.name.title))
    about = {"located": asdict(told), "manifest": manifest, "shared": known_shared(located.digest)}
    blobs.put_new(_about(located.content), json.dumps(about, default=str).encode())
    return sum(int(file["size"]) for file in manifest["files"].values())


def pull(digest: str, blobs: Blobs) -> Located | None:
    """Bring the set of this content digest from a store to the data home, and return it; None if the store has none.

    Raises ConfigError if what the store has is damaged.
    """
    data = blobs.get(_about(digest))
    if data is None:
        return None
    try:
        about = json.loads(data)
        located, manifest = _located(about["located"]), about["manifest"]
        is_ours = located.digest == located.content == digest and {*place_of(located)[1]} == {*manifest["files"]}
        is_ours &= type(about["shared"]) is int
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(digest, ABOUT) from error
    if not is_ours:
        raise _damaged(digest, ABOUT)
    folder, names = place_of(located)
    note_shared(digest, about["shared"])
    whole(folder, names, partial(_download, digest, manifest, blobs), what=f"dataset {located.name.title}")
    passport = _passport(digest)
    passport.parent.mkdir(parents=True, exist_ok=True)
    temporary = passport.with_name(f".tmp-{uuid.uuid4().hex}")
    temporary.write_text(json.dumps(about["located"]))
    temporary.replace(passport)
    return located


def pulled(digest: str) -> Located | None:
    """Return the set of this content digest that `pull` has brought to this machine, or None if there is none."""
    try:
        located = _located(json.loads(_passport(digest).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return located if is_prepared(located) else None


def pulled_as(name: str) -> Located:
    """Return the set called `pushed:DIGEST`, or raise ConfigError if not exactly one was pulled to this machine."""
    start = name.removeprefix(PREFIX)
    known = sorted(file.stem for file in (data_home() / "pushed").glob("*.json"))
    found = [digest for digest in known if start and digest.startswith(start)]
    located = pulled(found[0]) if len(found) == 1 else None
    if located is None:
        raise ConfigError(
            f"{len(found)} sets that were pulled to this machine begin with {start!r}; `nrf data pull DIGEST --store "
            "STORE` brings a set that `nrf data push` has put into a store"
        )
    return located


def located_of(location: str, digest: str) -> Located:
    """Return the set at `location`, or the one of this content digest that was pulled if its files are not here."""
    try:
        return locate(location)
    except ConfigError as error:
        found = pulled(digest)
        if found is None and not are_here(location):
            raise ConfigError(
                f"{error}; or put the set into the store of the run, for machines without its files: `nrf data push "
                "SET --store STORE`"
            ) from error
        if found is None:
            raise
        return found


def are_here(location: str) -> bool:
    """Return whether there are files of the set at `location` on this machine; they may be other files now."""
    try:
        name = parse_name(location)
        return all(not files.subject or files.format.files(files.path) for files in (name.train, name.test) if files)
    except (ConfigError, OSError):
        return False


def _part(digest: str, name: str, part: int) -> str:
    return f"{FOLDER}/{digest}/{name}.npy.{part:05d}"


def _about(digest: str) -> str:
    return f"{FOLDER}/{digest}/{ABOUT}"


def _passport(digest: str) -> Path:
    return data_home() / "pushed" / f"{digest}.json"


def _damaged(digest: str, name: str) -> ConfigError:
    return ConfigError(
        f"the set {digest[:12]} in the store is damaged at {name}; delete the folder {FOLDER}/{digest} of the store "
        "and push the set again"
    )


def _download(digest: str, manifest: Facts, blobs: Blobs, folder: Path) -> Facts:
    """Write the arrays of a set into `folder`, and return its manifest."""
    for name, entry in manifest["files"].items():
        sha256, size, part = hashlib.sha256(), 0, 0
        with (folder / f"{name}.npy").open("xb") as file:
            while size < entry["size"]:
                data = blobs.get(_part(digest, name, part))
                if not data:
                    raise _damaged(digest, f"{name}.npy.{part:05d}")
                file.write(data)
                sha256.update(data)
                size, part = size + len(data), part + 1
        if sha256.hexdigest() != entry["sha256"]:
            raise _damaged(digest, f"{name}.npy")
    return manifest


def _located(body: dict[str, Any]) -> Located:
    """Return the dataset whose fields are `body`, read from JSON."""
    name = body["name"]
    files = {side: _files(name[side]) if name[side] else None for side in ("train", "test")}
    assert files["train"] is not None, "every set has training files"
    tuples = {field: tuple(body[field]) for field in ("shape", "classes", "sizes", "files")}
    portions = {
        side: Portion(**{**body[side], "files": _files(body[side]["files"]), "relabel": tuple(body[side]["relabel"])})
        for side in ("train", "test")
    }
    parsed = Name(
        **{**name, "train": files["train"], "test": files["test"], "keep": (name["keep"][0], name["keep"][1])}
    )
    return Located(**{**body, **tuples, **portions, "name": parsed})


def _files(body: dict[str, Any]) -> Files:
    return Files(**{**body, "path": Path(body["path"]), "choices": Choices(**body["choices"])})
