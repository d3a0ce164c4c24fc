"""Twelve broken defences and the twelve honest kinds, as the product judges them now. By hand: `measure`, all of them.

The truths are those of the committed table, as they depend on the defences alone.
"""

import pytest

from nrf_ray.attacks.threat import ThreatModel
from tests.trust import measure
from tests.trust.defences import DEFENCES
from tests.trust.honest import HONEST, SEEDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BROKEN = (
    "other-gradient",
    "detached-by-content",
    "sine-.02",
    "k-winners",
    "clamp",
    "logits-x30",
    "rounded-logits",
    "noise-by-content",
    "unit-dropout",
    "nearest-identity",
    "norm-outside",
    "aware",
)
"""Two or more of every family but the last."""
NORM, EPS = "l2", 0.4
FALSE_ALARMS = 1
"""Honest kinds, of twelve, that may be denied a level: of all 72 runs, four may."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_defence_buys_no_level(name):
    kept = measure.kept()[name, NORM, EPS]
    row = kept | measure.broken(DEFENCES[name], ThreatModel(norm=NORM, eps=EPS), kept["n"], ("product",))
    assert not measure.bought(row), measure.line(row)
    failed = {check for check, verdict in kept["alarms"].items() if verdict != "WARN"}
    assert not failed or failed & {check for check, verdict in row["alarms"].items() if verdict != "WARN"}


def test_honest_kinds_earn_their_level():
    denied = []
    for name, kind in HONEST.items():
        threat = ThreatModel(norm=kind.norm, eps=kind.radii[0])
        row = measure.product_of(kind.make(SEEDS[0]), kind.images(300), threat)
        if row["level"] != "L1":
            denied.append((name, row["alarms"]))
    assert len(denied) <= FALSE_ALARMS, denied
