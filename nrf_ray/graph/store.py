"""The store: artifacts by stage and key.

    <store>/<stage>/<key>/part-00000.parquet   data files first, each written if absent and never changed
    <store>/<stage>/<key>/record.json          the record last, written if absent: without it there is no artifact
    <store>/<stage>/<key>/failure.json         how the last run of the stage failed
    <store>/datasets/<digest>/...              prepared datasets that were pushed (`data.pushed`)
    <store>/quarantine/...                     records of damaged artifacts, moved out of the way
    <store>/sweeps/<sweep>/...                 tables and reports, rebuilt from the records

Every read is verified against the record. If something does not match, the record is quarantined, so the stage counts
as never run and is built again.
"""

import itertools
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from nrf_ray.errors import CorruptArtifact, MissingArtifact, StoreError, StoreFailed
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.canonical import Key, digest
from nrf_ray.graph.record import FileEntry, Record, blob_name, is_file_name
from nrf_ray.graph.stage import RESERVED_NAMES, SCHEMA, Stage

S = TypeVar("S")
T = TypeVar("T")

MARKER = "nrf-store.json"
RECORD = "record.json"
FAILURE = "failure.json"
LEASE = "lease.json"


class Place(NamedTuple):
    """Address of an artifact in the store: stage name and key."""

    stage: str
    key: Key

    def file(self, name: str) -> str:
        """Return the blob name of a file of the artifact."""
        return f"{self.stage}/{self.key}/{name}"


Contents = Mapping[Place, Set[str]]
"""Names of the notes (record, failure, lease) at each place that has any."""

READERS = 32
"""Number of simultaneous requests to an object store."""


def place_of(stage: Stage) -> Place:
    """Return the place of the artifact of `stage`."""
    return Place(stage.kind.name, stage.key)


class Leftover(NamedTuple):
    """A data file of an artifact that has no record yet."""

    name: str
    copy: int
    data: bytes

    def entry(self) -> FileEntry:
        """Return the file's entry for the record of a run that takes it over."""
        return FileEntry(name=self.name, size=len(self.data), sha256=digest(self.data), copy=self.copy)


@dataclass(frozen=True)
class Artifact:
    """A committed artifact to read from: its record, and its files, which are verified when read."""

    store: "Store"
    record: Record

    def names(self) -> list[str]:
        """Return the names of its data files, sorted."""
        return [entry.name for entry in self.record.files]

    def read(self, name: str) -> bytes:
        """Return the bytes of a data file; if they are damaged, quarantine the record and raise CorruptArtifact."""
        return self.store.read(self.record, name)


