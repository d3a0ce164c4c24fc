"""State and results of a sweep at one moment, as plain data: everything that a page shows, without its layout."""

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nrf_ray.display.printing import Estimate, ResultTable
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.headway import Headway


class RunState(enum.StrEnum):
    """State of a whole run."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Standing(enum.StrEnum):
    """State of one stage."""

    KEPT = "kept"
    DONE = "done"
    RUNNING = "running"
    READY = "ready"
    WAITING = "waiting"
    BLOCKED = "blocked"
    FAILED = "failed"


class Start(enum.StrEnum):
    """Kind of start of the examples of a constructed set."""

    ITSELF = "itself"
    """The original that is shown beside them."""
    OTHER = "other"
    """Another original: they have the features of the original beside them."""
    NOISE = "noise"
    """Noise: as `OTHER`, but made from no original at all."""


HELD = (Standing.KEPT, Standing.DONE)
"""States of a stage whose artifact is in the store: since before this run, or made by it."""


@dataclass(frozen=True, kw_only=True)
class StageFact:
    """Stage with its state."""

    kind: str
    """Name of its kind."""
    key: Key
    """Its key."""
    title: str
    """Title of the stage."""
    arch: str | None = None
    """Architecture of the network that the stage works with; None if there is none."""
    inputs: tuple[int, ...]
    """Indices of its inputs in the list of all stages."""
    level: int
    """Length of the longest path to this stage from one without inputs."""
    standing: Standing
    """Its state."""
    reason: str = ""
    """Reason why it failed, or what blocks it."""


@dataclass(frozen=True, kw_only=True)
class Working:
    """Stage that is at work."""

    fact: StageFact
    """The stage."""
    since: float | None
    """Seconds since it was first seen at work; None if only the records are known."""
    expected: float | None
    """Its estimated duration in seconds."""
    headway: Headway | None = None
    """How much of its work is done; None if it has not reported."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Stage that failed."""

    fact: StageFact
    """The stage."""
    trace: str
    """Its traceback; empty if none was stored."""
    blocks: int
    """Number of stages that could not run because of it, directly or indirectly."""


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Point of a scatter plot."""

    name: str
    x: Estimate
    y: Estimate


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Scatter plot of one quantity against another."""

    title: str
    x: str
    """Label of the x axis."""
    y: str
    """Label of the y axis."""
    spots: tuple[Spot, ...]
    note: str
    """Correlation in words."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Quantity over the epochs of one training."""

    group: str
    """Title of the training without its architecture and seed."""
    line: str
    """Architecture of the training."""
    title: str
    """Full title of the training."""
    quantity: str
    """Name of the reported quantity, as in train/accuracy."""
    points: tuple[tuple[int, float], ...]
    """Pairs of epoch and value."""


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """Constructed image with its original."""

    label: str
    """True label and, if it differs, the label in the set."""
    original: bytes
    """Original image as PNG."""
    constructed: bytes
    """Constructed image as PNG."""
    change: bytes | None
    """Difference from its start, magnified around grey, as PNG; None if it started from noise."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """A few images of one constructed set."""

    title: str
    """Title of the set."""
    key: Key
    """Key of its stage."""
    first: str
    """Heading of the originals: their relation to the constructed images."""
    factor: float
    """Factor by which the change is magnified; 0 if the images started from noise and no change is shown."""
    specimens: tuple[Specimen, ...]


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Constructed text with its original."""

    label: str
    """True label and, if it differs, the label in the set."""
    original: str
    constructed: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A few texts of one constructed set."""

    title: str
    """Title of the set."""
    key: Key
    """Key of its stage."""
    start: Start
    """Kind of start of the constructed texts."""
    nearest: bool
    """Whether the set stores no text, and the texts are the words nearest to its vectors."""
    passages: tuple[Passage, ...]


@dataclass(frozen=True, kw_only=True)
class Host:
    """Machine that ran some of the stages."""

    name: str
    processor: str
    """Model of its processor, or of its accelerators if stages used them."""
    device: str
    """Device of the stages: cpu or cuda."""
    stages: int
    seconds: float
    """Seconds of all its stages, one after the other."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Provenance of the artifacts."""

    versions: tuple[tuple[str, str], ...]
    """Pairs of package and version; if a package has several versions, all are listed."""
    commits: tuple[str, ...]
    """Commits of the code; a commit is marked if the code was changed since."""
    digests: tuple[tuple[str, str], ...]
    """Pairs of stage kind and digests of its code."""
    datasets: tuple[tuple[str, str, str], ...]
    """Name of each dataset, digest of its content, as in the stages' keys, and the number of its test rows that are
    training rows too."""
    hosts: tuple[Host, ...]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that a page shows."""

    sweep: str
    """Name of the sweep."""
    state: RunState
    why: str
    """Reason for the state in one sentence; empty if there is nothing to add."""
    command: str
    """Command line of the run."""
    preset: str = ""
    """Name of the preset that the grid was made from; empty if the store names none."""
    place: str
    """Path or URI of the store."""
    began: datetime
    """Start of the run, UTC."""
    written: datetime
    """Time of this snapshot or, if the run has ended, of its end, UTC."""
    checked: datetime | None = None
    """When the same command last found every stage in the store, UTC; None if it was not given again."""
    expected: float | None
    """Estimated duration of the run in seconds, from when it began."""
    left: float | None
    """Estimated seconds until its end."""
    rows: tuple[int, int]
    """Number of table rows whose stages are all done, and number of all table rows."""
    stages: tuple[StageFact, ...]
    """Every stage, inputs first."""
    working: tuple[Working, ...] = ()
    failures: tuple[Failure, ...] = ()
    sentences: tuple[str, ...] = ()
    """What the tables show."""
    tables: tuple[ResultTable, ...] = ()
    scatters: tuple[Scatter, ...] = ()
    curves: tuple[Curve, ...] = ()
    curves_at: str | None = None
    """Folder of the learning curves; None if they cannot be stored."""
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
        """Return the number of stages in each state."""
        return Counter(fact.standing for fact in self.stages)
