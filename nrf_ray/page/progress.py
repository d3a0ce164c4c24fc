"""Progress of a run as HTML: its state, progress by kind of stage, running stages, dependencies, failures."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from nrf_ray.display.printing import span
from nrf_ray.graph.headway import Headway
from nrf_ray.page.elements import command, count, grid, listed, moment, more, note, scrolling, section
from nrf_ray.page.flow import flow, graph_of
from nrf_ray.page.html import Html, el, join
from nrf_ray.page.snapshot import HELD, Failure, RunState, Snapshot, StageFact, Standing, Working
from nrf_ray.page.stage_states import bottlenecks

MOST_WORKING = 16
MOST_STAGES = 1000
"""Maximum number of stages in the list; for larger sweeps, `stages.parquet` has all of them."""
TRACE_LINES = 8
"""Number of lines shown from the start of a traceback, and from its end."""

ORDER = (
    Standing.KEPT,
    Standing.DONE,
    Standing.RUNNING,
    Standing.READY,
    Standing.WAITING,
    Standing.BLOCKED,
    Standing.FAILED,
)
"""Order of the states in bars, from left to right."""
LOOKED_FOR = (*reversed(ORDER[5:]), *ORDER[2:5], *reversed(ORDER[:2]))
"""Order of the states in lists: failed and blocked first, then unfinished, then finished."""
WORDS = {
    Standing.KEPT: "kept from before",
    Standing.DONE: "done",
    Standing.RUNNING: "running",
    Standing.READY: "ready",
    Standing.WAITING: "waiting",
    Standing.BLOCKED: "blocked",
    Standing.FAILED: "failed",
}


def heading(known: Snapshot) -> Html:
    """Return the head of the page: name, state and time."""
    counts = known.counts()
    held, total = sum(counts[standing] for standing in HELD), len(known.stages)
    done, rows = known.rows
    before = f", {counts[Standing.KEPT]:,} from before" if counts[Standing.KEPT] else ""
    return el(
        "header",
        el("p", "nrf_ray sweep", cls="eyebrow"),
        el("h1", known.sweep),
        el("p", el("strong", known.state.value.capitalize(), cls="state"), f" {_time(known)}", cls="lede"),
        el("p", known.why, cls="why") if known.why else None,
        bar(counts, "All stages"),
        el("p", f"In the store: {held:,} of {count(total, 'stage')}{before}. ",
           f"Complete: {done:,} of {count(rows, 'row')} of the tables.", cls="note"),
        el(
            "p", "Written ", el("time", moment(known.written), datetime=known.written.isoformat()), ". ",
            el("span", id="refresh"), cls="note",
        ),
        _checked(known.checked),
        cls=f"top {known.state}",
    )  # fmt: skip


def _checked(when: datetime | None) -> Html | None:
    """Return when the same command was given again and found nothing to do; None if it was not."""
    if when is None:
        return None
    at = el("time", moment(when), datetime=when.isoformat())
    return el("p", "The same command found every stage in the store on ", at, ".", cls="note")


def _time(known: Snapshot) -> str:
    expected = f" ({span(known.expected)} expected)" if known.expected else ""
    if known.state is not RunState.RUNNING:
        return f"after {span(known.elapsed)}{expected}"
    left = f", about {span(known.left)} left" if known.left is not None else ""
    return f"for {span(known.elapsed)}{left}{expected}"


def bar(counts: Counter[Standing], what: str) -> Html:
    """Return a bar of stages by state, with the same numbers in words as its label."""
    total, start, parts = max(1, counts.total()), 0.0, []
    for standing in ORDER:
        width = 100 * counts[standing] / total
        if width:
            parts.append(el("rect", x=f"{start:.2f}%", y=0, width=f"{width:.2f}%", height="100%", cls=f"is-{standing}"))
        start += width
    return el("svg", *parts, cls="bar", role="img", aria_label=f"{what}: {told(counts)}")


def told(counts: Counter[Standing]) -> str:
    """Return the number of stages in each state, in words."""
    return ", ".join(f"{counts[standing]:,} {WORDS[standing]}" for standing in ORDER if counts[standing])


def progress(known: Snapshot) -> Html:
    """Return the section with progress by kind of stage, running stages, stages waited for, and every stage."""
    kinds: dict[str, Counter[Standing]] = {}
    for fact in known.stages:
        kinds.setdefault(fact.kind, Counter())[fact.standing] += 1
    rows = [(kind, bar(counts, kind), told(counts)) for kind, counts in kinds.items()]
    table = grid("Stages by kind", ("kind", "progress", "in words"), rows, names=3)
    return section(
        "progress",
        "Progress",
        table,
        *_at_work(known),
        _waits(known),
        more(
            "flow", "Dependencies between stages",
            scrolling("graph of the stages", flow(graph_of(known.stages))),
            note("One box for all stages of a kind at the same distance from the start; lines go to what needs them."),
            shown=known.state is not RunState.FINISHED,
        ) if known.stages else None,
        _every_stage(known),
    )  # fmt: skip


def _at_work(known: Snapshot) -> Iterator[Html]:
    if known.state is not RunState.RUNNING:
        return
    yield el("h3", "Running now")
    if not known.working:
        yield el("p", "No stage has a process at this moment.")
        return
    columns = ("stage", "kind", "progress", "in words", "for", "expected", "left")
    yield grid("Stages that run now", columns, map(_working_row, known.working[:MOST_WORKING]), names=4)
    rest = len(known.working) - MOST_WORKING
    if rest > 0:
        yield note(f"and {rest:,} more")


def _working_row(working: Working) -> tuple[str, ...]:
    told = working.headway
    return (
        working.fact.title,
        working.fact.kind,
        headway_bar(told, working.fact.title) if told else "",
        told.text if told else "",
        "" if working.since is None else span(working.since),
        "" if working.expected is None else span(working.expected),
        "" if told is None or told.left is None else span(told.left),
    )


def headway_bar(told: Headway, what: str) -> Html:
    """Return a bar of how much of a running stage is done, with the same in words as its label."""
    done = el("rect", x=0, y=0, width=f"{100 * told.share:.2f}%", height="100%", cls=f"is-{Standing.RUNNING}")
    return el("svg", done, cls="bar", role="img", aria_label=f"{what}: {told.share:.0%} done")


def _waits(known: Snapshot) -> Html | None:
    found = bottlenecks(list(known.stages), 6) if known.state is RunState.RUNNING else []
    if not found:
        return None
    rows = [(line.fact.title, line.fact.standing.value, count(line.waiting, "stage")) for line in found]
    return join(
        (
            el("h3", "Bottlenecks"),
            grid("Stages that others wait for", ("stage", "state", "waiting for it"), rows, names=2),
        )
    )


def _every_stage(known: Snapshot) -> Html:
    facts = sorted(known.stages, key=lambda fact: LOOKED_FOR.index(fact.standing))[:MOST_STAGES]
    rows = [(fact.title, fact.kind, WORDS[fact.standing], el("code", fact.key[:12])) for fact in facts]
    summary = "Every stage" if len(known.stages) <= MOST_STAGES else f"{len(facts):,} of {len(known.stages):,} stages"
    return more(
        "stages",
        summary,
        grid("Stages", ("stage", "kind", "state", "key"), rows, names=4),
        note("nrf show KEY prints the record of a stage; stages.parquet has all of them, with times and hosts."),
    )


def failures(known: Snapshot) -> Html | None:
    """Return the section with failed stages and the stages they block; None if there are none."""
    blocked = [fact for fact in known.stages if fact.standing is Standing.BLOCKED]
    if not known.failures and not blocked:
        return None
    failed = known.counts()[Standing.FAILED]
    lede = f"Failed: {count(failed, 'stage')}. Left out because of that: {count(len(blocked), 'stage')}."
    cause = "Fix the cause and run the same command again; finished stages are not repeated."
    left_out = more("blocked", "What was left out", el("p", _titles(blocked))) if blocked else None
    shown = len(known.failures)
    rest = note(f"{failed - shown:,} more failed; nrf status names them.") if failed > shown else None
    return section(
        "failures", "Failures", el("p", lede, " ", cause), *(_failure(f, known) for f in known.failures), rest, left_out
    )


def _titles(facts: list[StageFact]) -> str:
    return f"{listed([fact.title for fact in facts], 40)}."


def _failure(failure: Failure, known: Snapshot) -> Html:
    fact = failure.fact
    blocks = f" It blocks {count(failure.blocks, 'other stage')}." if failure.blocks else ""
    show = f"nrf show {fact.key[:12]} --store {known.place}"
    trace = scrolling(f"traceback of {fact.title}", el("pre", shortened(failure.trace))) if failure.trace else None
    return el(
        "article",
        el("h3", fact.title),
        el("p", fact.reason, f".{blocks}" if blocks else None, cls="cause"),
        trace,
        note("Full traceback:"),
        command(show),
    )


def shortened(trace: str) -> str:
    """Return the first and the last lines of a traceback."""
    lines = trace.rstrip().splitlines()
    left_out = len(lines) - 2 * TRACE_LINES
    if left_out <= 0:
        return "\n".join(lines)
    return "\n".join([*lines[:TRACE_LINES], f"... {count(left_out, 'line')} ...", *lines[-TRACE_LINES:]])
