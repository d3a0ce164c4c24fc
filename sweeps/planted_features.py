"""The controlled world: what do models use of images and texts whose human and noise part are known?

Planted sets (nrf_ray.data.planted) are made of a part that people read and a part that they do not: a weave of
neighbouring pixels, or invisible variants of words. Labels go by the one, by the other, by both, or by the noise part
against the human part. For every set and seed models are trained in the standard and in the adversarial way, and
measured: accuracy and robust accuracy, what they say with a part removed and where the parts contradict, and which part
an attack on them changes. It climbs the margin, since cross-entropy can stall between equal wrong classes, and its
radius is enough to take any noise part of the default norm away. The phase diagram shows which part is learnt as the
noise part gets more predictive and larger. Students are also trained on labels that models read in the parts, beside
those that were planted.

    python sweeps/planted_features.py                    # images and texts: nine minutes on two CPU cores with AVX-512
    python sweeps/planted_features.py --brief --seeds 0  # does everything run?
    python sweeps/planted_features.py --modality text --label noise --noise 0.5,1,2 --epsilon 0.25,0.5

Planted sets are datasets by name, so every other sweep takes them too:

    python sweeps/transfer_grid.py --preset planted-image --dataset 'planted-image[label=both,noise=0.5]'
"""

from collections.abc import Iterator
from dataclasses import replace

from nrf_ray.attacks.specs import Attack, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.cli import planted_main
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.data.planted import KINDS, Planted, parse_planted, planted
from nrf_ray.feature_rows import usefulness_row
from nrf_ray.features.pretrained_readers import pretrained_named
from nrf_ray.graph.stage import Stage
from nrf_ray.planted_cells import model_of_read_labels, planted_model, preset_of, reader_of, set_of
from nrf_ray.planted_rows import footprint_row, planted_row, reliance_of
from nrf_ray.presets import Preset
from nrf_ray.rows import result_row, robustness_row
from nrf_ray.stages.phase import Cell, PhasePanel, PhaseSpec, phase_diagram
from nrf_ray.stages.relabel import Part
from nrf_ray.sweep import PlantedGrid, Sweep
from nrf_ray.tables import Row
from nrf_ray.training.recipes import Recipe

NAME = "planted_features"
P_HUMAN = 0.9
"""How often the human part shows the label in the phase diagram."""
READ: dict[str, Part] = {"human": "human", "noise": "noise"}
"""Of sets labelled by one part, the part that labels are also read in."""
UNIT_STEPS, UNIT_EXAMPLES = 5, 32
"""What the usefulness of units is measured with."""


def planted_features(grid: PlantedGrid) -> Sweep:
    """Return the sweep over `grid`."""
    rows: list[Row] = []
    panels: list[PhasePanel] = []
    reliances: dict[str, Stage] = {}
    for modality in grid.modalities:
        preset = _preset(grid, modality)
        for label in grid.labels:
            for noise in grid.noises:
                dataset = _set(grid, planted(modality, label=label, noise=noise * KINDS[modality].noise))
                rows += _rows(grid, preset, dataset, label)
        panel, phase_rows, stages = _phases(grid, preset, modality)
        panels.append(panel)
        rows += phase_rows
        reliances |= stages
    diagram = phase_diagram(PhaseSpec(panels=tuple(panels)), **reliances).named("phase diagram")
    return Sweep(NAME, tuple(rows), (diagram,))


def _preset(grid: PlantedGrid, modality: str) -> Preset:
    preset = preset_of(modality)
    if grid.brief:
        brief = {name: replace(getattr(preset, name), epochs=2) for name in ("source", "robust_source", "student")}
        preset = replace(preset, **brief, attack_steps=5, check_examples=8)
    return replace(preset, archs=grid.archs_for(modality) or preset.archs)


def _set(grid: PlantedGrid, spec: Planted) -> DatasetInfo:
    return set_of(replace(spec, train=grid.train, test=grid.test))


def _rows(grid: PlantedGrid, preset: Preset, dataset: DatasetInfo, label: str) -> Iterator[Row]:
    """Yield all rows of one set but those of the phase diagram."""
    threats = [ThreatModel(norm=norm, eps=eps) for norm in grid.norms for eps in grid.epsilons]
    reader, kind = reader_of(dataset, preset), parse_planted(dataset.ref.name).kind
    pretrained = next((known for known in map(pretrained_named, grid.readers) if known.reads == kind.reads), None)
    for seed in grid.seeds:
        for arch in preset.archs:
            models = [planted_model(dataset, arch, recipe, seed) for recipe in _recipes(grid, preset)]
            for found in models:
                yield result_row(NAME, dataset, found.model)
                yield usefulness_row(
                    NAME,
                    dataset,
                    found.model,
                    pgd_attack(threats[0].norm, threats[0].eps, steps=UNIT_STEPS),
                    examples=UNIT_EXAMPLES,
                )
                for threat in threats:
                    attack = _judge(threat, preset)
                    yield robustness_row(NAME, dataset, found.model, threat, preset, attack=attack)
            if label in READ:
                read = model_of_read_labels(
                    dataset, READ[label], reader, arch, preset.student, seed, pretrained=pretrained
                )
                models.append(read)
            for found in models:
                yield planted_row(NAME, found)
                for threat in threats:
                    yield footprint_row(NAME, found, _judge(threat, preset), reader)


def _judge(threat: ThreatModel, preset: Preset) -> Attack:
    """Return the attack that models are judged by."""
    return pgd_attack(threat.norm, threat.eps, steps=preset.attack_steps, loss="margin")


def _recipes(grid: PlantedGrid, preset: Preset) -> Iterator[Recipe]:
    """Yield the recipe of every kind of training."""
    for training in grid.trainings:
        if training == "standard":
            yield preset.source
            continue
        adversary = preset.robust_source.adversary
        assert adversary is not None, "a robust source has an adversary"
        threat = ThreatModel(norm=grid.norms[0], eps=grid.epsilons[0])
        yield replace(preset.robust_source, adversary=replace(adversary, threat=threat, step_size=threat.eps / 5))


def _phases(grid: PlantedGrid, preset: Preset, modality: str) -> tuple[PhasePanel, list[Row], dict[str, Stage]]:
    """Return the panel of one modality, the rows of its models, and the stages that the panel is drawn from."""
    cells: list[Cell] = []
    rows: list[Row] = []
    stages: dict[str, Stage] = {}
    arch = preset.archs[0]
    for share in grid.phase_shares:
        for factor in grid.phase_noises:
            noise = factor * KINDS[modality].noise
            dataset = _set(grid, planted(modality, label="both", p_human=P_HUMAN, p_noise=share, noise=noise))
            models = [planted_model(dataset, arch, preset.source, seed) for seed in grid.seeds]
            names = [f"{modality}_{len(cells)}_{seed}" for seed in grid.seeds]
            cells.append(Cell(p_noise=share, noise=noise, models=tuple(names)))
            rows += [planted_row(NAME, found) for found in models]
            stages |= {name: reliance_of(found) for name, found in zip(names, models, strict=True)}
    return PhasePanel(modality=modality, arch=arch, p_human=P_HUMAN, cells=tuple(cells)), rows, stages


if __name__ == "__main__":
    planted_main(planted_features)
