"""The phase diagram: which part of planted examples is learnt, as norm and predictiveness of the noise part vary."""

from dataclasses import dataclass

from nrf_ray.data.planted import KINDS
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
    from nrf_ray.phase import Diagram, draw_phases

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
