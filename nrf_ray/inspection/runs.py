"""`nrf runs`, `nrf rm` and `nrf gc`: the runs of a store, what they name, and what no run names.

A run is one grid of a sweep, with its own tables and page in `sweeps/SWEEP` or `sweeps/SWEEP@NAME`. Artifacts are
shared between runs, so forgetting a run deletes none; only `nrf gc --unused` does.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nrf_ray.display.printing import make_console, make_grille, size_text, span
from nrf_ray.errors import ConfigError, lookup
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.find import open_store
from nrf_ray.graph.garbage import collect, find
from nrf_ray.graph.record import Record
from nrf_ray.graph.stage import RESERVED_NAMES
from nrf_ray.graph.store import RECORD, Place, Store
from nrf_ray.page.outline import Outline, driver_of, outline_name, page_name, read_outline
from nrf_ray.page.snapshot import RunState
from nrf_ray.page.working import working_name
from nrf_ray.results.stored_sweep import StoreUri, kept_table, sweep_names
from nrf_ray.tables.stages import STAGES

HOURS = {"h": 1, "d": 24, "w": 24 * 7}
"""Units of --older-than."""
ELSEWHERE = ("--store", "--name", "--address")
"""Flags of a run's command that say nothing about its grid."""
LISTED = 20
"""Maximum number of unused artifacts that are printed one by one."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What one place of the store holds."""

    size: int
    """Bytes of its files."""
    committed: bool
    """Whether it has a record, so that it is an artifact."""


@dataclass(frozen=True, kw_only=True)
class Unused:
    """Artifact that no run names."""

    place: Place
    record: Record
    size: int
    """Bytes of its files."""

    @property
    def ended(self) -> datetime:
        """When it was made, UTC."""
        started = datetime.fromisoformat(str(self.record.provenance["started"]))
        return started + timedelta(seconds=self.record.seconds)


def runs(*, store: StoreUri = "./runs") -> None:
    """Print the runs of the store: grid, start, duration, state, rows of the tables, and the disk space of their files.

    `alone` is the space of artifacts that no other run names: what `nrf rm RUN` and `nrf gc --unused` would free.

        nrf runs
        nrf runs --store s3://bucket/runs
    """
    opened = open_store(store)
    console = make_console()
    held = holdings(opened)
    found = {name: _outline(opened, name) for name in sweep_names(opened)}
    named = {name: {stage.place for stage in outline.stages} if outline else set() for name, outline in found.items()}
    shared = Counter(place for places in named.values() for place in places)
    grille = make_grille("", "run", "began", "took", "state", "rows", "disk", "alone", names=2)
    for name, outline in found.items():
        sizes = {place: held[place].size for place in named[name] if place in held}
        alone = sum(size for place, size in sizes.items() if shared[place] == 1)
        grille.add_row(name, *_facts(opened, outline, held), size_text(sum(sizes.values())), size_text(alone))
        if outline is not None:
            grille.add_row(f"  {_grid(outline.command)}", style="dim")
    console.print(grille if found else "no run has begun in this store")


def rm(run: str, *, store: StoreUri = "./runs") -> None:
    """Forget RUN: delete its tables, its page, its pictures and its learning curves; artifacts are kept.

    The run's command, which is printed, writes all but the curves again. `nrf gc --unused` lists the artifacts that no
    other run names. Refused while the run is active. Files of yours in the run's folder are kept and named.

        nrf rm transfer_grid@wide
    """
    opened = open_store(store)
    name = lookup({known: known for known in sweep_names(opened)}, run, f"run of {opened.uri}")
    outline = _outline(opened, name)
    driver = None if outline is None else driver_of(outline, opened)
    if driver is not None:
        raise ConfigError(f"{driver} runs {name}; stop it first")
    folder = f"sweeps/{name}"
    blobs = opened.blobs.under(folder)
    written = [blob for blob in blobs if _is_written(blob.name.removeprefix(f"{folder}/"))]
    for blob in written:
        opened.blobs.delete(blob.name)
    for below in sorted({folder, *(blob.name.rpartition("/")[0] for blob in written)}, reverse=True):
        opened.blobs.remove_empty(below)
    console = make_console()
    console.print(f"{name}: {len(written)} files ({size_text(sum(blob.size for blob in written))}) removed")
    if outline is not None:
        console.print(f"to write them again: {outline.command}", soft_wrap=True)
    for blob in blobs:
        if blob not in written:
            console.print(f"kept, as no run wrote it: {opened.path_of(blob.name)}", soft_wrap=True)


def gc(
    *,
    store: StoreUri = "./runs",
    dry_run: bool = False,
    unused: bool = False,
    older_than: str | None = None,
    yes: bool = False,
) -> None:
    """Delete files that no record lists: unfinished files, stale leases, the quarantine.

    Refused while a run uses the store. It may take 45 seconds to detect that a run on another host was killed. With
    --dry-run, only print what would be deleted.

    Artifacts are deleted only with --unused --yes: those that no run names, made more than --older-than (12h, 30d, 8w)
    ago. Without --yes they are only listed. They are gone for good, and a grid that needs them runs them again.

        nrf gc --dry-run
        nrf gc
        nrf gc --unused --older-than 30d
        nrf gc --unused --older-than 30d --yes
    """
    if not unused and (yes or older_than is not None):
        raise ConfigError("--older-than and --yes are about artifacts that no run names; add --unused")
    if dry_run and yes:
        raise ConfigError("--dry-run deletes nothing and --yes deletes; give one of them")
    age = timedelta(0) if older_than is None else age_named(older_than)
    opened = open_store(store)
    if unused and not yes:
        _print_unused(opened, age)
        return
    console = make_console()
    gone: list[Unused] = []

    def artifacts() -> list[Place]:
        gone.extend(unused_artifacts(opened, age))
        return [found.place for found in gone]

    leftovers, busy = (find(opened), []) if dry_run else collect(opened, artifacts if unused else list)
    if busy:
        raise ConfigError(
            f"this store is in use ({', '.join(map(str, busy))}); wait until the run ends, stop it, or use --dry-run"
        )
    for leftover in leftovers:
        console.print(f"{'would remove' if dry_run else 'removed'} {leftover.name} ({leftover.size} bytes)")
    total = sum(leftover.size for leftover in leftovers)
    what = f"{len(gone)} artifacts that no run named; " if gone else ""
    console.print(f"{what}{len(leftovers)} files, {total} bytes{' would be' if dry_run else ''} removed")


