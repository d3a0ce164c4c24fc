"""Flags of sweep files, and the grid that they define.

Every kind of grid has its own class of flags, so the command line of a sweep rejects flags that the sweep cannot use.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from cyclopts import Parameter

from nrf_ray.attacks.threat import Norm
from nrf_ray.data.published import planning_name
from nrf_ray.engine.mode import check_mode
from nrf_ray.errors import ConfigError
from nrf_ray.models.model_name import split_models
from nrf_ray.presets import PRESETS, Preset
from nrf_ray.sweep.axes import axis, norm_named, number, storage_named, whole
from nrf_ray.sweep.grid import Axes, Grid

Defaults = Callable[[Preset], Axes]
"""Function from a preset to those default axes of one sweep that differ from the preset's."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Flags of every sweep file: where it runs, and where its results are stored."""

    store: str = "./runs"
    """Store for all results: a folder, or a URI such as s3://bucket/runs."""
    name: str | None = None
    """Name of this run: its tables and its page are kept apart, in sweeps/SWEEP@NAME of the store, so that several
    grids of one sweep stand side by side. Artifacts are shared. `nrf runs` lists all runs."""
    plugin: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """Plug-in: a file of Python of yours that registers architectures, attacks, constructions and so on, or the start
    of the digest of one that the store has. It is code, and it is run. Give the flag once for each file."""
    address: str | None = None
    """Ray cluster to join (auto, or HOST:6379). Without it, and without RAY_ADDRESS, Ray runs on this machine."""
    dashboard: Annotated[bool, Parameter(negative=())] = False
    """Start Ray on this machine with its dashboard, which only this machine can reach, and print how to open it. It
    starts more slowly then. A cluster that --address names has its own dashboard."""
    gpus_per_trial: float = 0.0
    """GPUs per stage: a whole number, or a fraction of one GPU; 0 runs on CPUs."""
    plan: Annotated[bool, Parameter(negative=())] = False
    """Print every stage with its state, reason and estimated cost, and the estimated total time; then exit."""
    plan_on: str | None = None
    """With --plan: estimate for COUNTxDEVICE instead of this machine, for example 8xh100 or 16xcpu; an unknown device
    is refused with the known ones."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """Flags of a sweep over trained models. Lists are comma-separated; omitted flags take the preset's values."""

    preset: str | None = None
    """Default axes and recipes: laptop, smoke (half a minute, a check that all runs), fashion, cifar10-small, cifar10,
    restricted-imagenet; text, planted-image, planted-text. Default: text for text_features, else laptop."""
    dataset: str | None = None
    """Datasets: digits, fashion-mnist, cifar10, cifar100, restricted-imagenet, each also as NAME:PATH; folder:PATH,
    parquet:PATH, tensors:PATH@TEST; torchvision:NAME, also as torchvision:NAME=PATH; hf:NAME, hf:NAME:CONFIG; for texts
    text-parquet:PATH, text-csv:PATH. [classes=number], [splits=none], [label=COLUMN] and [size=64,crop=center] after a
    path say how its files are read. A suffix [:N,:M] selects N training and M test examples; before it, #hf:NAME embeds
    texts as a pretrained encoder does. planted-image, planted-text, also with parameters:
    planted-image[label=noise,noise=0.5]."""
    arch: str | None = None
    """Architectures of students and victims."""
    construction: str | None = None
    """Constructions of training sets."""
    norm: str | None = None
    """Norms of the threat model: l2, linf; for texts l2_token, the norm of each token. A norm that is not the preset's
    needs --epsilon, and robust models are then trained within its first radius."""
    epsilon: str | None = None
    """Radii in pixel units of [0, 1]; fractions such as 8/255 are allowed."""
    seeds: str | None = None
    """Seeds of the replicates, for example 0,1,2."""
    attack: str = "pgd"
    """Attacks used to measure robust accuracy: pgd, pgd-margin, fgsm, pgd-50x10, apgd, autoattack,
    few-classes (for 2 or 3 classes)."""
    adversary: str | None = None
    """Attack of adversarial training: pgd-7 (the paper's), fgsm-rs, n-fgsm."""
    mode: str = "faithful"
    """Precision of networks: faithful (float32, bit-for-bit reproducible) or fast (bfloat16)."""
    workers_per_training: int | None = None
    """Data-parallel workers per training; each gets its part of every batch. The number is part of the recipe."""
    storage: str = "uint8"
    """How the pixels of constructed sets are stored: uint8, float32."""
    extra_test: str | None = None
    """Further test sets, for example cifar10.1:PATH; those in their default folders are found without this flag."""
    source: str | None = None
    """MODEL in place of the trained source of the same kind of training, standard or adversarial (one of each):
    KEY, file:PATH, hf:REPO, timm:NAME, torchvision:NAME, robustbench:ENTRY=PATH; `nrf import --help` explains them."""
    judge: str | None = None
    """MODEL in place of the trained judge. It is adversarially trained, so a name that does not say so is given the
    ball, as in file:judge.pt#arch=resnet18,norm=l2,eps=0.5."""
    victim: str | None = None
    """MODEL,MODEL in place of the trained victims; the first is also the second model that sets are tried on."""

    def grid(self, defaults: Defaults = lambda preset: {}, default_preset: str = "laptop") -> Grid:
        """Return the axes, or raise ConfigError with the known names; the defaults differ by sweep."""
        preset = PRESETS.named(self.preset or default_preset)
        norms = axis(self.norm, norm_named, preset.norms)
        preset = in_norms(preset, norms, axis(self.epsilon, number, ()))
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
            norms=norms,
            epsilons=axis(self.epsilon, number, own.get("epsilons", preset.epsilons)),
            seeds=axis(self.seeds, whole, own.get("seeds", preset.seeds)),
            storages=axis(self.storage, storage_named, ()),
            attacks=axis(self.attack, str, ()),
            extra_tests=axis(self.extra_test, str, ()),
            given_sources=split_models(self.source),
            given_judges=split_models(self.judge),
            given_victims=split_models(self.victim),
            store=self.store,
        )


