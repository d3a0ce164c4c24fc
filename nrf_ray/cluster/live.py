"""Display of a running sweep in the terminal.

On a terminal: one live table of stages by kind and state, with finished table rows, rate and time left, and a bar for
each running stage. Elsewhere: one plain line every few seconds. If nothing has finished for a while, a line says which
stages run and how many wait.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nrf_ray.cluster.search import StageSearcher
from nrf_ray.display.printing import span
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.frontier import Frontier, Progress
from nrf_ray.sweep.sweep import Sweep

LINE_SECONDS = 10.0
STALL_SECONDS = 60.0
MOST_BARS, MOST_NAMED = 8, 2
"""Maximum number of running stages with a bar in the table, and with their headway in the line."""


class LiveView:
    """Display of the progress of a frontier until its context ends."""

    def __init__(
        self,
        console: Console,
        sweep: Sweep,
        searcher: StageSearcher,
        free: Callable[[], str],
    ) -> None:
        """Prepare the display; `free` returns the free resources of the cluster as text."""
        self._console = console
        self._searcher = searcher
        self._frontier = searcher.frontier
        self._slots = searcher.slots()
        self._slot_ticks = (self._slots, 1)
        self._free = free
        self._rows: list[list[Key]] = [[stage.key for stage in row.stages()] for row in sweep.rows]
        self._began = time.monotonic()
        self._last_done = (0, self._began)
        self._stop = threading.Event()
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=2, transient=True)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._console.is_terminal:
            self._live.stop()

    @property
    def mean_slots(self) -> float:
        """Number of stages that could run at once, averaged over the time since the display began."""
        slots, ticks = self._slot_ticks
        return slots / ticks

    def line(self) -> str:
        """Return the progress of the run in one line, with that of the stages that run."""
        return " | ".join([self._summary(), *self._at_work()])

    def _summary(self) -> str:
        """Return the progress of the run as a whole in one line."""
        done, total = _done(self._frontier), len(self._frontier.stages)
        elapsed = time.monotonic() - self._began
        rows = sum(all(self._is_done(key) for key in keys) for keys in self._rows)
        parts = [
            f"{elapsed:4.0f} s",
            f"{done}/{total} stages",
            f"{rows}/{len(self._rows)} table rows",
            f"{done / elapsed:.1f} stages/s" if elapsed > 1 else "starting",
            self._time_left(elapsed),
        ]
        if self._searcher.elsewhere:
            parts.append(f"{len(self._searcher.elsewhere)} in another run")
        return " | ".join(parts)

    def _at_work(self) -> list[str]:
        """Return how far the running stages are that have reported, the first of them by name."""
        told = self._searcher.headway()
        titles = {key: self._frontier.stages[key].title for key in list(told)[:MOST_NAMED]}
        rest = len(told) - len(titles)
        named = "; ".join(f"{title}: {told[key].text}" for key, title in titles.items())
        return [f"{named}; {rest} more" if rest else named] if told else []

    def _is_done(self, key: Key) -> bool:
        return self._frontier.state.get(key, Progress.DONE) is Progress.DONE

    def _time_left(self, elapsed: float) -> str:
        running = self._searcher.headway()
        left = self._frontier.expected_left(elapsed, running)
        if left is None:
            return f"about {self._frontier.work_left(running) / max(1, self._slots):.0f} s of work"
        return f"about {left:.0f} s left"

    def _table(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2))
        table.add_column("stage")
        for progress in Progress:
            table.add_column(progress.value, justify="right")
        for kind, counts in list(self._frontier.counts().items()):
            table.add_row(kind, *(str(counts[progress] or "") for progress in Progress))
        bar = ProgressBar(total=len(self._frontier.stages), completed=_done(self._frontier), width=60)
        return Group(table, Text(self._summary()), bar, self._bars())

    def _bars(self) -> RenderableType:
        """Return a table of the running stages: headway as a bar and in words, and seconds left."""
        told, live = self._searcher.headway(), list(self._searcher.live.values())[: self._slots]
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for width in (24, 10, 16, 18):  # on a narrow terminal, titles and words are cut and the rest stays
            table.add_column(min_width=width, no_wrap=True, overflow="ellipsis")
        for stage in live[:MOST_BARS]:
            far = told.get(stage.key)
            if far is None:
                table.add_row(Text(f"running: {stage.title}"), "", "", "")
                continue
            left = f"{span(far.left)} left" if far.left is not None else ""
            bar = ProgressBar(total=1.0, completed=far.share, width=20)
            table.add_row(Text(f"running: {stage.title}"), bar, left, far.text)
        if len(live) > MOST_BARS:
            table.add_row(f"and {len(live) - MOST_BARS} more", "", "", "")
        return table

    def _watch(self) -> None:
        last_line = self._began
        while not self._stop.wait(0.5):
            now = time.monotonic()
            self._slots = self._searcher.slots()
            self._slot_ticks = (self._slot_ticks[0] + self._slots, self._slot_ticks[1] + 1)
            if _done(self._frontier) != self._last_done[0]:
                self._last_done = (_done(self._frontier), now)
            if now - self._last_done[1] > STALL_SECONDS:
                self._console.print(self._stall(now - self._last_done[1]), highlight=False)
                self._last_done = (self._last_done[0], now)
            if not self._console.is_terminal and now - last_line > LINE_SECONDS:
                self._console.print(self.line(), highlight=False)
                last_line = now

    def _stall(self, seconds: float) -> str:
        live = ", ".join(
            f"{s.title} (expected {self._frontier.seconds(s.key):.0f} s)" for s in list(self._searcher.live.values())
        )
        elsewhere = ", ".join(f"{key[:8]} by {who}" for key, who in list(self._searcher.elsewhere.items()))
        waiting = sum(state is Progress.WAITING for state in list(self._frontier.state.values()))
        return (
            f"nothing has finished for {seconds:.0f} s. Handed out: {live or 'nothing'}. In another run: "
            f"{elsewhere or 'nothing'}. {waiting} stages wait for these. Free on the cluster: {self._free()}"
        )


def _done(frontier: Frontier) -> int:
    return sum(state is Progress.DONE for state in list(frontier.state.values()))
