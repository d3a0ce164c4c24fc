"""The store: artifacts by stage and key.

    <store>/<stage>/<key>/part-00000.parquet   data files first, each put if absent
    <store>/<stage>/<key>/record.json          the record last, put if absent: without it there is no artifact
    <store>/<stage>/<key>/failure.json         how the last run of the stage failed
    <store>/quarantine/...                     damaged artifacts, moved out of the way
    <store>/sweeps/<sweep>/...                 tables and reports, rebuilt from the records

Every read is verified against the record. What does not match is quarantined as a whole, so the stage counts as never
run and is built again.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from obstore.exceptions import BaseError

from nrf_ray.errors import CorruptArtifact, MissingArtifact, StoreError
from nrf_ray.graph.blobs import TEMPORARY, Blobs
from nrf_ray.graph.canonical import Key, digest
from nrf_ray.graph.record import FileEntry, Record
from nrf_ray.graph.stage import RESERVED_NAMES, SCHEMA, Stage

MARKER = "nrf-store.json"
RECORD = "record.json"
FAILURE = "failure.json"
LEASE = "lease.json"
NOT_DATA = (RECORD, FAILURE, LEASE)


class Place(NamedTuple):
    """Where an artifact lies: stage name and key."""

    stage: str
    key: Key

    def file(self, name: str) -> str:
        """Return the blob name of a file of the artifact."""
        return f"{self.stage}/{self.key}/{name}"


def place_of(stage: Stage) -> Place:
    """Return where the artifact of `stage` lies."""
    return Place(stage.kind.name, stage.key)


@dataclass(frozen=True)
class Artifact:
    """A committed artifact to read from: its record, and its files, verified."""

    store: "Store"
    record: Record

    def names(self) -> list[str]:
        """Return the names of its data files, sorted."""
        return [entry.name for entry in self.record.files]

    def read(self, name: str) -> bytes:
        """Return the bytes of a data file, or raise CorruptArtifact after moving the damaged artifact away."""
        return self.store.read(self.record, name)


class Store:
    """Artifacts at one local folder or object-store URI."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self.uri = blobs.uri

    @classmethod
    def open(cls, uri: str, *, create: bool) -> "Store":
        """Return the store at `uri`; with `create`, make one of an empty or missing folder.

        Raises StoreError where `uri` is a file, holds other things, cannot be written, or was made by a newer
        nrf_ray. Without `create` a missing store reads as empty and nothing is written.
        """
        store = cls(Blobs(uri, create=create))
        root = store.blobs.root
        try:
            marker = store.blobs.get(MARKER)
            if marker is None and (root is None or root.is_dir()):
                store._found(create)
            elif marker is not None:
                store._check_schema(marker)
        except (BaseError, PermissionError) as error:
            raise StoreError(f"the store {uri} cannot be used: {str(error).splitlines()[0]}") from error
        return store

    def _found(self, create: bool) -> None:
        if self.blobs.root is not None and any(
            not entry.name.startswith(TEMPORARY) for entry in self.blobs.root.iterdir()
        ):
            raise StoreError(
                f"the folder {self.uri} is not empty and is no nrf_ray store (it has no {MARKER}); "
                "choose an empty or a new folder with --store"
            )
        if create:
            self.blobs.put_new(MARKER, json.dumps({"schema": SCHEMA}).encode() + b"\n")

    def _check_schema(self, marker: bytes) -> None:
        try:
            schema = int(json.loads(marker)["schema"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise StoreError(f"{self.uri}/{MARKER} is not readable; restore it or choose another --store") from error
        if schema > SCHEMA:
            raise StoreError(
                f"the store {self.uri} has schema {schema}, made by a newer nrf_ray; this one knows up to {SCHEMA}: "
                "upgrade nrf_ray or choose another --store"
            )

    def has(self, stage: Stage) -> bool:
        """Return whether the artifact of `stage` is committed."""
        return self.blobs.exists(place_of(stage).file(RECORD))

    def peek(self, place: Place) -> Record | None:
        """Return the record at `place`, or None where nothing is committed; raise CorruptArtifact, change nothing."""
        data = self.blobs.get(place.file(RECORD))
        return None if data is None else Record.from_bytes(data, place.stage, place.key)

    def record(self, place: Place) -> Record | None:
        """Return the record at `place`, or None where nothing is committed; quarantine a damaged one."""
        try:
            return self.peek(place)
        except CorruptArtifact:
            self.quarantine(place)
            raise

    def artifact(self, stage: Stage) -> Artifact:
        """Return the committed artifact of `stage`, or raise MissingArtifact."""
        record = self.record(place_of(stage))
        if record is None:
            raise MissingArtifact(f"{stage.title} ({stage.kind.name}/{stage.key}) is not in the store {self.uri}")
        return Artifact(self, record)

    def read(self, record: Record, name: str) -> bytes:
        """Return the verified bytes of the file `name` of a committed artifact."""
        if name not in (entry.name for entry in record.files):
            raise MissingArtifact(f"{record.stage}/{record.key} has no file {name}, only what its record names")
        place = Place(record.stage, record.key)
        problem = self._problem(record, name)
        if isinstance(problem, bytes):
            return problem
        self.quarantine(place)
        raise CorruptArtifact(record.stage, record.key, problem)

    def _problem(self, record: Record, name: str) -> bytes | str:
        """Return the bytes of a file where they are as recorded, else what is wrong with them."""
        entry = next(entry for entry in record.files if entry.name == name)
        data = self.blobs.get(Place(record.stage, record.key).file(name))
        if data is None:
            return f"{name} is gone"
        if len(data) != entry.size:
            return f"{name} has {len(data)} bytes instead of {entry.size}"
        if digest(data) != entry.sha256:
            return f"{name} has the right size but other bytes"
        return data

    def write(self, stage: Stage, name: str, data: bytes) -> FileEntry:
        """Put a data file of an artifact that is being built; return its entry for the record.

        A file that is already there comes from an earlier, unfinished run. The same bytes are kept; other bytes are
        moved to the quarantine, since no record vouches for them. Where one does, another run has committed the
        artifact meanwhile: its files stay, and our commit will lose.
        """
        assert "/" not in name, "an artifact is a flat folder"
        name_in_store = place_of(stage).file(name)
        kept = not self.blobs.put_new(name_in_store, data)
        if kept and self.blobs.get(name_in_store) != data and not self.has(stage):
            self.blobs.move(name_in_store, self._quarantine_name(name_in_store))
            self.blobs.put_new(name_in_store, data)
        return FileEntry(name=name, size=len(data), sha256=digest(data))

    def unfinished_file(self, stage: Stage, name: str) -> bytes | None:
        """Return a data file that an earlier, unfinished run of `stage` left, or None."""
        return self.blobs.get(place_of(stage).file(name))

    def commit(self, record: Record) -> bool:
        """Make the artifact exist; return False where another run has committed it already, whose record stands."""
        place = Place(record.stage, record.key)
        won = self.blobs.put_new(place.file(RECORD), record.to_bytes())
        self.blobs.delete(place.file(FAILURE))
        return won

    def note_failure(self, stage: Stage, error: str, trace: str) -> str:
        """Keep how a run of `stage` failed; return where."""
        name = place_of(stage).file(FAILURE)
        self.blobs.replace(name, json.dumps({"error": error, "traceback": trace}, indent=1).encode() + b"\n")
        return self.path_of(name)

    def failure(self, stage: Stage) -> str | None:
        """Return the error of the last run of `stage` if it failed."""
        note = self.blobs.get_json(place_of(stage).file(FAILURE))
        return None if note is None else str(note.get("error"))

    def quarantine(self, place: Place) -> None:
        """Move everything of an artifact out of the way, so that it counts as never built.

        The record goes last: a record without its files is noticed by whoever reads them, but damaged files without
        their record would look like the leftovers of an unfinished run.
        """
        folder = self._quarantine_name(f"{place.stage}/{place.key}")
        for blob in self.blobs.under(f"{place.stage}/{place.key}"):
            name = blob.name.rpartition("/")[2]
            if name not in NOT_DATA:
                self.blobs.move(blob.name, f"{folder}/{name}")
        self.blobs.move(place.file(RECORD), f"{folder}/{RECORD}")

    def _quarantine_name(self, name: str) -> str:
        return f"quarantine/{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}/{name}"

    def places(self) -> Iterator[Place]:
        """Yield the place of every artifact that has a folder, committed or not; other folders are not ours."""
        for stage in self.blobs.folders():
            for key in self.blobs.folders(stage) if stage not in RESERVED_NAMES else ():
                if re.fullmatch("[0-9a-f]{64}", key):
                    yield Place(stage, Key(key))

    def problems(self, record: Record) -> list[str]:
        """Return what is wrong with the files of a committed artifact; changes nothing."""
        found = (self._problem(record, entry.name) for entry in record.files)
        return [problem for problem in found if isinstance(problem, str)]

    def path_of(self, name: str) -> str:
        """Return where a blob lies, for people: a path of a local store, else a URI."""
        return str(self.blobs.root / name) if self.blobs.root else f"{self.uri.rstrip('/')}/{name}"
