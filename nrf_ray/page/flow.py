"""The graph of a sweep, small enough to read: one node for all stages of a kind at the same distance from the start.

With one node per kind the graph would have cycles (a set is made with a trained model, and another model is trained on
the set). With the distance as well, every edge goes from left to right.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nrf_ray.page.charts import chart
from nrf_ray.page.html import Html, el
from nrf_ray.page.snapshot import HELD, StageFact, Standing

WIDTH, HEIGHT, BETWEEN, ROOM = 136, 44, 54, 14
"""Width and height of a node, gap between columns, gap between nodes of a column. Pixels."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """Stages of one kind at one level."""

    level: int
    kind: str
    counts: Counter[Standing]
    """Number of stages by state."""

    @property
    def total(self) -> int:
        """Number of stages."""
        return self.counts.total()

    @property
    def held(self) -> int:
        """Number of stages whose artifact is in the store."""
        return sum(self.counts[standing] for standing in HELD)

    @property
    def mood(self) -> str:
        """State that the node shows: failed, blocked, running, done or waiting."""
        for standing in (Standing.FAILED, Standing.BLOCKED, Standing.RUNNING):
            if self.counts[standing]:
                return standing.value
        return "done" if self.held == self.total else "waiting"


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes, and the number of dependencies between their stages."""

    nodes: tuple[Node, ...]
    """Nodes by level, and within a level those of most stages first."""
    edges: Counter[tuple[int, int]]
    """Number of dependencies by indices of two nodes: that of the inputs, that of the stages that need them."""


def graph_of(facts: Sequence[StageFact]) -> Graph:
    """Return the graph of the stages `facts`, which are ordered inputs first."""
    counts: dict[tuple[int, str], Counter[Standing]] = {}
    for fact in facts:
        counts.setdefault((fact.level, fact.kind), Counter())[fact.standing] += 1
    order = sorted(counts, key=lambda node: (node[0], -counts[node].total(), node[1]))
    at = {node: position for position, node in enumerate(order)}
    edges = Counter(
        (at[facts[position].level, facts[position].kind], at[fact.level, fact.kind])
        for fact in facts
        for position in fact.inputs
    )
    nodes = tuple(Node(level=level, kind=kind, counts=counts[level, kind]) for level, kind in order)
    return Graph(nodes=nodes, edges=edges)


def flow(graph: Graph) -> Html:
    """Return a picture of a graph, from left to right."""
    columns: dict[int, list[int]] = {}
    for position, node in enumerate(graph.nodes):
        columns.setdefault(node.level, []).append(position)
    tall = max(map(len, columns.values())) * (HEIGHT + ROOM)
    corners: dict[int, tuple[float, float]] = {}
    for i, column in enumerate(columns.values()):
        top = (tall - len(column) * (HEIGHT + ROOM) + ROOM) / 2
        for j, position in enumerate(column):
            corners[position] = (2 + i * (WIDTH + BETWEEN), top + j * (HEIGHT + ROOM))
    lines = [_edge(corners[start], corners[end], number) for (start, end), number in sorted(graph.edges.items())]
    boxes = [_box(graph.nodes[position], corners[position]) for position in corners]
    said = "; ".join(f"{node.kind}: {node.held} of {node.total} done" for node in graph.nodes)
    size = (4 + len(columns) * (WIDTH + BETWEEN) - BETWEEN, tall)
    return chart(size, "Dependencies between stages", f"From left to right: {said}.", [*lines, *boxes])


def _edge(start: tuple[float, float], end: tuple[float, float], number: int) -> Html:
    x1, y1, x2, y2 = start[0] + WIDTH, start[1] + HEIGHT / 2, end[0], end[1] + HEIGHT / 2
    bend = BETWEEN / 2
    path = f"M{x1:.1f},{y1:.1f}C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
    return el("path", d=path, stroke_width=round(1 + math.log10(number), 1), cls="edge")


def _box(node: Node, corner: tuple[float, float]) -> Html:
    x, y = corner
    share = node.held / node.total
    words = ", ".join(f"{number} {standing}" for standing, number in node.counts.items())
    inner = WIDTH - 24
    return el(
        "g",
        el("title", f"{node.kind}: {words}"),
        el("rect", x=x, y=y, width=WIDTH, height=HEIGHT, rx=6, cls="box"),
        el("text", node.kind, x=x + 12, y=y + 18, cls="name"),
        el("text", f"{node.held}/{node.total}", x=x + WIDTH - 12, y=y + 18, text_anchor="end", cls="tick"),
        el("rect", x=x + 12, y=y + 28, width=inner, height=4, rx=2, cls="track"),
        el("rect", x=x + 12, y=y + 28, width=round(inner * share, 1), height=4, rx=2, cls="fill") if share else None,
        cls=f"node {node.mood}",
    )
