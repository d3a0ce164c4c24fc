"""The flags of every sweep file, and the grid that they mean.

Every kind of grid has its own class of flags, so a flag that a sweep has no use for is unknown to its command line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, TypeVar

from cyclopts import Parameter

from nrf_ray.attacks.threat import NORMS, Norm
from nrf_ray.constructions.spec import STORAGES, Storage
from nrf_ray.data.naming import split_names
from nrf_ray.data.published import planning_name
from nrf_ray.engine.mode import check_mode
from nrf_ray.errors import ConfigError, lookup
from nrf_ray.presets import PRESETS, Preset
from nrf_ray.sweep import Axes, Grid, PlantedGrid, TheoryGrid

T = TypeVar("T")

StoreUri = Annotated[
    str, Parameter(name="--store", help="The store: a folder, or the URI of a bucket such as s3://bucket/runs.")
]
"""The flag of every command that looks into a store."""

Defaults = Callable[[Preset], Axes]
"""From a preset to the default axes of one sweep, where they differ from the preset's."""


def axis(text: str | None, parse: Callable[[str], T], default: tuple[T, ...]) -> tuple[T, ...]:
    """Return the values of a list by comma, each parsed; the default where no list was given."""
    return default if text is None else tuple(parse(part) for part in split_names(text))


def norm_named(name: str) -> Norm:
    """Return a norm by its name."""
    return lookup({norm: norm for norm in NORMS}, name, "norm")


def storage_named(name: str) -> Storage:
    """Return a way to keep pixels by its name."""
    return lookup({storage: storage for storage in STORAGES}, name, "storage")


def number(text: str, flag: str = "--epsilon") -> float:
    """Return a number given for `flag`, also one written as a fraction (8/255)."""
    try:
        return float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise ConfigError(f"{flag} {text!r} is no number; write it as 1.5 or 8/255") from error


