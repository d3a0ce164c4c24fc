"""Data of a run for its page, read step by step: each record, curve and example is read once."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import pandas as pd

from nrf_ray.display.printing import ResultTable
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Place, Store
from nrf_ray.page.curves import CurveReader
from nrf_ray.page.findings import frames_so_far, scatters
from nrf_ray.page.gallery import Shown, kept_galleries, update_galleries
from nrf_ray.page.origin import Records, origin_of
from nrf_ray.page.outline import Outline, driver_of, read_outline
from nrf_ray.page.snapshot import HELD, Curve, Gallery, Reading, RunState, Scatter, Snapshot, StageFact, Working
from nrf_ray.page.stage_states import by_store, failures_among
from nrf_ray.page.working import read_working
from nrf_ray.results.stored_sweep import kept_table
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.tables.registry import result_tables, sentences
from nrf_ray.tables.stages import STAGES

KILLED = (
    "It was killed, or its machine was lost. Finished stages are kept: run the same command again to resume; it writes "
    "the tables when it ends."
)


class Known:
    """Data of one run, as far as it has been read."""

    def __init__(self, outline: Outline, store: Store) -> None:
        self.outline = outline
        self._store = store
        folder = store.path_of(f"sweeps/{outline.sweep}/tensorboard") if store.blobs.root else None
        self._reader = CurveReader(folder)
        self._records = Records(store)
        self._filled = -1
        """Number of records that the current tables were made from."""
        self._sentences: tuple[str, ...] = ()
        self._tables: tuple[ResultTable, ...] = ()
        self._scatters: tuple[Scatter, ...] = ()
        self._curves: tuple[Curve, ...] = ()
        self._examples: tuple[Shown, ...] = ()
        self._pictures: Mapping[str, bytes] = {}
        self._shown: list[Key] = []

    def read(self, facts: Iterable[StageFact]) -> None:
        """Read the new records and curves of the stages `facts`."""
        facts = list(facts)
        self._records.read(Place(fact.kind, fact.key) for fact in facts if fact.standing in HELD)
        self._curves = self._reader.read(facts)

    def fill(self, sweep: Sweep, facts: Iterable[StageFact]) -> None:
        """Fill the tables of `sweep` from the records read so far, if there are new records."""
        held = {fact.key for fact in facts if fact.standing in HELD}
        metrics = {key: record.metrics for key, record in self._records.by_key.items() if key in held}
        if len(metrics) != self._filled:
            self._filled = len(metrics)
            self.take(frames_so_far(sweep, metrics), {})

    def take(self, frames: Mapping[str, pd.DataFrame], pictures: Mapping[str, Stage]) -> None:
        """Show these tables, and the pictures that these stages drew."""
        filled = {name: frame for name, frame in frames.items() if name != STAGES.name and len(frame)}
        self._sentences = sentences(filled)
        self._tables, self._scatters = tuple(result_tables(filled)), scatters(filled)
        self._pictures = {name: self._store.artifact(stage).read(name) for name, stage in pictures.items()}

    def take_from_store(self) -> None:
        """Show the tables, pictures and examples that are stored beside the page, if they are of this grid."""
        folder = f"sweeps/{self.outline.sweep}"
        names = [blob.name.removeprefix(f"{folder}/") for blob in self._store.blobs.under(folder)]
        stages = f"{STAGES.name}.parquet"
        mine = {stage.key for stage in self.outline.stages}
        if stages not in names or set(kept_table(self._store, f"{folder}/{stages}")["key"].to_pylist()) != mine:
            return
        frames = {
            name.removesuffix(".parquet"): kept_table(self._store, f"{folder}/{name}").to_pandas()
            for name in names
            if name.endswith(".parquet") and "/" not in name
        }
        self.take(frames, {})
        drawn = {name: self._store.blobs.get(f"{folder}/{name}") for name in names if name.endswith(".svg")}
        self._pictures = {name: data for name, data in drawn.items() if data is not None}
        keys = [stage.key for stage in self.outline.stages]
        self._examples = tuple(kept_galleries(self._store, self.outline.sweep, keys))

    def show_sets(self, sets: list[Stage]) -> None:
        """Show examples of the committed `sets`.

        If a set cannot be read, raises CorruptArtifact or MissingArtifact; examples of the others are still shown.
        """
        keys = [stage.key for stage in sets]
        if keys != self._shown:
            try:
                update_galleries(self._store, self.outline.sweep, sets)
            finally:
                self._shown = keys
                self._examples = tuple(kept_galleries(self._store, self.outline.sweep, keys))

    def snapshot(
        self,
        facts: list[StageFact],
        *,
        state: RunState,
        why: str | None = None,
        working: tuple[Working, ...] = (),
        left: float | None = None,
        end: datetime | None = None,
    ) -> Snapshot:
        """Return a snapshot of the data read so far, with the stage states of `facts`."""
        outline = self.outline
        done = sum(all(facts[position].standing in HELD for position in row) for row in outline.rows)
        end = end or (datetime.fromisoformat(outline.ended) if outline.ended else datetime.now(UTC))
        return Snapshot(
            sweep=outline.sweep,
            state=state,
            why=outline.why if why is None else why,
            command=outline.command,
            preset=outline.preset,
            place=self._store.path_of("").rstrip("/"),
            began=datetime.fromisoformat(outline.began),
            written=end,
            checked=datetime.fromisoformat(outline.checked) if outline.checked else None,
            expected=outline.expected,
            left=left,
            rows=(done, len(outline.rows)),
            stages=tuple(facts),
            working=working,
            failures=failures_among(facts, self._store),
            sentences=self._sentences,
            tables=self._tables,
            scatters=self._scatters,
            curves=self._curves,
            curves_at=self._reader.folder,
            galleries=tuple(shown for shown in self._examples if isinstance(shown, Gallery)),
            readings=tuple(shown for shown in self._examples if isinstance(shown, Reading)),
            pictures=self._pictures,
            origin=origin_of(self._records.by_key.values()),
        )

    def last_sign(self) -> datetime:
        """Return when the last stage of the run ended, by the records read so far; otherwise when the run began."""
        began = datetime.fromisoformat(self.outline.began)
        ends = [
            datetime.fromisoformat(str(record.provenance["started"])) + timedelta(seconds=record.seconds)
            for record in self._records.by_key.values()
        ]
        return max([began, *ends])


def known_from_store(store: Store, sweep: str) -> Snapshot:
    """Return a snapshot of the last run of `sweep` from the store alone, or raise ConfigError if there was none."""
    outline = read_outline(store, sweep)
    known = Known(outline, store)
    alive = driver_of(outline, store) is not None
    facts = by_store(outline, store, store.contents(), alive=alive)
    known.read(facts)
    known.take_from_store()
    if outline.ended is not None:
        return known.snapshot(facts, state=outline.state)
    if alive:
        at_work = read_working(store, sweep)
        working = at_work.of(facts) if at_work else ()
        return known.snapshot(facts, state=RunState.RUNNING, working=working, left=at_work.left if at_work else None)
    return known.snapshot(facts, state=RunState.INTERRUPTED, why=KILLED, end=known.last_sign())
