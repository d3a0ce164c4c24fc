"""Time rivals fairly: the same work, one after the other in every round, in one pinned process.

A *case* is one comparison; its *contenders* do the same work in their own ways. Each case gets a process of its own,
with as many CPUs and threads as it says. There every contender is warmed up apart, then all of them run once a round,
each round beginning with another, so that whatever slows the machine down slows all of them. A contender is compared
by the ratios within rounds, not by the ratio of two medians.
"""

import argparse
import gc
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from nrf_ray.engine.runtime import keep_freed_memory
from tests.benchmarks.processes import OthersWatch
from tests.benchmarks.table import Result, identity, machine, merge_table, read_table, show

REPEATS = 10
"""Rounds of a case, where it says no other number: enough for quartiles."""
WARM_UPS = 2
"""Unreported runs of each contender: the first builds kernels, the second sees them cached."""
OUT = Path("build/benchmarks")
"""Where tables go by default."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to do the work of a case."""

    name: str
    """What it is called in tables."""
    run: Callable[[], object]
    """Does the work once; this is what is timed."""
    work: float | Callable[[], float] = 1.0
    """How many `unit`s of the case one run does; a function is asked after each run how many that one did."""
    check: Callable[[], Mapping[str, float]] = field(default=dict)
    """Called after all rounds: what an independent look at the last run's result says."""
    close: Callable[[], object] = field(default=lambda: None)
    """Called at the end, whatever happened: gives back what `run` used."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison."""

    name: str
    """What --case chooses by; parts joined by dashes, such as `resnet_s-l2-fp32-2`."""
    contenders: Callable[[], Sequence[Contender]]
    """Builds the rivals, inside the pinned process; picklable. The first is compared with each of the others."""
    threads: int
    """CPUs that the process is pinned to, and torch's threads."""
    unit: str
    """What a contender's `work` counts; it is reported per second."""
    repeats: int = REPEATS
    """Rounds."""
    warm_ups: int = WARM_UPS
    """Unreported runs of each contender."""
    keeps_memory: bool = True
    """Whether malloc keeps what is freed, for all contenders alike, as it does wherever a stage of ours runs."""


def main(benchmark: str, description: str, cases: Sequence[Case]) -> None:
    """Run the cases that the command line chooses, print them, and keep them in `OUT/<benchmark>.parquet`."""
    options = command_line(description)
    for case in cases:
        if not fnmatch(case.name, options.case):
            continue
        if options.list:
            print(case.name)
            continue
        results = run_case(benchmark, case, repeats=options.repeats)
        report(options.out / f"{benchmark}.parquet", results, add=options.add)


def report(path: Path, results: Sequence[Result], *, add: bool = False) -> None:
    """Print the results of one case and put them into the table at `path`, with `add` beside the former samples."""
    if add and path.exists():
        former = {(identity(row), row.contender): row for row in read_table(path)}
        results = _together([former.get((identity(new), new.contender)) for new in results], results)
    show(results)
    merge_table(path, results)


def _together(former: Sequence[Result | None], results: Sequence[Result]) -> list[Result]:
    """Return `results` with the samples of `former` before their own."""
    samples = [[*(old.samples if old else ()), *new.samples] for old, new in zip(former, results, strict=True)]
    return [
        result(
            new.benchmark, new.case, new.contender, own,
            unit=new.unit, threads=new.threads, first=samples[0], warm_up_seconds=new.warm_up_seconds,
            load=new.load, others=max(new.others, old.others if old else 0.0), checks=new.checks,
        )
        for new, old, own in zip(results, former, samples, strict=True)
    ]  # fmt: skip


def command_line(description: str) -> argparse.Namespace:
    """Read the flags that all benchmarks share: case, repeats, add, out, list."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="*", help="pattern of case names, such as 'resnet_s-*-2' (default: all)")
    parser.add_argument("--repeats", type=int, help="rounds (default: what each case says)")
    parser.add_argument("--add", action="store_true", help="keep the samples of earlier runs of a case too")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder of the tables (default: {OUT})")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    return parser.parse_args()


def run_case(benchmark: str, case: Case, *, repeats: int | None = None) -> list[Result]:
    """Run one case in a pinned process of its own; return one result a contender, the first one first."""
    with pinned(case.threads), ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_rounds, benchmark, case, repeats or case.repeats).result()


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Give the processes that are started inside `threads` CPUs and as many OpenMP threads.

    The threads are not bound one to a CPU: a DataLoader's workers would inherit the first thread's CPU.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise SystemExit(f"a case asks for {threads} CPUs and this process may use {len(allowed)}")
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.sched_setaffinity(0, allowed[:threads])
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _rounds(benchmark: str, case: Case, repeats: int) -> list[Result]:
    """Time all contenders of `case`, `repeats` rounds; runs in the pinned process."""
    import torch

    torch.set_num_threads(case.threads)
    if case.keeps_memory:
        keep_freed_memory()
    load = os.getloadavg()[0]
    contenders = case.contenders()
    with ExitStack() as at_end:
        for contender in contenders:
            at_end.callback(contender.close)
        warm_up = {contender.name: sum(timed(contender.run) for _ in range(case.warm_ups)) for contender in contenders}
        rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        with OthersWatch() as others:
            for turn in range(repeats):
                begin = turn % len(contenders)
                for contender in (*contenders[begin:], *contenders[:begin]):
                    seconds = timed(contender.run)
                    work = contender.work() if callable(contender.work) else contender.work
                    rates[contender.name].append(work / seconds)
        return [
            result(
                benchmark,
                case.name,
                contender.name,
                rates[contender.name],
                unit=f"{case.unit}/s",
                threads=case.threads,
                first=rates[contenders[0].name],
                warm_up_seconds=warm_up[contender.name],
                load=load,
                others=others.cores,
                checks=contender.check(),
            )
            for contender in contenders
        ]


def result(
    benchmark: str,
    case: str,
    contender: str,
    samples: Sequence[float],
    *,
    unit: str,
    threads: int,
    first: Sequence[float] | None = None,
    warm_up_seconds: float = 0.0,
    load: float = 0.0,
    others: float = 0.0,
    checks: Mapping[str, float] | None = None,
) -> Result:
    """Return the row of one contender: median and quartiles of `samples`, and of the ratios of `first` to them.

    `first` are the samples of the first contender; sample i of both was taken in round i. None for the first itself.
    """
    ratios = [best / own for best, own in zip(first or samples, samples, strict=True)]
    low, median, high = quartiles(samples)
    ratio_low, ratio, ratio_high = quartiles(ratios)
    return Result(
        benchmark=benchmark,
        case=case,
        contender=contender,
        threads=threads,
        unit=unit,
        n=len(samples),
        median=median,
        q1=low,
        q3=high,
        iqr=high - low,
        ratio=ratio,
        ratio_q1=ratio_low,
        ratio_q3=ratio_high,
        samples=list(samples),
        warm_up_seconds=warm_up_seconds,
        load=load,
        others=others,
        checks=dict(checks or {}),
        machine=machine(),
    )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile, between neighbours where they fall between."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that `run` takes; rubbish of what ran before is collected first and not counted."""
    gc.collect()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