def whole(text: str, flag: str = "--seeds") -> int:
    """Return a whole number given for `flag`."""
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"{flag} {text!r} is no whole number; write {flag.strip('-')} as 0,1,2") from error


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The flags of every sweep file: where it runs and what is kept where."""

    store: str = "./runs"
    """Where everything is kept: a folder, or a URI such as s3://bucket/runs."""
    address: str | None = None
    """Ray cluster to join (auto, or HOST:6379); without it, or RAY_ADDRESS, Ray runs on this machine."""
    gpus_per_trial: float = 0.0
    """GPUs that every stage gets, whole or a share of one; 0 runs on CPUs."""
    plan: Annotated[bool, Parameter(negative=())] = False
    """Print every stage with its state, the reason and the expected cost, and how long all will take; and stop."""
    plan_on: str | None = None
    """With --plan, expect so many of another device instead of this machine: 8xa100, 16xcpu."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """The flags of a sweep over trained models. Lists are by comma; what is left out comes from the preset."""

    preset: str | None = None
    """Default axes and recipes: laptop, smoke (half a minute: is all well?), fashion, cifar10-small, cifar10,
    restricted-imagenet; text, planted-image, planted-text. By default text for text_features, else laptop."""
    dataset: str | None = None
    """Datasets: digits, fashion-mnist, cifar10, cifar100, restricted-imagenet, each also as NAME:PATH; folder:PATH,
    parquet:PATH, tensors:PATH@TEST; of texts text-parquet:PATH, text-csv:PATH. A suffix [:N,:M] keeps N training and M
    test rows; before it, #hf:NAME embeds texts as a pretrained encoder does. planted-image, planted-text, also with
    parameters: planted-image[label=noise,noise=0.5]."""
    arch: str | None = None
    """Architectures of students and victims."""
    construction: str | None = None
    """Constructions of training sets."""
    norm: str | None = None
    """Norms of the threat model: l2, linf; for texts l2_token, of each token."""
    epsilon: str | None = None
    """Radii in pixel units of [0, 1]; fractions such as 8/255 are fine."""
    seeds: str | None = None
    """Seeds of the replicates, as in 0,1,2."""
    attack: str = "pgd"
    """What robust accuracy is measured with: pgd, pgd-margin, fgsm, pgd-50x10, apgd, autoattack."""
    adversary: str | None = None
    """What robust models are trained against: pgd-7 (the paper's), fgsm-rs, n-fgsm."""
    mode: str = "faithful"
    """How networks are computed: faithful (float32, the same bits again) or fast (bfloat16)."""
    workers_per_training: int | None = None
    """Processes that train one network together, each on its part of every batch; it counts as part of the recipe."""
    storage: str = "uint8"
    """How the pixels of constructed sets are kept: uint8, float32."""
    extra_test: str | None = None
    """Further test sets, as cifar10.1:PATH; those in their default places are found without."""

    def grid(self, defaults: Defaults = lambda preset: {}, default_preset: str = "laptop") -> Grid:
        """Return the axes, or raise ConfigError with the names that are known; the defaults differ by sweep."""
        preset = lookup(PRESETS, self.preset or default_preset, "preset")
        if self.adversary:
            preset = preset.trained_against(self.adversary)
        preset = preset.in_mode(check_mode(self.mode))
        if self.workers_per_training is not None:
            preset = preset.trained_by(self.workers_per_training)
        own = defaults(preset)
        datasets = axis(self.dataset, str, preset.datasets)
        return Grid(
            preset=preset,
            datasets=tuple(map(planning_name, datasets)) if self.plan else datasets,
            archs=axis(self.arch, str, own.get("archs", preset.archs)),
            constructions=axis(self.construction, str, own.get("constructions", preset.constructions)),
            norms=axis(self.norm, norm_named, preset.norms),
            epsilons=axis(self.epsilon, number, own.get("epsilons", preset.epsilons)),
            seeds=axis(self.seeds, whole, preset.seeds),
            storages=axis(self.storage, storage_named, ()),
            attacks=axis(self.attack, str, ()),
            extra_tests=axis(self.extra_test, str, ()),
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TheoryOptions(RunOptions):
    """The flags of a sweep over random Gaussian instances. Lists are by comma."""

    dimension: str = "2,5,20,50"
    """Dimensions d of x."""
    epsilon: str = "0.1,0.5,0.9"
    """Radii of the adversary; the smallest standard deviation of the data is 1."""
    seeds: str = "0,1,2"
    """Seeds of the instances."""

    def grid(self) -> TheoryGrid:
        """Return the axes, or raise ConfigError with the range that is allowed."""
        return TheoryGrid(
            dimensions=axis(self.dimension, lambda text: whole(text, "--dimension"), ()),
            epsilons=axis(self.epsilon, number, ()),
            seeds=axis(self.seeds, whole, ()),
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PlantedOptions(RunOptions):
    """The flags of a sweep over planted sets. Lists are by comma."""

    modality: str = "image,text"
    """What is planted: image (grey), colour, text."""
    label: str = "human,noise,both,conflict"
    """What labels go by: the human part, the noise part, both, or the noise part against the human part."""
    noise: str = "1"
    """Norms of the noise part, in units of the modality's default."""
    norm: str = "l2"
    """Norms of attacks and adversarial training: l2, linf; l2_token for texts alone."""
    epsilon: str = "0.25"
    """Radii of attacks in pixel units of [0, 1]; adversarial training is within the first."""
    arch: str | None = None
    """Architectures, each trained on what it reads; by default one for images and one for texts."""
    training: str = "standard,adversarial"
    """Kinds of training."""
    seeds: str = "0,1,2"
    """Seeds of the replicates."""
    phase_share: str = "0.6,0.8,0.9,1"
    """Of the phase diagram: how often the noise part shows the label, where the human part does 9 times in 10."""
    phase_noise: str = "0.5,1,2,4"
    """Of the phase diagram: norms of the noise part, in units of the modality's default."""
    reader: str | None = None
    """Pretrained networks that read labels in human parts: resnet18 (images), hf:NAME (texts); else one is trained."""
    train: int = 2000
    """Training examples of every set."""
    test: int = 500
    """Test examples of every set."""
    brief: Annotated[bool, Parameter(negative=())] = False
    """Train for two epochs: does everything run? (its numbers mean nothing)"""

    def grid(self) -> PlantedGrid:
        """Return the axes, or raise ConfigError with what is allowed."""
        return PlantedGrid(
            modalities=axis(self.modality, str, ()),
            labels=axis(self.label, str, ()),
            noises=axis(self.noise, lambda text: number(text, "--noise"), ()),
            norms=axis(self.norm, norm_named, ()),
            epsilons=axis(self.epsilon, number, ()),
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