class Store:
    """Artifacts in one local folder or at one object-store URI."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self.uri = blobs.uri

    @classmethod
    def open(cls, uri: str, *, create: bool) -> "Store":
        """Return the store at `uri`; with `create`, make a store in an empty or missing folder.

        Raises StoreError if `uri` is a file, contains other things, cannot be reached or written, or was made by a
        newer nrf_ray. Without `create`, a missing store reads as empty and nothing is written.
        """
        store = cls(Blobs(uri, create=create))
        marker = store.blobs.get(MARKER)
        if marker is not None:
            store._check_schema(marker)
        elif store.blobs.any():
            raise StoreError(
                f"{uri} is not empty and is not an nrf_ray store (it has no {MARKER}); choose an empty or new folder "
                "or URI with --store"
            )
        elif create:
            store._make()
        return store

    def _make(self) -> None:
        """Write the marker twice: the second write must be refused, because everything relies on that."""
        text = json.dumps({"schema": SCHEMA}).encode() + b"\n"
        self.blobs.put_new(MARKER, text)
        if self.blobs.put_new(MARKER, text):
            raise StoreError(
                f"{self.uri} ignores conditional writes (If-None-Match) and overwrote an existing object, so two runs "
                "could mix their results; use another storage service for --store, or a newer version of this one"
            )

    @property
    def is_there(self) -> bool:
        """Whether the store has been made."""
        return self.blobs.exists(MARKER)

    def _check_schema(self, marker: bytes) -> None:
        try:
            schema = int(json.loads(marker)["schema"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise StoreError(f"{self.uri}/{MARKER} is not readable; restore it or choose another --store") from error
        if schema > SCHEMA:
            raise StoreError(
                f"the store {self.uri} has schema {schema}, made by a newer nrf_ray; this one supports up to {SCHEMA}: "
                "upgrade nrf_ray or choose another --store"
            )

    def has(self, stage: Stage) -> bool:
        """Return whether the artifact of `stage` is committed."""
        return self.blobs.exists(place_of(stage).file(RECORD))

    def peek(self, place: Place) -> Record | None:
        """Return the record at `place`, None if there is none; raise CorruptArtifact if damaged. Change nothing."""
        data = self.blobs.get(place.file(RECORD))
        return None if data is None else Record.from_bytes(data, place.stage, place.key)

    def record(self, place: Place) -> Record | None:
        """Return the record at `place`, None if there is none; quarantine a damaged one and raise CorruptArtifact."""
        data = self.blobs.get(place.file(RECORD))
        try:
            return None if data is None else Record.from_bytes(data, place.stage, place.key)
        except CorruptArtifact:
            self._set_aside(place, lambda moved: moved == data)
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
            raise MissingArtifact(f"{record.stage}/{record.key} has no file {name} in its record")
        problem = self._problem(record, name)
        if isinstance(problem, bytes):
            return problem
        self.quarantine(record)
        raise CorruptArtifact(record.stage, record.key, problem)

    def _problem(self, record: Record, name: str) -> bytes | str:
        """Return the bytes of a file if they are as recorded, else what is wrong with them."""
        entry = next(entry for entry in record.files if entry.name == name)
        data = self.blobs.get(Place(record.stage, record.key).file(entry.blob))
        if data is None:
            return f"{name} is gone"
        if len(data) != entry.size:
            return f"{name} has {len(data)} bytes instead of {entry.size}"
        if digest(data) != entry.sha256:
            return f"{name} has the right size but other bytes"
        return data

    def write(self, stage: Stage, name: str, data: bytes) -> FileEntry:
        """Write a data file of an artifact that is being built; return its entry for the record.

        A file that is already there comes from another run: an interrupted run, or a run that is active on another
        host now. The file is never changed, so whichever record is committed is true. If the bytes are the
        same, both runs use the file; other bytes get the next free name. Files that no record names are garbage.
        """
        if not is_file_name(name):
            raise StoreError(f"{name!r} cannot be the name of a file of an artifact")
        copy = 0
        while not self._put_or_find(place_of(stage).file(blob_name(name, copy)), data):
            copy += 1
        return FileEntry(name=name, size=len(data), sha256=digest(data), copy=copy)

    def _put_or_find(self, blob: str, data: bytes) -> bool:
        return self.blobs.put_new(blob, data) or self.blobs.get(blob) == data

    def unfinished(self, stage: Stage, name: str) -> Iterator[Leftover]:
        """Yield the data files called `name` that runs of `stage` left without a record."""
        for copy in itertools.count():
            data = self.blobs.get(place_of(stage).file(blob_name(name, copy)))
            if data is None:
                return
            yield Leftover(name, copy, data)

    def commit(self, record: Record) -> bool:
        """Commit the artifact; return False if another run has committed it already, and keep that run's record.

        Raises StoreFailed if a file is missing, for example because it was deleted from outside.
        """
        place = Place(record.stage, record.key)
        gone = [entry.name for entry in record.files if not self.blobs.exists(place.file(entry.blob))]
        if gone:
            raise StoreFailed(
                f"{', '.join(gone)} of {place.stage}/{place.key} was removed while the stage ran; run the same "
                "command again"
            )
        won = self.blobs.put_new(place.file(RECORD), record.to_bytes())
        self.blobs.delete(place.file(FAILURE))
        return won

    def note_failure(self, stage: Stage, error: str, trace: str) -> str:
        """Store how a run of `stage` failed; return where, or why it cannot be stored: a full disk hides no `error`."""
        name = place_of(stage).file(FAILURE)
        note = json.dumps({"error": error, "traceback": trace}, indent=1).encode() + b"\n"
        try:
            self.blobs.replace(name, note)
        except StoreFailed as problem:
            return f"not stored: {problem}"
        return self.path_of(name)

    def failure(self, stage: Stage) -> str | None:
        """Return the error of the last run of `stage` if it failed."""
        note = self.blobs.get_json(place_of(stage).file(FAILURE))
        return None if note is None else str(note.get("error"))

    def quarantine(self, record: Record) -> None:
        """Move the record of a damaged artifact to the quarantine, so that the artifact counts as never built.

        Its files stay, and the run that builds it again keeps the undamaged ones. Files are never moved, because
        another run may have found the same damage and may have built the artifact again since.
        """
        place = Place(record.stage, record.key)

        def is_it(moved: bytes) -> bool:
            try:
                return Record.from_bytes(moved, place.stage, place.key) == record
            except CorruptArtifact:
                return True

        self._set_aside(place, is_it)

    def _set_aside(self, place: Place, is_it: Callable[[bytes], bool]) -> None:
        """Move the record at `place` to the quarantine; if another record is there by now, put it back."""
        now = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"
        target = f"quarantine/{now}/{place.file(RECORD)}"
        self.blobs.move(place.file(RECORD), target)
        moved = self.blobs.get(target)
        if moved is not None and not is_it(moved):
            self.blobs.put_new(place.file(RECORD), moved)
            self.blobs.delete(target)

    def places(self) -> Iterator[Place]:
        """Yield the place of every artifact that has a folder, committed or not; skip folders that are not ours."""
        for stage in self.blobs.folders():
            for key in self.blobs.folders(stage) if stage not in RESERVED_NAMES else ():
                if re.fullmatch("[0-9a-f]{64}", key):
                    yield Place(stage, Key(key))

    def contents(self) -> Contents:
        """Return which notes (record, failure, lease) each place has, from one listing of the whole store."""
        found: dict[Place, set[str]] = {}
        for blob in self.blobs.under():
            stage, _, rest = blob.name.partition("/")
            key, _, name = rest.partition("/")
            if name in (RECORD, FAILURE, LEASE):
                found.setdefault(Place(stage, Key(key)), set()).add(name)
        return found

    def sound_records(self, places: Iterable[Place]) -> list[Record | None]:
        """Return the record at each place, None if it is missing or damaged; change nothing."""
        return self.at_once(self._sound_record, places)

    def at_once(self, look: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """Return `look(item)` for each of `items`; in an object store, where each call is slow, many at once.

        Raises what the first call that fails raises.
        """
        if self.blobs.root is not None:
            return [look(item) for item in items]
        with ThreadPoolExecutor(READERS) as readers:
            return list(readers.map(look, items))

    def _sound_record(self, place: Place) -> Record | None:
        try:
            return self.peek(place)
        except CorruptArtifact:
            return None

    def problems(self, record: Record) -> list[str]:
        """Return what is wrong with the files of a committed artifact; change nothing."""
        found = (self._problem(record, entry.name) for entry in record.files)
        return [problem for problem in found if isinstance(problem, str)]

    def path_of(self, name: str) -> str:
        """Return the location of a blob for display: a path in a local store, else a URI."""
        return str(self.blobs.root / name) if self.blobs.root else f"{self.uri.rstrip('/')}/{name}"
