"""A sweep: the rows that people want, and so the stages that have to run.

A sweep file is a function from a `Grid` to a `Sweep`. Building one runs nothing and needs neither torch nor ray.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypedDict

from nrf_ray.attacks.specs import ATTACKS, LIBRARY_ATTACKS, AutoAttack
from nrf_ray.attacks.threat import Norm, ThreatModel
from nrf_ray.constructions.spec import Storage, construction_named
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.planted import KINDS, LABELS, MODALITIES
from nrf_ray.errors import ConfigError, lookup
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.stage import Metrics, Resources, Stage, walk
from nrf_ray.graph.store import Store, place_of
from nrf_ray.presets import Preset
from nrf_ray.stages.costs import architecture_named
from nrf_ray.tables import Row, Table

MAX_DIMENSION = 500
"""Of a Gaussian instance; its gradient descent takes minutes there."""


class Axes(TypedDict, total=False):
    """Default axes of one sweep, where they differ from the preset's."""

    archs: tuple[str, ...]
    constructions: tuple[str, ...]
    epsilons: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The axes of a sweep: every combination is run."""

    preset: Preset
    """Recipes and attack settings."""
    datasets: tuple[str, ...]
    archs: tuple[str, ...]
    constructions: tuple[str, ...]
    norms: tuple[Norm, ...]
    epsilons: tuple[float, ...]
    seeds: tuple[int, ...]
    storages: tuple[Storage, ...] = ("uint8",)
    """How the pixels of constructed sets are kept."""
    attacks: tuple[str, ...] = ("pgd",)
    """What robust accuracy is measured with."""
    extra_tests: tuple[str, ...] = ()
    """Further test sets, beside those of the dataset that are on this machine."""

    def __post_init__(self) -> None:
        _check_axes(self)
        for attack in self.attacks:
            lookup({known: known for known in ATTACKS}, attack, "attack")
        for arch in self.archs:
            architecture_named(arch)
        for construction in self.constructions:
            construction_named(construction)
        found = [dataset_named(dataset) for dataset in self.datasets]
        titles = [info.ref.name for info in found]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice:
            raise ConfigError(f"two datasets are called {twice} in the tables; rename the files of one")
        for info in found:
            for norm in self.norms:
                for eps in self.epsilons:
                    ThreatModel(norm=norm, eps=eps).check_fits(info.shape)
            by_library = [name for name in self.attacks if name in LIBRARY_ATTACKS]
            if by_library and info.num_classes < AutoAttack.fewest_classes:
                raise ConfigError(
                    f"{by_library[0]} needs {AutoAttack.fewest_classes} classes at least, and {info.ref.name} has "
                    f"{info.num_classes}; take pgd-50x10"
                )
            if info.kind == "images" and "l2_token" in self.norms:
                raise ConfigError(
                    f"l2_token bounds the tokens of texts, and {info.ref.name} holds images; take l2 or linf"
                )

    def allow_constructions(self, sweep: str, known: tuple[str, ...]) -> None:
        """Raise ConfigError where the grid names a construction that `sweep` has no place for."""
        for name in self.constructions:
            if name not in known:
                raise ConfigError(f"{sweep} is about {', '.join(known)}, not about {name}; leave it out")

    def refuse(self, sweep: str, **reasons: str) -> None:
        """Raise ConfigError where an axis that `sweep` has no use for was given; `reasons` say why, by axis."""
        for axis, reason in reasons.items():
            unused = type(self).__dataclass_fields__[axis].default
            if getattr(self, axis) != unused:
                raise ConfigError(f"{sweep} has no use for {axis.replace('_', ' ')}: {reason}; leave the flag out")

    def archs_for(self, construction: str) -> tuple[str, ...]:
        """Return the students' architectures for a set: all, or for a control the preset's few, if the grid has any."""
        few = tuple(arch for arch in self.archs if arch in self.preset.control_archs)
        return few if few and construction_named(construction).features == "pattern" else self.archs


@dataclass(frozen=True, kw_only=True)
class TheoryGrid:
    """The axes of a sweep over random Gaussian instances: every combination is one."""

    dimensions: tuple[int, ...]
    epsilons: tuple[float, ...]
    """Below 1, the smallest standard deviation of every instance: there Theorem 2 is proved."""
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_axes(self)
        for dimension in self.dimensions:
            if not 2 <= dimension <= MAX_DIMENSION:
                raise ConfigError(f"dimension is {dimension}; it must be from 2 to {MAX_DIMENSION}")
        for eps in self.epsilons:
            if not 0 < eps < 1:
                raise ConfigError(f"eps is {eps:g}; Theorem 2 holds for eps in (0, eps0), and eps0 = 1 in this sweep")


@dataclass(frozen=True, kw_only=True)
class PlantedGrid:
    """The axes of a sweep over planted sets: every combination of the first six is trained for every seed."""

    modalities: tuple[str, ...]
    """image, text."""
    labels: tuple[str, ...]
    """What labels go by: human, noise, both, conflict."""
    noises: tuple[float, ...]
    """Norms of the noise part, in units of the modality's default."""
    norms: tuple[Norm, ...]
    """Norms of the attacks and of adversarial training."""
    epsilons: tuple[float, ...]
    """Radii of the attacks; adversarial training is within the first."""
    archs: tuple[str, ...]
    """Architectures, each for what it reads; empty for the presets'."""
    trainings: tuple[str, ...]
    """standard, adversarial."""
    seeds: tuple[int, ...]
    phase_shares: tuple[float, ...]
    """Predictivenesses of the noise part in the phase diagram."""
    phase_noises: tuple[float, ...]
    """Norms of the noise part in the phase diagram, in units of the modality's default."""
    readers: tuple[str, ...] = ()
    """Pretrained networks that read labels in human parts; where there is none, a model is trained to."""
    train: int = 2000
    """Training examples of every set."""
    test: int = 500
    """Test examples of every set."""
    brief: bool = False
    """Short trainings: does everything run?"""

    def __post_init__(self) -> None:
        _check_axes(self)
        for name, values, known in (
            ("modality", self.modalities, MODALITIES),
            ("label", self.labels, LABELS),
            ("training", self.trainings, ("standard", "adversarial")),
        ):
            for value in values:
                lookup(dict.fromkeys(known), value, name)
        if len(self.readers) > len(self.modalities):
            raise ConfigError(
                f"{len(self.readers)} readers ({', '.join(self.readers)}) for {' and '.join(self.modalities)}: one "
                "reads images and one texts; leave out what is not used"
            )
        for modality in self.modalities:
            if self.archs and not self.archs_for(modality):
                reads = KINDS[modality].reads
                raise ConfigError(f"{', '.join(self.archs)} reads no {reads}; add an architecture that does")
            for norm in self.norms:
                for eps in self.epsilons:
                    ThreatModel(norm=norm, eps=eps).check_fits(KINDS[modality].shape)
        if "l2_token" in self.norms and any(KINDS[modality].reads != "texts" for modality in self.modalities):
            raise ConfigError("l2_token bounds the words of texts; choose --modality text with it")

    def archs_for(self, modality: str) -> tuple[str, ...]:
        """Return those of the architectures that read `modality`."""
        return tuple(arch for arch in self.archs if architecture_named(arch).reads == KINDS[modality].reads)


