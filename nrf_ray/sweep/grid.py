"""The grid of a sweep over trained models."""

from dataclasses import dataclass
from itertools import product
from typing import TypedDict

from nrf_ray.attacks.named import attack_named
from nrf_ray.attacks.specs import AutoAttack
from nrf_ray.attacks.threat import Norm, ThreatModel
from nrf_ray.constructions.spec import Storage, construction_named
from nrf_ray.data.catalogue import DatasetInfo, trainable
from nrf_ray.errors import ConfigError
from nrf_ray.models.catalogue import architecture_named
from nrf_ray.presets import Preset
from nrf_ray.sweep.axes import check_axes


class Axes(TypedDict, total=False):
    """Default axes of one sweep that differ from the preset's."""

    archs: tuple[str, ...]
    constructions: tuple[str, ...]
    epsilons: tuple[float, ...]
    seeds: tuple[int, ...]


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
    """How the pixels of constructed sets are stored."""
    attacks: tuple[str, ...] = ("pgd",)
    """Attacks used to measure robust accuracy."""
    extra_tests: tuple[str, ...] = ()
    """Further test sets, besides the dataset's own extra test sets on this machine."""
    given_sources: tuple[str, ...] = ()
    """Models in place of trained sources, in the grammar of `models.model_name`."""
    given_judges: tuple[str, ...] = ()
    """Model in place of the trained judge: at most one."""
    given_victims: tuple[str, ...] = ()
    """Models in place of trained victims."""
    store: str = "./runs"
    """Store in which models that are given by a key are looked up."""

    def __post_init__(self) -> None:
        check_axes(self, may_be_empty=("extra_tests", "given_sources", "given_judges", "given_victims"))
        if len(self.given_judges) > 1:
            raise ConfigError(f"--judge takes one model, not {', '.join(self.given_judges)}")
        for arch in self.archs:
            architecture_named(arch)
        for construction in self.constructions:
            construction_named(construction)
        found = [trainable(dataset) for dataset in self.datasets]
        titles = [info.ref.name for info in found]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice:
            raise ConfigError(f"two datasets are called {twice} in the tables; rename the files of one")
        for info in found:
            self._check_fits(info)

    def _check_fits(self, info: DatasetInfo) -> None:
        """Raise ConfigError if an attack or a ball of the grid does not fit the data of `info`."""
        for norm, eps, name in product(self.norms, self.epsilons, self.attacks):
            threat = ThreatModel(norm=norm, eps=eps)
            threat.check_fits(info.shape)
            attack = attack_named(name, self.preset.pgd(threat))
            if isinstance(attack, AutoAttack):
                attack.check_fits(info.num_classes, info.shape[1], called=name, subject=info.ref.name)
        if info.kind == "images" and "l2_token" in self.norms:
            raise ConfigError(f"l2_token bounds the tokens of texts, and {info.ref.name} holds images; use l2 or linf")

    def allow_constructions(self, sweep: str, known: tuple[str, ...]) -> None:
        """Raise ConfigError if the grid names a construction that `sweep` does not support."""
        for name in self.constructions:
            if name not in known:
                raise ConfigError(f"{sweep} supports the constructions {', '.join(known)}, not {name}; leave it out")

    def refuse(self, sweep: str, **reasons: str) -> None:
        """Raise ConfigError if an axis was given that `sweep` does not use; `reasons` say why, by axis."""
        for axis, reason in reasons.items():
            unused = type(self).__dataclass_fields__[axis].default
            if getattr(self, axis) != unused:
                raise ConfigError(f"{sweep} does not use {axis.replace('_', ' ')}: {reason}; leave the flag out")

    def archs_for(self, construction: str) -> tuple[str, ...]:
        """Return the students' architectures for a set: all, or for a control only the preset's if the grid has any."""
        few = tuple(arch for arch in self.archs if arch in self.preset.control_archs)
        return few if few and construction_named(construction).features == "pattern" else self.archs
