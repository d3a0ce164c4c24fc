"""Headway: how much of the work of a running stage is done, for people.

Code with a long loop says how many steps the loop has, and when each is done: epochs, batches, shards, attacks. Loops
inside loops count as parts of one step of the loop around them. Saying so takes less than a microsecond, and depends on
no reader: whoever shows headway asks for it with `current`. No result depends on it.
"""

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeVar

T = TypeVar("T")

UNITS = {"epochs": "epoch", "batches": "batch", "shards": "shard", "attacks": "attack", "checks": "check"}
"""What a loop may go through: many, and one."""


@dataclass(frozen=True, kw_only=True)
class Headway:
    """Headway of one stage at one moment."""

    unit: str
    """What the outermost loop goes through, one of UNITS."""
    done: int
    """Finished steps of the outermost loop."""
    total: int
    """All steps of the outermost loop."""
    share: float
    """Share of its work that is done, unfinished steps included."""
    before: float = 0.0
    """Share of its work that an earlier attempt had done."""
    values: Mapping[str, float] = field(default_factory=dict)
    """What the last finished step measured: loss and accuracy of an epoch."""
    rate: float | None = None
    """Images per second since the loop began; None while unknown, or if the loop does not go through images."""
    left: float | None = None
    """Expected seconds until the loop is done, by its own pace; None while unknown."""

    @property
    def text(self) -> str:
        """Headway in words, as in "3 of 10 epochs, loss 0.412, accuracy .871, 812 images/s"."""
        parts = [f"{self.done:,} of {self.total:,} {UNITS[self.unit] if self.total == 1 else self.unit}"]
        if "loss" in self.values:
            parts.append(f"loss {self.values['loss']:.3g}")
        if "accuracy" in self.values:
            parts.append(f"accuracy {self.values['accuracy']:.3f}".replace(" 0.", " ."))
        if self.rate is not None:
            parts.append(f"{self.rate:,.0f} images/s" if self.rate >= 9.5 else f"{self.rate:.1f} images/s")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return this as a JSON object."""
        return {**asdict(self), "values": dict(self.values)}

    def to_bytes(self) -> bytes:
        """Return this as JSON."""
        return json.dumps(self.to_json()).encode()

    @classmethod
    def from_json(cls, value: object) -> Self | None:
        """Return the headway in a JSON object; None if the object is not one that `to_json` can have made."""
        try:
            found = cls(**value)  # type: ignore[arg-type]  # checked below
            known = [number for number in (found.rate, found.left) if number is not None]
            numbers = [found.share, found.before, *known]
            whole = (
                found.unit in UNITS
                and isinstance(found.done, int)
                and isinstance(found.total, int)
                and all(isinstance(name, str) for name in found.values)
                and all(isinstance(number, float | int) for number in (*numbers, *found.values.values()))
                and all(map(math.isfinite, (*numbers, *found.values.values())))
                and min(numbers) >= 0
                and 0 <= found.done <= found.total
                and found.share <= 1
            )
        except (TypeError, AttributeError, ValueError, OverflowError):
            return None
        return found if whole else None

    @classmethod
    def from_bytes(cls, data: bytes | None) -> Self | None:
        """Return the headway in `data`, or None if it is damaged or missing."""
        try:
            return cls.from_json(json.loads(data or b"null"))
        except (ValueError, RecursionError):
            return None


@dataclass(kw_only=True, eq=False)
class Loop:
    """A loop at work."""

    unit: str
    total: int
    images: int
    done: int
    first: int
    """Steps that were done before it began."""
    began: float
    values: Mapping[str, float] = field(default_factory=dict)
    begun: float = 0.0
    """Share of the step at work that a loop inside it has done; 1 when that loop is over."""

    def advance(self, **values: float) -> None:
        """Note that one more step is done, and what it measured."""
        self.values, self.begun = values, 0.0
        self.done += 1


_loops: list[Loop] = []
"""Loops at work in this process, each inside the one before it."""


@contextmanager
def loop(total: int, unit: str, *, images: int = 0, done: int = 0) -> Iterator[Loop]:
    """Say that the code in this context is a loop of `total` steps, of which `done` are done; call `advance` per step.

    `images` is the number of images that all steps go through together, with repetitions; 0 if that says nothing.
    """
    made = Loop(unit=unit, total=total, images=images, done=done, first=done, began=time.monotonic())
    _loops.append(made)
    try:
        yield made
    finally:
        if made in _loops:  # not if an error has ended a loop around it before
            place = _loops.index(made)
            del _loops[place:]
            if place:
                _loops[-1].begun = 1.0


def over(items: Iterable[T], unit: str, *, total: int | None = None, images: int = 0) -> Iterator[T]:
    """Yield `items`, as a loop of `total` steps; without `total`, of as many as there are, which are counted first."""
    if total is None:
        items = list(items)
        total = len(items)
    with loop(total, unit, images=images) as steps:
        for item in items:
            yield item
            steps.advance()


def begin() -> None:
    """Forget loops of earlier work of this process, which an error may have left."""
    _loops.clear()


def current() -> Headway | None:
    """Return the headway of this process's work; None if no loop is at work. Any thread may ask."""
    now, share, before, pace, rate, outer = time.monotonic(), 0.0, 0.0, 0.0, None, None
    for outer in reversed(list(_loops)):
        share = min(1.0, (outer.done + max(share, outer.begun)) / max(1, outer.total))
        before = outer.first / max(1, outer.total)
        pace = (share - before) / max(1e-9, now - outer.began)
        rate = outer.images * pace if outer.images and pace > 0 else rate
    if outer is None:
        return None
    return Headway(
        unit=outer.unit,
        done=min(outer.done, outer.total),
        total=outer.total,
        share=share,
        before=before,
        values={name: value for name, value in outer.values.items() if math.isfinite(value)},
        rate=rate,
        left=(1 - share) / pace if pace > 0 else None,
    )