MAY_BE_EMPTY: dict[type, tuple[str, ...]] = {Grid: ("extra_tests",), PlantedGrid: ("archs", "readers")}
"""Axes that need no value."""


@dataclass(frozen=True)
class Sweep:
    """A named list of rows."""

    name: str
    rows: tuple[Row, ...]
    figures: tuple[Stage, ...] = ()
    """Stages whose pictures (.svg) are put beside the tables, under their own names."""
    preset: str = ""
    """Name of the preset that the grid was made from, which the tables' files bear; empty where there is none."""

    @cached_property
    def goals(self) -> list[Stage]:
        """The stages that the rows measure and those that draw, each once, in the order of the rows."""
        found: dict[Key, Stage] = {stage.key: stage for row in self.rows for stage in row.stages()}
        return list((found | {figure.key: figure for figure in self.figures}).values())

    def stages(self) -> Iterator[Stage]:
        """Yield every stage of the sweep, inputs first."""
        return walk(self.goals)

    def on(self, resources: Resources) -> "Sweep":
        """Return the same sweep with another resource request for every stage; the keys stay as they are.

        Stages of a kind that has no use for GPUs ask for none.
        """
        on_cpus = replace(resources, gpus=0.0)
        moved: dict[Key, Stage] = {}
        for stage in self.stages():
            inputs = {name: moved[handle.key] for name, handle in stage.inputs.items()}
            moved[stage.key] = replace(stage, inputs=inputs, resources=resources if stage.kind.on_gpu else on_cpus)
        rows = [
            replace(row, measures={name: m._replace(stage=moved[m.stage.key]) for name, m in row.measures.items()})
            for row in self.rows
        ]
        return replace(self, rows=tuple(rows), figures=tuple(moved[figure.key] for figure in self.figures))

    def pictures(self, store: Store) -> dict[str, Stage]:
        """Return the committed pictures by their file names."""
        records = dict(zip(self.figures, store.at_once(store.record, map(place_of, self.figures)), strict=True))
        files = {figure: record.files if record else () for figure, record in records.items()}
        return {file.name: figure for figure in files for file in files[figure] if file.name.endswith(".svg")}

    def folder(self) -> str:
        """Return the blob prefix of the sweep's tables."""
        return f"sweeps/{self.name}"

    def collect(self, store: Store) -> dict[Table, list[dict[str, object]]]:
        """Return all rows whose stages are committed, by table."""
        records = store.at_once(store.record, map(place_of, self.goals))
        return self.filled({record.key: record.metrics for record in records if record})

    def filled(self, metrics: Mapping[Key, Metrics]) -> dict[Table, list[dict[str, object]]]:
        """Return all rows whose stages have `metrics`, by table."""
        tables: dict[Table, list[dict[str, object]]] = {row.table: [] for row in self.rows}
        for row in self.rows:
            if all(stage.key in metrics for stage in row.stages()):
                tables[row.table].append(row.fill(lambda stage: metrics[stage.key]))
        return tables


def _check_axes(grid: Grid | TheoryGrid | PlantedGrid) -> None:
    """Raise ConfigError for an empty axis, a value given twice, or a seed out of range."""
    for name, values in vars(grid).items():
        if isinstance(values, tuple):
            if not values and name not in MAY_BE_EMPTY.get(type(grid), ()):
                raise ConfigError(f"{name} is empty; give at least one value")
            if len(set(values)) != len(values):
                raise ConfigError(f"{name} names a value twice: {', '.join(map(str, values))}")
    if not 0 <= min(grid.seeds) <= max(grid.seeds) < 2**63:
        raise ConfigError(f"seeds must be from 0 to 2**63 - 1, not {min(grid.seeds)} .. {max(grid.seeds)}")
