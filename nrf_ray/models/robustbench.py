"""Entries of RobustBench's CIFAR-10 leaderboards whose architecture can be named here, as its model zoo builds them.

Source: `model_zoo/cifar10.py` of RobustBench 1.1.1. The files themselves are the user's; nothing here downloads them.
"""

from dataclasses import dataclass
from typing import Literal

from nrf_ray.errors import ConfigError, lookup

LEADERBOARDS: dict["Leaderboard", float] = {"linf": 8 / 255, "l2": 0.5}
"""Radius of each leaderboard, which is that of most of its trainings."""
STANDARD = "Standard"
"""Entry that is not adversarially trained."""

PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
ENGSTROM = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
AUGUSTIN = (
    (0.4913997551666284, 0.48215855929893703, 0.4465309133731618),
    (0.24703225141799082, 0.24348516474564, 0.26158783926049628),
)
RONY = ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262))
Leaderboard = Literal["linf", "l2"]
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of a leaderboard."""

    name: str
    """Leaderboard and name there, as in l2/Engstrom2019Robustness."""
    arch: str
    """Architecture."""
    normalisation: Normalisation
    """Mean and std that its code in RobustBench uses if the file has none."""
    weights: str
    """Set of weights that RobustBench takes of a file with several; empty if the file has one."""

    leaderboard: Leaderboard
    """Norm of the leaderboard."""

    @property
    def robust(self) -> bool:
        """Whether the entry is a defence."""
        return not self.name.endswith(f"/{STANDARD}")


_ENTRIES: dict[tuple[Leaderboard, str, Normalisation], tuple[str, ...]] = {
    ("linf", "wrn_28_10", PLAIN): (
        *("Carmon2019Unlabeled", "Wang2020Improving", "Wu2020Adversarial_extra", "Zhang2020Geometry"),
        *("Sridhar2021Robust", STANDARD),
    ),
    ("linf", "wrn_28_10", HALF): ("Hendrycks2019Using",),
    ("linf", "wrn_34_10", PLAIN): (
        *("Zhang2019Theoretically", "Huang2020Self", "Zhang2019You", "Zhang2020Attacks", "Wu2020Adversarial"),
        *("Sehwag2021Proxy", "Sitawarin2020Improving", "Cui2020Learnable_34_10", "Addepalli2021Towards_WRN34"),
        *("Chen2021LTD_WRN34_10", "Jia2022LAS-AT_34_10", "Addepalli2022Efficient_WRN_34_10"),
        *("Cui2023Decoupled_WRN-34-10", "Chen2024Data_WRN_34_10"),
    ),
    ("linf", "wrn_34_10", CIFAR): ("Chen2020Efficient",),
    ("linf", "wrn_70_16", PLAIN): ("Jia2022LAS-AT_70_16",),
    ("linf", "wrn_28_10_silu", CIFAR): (
        *("Gowal2020Uncovering_28_10_extra", "Rebuffi2021Fixing_28_10_cutmix_ddpm", "Rade2021Helper_ddpm"),
        *("Gowal2021Improving_28_10_ddpm_100m", "Pang2022Robustness_WRN28_10", "Wang2023Better_WRN-28-10"),
        *("Xu2023Exploring_WRN-28-10", "Cui2023Decoupled_WRN-28-10"),
    ),
    ("linf", "wrn_34_10_silu", CIFAR): ("Rade2021Helper_extra",),
    ("linf", "wrn_70_16_silu", CIFAR): (
        *("Gowal2020Uncovering_70_16", "Gowal2020Uncovering_70_16_extra", "Rebuffi2021Fixing_70_16_cutmix_ddpm"),
        *("Rebuffi2021Fixing_70_16_cutmix_extra", "Gowal2021Improving_70_16_ddpm_100m"),
        *("Pang2022Robustness_WRN70_16", "Wang2023Better_WRN-70-16"),
    ),
    ("linf", "preact_resnet18_raw", PLAIN): ("Andriushchenko2020Understanding",),
    ("linf", "preact_resnet18_raw", CIFAR): ("Wong2020Fast",),
    ("linf", "preact_resnet18_silu", CIFAR): (
        *("Rebuffi2021Fixing_R18_ddpm", "Rade2021Helper_R18_extra", "Rade2021Helper_R18_ddpm"),
        "Gowal2021Improving_R18_ddpm_100m",
    ),
    ("linf", "resnet50", ENGSTROM): ("Engstrom2019Robustness",),
    ("linf", "resnet18", PLAIN): ("Sehwag2021Proxy_R18", "Addepalli2021Towards_RN18", "Addepalli2022Efficient_RN18"),
    ("l2", "wrn_28_10", PLAIN): (STANDARD,),
    ("l2", "wrn_28_10", RONY): ("Rony2019Decoupling",),
    ("l2", "wrn_34_10", PLAIN): ("Wu2020Adversarial", "Sehwag2021Proxy"),
    ("l2", "wrn_34_10", AUGUSTIN): ("Augustin2020Adversarial_34_10", "Augustin2020Adversarial_34_10_extra"),
    ("l2", "wrn_28_10_silu", CIFAR): ("Rebuffi2021Fixing_28_10_cutmix_ddpm", "Wang2023Better_WRN-28-10"),
    ("l2", "wrn_70_16_silu", CIFAR): (
        *("Gowal2020Uncovering", "Gowal2020Uncovering_extra", "Rebuffi2021Fixing_70_16_cutmix_ddpm"),
        *("Rebuffi2021Fixing_70_16_cutmix_extra", "Wang2023Better_WRN-70-16"),
    ),
    ("l2", "preact_resnet18_bn", CIFAR): ("Rice2020Overfitting",),
    ("l2", "preact_resnet18_silu", CIFAR): ("Rebuffi2021Fixing_R18_cutmix_ddpm", "Rade2021Helper_R18_ddpm"),
    ("l2", "resnet50", ENGSTROM): ("Engstrom2019Robustness",),
    ("l2", "resnet50", AUGUSTIN): ("Augustin2020Adversarial",),
    ("l2", "resnet18", PLAIN): ("Sehwag2021Proxy_R18",),
}
_OF_SEVERAL = {"linf/Andriushchenko2020Understanding": "last"}

ENTRIES: dict[str, Entry] = {
    f"{leaderboard}/{name}": Entry(
        name=f"{leaderboard}/{name}",
        leaderboard=leaderboard,
        arch=arch,
        normalisation=normalisation,
        weights=_OF_SEVERAL.get(f"{leaderboard}/{name}", ""),
    )
    for (leaderboard, arch, normalisation), names in _ENTRIES.items()
    for name in names
}
"""Every entry that can be loaded, by leaderboard and name."""


def entry_named(name: str) -> Entry:
    """Return the entry LEADERBOARD/NAME, or NAME if one leaderboard alone has it; raise ConfigError otherwise."""
    boards = [full for full in ENTRIES if full.partition("/")[2] == name]
    if len(boards) > 1:
        raise ConfigError(f"RobustBench has {name} on two leaderboards; write {' or '.join(boards)}")
    return lookup(ENTRIES, boards[0] if boards else name, "entry of RobustBench")
