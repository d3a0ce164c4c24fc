"""The building blocks of every sweep: models and constructed sets, as stages with readable names.

A sweep file calls these functions and makes table rows of the results. The same arguments give the same stage, which is
run once.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from nrf_ray.attacks.specs import Attack, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.constructions.craft import Craft
from nrf_ray.constructions.registry import craft_of
from nrf_ray.constructions.spec import Construction, Storage, construction_named
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.data.naming import EMBEDDING
from nrf_ray.engine.mode import Mode
from nrf_ray.errors import ConfigError
from nrf_ray.graph.stage import Stage
from nrf_ray.models.catalogue import ENCODER
from nrf_ray.presets import Preset
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.attack import AttackSpec, attack
from nrf_ray.stages.construct import construct
from nrf_ray.stages.costs import check_reads
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.training.recipes import Augmentation, Recipe

ONE_FILE, ONE_FILE_GRADIENTS = 16_384, 2_000_000
"""Most images, and most gradients, of a set that is one file."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """Trained model and its role."""

    train: Stage
    """`train` or `import_weights` stage of the model."""
    role: str
    """source, judge, victim, weak (the one-epoch model of a control) or student."""
    seed: int
    """Seed of the replicate."""
    made_from: "ConstructedSet | None" = None
    """Constructed set that the model is trained on; None for the original data."""

    @property
    def arch(self) -> str:
        """Name of the architecture."""
        return str(self.train.config.arch)

    @property
    def training(self) -> str:
        """Standard or adversarial."""
        return str(self.train.config.training)

    @property
    def mode(self) -> Mode | None:
        """Mode (faithful or fast) of the training; None for models trained elsewhere."""
        recipe: Recipe | None = getattr(self.train.config, "recipe", None)
        return recipe.mode if recipe else None

    @property
    def adversary(self) -> Attack | None:
        """Attack of the adversarial training; None for standard training, and for models trained elsewhere."""
        recipe: Recipe | None = getattr(self.train.config, "recipe", None)
        return recipe.adversary if recipe else None

    @property
    def threat(self) -> ThreatModel | None:
        """Ball of the adversarial training; None for standard training, and if nobody has stated it."""
        stated: ThreatModel | None = getattr(self.train.config, "threat", None)
        return self.adversary.threat if self.adversary else stated

    @property
    def name(self) -> str | None:
        """Name of a model trained elsewhere, without a path; None for a model that the sweep trains."""
        return None if hasattr(self.train.config, "recipe") else str(self.train.config.title)


@dataclass(frozen=True, kw_only=True)
class ConstructedSet:
    """Constructed set and the model that its features come from."""

    construction: Construction
    """Construction of the set."""
    construct: Stage
    """`construct` stage of the set."""
    source: Model | None
    """Model whose features the set is made with; None for a control that needs no source."""
    seed: int
    """Seed of the replicate."""

    @property
    def threat(self) -> ThreatModel | None:
        """Norm and radius that bound the perturbations; None if they are bounded only by the range of pixels."""
        threat: ThreatModel | None = self.construct.config.threat
        return threat

    @property
    def bound(self) -> tuple[str | None, float | None]:
        """Bound of the changes, for tables: norm and eps, or "words" and their number; otherwise (None, None)."""
        return self._craft.bound(self.construct.config.craft)

    @property
    def mode(self) -> Mode | None:
        """Mode in which the images are computed; None for a pattern."""
        return self._craft.mode(self.construct.config.craft)

    @property
    def start(self) -> str | None:
        """Start images of matching; None for other constructions."""
        return self._craft.start(self.construct.config.craft)

    @property
    def _craft(self) -> Craft:
        return craft_of(self.construct.config.craft)


def trained(
    dataset: DatasetInfo,
    arch: str,
    recipe: Recipe,
    role: str,
    seed: int,
    made: ConstructedSet | None = None,
    *,
    holdout: float = 0.0,
    how: str = "",
) -> Model:
    """Return a model of the replicate `seed`; the same architecture in two roles gets two independent trainings.

    `holdout` is the share of examples that are held out; `how` is added to the model's name. Raises ConfigError if the
    architecture or the augmentation is for another kind of data, or the set is smaller than a batch.
    """
    check_reads(arch, dataset)
    if arch == ENCODER and EMBEDDING not in dataset.ref.name:
        raise ConfigError(
            f"{ENCODER} is the encoder that a dataset names, but {dataset.ref.name} does not name one; write "
            f"text-parquet:PATH{EMBEDDING}hf:NAME"
        )
    if dataset.kind == "texts" and recipe.augmentation != Augmentation():
        raise ConfigError(
            f"the {role} of {dataset.ref.name} would be trained on crops or flips, but {dataset.ref.name} holds texts; "
            "use a recipe without augmentation, as in the preset text"
        )
    # A constructed set has as many rows. The number of its changed rows is not known before it is made.
    rows = dataset.num_train - round(dataset.num_train * holdout)
    if rows < recipe.batch_size:
        raise ConfigError(
            f"the {role} of {dataset.ref.name} would be trained on {rows} examples, fewer than one batch of "
            f"{recipe.batch_size}; use a larger set (planted sets have their size in brackets, as in "
            "planted-text[train=2000]), or a preset with smaller batches"
        )
    spec = TrainSpec(
        arch=arch,
        dataset=dataset.ref,
        recipe=recipe,
        rows=made.construction.rows if made else "all",
        holdout=holdout,
        seed=derive_seed(seed, role),
    )
    trained_on = made.construct.label if made else f"{dataset.ref.name}, seed {seed}"
    if made and made.construction.rows == "changed":
        trained_on = f"changed rows of {trained_on}"
    kind = "robust " if recipe.adversary else ""
    stage = train(spec, data=made.construct if made else None)
    name = f"{kind}{role} {arch} on {trained_on}"
    return Model(train=stage.named(f"{name}, {how}" if how else name), role=role, seed=seed, made_from=made)


def source_for(construction: Construction, standard: Model, robust: Model) -> Model:
    """Return the robust source if the construction needs an adversarially trained source, else the standard source."""
    return robust if construction.source_training == "adversarial" else standard


def crafted_by(preset: Preset, construction: Construction, threat: ThreatModel | None, start: str = "image") -> Any:
    """Return the crafting method of a construction, by default the preset's; `start` is only for D_R and D_NR."""
    if construction.craft:
        return construction.craft(preset, threat)
    if construction.features == "matched":
        return preset.noise_matching if start == "noise" else preset.matching
    if threat is None:
        raise ConfigError(f"{construction.name} needs a norm and an epsilon; give both")
    if construction.features == "pattern":
        return threat
    if preset.craft_step and preset.craft_step > threat.eps:
        raise ConfigError(
            f"sets are crafted within {threat.norm} {threat.eps:g}, and the preset {preset.name} uses steps of "
            f"{preset.craft_step:g}, which are longer; give a larger --epsilon, or use another --preset"
        )
    crafting = pgd_attack(threat.norm, threat.eps, steps=preset.craft_steps, targeted=True, mode=preset.mode)
    return replace(crafting, step_size=preset.craft_step) if preset.craft_step else crafting


