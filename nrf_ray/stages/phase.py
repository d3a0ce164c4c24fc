"""The phase diagram: which part of planted examples is learnt, as norm and predictiveness of the noise part vary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nrf_ray.data.planted import KINDS
from nrf_ray.display.svg import Panel, picture
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD

FILE = "phase_diagram.svg"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of planted set."""

    p_noise: float
    """Predictiveness of its noise part."""
    noise: float
    """Norm of its noise part."""
    models: tuple[str, ...]
    """Names of the inputs that say what models rely on: one for each seed."""


@dataclass(frozen=True, kw_only=True)
class PhasePanel:
    """One modality."""

    modality: str
    """image or text."""
    arch: str
    """Architecture of the models."""
    p_human: float
    """Predictiveness of the human part in all cells."""
    cells: tuple[Cell, ...]
    """In any order; every pair of a predictiveness and a norm once."""


@dataclass(frozen=True, kw_only=True)
class PhaseSpec:
    """What is drawn."""

    panels: tuple[PhasePanel, ...]
    """Side by side."""


@stage(version=2, cost=lambda handle: OVERHEAD, on_gpu=False)
def phase_diagram(config: PhaseSpec, context: Context, **reliances: Artifact) -> Metrics:
    """Write `phase_diagram.svg`; measure MODALITY.NORM.PREDICTIVENESS: mean over seeds of noise followed minus human.

    `reliances` are the `reliance` stages that the cells name.
    """

    def learnt(name: str) -> float:
        metrics = reliances[name].record.metrics
        return float(metrics["follows_noise"]) - float(metrics["follows_human"])  # type: ignore[arg-type]

    diagrams = [
        Diagram(
            title=f"planted {KINDS[panel.modality].called}, {panel.arch}",
            p_human=panel.p_human,
            values={
                (cell.p_noise, cell.noise): sum(map(learnt, cell.models)) / len(cell.models) for cell in panel.cells
            },
        )
        for panel in config.panels
    ]
    context.write(FILE, draw_phases(diagrams))
    return {
        f"{panel.modality}.{noise:g}.{p_noise:g}": value
        for panel, diagram in zip(config.panels, diagrams, strict=True)
        for (p_noise, noise), value in diagram.values.items()
    }


HUMAN, NOISE, LINE = (46, 109, 164), (192, 57, 43), "#222222"
CELL, LEFT, TOP, BOTTOM, GAP = 74.0, 70.0, 50.0, 92.0, 70.0
NOTE = 260.0
"""Pixels of the words under a panel, which stand in its middle."""


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """One panel."""

    title: str
    """Above it."""
    p_human: float
    """Predictiveness of the human part."""
    values: Mapping[tuple[float, float], float]
    """From (predictiveness, norm) of the noise part to noise followed minus human part followed, -1 to 1."""


def draw_phases(diagrams: Sequence[Diagram]) -> bytes:
    """Return the diagrams side by side as SVG: blue where models follow the human part, red where the noise part.

    Equal steps are drawn for the values of each axis, whatever lies between them. The line is where the best classifier
    changes sides: between predictivenesses below and above that of the human part.
    """
    panels: list[Panel] = []
    left = LEFT
    for diagram in diagrams:
        cells = CELL * len({share for share, _ in diagram.values})
        aside = max(0.0, NOTE - cells) / 2
        panels.append(_panel(diagram, left + aside))
        left += cells + 2 * aside + GAP
    height = TOP + max(panel.height for panel in panels) + BOTTOM
    legend = [
        (_colour(-1.0), "follows the human part"),
        (_colour(1.0), "follows the noise part"),
        (LINE, "best changes"),
    ]
    return picture(panels, title="Which part is learnt", width=max(left, 560.0), height=height, legend=legend)


def _panel(diagram: Diagram, left: float) -> Panel:
    shares = sorted({share for share, _ in diagram.values})
    norms = sorted({norm for _, norm in diagram.values})
    panel = Panel(
        left=left,
        top=TOP,
        width=CELL * len(shares),
        height=CELL * len(norms),
        x=(0, len(shares)),
        y=(0, len(norms)),
        title=diagram.title,
        note=f"noise part: predictiveness (human {diagram.p_human:g}), norm",
        x_names=[(i + 0.5, f"{share:g}") for i, share in enumerate(shares)],
        y_names=[(i + 0.5, f"{norm:g}") for i, norm in enumerate(norms)],
    )
    for (share, norm), value in sorted(diagram.values.items()):
        i, j = shares.index(share), norms.index(norm)
        panel.band([(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)], colour=_colour(value), opacity=1)
    below = sum(share < diagram.p_human for share in shares)
    equal = sum(share == diagram.p_human for share in shares)
    change = below + equal / 2
    panel.curve([(change, 0), (change, len(norms))], colour=LINE, width=2)
    for (share, norm), value in sorted(diagram.values.items()):
        panel.word((shares.index(share) + 0.5, norms.index(norm) + 0.5), f"{value:+.2f}")
    return panel


def _colour(value: float) -> str:
    """Return white at 0, and towards blue at -1 or red at 1."""
    end = NOISE if value > 0 else HUMAN
    share = min(1.0, abs(value)) * 0.8
    return "#" + "".join(f"{round(255 + (tone - 255) * share):02x}" for tone in end)