def in_norms(preset: Preset, norms: tuple[Norm, ...], epsilons: tuple[float, ...]) -> Preset:
    """Return `preset` for the norms and radii that flags give; `epsilons` is empty if no radii were given.

    Raises ConfigError if a norm is not the preset's and is either not the only one or has no radius.
    """
    others = [norm for norm in norms if norm not in preset.norms]
    own = " and ".join(preset.norms)
    if not others:
        return preset
    if len(norms) > 1:
        raise ConfigError(
            f"--norm {','.join(norms)}: robust models are trained within one norm, and the preset {preset.name} is for "
            f"{own}; run each norm separately, with --epsilon in that norm"
        )
    if not epsilons:
        radii = ", ".join(f"{eps:g}" for eps in preset.epsilons)
        raise ConfigError(
            f"--norm {norms[0]} needs --epsilon: the radii of the preset {preset.name} ({radii}) are lengths in {own}"
        )
    return preset.within(norms[0], epsilons)


OptionsT = TypeVar("OptionsT", bound=RunOptions)
GridT = TypeVar("GridT")


@dataclass(frozen=True, kw_only=True)
class Flags(Generic[OptionsT, GridT]):
    """Flags of the command line of a sweep file, and the grid that they define."""

    options: type[OptionsT]
    """Class of the flags, each with a default."""
    grid: Callable[[OptionsT], GridT]
    """Function from the given flags to the axes; raises ConfigError with the allowed values."""


def of_models(axes: Defaults = lambda preset: {}, *, preset: str = "laptop") -> Flags[Options, Grid]:
    """Return the flags of a sweep over trained models with its own default axes and preset."""
    return Flags(options=Options, grid=lambda options: options.grid(axes, preset))
