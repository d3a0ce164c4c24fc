"""Planted features: what do models use of images and texts whose human part and noise part are known?

Examples of planted sets (nrf_ray.data.planted) have a human part, which people read, and a noise part, which they do
not: a weave of neighbouring pixels, or invisible variants of words. Labels follow the human part, the noise part, both,
or the noise part while the human part shows another class. For every set and seed, models are trained in the standard
and in the adversarial way. Measured are accuracy and robust accuracy; predictions with a part removed, and if the parts
contradict each other; and which part an attack on the model changes. The attack maximises the margin, since
cross-entropy can stall between equally likely wrong classes; its radius is large enough to remove any noise part of the
default norm. The phase diagram shows which part is learnt as the noise part gets more predictive and larger. Students
are trained on the planted labels, and also on labels that models read in the parts.

    python sweeps/planted_features.py                    # images and texts: nine minutes on two CPU cores with AVX-512
    python sweeps/planted_features.py --brief --seeds 0  # check that everything runs
    python sweeps/planted_features.py --modality text --label noise --noise 0.5,1,2 --epsilon 0.25,0.5

Planted sets are named datasets, so every other sweep accepts them too:

    python sweeps/transfer_grid.py --preset planted-image --dataset 'planted-image[label=both,noise=0.5]'
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from cyclopts import Parameter

from nrf_ray.attacks.specs import Attack, pgd_attack
from nrf_ray.attacks.threat import Norm, ThreatModel
from nrf_ray.cli import sweep_main
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.data.planted import KINDS, LABELS, MODALITIES, Planted, parse_planted, planted
from nrf_ray.errors import ConfigError, lookup
from nrf_ray.features.pretrained_readers import pretrained_named
from nrf_ray.graph.stage import Stage
from nrf_ray.models.catalogue import architecture_named
from nrf_ray.presets import Preset
from nrf_ray.stages.phase import Cell, PhasePanel, PhaseSpec, phase_diagram
from nrf_ray.stages.relabel import Part
from nrf_ray.sweep.axes import axis, check_axes, norm_named, number, whole
from nrf_ray.sweep.flags import Flags, RunOptions
from nrf_ray.sweep.planted_models import model_of_read_labels, planted_model, preset_of, reader_of, set_of
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Row
from nrf_ray.tables.planted import footprint_row, planted_row, reliance_of
from nrf_ray.tables.robustness import robustness_row
from nrf_ray.tables.trained_models import result_row
from nrf_ray.tables.usefulness import usefulness_row
from nrf_ray.training.recipes import Recipe

NAME = "planted_features"
RADIUS = 0.25
"""Default radius of attacks and of adversarial training, in l2."""
P_HUMAN = 0.9
"""Probability that the human part shows the label in the phase diagram."""
READ: dict[str, Part] = {"human": "human", "noise": "noise"}
"""Part in which labels are also read, by the part that labels a set."""
UNIT_STEPS, UNIT_EXAMPLES = 5, 32
"""PGD steps and examples for the usefulness of units."""


@dataclass(frozen=True, kw_only=True)
class PlantedGrid:
    """Axes of a sweep over planted sets; modalities, labels, noises, architectures and trainings are all combined."""

    modalities: tuple[str, ...]
    """Modalities of the planted sets: image, colour, text."""
    labels: tuple[str, ...]
    """Part that labels follow: human, noise, both, conflict."""
    noises: tuple[float, ...]
    """Norms of the noise part, in units of the modality's default."""
    norms: tuple[Norm, ...]
    """Norms of the attacks and of adversarial training."""
    epsilons: tuple[float, ...]
    """Radii of the attacks; adversarial training is within the first."""
    archs: tuple[str, ...]
    """Architectures, each for the kind of data that it reads; empty for the presets'."""
    trainings: tuple[str, ...]
    """Kinds of training: standard, adversarial."""
    seeds: tuple[int, ...]
    phase_shares: tuple[float, ...]
    """Probabilities that the noise part shows the label in the phase diagram."""
    phase_noises: tuple[float, ...]
    """Norms of the noise part in the phase diagram, in units of the modality's default."""
    readers: tuple[str, ...] = ()
    """Pretrained networks that read labels in human parts; if there is none, a label reader is trained."""
    train: int = 2000
    """Training examples of every set."""
    test: int = 500
    """Test examples of every set."""
    brief: bool = False
    """Whether to train for two epochs only, to check that everything runs."""

    def __post_init__(self) -> None:
        check_axes(self, may_be_empty=("archs", "readers"))
        for name, values, known in (
            ("modality", self.modalities, MODALITIES),
            ("label", self.labels, LABELS),
            ("training", self.trainings, ("standard", "adversarial")),
        ):
            for value in values:
                lookup(dict.fromkeys(known), value, name)
        if len(self.readers) > len(self.modalities):
            raise ConfigError(
                f"{len(self.readers)} readers ({', '.join(self.readers)}) for {' and '.join(self.modalities)}: give "
                "at most one for images and one for texts"
            )
        for modality in self.modalities:
            if self.archs and not self.archs_for(modality):
                reads = KINDS[modality].reads
                raise ConfigError(
                    f"--arch {','.join(self.archs)}: no architecture here reads {reads}; add one that does"
                )
            for norm in self.norms:
                for eps in self.epsilons:
                    ThreatModel(norm=norm, eps=eps).check_fits(KINDS[modality].shape)
        if "l2_token" in self.norms and any(KINDS[modality].reads != "texts" for modality in self.modalities):
            raise ConfigError("--norm l2_token bounds the words of texts; use it with --modality text")

    def archs_for(self, modality: str) -> tuple[str, ...]:
        """Return the architectures that read `modality`."""
        return tuple(arch for arch in self.archs if architecture_named(arch).reads == KINDS[modality].reads)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PlantedOptions(RunOptions):
    """Flags of a sweep over planted sets. Lists are comma-separated."""

    modality: str = "image,text"
    """Modalities of the planted sets: image (grey), colour, text."""
    label: str = "human,noise,both,conflict"
    """Part that labels follow: human, noise, both, or conflict (the noise part; the human part shows another class)."""
    noise: str = "1"
    """Norms of the noise part, in units of the modality's default."""
    norm: str = "l2"
    """Norms of attacks and adversarial training: l2, linf; l2_token for texts only."""
    epsilon: str | None = None
    """Radii of attacks in pixel units of [0, 1]; adversarial training is within the first. Default: 0.25 in l2."""
    arch: str | None = None
    """Architectures, each trained on the kind of data that it reads. Default: one for images and one for texts."""
    training: str = "standard,adversarial"
    """Kinds of training: standard, adversarial."""
    seeds: str = "0,1,2"
    """Seeds of the replicates."""
    phase_share: str = "0.6,0.8,0.9,1"
    """Phase diagram: probabilities that the noise part shows the label (for the human part 0.9)."""
    phase_noise: str = "0.5,1,2,4"
    """Phase diagram: norms of the noise part, in units of the modality's default."""
    reader: str | None = None
    """Pretrained networks that read labels in human parts: resnet18 (images), hf:NAME (texts). Default: train one."""
    train: int = 2000
    """Training examples of every set."""
    test: int = 500
    """Test examples of every set."""
    brief: Annotated[bool, Parameter(negative=())] = False
    """Train for two epochs, to check that everything runs; the results have no meaning."""

    def grid(self) -> PlantedGrid:
        """Return the axes, or raise ConfigError with the allowed values."""
        norms = axis(self.norm, norm_named, ())
        if self.epsilon is None and norms != ("l2",):
            raise ConfigError(f"--norm {self.norm} needs --epsilon: the default radius, {RADIUS:g}, is a length in l2")
        return PlantedGrid(
            modalities=axis(self.modality, str, ()),
            labels=axis(self.label, str, ()),
            noises=axis(self.noise, lambda text: number(text, "--noise"), ()),
            norms=norms,
            epsilons=axis(self.epsilon, number, (RADIUS,)),
            archs=axis(self.arch, str, ()),
            trainings=axis(self.training, str, ()),
            seeds=axis(self.seeds, whole, ()),
            phase_shares=axis(self.phase_share, lambda text: number(text, "--phase-share"), ()),
            phase_noises=axis(self.phase_noise, lambda text: number(text, "--phase-noise"), ()),
            readers=axis(self.reader, str, ()),
            train=self.train,
            test=self.test,
            brief=self.brief,
        )


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
    """Yield all rows of one set except those of the phase diagram."""
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
    """Return the attack that models are evaluated with."""
    return replace(preset.pgd(threat), loss="margin")


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


FLAGS = Flags(options=PlantedOptions, grid=PlantedOptions.grid)

if __name__ == "__main__":
    sweep_main(planted_features, FLAGS)
