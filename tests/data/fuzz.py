"""Mutated files: each is refused in one line, or read as Pillow, pyarrow, pandas, numpy or torch read it.

    python -m tests.data.fuzz                          10,000 mutants of the files of every reader: tens of minutes
    python -m tests.data.fuzz --reader csv --count 500
    python -m tests.data.fuzz --reader csv --only 17   one of them again, with its traceback

A mutant is named by its reader and its number, which alone decide its bytes. The default tests try the first 300 of
every reader.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nrf_ray.errors import ConfigError
from nrf_ray.models.weight_files import WeightsError
from tests.data.fuzz_targets import TARGETS, Target, Unreadable
from tests.data.mutants import mutant

SECONDS = 20
"""A mutant that takes longer is called slow, which is a fault."""


def tried(name: str, numbers: Iterable[int], *, raising: bool = False) -> Counter[str]:
    """Return how many of the mutants `numbers` of a reader had which outcome; what begins with FAULT is one."""
    target, counts = TARGETS[name], Counter[str]()
    files = target.files()
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in numbers:
            draw = random.Random(f"{name} {number}")
            folder = Path(place) / str(number)
            folder.mkdir()
            outcome = _outcome(target, folder, mutant(draw.choice(files), draw), raising=raising)
            counts[f"{outcome} (first: {name} {number})" if outcome.startswith("FAULT") else outcome] += 1
            shutil.rmtree(folder)
    return counts


def _outcome(target: Target, folder: Path, data: bytes, *, raising: bool) -> str:
    """Return what came of one mutant."""
    try:
        with _in_time():
            found = target.ours(folder, data)
    except (ConfigError, WeightsError) as error:
        return "refused" if "\n" not in str(error) else "FAULT: refused in more than one line"
    except Exception as error:
        if raising:
            raise
        return f"FAULT: {type(error).__name__}"
    try:
        expected = target.peer(folder, data)
    except Unreadable:
        return "read, and not compared"
    except Exception as error:
        if raising:
            raise
        return f"FAULT: read, and the peer says {type(error).__name__}"
    return "read as the peer reads it" if found == expected else "FAULT: read, and otherwise than the peer does"


@contextmanager
def _in_time() -> Iterator[None]:
    """Raise TimeoutError in here after SECONDS."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not read within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main() -> int:
    """Try the mutants that the command line asks for; return 1 where there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", choices=TARGETS, action="append", help="one of the readers; all without")
    parser.add_argument("--count", type=int, default=10_000, help="mutants of each reader")
    parser.add_argument("--only", type=int, help="the number of one mutant")
    chosen = parser.parse_args()
    faults = False
    for name in chosen.reader or TARGETS:
        began = time.process_time()
        numbers = range(chosen.count) if chosen.only is None else range(chosen.only, chosen.only + 1)
        counts = tried(name, numbers, raising=chosen.only is not None)
        print(f"{name}: {sum(counts.values())} mutants, {time.process_time() - began:.1f} s of CPU", flush=True)
        merged: dict[str, list[str]] = {}
        for outcome, count in sorted(counts.items()):
            kind, _, first = outcome.partition(" (first: ")
            merged.setdefault(kind, []).extend([first.rstrip(")")] * count)
        for kind, firsts in merged.items():
            at = f", as {', '.join(sorted(firsts, key=lambda one: int(one.split()[1]))[:3])}" if firsts[0] else ""
            print(f"  {len(firsts):6} {kind}{at}", flush=True)
        faults = faults or any(kind.startswith("FAULT") for kind in merged)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
