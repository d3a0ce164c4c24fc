"""Learning curves, read from the TensorBoard files that the trainings of a sweep write.

A file is read again only if its size has changed, so finished trainings are read once. Tables, and with them the
results, do not depend on these files.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from nrf_ray.export.hparams import FILE as HPARAMS
from nrf_ray.page.snapshot import Curve, StageFact

MOST_CURVES = 600
"""Maximum number of trainings whose curves are shown."""
MOST_POINTS = 80
"""Approximate maximum number of points of one curve that are shown: every k-th point, and the last."""

Values = dict[str, dict[int, float]]
"""Values by quantity and step."""


class _Read(NamedTuple):
    size: int
    values: Values


class CurveReader:
    """Reader of the curves in one folder; it reads a file again only if its size has changed."""

    def __init__(self, folder: str | None) -> None:
        """`folder` has one folder per training, named after it; None if curves cannot be stored."""
        self.folder = folder
        self._files: dict[Path, _Read] = {}

    def read(self, facts: Iterable[StageFact]) -> tuple[Curve, ...]:
        """Return the curves of the trainings among the stages `facts`."""
        if self.folder is None or not Path(self.folder).is_dir():
            return ()
        trainings = {fact.key[:8]: fact for fact in facts if fact.kind == "train"}
        folders = {path.name[-8:]: path for path in sorted(Path(self.folder).iterdir()) if path.is_dir()}
        known = [(trainings[start], folders[start]) for start in trainings if start in folders]
        return tuple(curve for fact, folder in known[:MOST_CURVES] for curve in self._curves(fact, folder))

    def _curves(self, fact: StageFact, folder: Path) -> Iterator[Curve]:
        merged: Values = {}
        for path in sorted(set(folder.glob("events.*")) - {folder / HPARAMS}):
            for quantity, values in self._values(path).items():
                merged.setdefault(quantity, {}).update(values)
        for quantity, values in merged.items():
            yield Curve(
                group=group_of(fact),
                line=fact.arch or fact.title,
                title=fact.title,
                quantity=quantity,
                points=thinned(sorted(values.items())),
            )

    def _values(self, path: Path) -> Values:
        size = path.stat().st_size
        if path not in self._files or self._files[path].size != size:
            self._files[path] = _Read(size, _scalars(path))
        return self._files[path].values


def group_of(fact: StageFact) -> str:
    """Return the title of a stage without its architecture and its seed."""
    title = re.sub(r", seed \d+", "", fact.title)
    return title.replace(f" {fact.arch} ", " ", 1) if fact.arch else title


def thinned(points: list[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Return at most about `MOST_POINTS` of `points`, evenly spaced, including the last."""
    step = -(-len(points) // MOST_POINTS)
    kept = points[:: max(1, step)]
    return tuple(kept if not points or kept[-1] == points[-1] else [*kept, points[-1]])


def _scalars(path: Path) -> Values:
    """Return the scalars in an event file so far; a record that is being written now is read the next time."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    values: Values = {}
    for data in RawEventFileLoader(str(path)).Load():
        event = Event.FromString(data)
        for value in event.summary.value:
            values.setdefault(value.tag, {})[event.step] = value.simple_value
    return values
