"""Work counters of this process. Counts go to one listener; by default there is none.

Code that does work calls `count` once per batch with plain numbers. It does not depend on the listener, and no result
depends on the counts. `cluster/metrics.py` passes the counts on to Prometheus.
"""

from collections.abc import Callable
from typing import Literal

Work = Literal["trained", "attacked", "predicted", "pgd_steps"]
"""Kind of work: images of training steps; images given to an attack; images that were classified; gradient steps of
attacks times the images in each step. AutoAttack, which a library runs, is not counted."""

Listener = Callable[[Work, int], None]


def _ignore(work: Work, amount: int) -> None:
    """Ignore a count."""


_listener: Listener = _ignore


def count(work: Work, amount: int) -> None:
    """Report to the listener that `amount` of `work` has just been done."""
    _listener(work, amount)


def listen(listener: Listener) -> None:
    """Send every later count of this process to `listener` instead of the previous listener."""
    global _listener
    _listener = listener
