"""What a report from inside a stage costs: in the loop that is at work, in the process that sends it, in the driver.

    python -m tests.benchmarks.reports --count 300 --stages 16

A local Ray is started as a run starts it. A worker times each step of a loop that says how far it is, the reading of
the headway by the thread that reports, and each report that is sent, one after the other. The driver times each reading
of the reports of `--stages` trials. Prints median, 99th percentile and maximum of each, in milliseconds; on a busy
machine only the CPU time says anything.
"""

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING

from nrf_ray.cluster.leave import leave_with
from nrf_ray.cluster.session import connect  # before anything else imports ray
from nrf_ray.graph.headway import current, loop, over

if TYPE_CHECKING:
    from nrf_ray.cluster.reports import Channel

STEPS = 100_000
"""Steps of the timed loop; one step is too short to be timed alone."""


def times_of(channel: "Channel", count: int, stages: int) -> dict[str, list[float]]:
    """Return the seconds of each part, measured in the calling process, for reports of `stages` trials."""
    found: dict[str, list[float]] = {
        "a step of the loop": [],
        "reading the headway": [],
        "sending a report": [],
        "CPU time of sending a report": [],
    }
    for _ in range(10):
        began = time.perf_counter()
        for _ in over(range(STEPS), "batches", total=STEPS):
            pass
        found["a step of the loop"].append((time.perf_counter() - began) / STEPS)
    with loop(count, "epochs", images=count * 10_000) as epochs:
        for number in range(count):
            for _ in over(range(3), "batches"):
                began = time.perf_counter()
                told = current()
                found["reading the headway"].append(time.perf_counter() - began)
            epochs.advance(loss=0.123456, accuracy=0.912345)
            began, used = time.perf_counter(), time.process_time()
            channel.send(f"trial-{number % stages}", told)
            found["sending a report"].append(time.perf_counter() - began)
            found["CPU time of sending a report"].append(time.process_time() - used)
    return found


def main() -> int:
    """Measure and print."""
    import ray

    from nrf_ray.cluster.reports import Channel

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--stages", type=int, default=16)
    given = parser.parse_args()
    channel = Channel()
    with connect(None):
        found = ray.get(ray.remote(times_of).remote(channel, given.count, given.stages))
        readings = []
        for _ in range(given.count):
            began = time.perf_counter()
            assert len(channel.read()) == given.stages
            readings.append(time.perf_counter() - began)
        found[f"reading {given.stages} reports in the driver"] = readings
        channel.forget("")
        assert channel.read() == {}
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    for name, seconds in found.items():
        worst = statistics.quantiles(seconds, n=100)[98] if len(seconds) > 1 else seconds[0]
        print(f"{name:34} n={len(seconds):<4} median {1e3 * statistics.median(seconds):.4f} ms, "
              f"99% {1e3 * worst:.4f} ms, maximum {1e3 * max(seconds):.4f} ms")  # fmt: skip
    return 0


if __name__ == "__main__":
    leave_with(main)