def age_named(text: str) -> timedelta:
    """Return the age that `text` names, as in 12h, 30d or 8w, or raise ConfigError."""
    match = re.fullmatch(r"([0-9]{1,5})([hdw])", text)
    if match is None:
        raise ConfigError(f"--older-than {text!r} is not an age; write hours, days or weeks, as in 12h, 30d or 8w")
    return timedelta(hours=int(match[1]) * HOURS[match[2]])


def holdings(store: Store) -> dict[Place, Held]:
    """Return what every place of `store` holds, from one listing."""
    sizes: Counter[Place] = Counter()
    committed = set()
    for blob in store.blobs.under():
        stage, _, rest = blob.name.partition("/")
        key, slash, file = rest.partition("/")
        if slash and stage not in RESERVED_NAMES:
            sizes[Place(stage, Key(key))] += blob.size
            if file == RECORD:
                committed.add(Place(stage, Key(key)))
    return {place: Held(size=size, committed=place in committed) for place, size in sizes.items()}


def named_by(store: Store, run: str) -> frozenset[Place]:
    """Return the places of all stages of `run`: those in its run file and those in its table of stages.

    Raises ConfigError if it has neither, or if one of them is damaged.
    """
    told: list[Place] = []
    outline = store.blobs.get_json(outline_name(run))
    if outline is not None:
        told += (stage.place for stage in Outline.from_json(outline).stages)
    table = f"sweeps/{run}/{STAGES.name}.parquet"
    if store.blobs.exists(table):
        told += (Place(row["stage"], Key(row["key"])) for row in kept_table(store, table).to_pylist())
    if not told:
        raise ConfigError(
            f"the run {run} of {store.uri} does not say which artifacts it names; run its command again, or forget it "
            f"with nrf rm {run}"
        )
    return frozenset(told)


def unused_artifacts(store: Store, age: timedelta) -> list[Unused]:
    """Return the artifacts that no run names and that were made more than `age` ago; damaged ones are left out.

    Raises ConfigError if a run does not say which artifacts it names.
    """
    named = frozenset[Place]().union(*(named_by(store, run) for run in sweep_names(store)))
    held = {place: there for place, there in holdings(store).items() if there.committed and place not in named}
    records = zip(held, store.sound_records(held), strict=True)
    found = [Unused(place=place, record=record, size=held[place].size) for place, record in records if record]
    before = datetime.now(UTC) - age
    return sorted((one for one in found if one.ended <= before), key=lambda one: one.place)


def _print_unused(store: Store, age: timedelta) -> None:
    console = make_console()
    found = unused_artifacts(store, age)
    for one in sorted(found, key=lambda one: -one.size)[:LISTED]:
        label = one.record.provenance.get("label")
        console.print(f"{one.place.stage}/{one.place.key[:12]} {size_text(one.size)}  {label}", soft_wrap=True)
    if len(found) > LISTED:
        console.print(f"and {len(found) - LISTED} smaller ones")
    total = size_text(sum(one.size for one in found))
    how = "; --yes deletes them" if found else ""
    console.print(f"{len(found)} artifacts that no run names, {total}{how}")


def _outline(store: Store, run: str) -> Outline | None:
    try:
        return read_outline(store, run)
    except ConfigError:
        return None


def _facts(store: Store, outline: Outline | None, held: Mapping[Place, Held]) -> tuple[str, str, str, str]:
    """Return when a run began, how long it took, its state, and how many of its rows are complete."""
    if outline is None:
        return "", "", "unknown: its run file is missing or damaged", ""
    began = datetime.fromisoformat(outline.began)
    took = span((datetime.fromisoformat(outline.ended) - began).total_seconds()) if outline.ended else ""
    running = outline.ended is None and driver_of(outline, store) is not None
    state = outline.state.value if outline.ended or running else RunState.INTERRUPTED.value
    there = [stage.place in held and held[stage.place].committed for stage in outline.stages]
    done = sum(all(there[position] for position in row) for row in outline.rows)
    return f"{began:%Y-%m-%d %H:%M}", took, state, f"{done} of {len(outline.rows)}"


def _grid(command: str) -> str:
    """Return the flags of a run's command that define its grid."""
    words = shlex.split(command)[2:]
    return shlex.join(_without_elsewhere(words)) or "default grid"


def _without_elsewhere(words: list[str]) -> Iterator[str]:
    left = iter(words)
    for word in left:
        if word in ELSEWHERE:
            next(left, None)
        elif not word.startswith(tuple(f"{flag}=" for flag in ELSEWHERE)):
            yield word


def _is_written(file: str) -> bool:
    """Return whether a run may have written `file` of its folder: tables, pictures, page, run file and curves."""
    top, slash, _ = file.partition("/")
    if slash:
        return top in ("tensorboard", "tune")
    names = (outline_name(""), page_name(""), working_name(""))
    mine = {name.rpartition("/")[2] for name in names} | {"gallery.json"}
    return file in mine or file.endswith((".parquet", ".svg"))