def constructed(
    dataset: DatasetInfo,
    name: str,
    craft: Any,
    source: Model | None,
    seed: int,
    *,
    storage: Storage = "uint8",
    split: Literal["train", "test"] = "train",
) -> ConstructedSet:
    """Return one constructed set; a control that needs no source is made without one."""
    construction = construction_named(name)
    _check_source(construction, source)
    source = source if construction.needs_source else None
    spec = ConstructSpec(
        dataset=dataset.ref,
        construction=construction.made_as or name,
        craft=craft,
        seed=derive_seed(seed, "construct"),
        split=split,
        storage=storage,
        shard_rows=shard_rows(craft, dataset.num_train if split == "train" else dataset.num_test),
    )
    stage = construct(spec, source=source.train if source else None)
    of_robust = ("of robust source",) if source and source.training == "adversarial" else ()
    details = (spec.construction, *of_robust, *craft_of(craft).details(craft))
    of = dataset.ref.name if split == "train" else f"{dataset.ref.name} test images"
    label = f"{' '.join(details)} of {of}, seed {seed}"
    return ConstructedSet(construction=construction, construct=stage.named(label), source=source, seed=seed)


def _check_source(construction: Construction, source: Model | None) -> None:
    """Raise ConfigError if the source is not of the kind that the construction needs."""
    wanted, found = construction.source_training, source.training if source else None
    if wanted not in ("any", found):
        raise ConfigError(f"{construction.name} needs a source of {wanted} training, not of {found}")
    if construction.spares == "weak" and (source is None or source.role != "weak"):
        raise ConfigError(
            f"the clean examples of {construction.name} are chosen by a weak model; give a source with the role weak"
        )


def shard_rows(craft: Any, rows: int) -> int:
    """Return the images per file of a set of `rows` images, in whole batches of 256.

    A set of at most 16,384 images and two million gradients is one file, made in one process. A larger one is many, so
    that a pool of any size has work to the end, and a killed process loses little: a file has as many images as take a
    hundred thousand gradients, at least 512 and at most 4096.
    """
    steps = max(1, craft_of(craft).gradients(craft))
    if rows <= ONE_FILE and rows * steps <= ONE_FILE_GRADIENTS:
        return ONE_FILE
    return min(4096, max(512, 100_000 // steps // 256 * 256))


def attacked(dataset: DatasetInfo, source: Model, threat: ThreatModel, preset: Preset, *, targeted: bool) -> Stage:
    """Return the `attack` stage for the source's adversarial test images, crafted with the preset's PGD."""
    spec = AttackSpec(
        dataset=dataset.ref,
        attack=replace(preset.pgd(threat), targeted=targeted),
        seed=derive_seed(source.seed, "attack"),
    )
    kind = "targeted" if targeted else "untargeted"
    label = f"{kind} {threat.norm} {threat.eps:g} on {dataset.ref.name}, seed {source.seed}"
    return attack(spec, source=source.train).named(label)
