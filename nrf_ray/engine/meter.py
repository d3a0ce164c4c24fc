"""How much work this process does, for whoever watches it: counts go to one listener, by default to nobody.

What counts calls `count` once a batch with plain numbers, so it knows nothing of who listens, and nothing of a result
depends on it. `cluster/metrics.py` passes the counts on to Prometheus.
"""

from collections.abc import Callable
from typing import Literal

Work = Literal["trained", "attacked", "predicted", "pgd_steps"]
"""Images of training steps; images that an attack set out to change; images that were classified; gradient steps of
attacks times the images that each moved. AutoAttack, a library's, is not counted."""

Listener = Callable[[Work, int], None]


def _nobody(work: Work, amount: int) -> None:
    """Let a count pass unheard."""


_listener: Listener = _nobody


def count(work: Work, amount: int) -> None:
    """Say that `amount` of `work` has just been done."""
    _listener(work, amount)


def listen(listener: Listener) -> None:
    """Give every later count of this process to `listener`, in place of whoever listened before."""
    global _listener
    _listener = listener
