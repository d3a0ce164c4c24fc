"""Stop the smallest sweep at random moments of its start: each time exit code 130 and exactly one line on stderr?

    python -m tests.benchmarks.stops --count 300

A stop starts `sweeps/transfer_grid.py --preset smoke` on a store of its own, waits for a random time after the line
that says how to stop, and sends SIGTERM or SIGINT in turn. Moments crowd around the time when Ray starts. In the second
half of the stops a loop keeps each CPU busy. Every stop also has a temporary folder of its own, so whatever it leaves
is found: Ray processes that live 10 s later, and files outside of Ray's session folder.

A stop depends on its number alone, and each is written down when it is done: the same command again goes on from there.
Ends with exit code 1 if any stop was wrong. `--checkout` stops the sweep of another checkout of this repository.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from nrf_ray.cluster.interrupt import FORCED
from nrf_ray.errors import INTERRUPTED
from tests.benchmarks.harness import OUT

ROOT = Path(__file__).resolve().parents[2]
READY = b"Ctrl-C stops the run; run the same command again to resume\n"
SIGNALS = (signal.SIGTERM, signal.SIGINT)
PATIENCE = 10.0
"""Seconds that Ray's processes have to end after the command has."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One stop, and what came of it."""

    number: int
    busy: bool
    """Whether a loop kept each CPU busy."""
    signal: str
    moment: float
    """Seconds from the line that says how to stop to the signal."""
    code: int
    errors: str
    """What was written to stderr."""
    seconds: float
    """From the signal to the end of the process."""
    processes: list[str]
    """Command lines of processes that were left."""
    files: list[str]
    """Files that were left in the temporary folder, except Ray's session folder."""

    @property
    def right(self) -> bool:
        """Whether it ended as promised."""
        line = self.errors.startswith("stopped") and self.errors.endswith("\n") and self.errors.count("\n") == 1
        return self.code == INTERRUPTED and line and not self.processes


def stop(number: int, busy: bool, latest: float, checkout: Path) -> Stop:
    """Do the stop with this number."""
    moment = random.Random(number).triangular(0.0, latest, latest * 0.55)
    sent = SIGNALS[number % 2]
    with tempfile.TemporaryDirectory(prefix="stop", dir="/tmp", ignore_cleanup_errors=True) as folder:
        temporary = Path(folder) / "t"  # short: Ray puts sockets there, whose names are limited to 107 characters
        temporary.mkdir()
        with (Path(folder) / "errors").open("w+") as errors:
            process = subprocess.Popen(
                [sys.executable, "sweeps/transfer_grid.py", "--preset", "smoke", "--store", f"{folder}/store"],
                cwd=checkout,
                env={**os.environ, "PYTHONPATH": str(checkout), "TMPDIR": str(temporary)},
                stdout=subprocess.PIPE,
                stderr=errors,
                preexec_fn=restore_interrupts,
            )
            assert process.stdout is not None
            assert READY in iter(process.stdout.readline, b"")
            time.sleep(moment)
            began = time.monotonic()
            process.send_signal(sent)
            code = process.wait(timeout=120)
            seconds = time.monotonic() - began
            process.stdout.close()
            left = wait_for_end_of(folder)
            errors.seek(0)
            files = [path for path in temporary.rglob("*") if path.is_file() and path.parts[4] != "ray"]
            return Stop(
                number=number,
                busy=busy,
                signal=sent.name,
                moment=moment,
                code=code,
                errors=errors.read(),
                seconds=seconds,
                processes=left,
                files=[str(path.relative_to(temporary)) for path in files],
            )


def restore_interrupts() -> None:
    """Mind SIGINT in a process that is about to start, also if this one was told to ignore it (`&` in a script)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for_end_of(folder: str) -> list[str]:
    """Wait until no process uses `folder`, and return the command lines of those that still do after `PATIENCE`."""
    until = time.monotonic() + PATIENCE
    while (left := users_of(folder)) and time.monotonic() < until:
        time.sleep(0.2)
    return left


def users_of(folder: str) -> list[str]:
    """Return the command lines of processes whose environment, arguments or open files name `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            opened = b"\0".join(os.fsencode(file.readlink()) for file in (process / "fd").iterdir())
            if (
                int(process.name) != os.getpid()
                and folder.encode() in words + (process / "environ").read_bytes() + opened
            ):
                found.append(words.replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended meanwhile
            continue
    return found


@contextmanager
def cpus_busy(yes: bool) -> Iterator[None]:
    """Keep each CPU busy while this is open."""
    command = [sys.executable, "-c", "while True: pass"]
    loops = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)] if yes else []
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def show(stops: list[Stop]) -> None:
    """Print a table with a line for each second of moments, and each stop that was wrong."""
    print(f"{'':7}{'signal':9}{'moment':10}{'n':>4}{'130':>5}{'one line':>10}{'forced':>8}{'slowest end':>13}")
    groups = sorted({(stop.busy, stop.signal, int(stop.moment)) for stop in stops})
    for busy, name, second in [*groups, (None, "all", None)]:
        of = [s for s in stops if busy is None or (s.busy, s.signal, int(s.moment)) == (busy, name, second)]
        load = "" if busy is None else "busy" if busy else "quiet"
        moment = "" if second is None else f"{second} to {second + 1} s"
        right = sum(s.code == INTERRUPTED for s in of)
        lines = sum(s.errors.count("\n") == 1 for s in of)
        forced = sum(s.errors == FORCED.decode() for s in of)
        slowest = max(s.seconds for s in of)
        print(f"{load:7}{name:9}{moment:10}{len(of):4}{right:5}{lines:10}{forced:8}{slowest:11.1f} s")
    left = sum(bool(s.processes) for s in stops), sum(bool(s.files) for s in stops)
    print(f"stops that left processes: {left[0]}; that left files: {left[1]}")
    for wrong in (s for s in stops if not s.right):
        print(f"wrong: {wrong}")


def main() -> int:
    """Do the stops that are missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="number of stops (default: 300)")
    parser.add_argument("--latest", type=float, default=9.0, help="latest moment in seconds (default: 9)")
    parser.add_argument("--at-once", type=int, default=2, help="stops at a time (default: 2)")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="checkout to stop (default: this one)")
    parser.add_argument("--out", type=Path, default=OUT / "stops.jsonl", help=f"results (default: {OUT}/stops.jsonl)")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.touch()
    stops = [Stop(**json.loads(line)) for line in options.out.read_text().splitlines()]
    done = {stop.number for stop in stops}
    for busy in (False, True):
        missing = [n for n in range(options.count) if n not in done and busy == (n >= options.count // 2)]
        with cpus_busy(busy and bool(missing)), ThreadPoolExecutor(options.at_once) as pool:
            for new in pool.map(lambda n, busy=busy: stop(n, busy, options.latest, options.checkout), missing):
                stops.append(new)
                with options.out.open("a") as file:
                    file.write(json.dumps(asdict(new)) + "\n")
                print(f"{new.number:4} {'right' if new.right else f'wrong: {new}'}", flush=True)
    show(sorted(stops, key=lambda stop: stop.number))
    return 0 if all(stop.right for stop in stops) else 1


if __name__ == "__main__":
    sys.exit(main())
