"""The first mutants of every reader; `python -m tests.data.fuzz` tries more."""

import random
from collections import Counter

import pytest

from tests.data.fuzz import tried
from tests.data.fuzz_targets import TARGETS
from tests.data.mutants import mutant

MUTANTS = 300


@pytest.mark.parametrize("reader", TARGETS)
def test_a_mutated_file_is_refused_in_one_line_or_read_as_others_read_it(reader: str, tally: Counter[str]) -> None:
    counts = tried(reader, range(MUTANTS))
    assert [outcome for outcome in counts if outcome.startswith("FAULT")] == []
    assert min(counts["refused"], counts["read as the peer reads it"]) > 0, "not all are of one kind"
    tally["mutated files"] += MUTANTS


def test_a_mutant_is_decided_by_its_number_and_is_another_file() -> None:
    sound = TARGETS["csv"].files()[0]
    made = [[mutant(sound, random.Random(number)) for number in range(50)] for _ in range(2)]
    assert made[0] == made[1]
    assert sum(data != sound for data in made[0]) > 45


def test_a_fault_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that gives other rows than its peer, one that leaks an error, and one that says two lines."""
    from dataclasses import replace

    from nrf_ray.errors import ConfigError

    csv = TARGETS["csv"]

    def two_lines(folder, data):
        raise ConfigError("one\ntwo")

    for ours, outcome in (
        (lambda folder, data: [("train", "x", 0)], "FAULT: read, and"),
        (lambda folder, data: [][0], "FAULT: IndexError (first: csv 0)"),
        (two_lines, "FAULT: refused in more than one line (first: csv 0)"),
    ):
        monkeypatch.setitem(TARGETS, "csv", replace(csv, ours=ours))
        assert next(iter(tried("csv", range(1)))).startswith(outcome)
