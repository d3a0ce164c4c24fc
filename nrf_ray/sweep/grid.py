"""The grid of a sweep over trained models."""

from dataclasses import dataclass
from itertools import product
from typing import TypedDict

from nrf_ray.attacks.named import attack_named
from nrf_ray.attacks.threat import Norm, ThreatModel
from nrf_ray.constructions.spec import Storage, construction_named
from nrf_ray.data.catalogue import DatasetInfo, dataset_named
from nrf_ray.errors import ConfigError
from nrf_ray.models.catalogue import architecture_named
from nrf_ray.presets import Preset
from nrf_ray.sweep.axes import check_axes


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
        check_axes(self, may_be_empty=("extra_tests",))
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
            self._check_fits(info)

    def _check_fits(self, info: DatasetInfo) -> None:
        """Raise ConfigError where an attack or a ball of the grid is for other data than `info`."""
        for norm, eps, name in product(self.norms, self.epsilons, self.attacks):
            threat = ThreatModel(norm=norm, eps=eps)
            threat.check_fits(info.shape)
            fewest = attack_named(name, threat, self.preset.attack_steps, self.preset.mode).fewest_classes
            if info.num_classes < fewest:
                raise ConfigError(
                    f"{name} needs {fewest} classes at least, and {info.ref.name} has {info.num_classes}; take "
                    "pgd-50x10"
                )
        if info.kind == "images" and "l2_token" in self.norms:
            raise ConfigError(f"l2_token bounds the tokens of texts, and {info.ref.name} holds images; take l2 or linf")

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
