"""Preset: default axes of a grid, and the recipes behind them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from nrf_ray.attacks.named import adversary_named
from nrf_ray.attacks.specs import Attack, Substitution, pgd_attack
from nrf_ray.attacks.threat import Norm, ThreatModel
from nrf_ray.constructions.matching import Matching
from nrf_ray.engine.mode import Mode
from nrf_ray.training.recipes import Augmentation, Recipe


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Default axes of a grid, with recipes and settings of attacks and constructions."""

    name: str
    """Name on the command line."""
    description: str
    """Description in one line."""
    datasets: tuple[str, ...]
    """Default axis: names of datasets."""
    archs: tuple[str, ...]
    """Default axis: architectures of students and victims."""
    control_archs: tuple[str, ...]
    """Architectures of students on the leakage-only controls: a subset of the students' architectures."""
    constructions: tuple[str, ...]
    """Default axis of the transfer grid."""
    norms: tuple[Norm, ...]
    """Default axis: norms of the threat model."""
    epsilons: tuple[float, ...]
    """Default axis: radii of the constructions."""
    radii: tuple[float, ...]
    """Default axis of the robust features: radii of the attacks on the students."""
    seeds: tuple[int, ...]
    """Default axis: seeds of the replicates."""

    nonrobust_archs: tuple[str, ...]
    """Default architectures of the sweep `nonrobust_features`; one is enough for Table 1."""
    nonrobust_constructions: tuple[str, ...]
    """Default constructions of the sweep `nonrobust_features`."""
    sources: tuple[Literal["standard", "adversarial"], ...] = ("standard", "adversarial")
    """Trainings of the source models of the sweep `nonrobust_features`; the first must be standard."""
    starts: tuple[Literal["image", "noise"], ...] = ("image", "noise")
    """Start of the images of D_R and D_NR: another image, or noise."""

    source_arch: str
    """Architecture whose non-robust features are used."""
    source: Recipe
    """Training of the standard source."""
    robust_source: Recipe
    """Adversarial training of the robust source."""
    victim: Recipe
    """Standard training on the original data."""
    student: Recipe
    """Standard training on a constructed set."""
    students: Mapping[str, Recipe] = field(default_factory=dict)
    """Recipes for constructions that do not use `student`, by name of the construction."""
    weak: Recipe
    """Training of the weak model that chooses the clean examples of `leak_weak`."""
    judge_arch: str
    """Architecture of the robust judge."""
    judge: Recipe
    """Adversarial training of the robust judge; one judge serves all seeds."""

    craft_steps: int
    """PGD steps of a construction."""
    craft_step: float | None = None
    """Step size of construction PGD, pixel units; None for 2.5 eps / steps."""
    attack_steps: int
    """PGD steps for transfer and robust accuracy."""
    attack_step: float | None = None
    """Step size of these steps as a share of eps; None for 2.5 / steps."""
    test_examples: int | None = None
    """Number of test images for robust accuracy, chosen by one fixed permutation; None for all."""
    check_examples: int = 128
    """Number of test images for the attack checks."""
    substitution: Substitution | None = None
    """Attack that replaces words of texts; None for images."""

    search_views: Augmentation
    """Augmentation that a recipe search compares with no augmentation."""
    matching_arch: str
    """Architecture of the sources whose representations are matched."""
    matching_source: Recipe
    """Training of the standard source for matching."""
    matching_robust_source: Recipe
    """Adversarial training of the robust source for matching."""
    matched_archs: tuple[str, ...]
    """Architectures of the students of D_R and D_NR."""
    matched_student: Recipe
    """Training of the students of D_R and D_NR."""
    matching: Matching
    """Matching that starts from other images."""
    noise_matching: Matching
    """Matching that starts from noise."""
    mode: Mode = "faithful"
    """Mode (faithful or fast) of attacks and training."""

    adversary: str = ""
    """Name of the attack that replaces the preset's own in all adversarial training; empty if none does."""
    note: str = ""
    """Note for the user on how flags changed radii and step sizes; empty if they did not."""

    def within(self, norm: Norm, radii: tuple[float, ...]) -> "Preset":
        """Return the same preset with radii and step sizes in another norm; its own lengths have no meaning there.

        Robust models are trained within the first of `radii`, with the step size in the same proportion to the radius.
        Sets are crafted with a step size of 2.5 eps / steps. Models are attacked within `radii`.
        """
        return replace(
            self,
            robust_source=_within(self.robust_source, norm, radii[0]),
            judge=_within(self.judge, norm, radii[0]),
            matching_robust_source=_within(self.matching_robust_source, norm, radii[0]),
            norms=(norm,),
            epsilons=radii,
            radii=radii,
            craft_step=None,
            note=f"the radii of the preset {self.name} are in {' and '.join(self.norms)}: robust models are trained "
            f"within {norm} {radii[0]:g}, and step sizes of attacks are in proportion to their radii",
        )

    def trained_against(self, adversary: str) -> "Preset":
        """Return the same preset with another attack in all adversarial training, at the same norms and radii."""
        return replace(
            self,
            adversary=adversary,
            robust_source=_against(self.robust_source, adversary),
            judge=_against(self.judge, adversary),
            matching_robust_source=_against(self.matching_robust_source, adversary),
        )

    def in_mode(self, mode: Mode) -> "Preset":
        """Return the same preset with every training, matching and attack computed in `mode`."""
        changed = self._with_recipes(lambda recipe: _recipe_in(recipe, mode))
        matching, noise_matching = (replace(craft, mode=mode) for craft in (self.matching, self.noise_matching))
        return replace(changed, mode=mode, matching=matching, noise_matching=noise_matching)

    def trained_by(self, workers: int) -> "Preset":
        """Return the same preset with `workers` data-parallel workers in every training."""
        return self._with_recipes(lambda recipe: replace(recipe, workers=workers))

    def _with_recipes(self, change: Callable[[Recipe], Recipe]) -> "Preset":
        """Return the same preset with every recipe changed."""
        recipes: dict[str, Any] = {
            declared.name: change(getattr(self, declared.name))
            for declared in fields(self)
            if isinstance(getattr(self, declared.name), Recipe)
        }
        students = {name: change(recipe) for name, recipe in self.students.items()}
        return replace(self, students=students, **recipes)

    def pgd(self, threat: ThreatModel) -> Attack:
        """Return the untargeted PGD within `threat` that models are attacked with."""
        attack = pgd_attack(threat.norm, threat.eps, steps=self.attack_steps, mode=self.mode)
        return replace(attack, step_size=self.attack_step * threat.eps) if self.attack_step else attack

    def student_of(self, construction: str) -> Recipe:
        """Return the training recipe of students on a construction."""
        return self.students.get(construction, self.student)


def _recipe_in(recipe: Recipe, mode: Mode) -> Recipe:
    adversary = recipe.adversary
    return replace(recipe, mode=mode, adversary=adversary and replace(adversary, mode=mode))


def _within(recipe: Recipe, norm: Norm, eps: float) -> Recipe:
    assert recipe.adversary is not None, "only adversarial training has an adversary"
    step_size = recipe.adversary.step_size * eps / recipe.adversary.threat.eps
    return replace(
        recipe, adversary=replace(recipe.adversary, threat=ThreatModel(norm=norm, eps=eps), step_size=step_size)
    )


def _against(recipe: Recipe, adversary: str) -> Recipe:
    assert recipe.adversary is not None, "only adversarial training has an adversary"
    named = adversary_named(adversary, recipe.adversary.threat)
    return replace(recipe, adversary=replace(named, mode=recipe.mode))
