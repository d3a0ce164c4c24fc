"""Time that a sweep took: by kind of stage, over time, and along the chain that more machines cannot shorten.

All from `stages.parquet`, whose rows have the time of each stage on its slot, its start, and the stages that it was
made from. Stages that were in the store before a run began are counted with the time they took then.
"""

import textwrap
from graphlib import TopologicalSorter

import pandas as pd
from matplotlib.figure import Figure

from style import BLUE, COLOURS, ORANGE, blank, footnote, nothing, outside_legend, quiet

CLOCK = 1.0
"""Precision of the start of a stage in seconds."""

EMPTY = "There are no stages to draw; see above which command makes the table."


def by_kind(stages: pd.DataFrame) -> pd.DataFrame:
    """Return one row per kind of stage, costliest first: `stages`, `seconds` of work, their `share`, the `longest`."""
    done = stages[stages["state"] == "done"]
    found = done.groupby("stage")["seconds"].agg(stages="count", seconds="sum", longest="max").reset_index()
    found["share"] = found["seconds"] / found["seconds"].sum()
    return found.sort_values("seconds", ascending=False).reset_index(drop=True)


def critical_path(stages: pd.DataFrame) -> pd.DataFrame:
    """Return the longest chain of stages, each made from the one before, with shards one after the other.

    Rows are those of `stages`, in the order of work, with `ends`, the seconds from the start of the chain to its end.
    """
    done = stages[stages["state"] == "done"].set_index("key")
    seconds = dict(zip(stages["key"], stages["seconds"], strict=True))
    inputs = {key: [one for one in text.split() if one in done.index] for key, text in done["inputs"].items()}
    ends: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for key in TopologicalSorter(inputs).static_order():
        slowest = max(inputs[key], key=ends.__getitem__, default=None)
        before[key] = slowest
        ends[key] = seconds[key] + (ends[slowest] if slowest else 0.0)
    chain: list[str] = []
    last = max(ends, key=ends.__getitem__, default=None)
    while last is not None:
        chain.append(last)
        last = before[last]
    path = done.loc[chain[::-1]].reset_index()
    return path.assign(ends=[ends[key] for key in path["key"]])


def costs(kinds: pd.DataFrame, *, title: str, note: str) -> Figure:
    """Draw the seconds of work of every kind of stage, with their number."""
    if kinds.empty:
        return nothing(EMPTY)
    figure, (ax,) = blank(8, 1.4 + 0.34 * len(kinds))
    ax.barh(range(len(kinds)), kinds["seconds"], color=BLUE)
    for y, row in enumerate(kinds.to_dict("records")):
        ax.annotate(f"{row['stages']} stages, {row['share']:.0%}", (row["seconds"], y), xytext=(4, 0),
                    textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    ax.set_yticks(range(len(kinds)), list(kinds["stage"]))
    ax.invert_yaxis()
    ax.margins(x=0.2)
    ax.set_xlabel("work on one slot, seconds")
    quiet(ax, grid="x")
    ax.set_title(title, loc="left", fontsize=11)
    footnote(figure, note)
    return figure


def timeline(stages: pd.DataFrame, *, title: str, note: str) -> Figure:
    """Draw when each stage ran, in as few lanes as possible, one colour per kind; the costliest kinds are named."""
    done = stages[stages["state"] == "done"].copy()
    if done.empty:
        return nothing(EMPTY)
    started = pd.to_datetime(done["started"], utc=True)
    done["begin"] = (started - started.min()).dt.total_seconds()
    done = done.sort_values("begin", kind="stable")
    done["lane"] = lanes(done["begin"].tolist(), done["seconds"].tolist())
    named = list(by_kind(stages)["stage"])[: len(COLOURS) - 1]
    figure, (ax,) = blank(9, 1.6 + 0.3 * (done["lane"].max() + 1))
    for kind, colour in (*zip(named, COLOURS, strict=False), ("others", COLOURS[-1])):
        rows = done[~done["stage"].isin(named)] if kind == "others" else done[done["stage"] == kind]
        if len(rows):
            ax.barh(rows["lane"], rows["seconds"], 0.8, left=rows["begin"], color=colour, label=kind)
    ax.set_yticks(range(done["lane"].max() + 1))
    ax.set_ylabel("lane")
    ax.set_xlabel("seconds since the first stage began")
    quiet(ax, grid="x")
    outside_legend(figure, ax)
    ax.set_title(title, loc="left", fontsize=11)
    footnote(figure, note)
    return figure


def lanes(begins: list[float], seconds: list[float]) -> list[int]:
    """Return for each stage, in the order of their starts, the lane that has been free for longest, or a new one."""
    free: list[float] = []
    found = []
    for begin, took in zip(begins, seconds, strict=True):
        lane = min(range(len(free)), key=free.__getitem__, default=0)
        if not free or free[lane] > begin + CLOCK:
            lane = len(free)
        free[lane : lane + 1] = [begin + took]
        found.append(lane)
    return found


def chain(path: pd.DataFrame, *, title: str, note: str) -> Figure:
    """Draw the critical path as one line of stages, each beginning where the one before ends."""
    if path.empty:
        return nothing(EMPTY)
    figure, (ax,) = blank(9, 1.4 + 0.34 * len(path))
    begins = path["ends"] - path["seconds"]
    ax.barh(range(len(path)), path["seconds"], left=begins, color=ORANGE)
    ax.set_yticks(
        range(len(path)), [textwrap.shorten(f"{s}: {t}", 60) for s, t in zip(path["stage"], path["label"], strict=True)]
    )
    ax.invert_yaxis()
    ax.set_xlabel("seconds from the chain's start")
    quiet(ax, grid="x")
    ax.set_title(title, loc="left", fontsize=11)
    footnote(figure, note)
    return figure
