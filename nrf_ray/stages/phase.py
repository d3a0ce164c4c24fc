"""Phase diagram: which part of planted examples is learnt, as norm and predictiveness of the noise part vary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nrf_ray.data.planted import KINDS
from nrf_ray.display.svg import Panel, picture
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD

FILE = "phase_diagram.svg"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of a phase diagram: one kind of planted set."""

    p_noise: float
    """Predictiveness of its noise part."""
    noise: float
    """Norm of its noise part."""
    models: tuple[str, ...]
    """Names of the `reliance` inputs, one for each seed."""


@dataclass(frozen=True, kw_only=True)
class PhasePanel:
    """Phase diagram of one modality."""

    modality: str
    """Modality: image, colour or text."""
    arch: str
    """Architecture of the models."""
    p_human: float
    """Predictiveness of the human part at all points."""
    cells: tuple[Cell, ...]
    """Points in any order; each pair of a predictiveness and a norm occurs once."""


@dataclass(frozen=True, kw_only=True)
class PhaseSpec:
    """Phase diagrams of all modalities, in one picture."""

    panels: tuple[PhasePanel, ...]
    """Phase diagrams from left to right."""


def _cost(handle: Stage) -> float:
    """Return the cost of reading one record for each point and seed, and drawing it."""
    return OVERHEAD + 2e-3 * len(handle.inputs)


@stage(version=2, cost=_cost, on_gpu=False)
def phase_diagram(config: PhaseSpec, context: Context, **reliances: Artifact) -> Metrics:
    """Write `phase_diagram.svg`; measure MODALITY.NORM.PREDICTIVENESS, which says which part is followed.

    It is the mean over seeds of `follows_noise` - `follows_human`. `reliances` are the `reliance` stages that the
    points name.
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
"""Width in pixels of the note under a panel, which is centred."""


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """Values of one phase diagram."""

    title: str
    """Title above the panel."""
    p_human: float
    """Predictiveness of the human part."""
    values: Mapping[tuple[float, float], float]
    """From (predictiveness, norm) of the noise part to `follows_noise` - `follows_human`, -1 to 1."""


def draw_phases(diagrams: Sequence[Diagram]) -> bytes:
    """Return the diagrams side by side as SVG: blue if models follow the human part, red if they follow the noise part.

    The values of each axis are drawn at equal steps, whatever their distances. The line is where the best classifier
    changes from one part to the other: between predictivenesses below and above that of the human part.
    """
    panels: list[Panel] = []
    left = LEFT
    for diagram in diagrams:
        width = CELL * len({p_noise for p_noise, _ in diagram.values})
        aside = max(0.0, NOTE - width) / 2
        panels.append(_panel(diagram, left + aside))
        left += width + 2 * aside + GAP
    height = TOP + max(panel.height for panel in panels) + BOTTOM
    legend = [
        (_colour(-1.0), "follows the human part"),
        (_colour(1.0), "follows the noise part"),
        (LINE, "best changes"),
    ]
    return picture(panels, title="Which part is learnt", width=max(left, 560.0), height=height, legend=legend)


def _panel(diagram: Diagram, left: float) -> Panel:
    predictivenesses = sorted({p_noise for p_noise, _ in diagram.values})
    norms = sorted({norm for _, norm in diagram.values})
    panel = Panel(
        left=left,
        top=TOP,
        width=CELL * len(predictivenesses),
        height=CELL * len(norms),
        x=(0, len(predictivenesses)),
        y=(0, len(norms)),
        title=diagram.title,
        note=f"noise part: predictiveness (human {diagram.p_human:g}), norm",
        x_names=[(i + 0.5, f"{p_noise:g}") for i, p_noise in enumerate(predictivenesses)],
        y_names=[(i + 0.5, f"{norm:g}") for i, norm in enumerate(norms)],
    )
    for (p_noise, norm), value in sorted(diagram.values.items()):
        i, j = predictivenesses.index(p_noise), norms.index(norm)
        panel.band([(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)], colour=_colour(value), opacity=1)
    below = sum(p_noise < diagram.p_human for p_noise in predictivenesses)
    equal = sum(p_noise == diagram.p_human for p_noise in predictivenesses)
    change = below + equal / 2
    panel.curve([(change, 0), (change, len(norms))], colour=LINE, width=2)
    for (p_noise, norm), value in sorted(diagram.values.items()):
        panel.word((predictivenesses.index(p_noise) + 0.5, norms.index(norm) + 0.5), f"{value:+.2f}")
    return panel


def _colour(value: float) -> str:
    """Return a colour: white at 0, bluer towards -1 and redder towards 1."""
    end = NOISE if value > 0 else HUMAN
    strength = min(1.0, abs(value)) * 0.8
    return "#" + "".join(f"{round(255 + (tone - 255) * strength):02x}" for tone in end)
