"""A contender in a process of its own, for what a process has only one of: its malloc."""

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from nrf_ray.engine.runtime import keep_freed_memory
from tests.benchmarks.harness import Contender


def apart(name: str, make: Callable[[], Contender], *, threads: int, keeps_memory: bool) -> Contender:
    """Return the contender that `make`, which must be picklable, returns in a new process; timed from here."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_serve, args=(make, threads, keeps_memory, theirs), daemon=True).start()

    def ask(what: str) -> Any:
        ours.send(what)
        return ours.recv()

    work = float(ours.recv())
    return Contender(
        name=name, work=work, run=lambda: ask("run"), check=lambda: ask("check"), close=lambda: ask("close")
    )


def _serve(make: Callable[[], Contender], threads: int, keeps_memory: bool, pipe: Connection) -> None:
    import torch

    torch.set_num_threads(threads)
    if keeps_memory:
        keep_freed_memory()
    contender = make()
    pipe.send(contender.work)
    while (asked := pipe.recv()) != "close":
        pipe.send(contender.check() if asked == "check" else bool(contender.run()))
    pipe.send("closed")
