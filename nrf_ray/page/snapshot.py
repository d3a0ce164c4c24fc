"""What is known of a sweep at one moment, as plain data: all that a page shows, and nothing of how it looks."""

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nrf_ray.display.printing import Estimate, ResultTable
from nrf_ray.graph.canonical import Key


class RunState(enum.StrEnum):
    """How a run stands as a whole."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Standing(enum.StrEnum):
    """How one stage stands."""

    KEPT = "kept"
    DONE = "done"
    RUNNING = "running"
    READY = "ready"
    WAITING = "waiting"
    BLOCKED = "blocked"
    FAILED = "failed"


class Start(enum.StrEnum):
    """What the examples of a constructed set were made of."""

    ITSELF = "itself"
    """The original that they stand beside."""
    OTHER = "other"
    """Another original: they have the features of the one beside them."""
    NOISE = "noise"
    """Noise: as `OTHER`, from no original at all."""


HELD = (Standing.KEPT, Standing.DONE)
"""In the store: since before this run, or by it."""


@dataclass(frozen=True, kw_only=True)
class StageFact:
    """One stage."""

    kind: str
    """Name of its kind."""
    key: Key
    """Its key."""
    title: str
    """What people call it."""
    arch: str | None = None
    """The network that it works with, where there is one."""
    inputs: tuple[int, ...]
    """Positions of its inputs in the list of all stages."""
    level: int
    """Stages on the longest way to it from one that needs nothing."""
    standing: Standing
    """How it stands."""
    reason: str = ""
    """Why it failed or what blocks it."""


@dataclass(frozen=True, kw_only=True)
class Working:
    """A stage that is at work."""

    fact: StageFact
    """Which."""
    since: float | None
    """Seconds since it was first seen at work; None where only the records are known."""
    expected: float | None
    """Seconds that it is expected to take."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A stage that failed."""

    fact: StageFact
    """Which."""
    trace: str
    """Its traceback, where one was kept."""
    blocks: int
    """How many stages could not run because of it, directly or not."""


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One point of a scatter."""

    name: str
    x: Estimate
    y: Estimate


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """How one quantity goes with another."""

    title: str
    x: str
    """What lies on the x axis."""
    y: str
    """What lies on the y axis."""
    spots: tuple[Spot, ...]
    note: str
    """The correlation, in words."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One quantity over the epochs of one training."""

    group: str
    """What the training is, without its architecture and seed."""
    line: str
    """Its architecture."""
    title: str
    """All of its name."""
    quantity: str
    """What was reported, as in train/accuracy."""
    points: tuple[tuple[int, float], ...]
    """Epoch and value."""


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """One constructed image with what it was made from."""

    label: str
    """Its class, and the class that it is to show."""
    original: bytes
    """PNG."""
    constructed: bytes
    """PNG."""
    change: bytes | None
    """The difference to what it started from, magnified around grey; PNG. None where it started from noise."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """A few images of one constructed set."""

    title: str
    """What people call the set."""
    key: Key
    """Of its stage."""
    first: str
    """What the originals are to the constructed images."""
    factor: float
    """How often the change is magnified; 0 where the images started from noise and no change is shown."""
    specimens: tuple[Specimen, ...]


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One constructed text with the one that it was made of."""

    label: str
    """Its class, and the class that it is to show."""
    original: str
    constructed: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A few texts of one constructed set."""

    title: str
    """What people call the set."""
    key: Key
    """Of its stage."""
    start: Start
    """What the constructed texts were made of."""
    nearest: bool
    """Whether nothing is written in the set, and the texts are the words nearest to its vectors."""
    passages: tuple[Passage, ...]


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine that did some of the work."""

    name: str
    processor: str
    """Model of its processor, or of its accelerators where stages used them."""
    device: str
    """cpu or cuda."""
    stages: int
    seconds: float
    """Work of all of them, one after the other."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the artifacts come from."""

    versions: tuple[tuple[str, str], ...]
    """Package and version; several versions of one are all named."""
    commits: tuple[str, ...]
    """Of the code; those that were changed since say so."""
    digests: tuple[tuple[str, str], ...]
    """Kind of stage and the digests of its code."""
    datasets: tuple[tuple[str, str], ...]
    """Name and digest of the content, as the stages' keys hold them."""
    hosts: tuple[Host, ...]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All of it."""

    sweep: str
    """Name of the sweep."""
    state: RunState
    why: str
    """In one sentence, why it is in that state, where there is something to say."""
    command: str
    """What was called."""
    preset: str = ""
    """Name of the preset that the grid was made from, where the store tells of one."""
    place: str
    """The store, for people."""
    began: datetime
    """UTC."""
    written: datetime
    """UTC; of the end, where the run has ended."""
    expected: float | None
    """Seconds that the run was expected to take when it began."""
    left: float | None
    """Seconds that it is expected to go on."""
    cells: tuple[int, int]
    """Rows of the tables whose stages are all done, and all rows."""
    stages: tuple[StageFact, ...]
    """Every stage, inputs first."""
    working: tuple[Working, ...] = ()
    failures: tuple[Failure, ...] = ()
    tables: tuple[ResultTable, ...] = ()
    scatters: tuple[Scatter, ...] = ()
    curves: tuple[Curve, ...] = ()
    curves_at: str | None = None
    """Folder of the learning curves, if they can be kept."""
    galleries: tuple[Gallery, ...] = ()
    readings: tuple[Reading, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    """SVG files that stages drew, by name."""
    origin: Origin = Origin(versions=(), commits=(), digests=(), datasets=(), hosts=())

    @property
    def elapsed(self) -> float:
        """Seconds from the start to the moment of this snapshot."""
        return max(0.0, (self.written - self.began).total_seconds())

    def counts(self) -> Counter[Standing]:
        """Return how many stages stand how."""
        return Counter(fact.standing for fact in self.stages)
