"""What a preset is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from nrf_ray.attacks.named import adversary_named
from nrf_ray.attacks.specs import Substitution
from nrf_ray.attacks.threat import Norm, ThreatModel
from nrf_ray.constructions.matching import Matching
from nrf_ray.engine.mode import Mode
from nrf_ray.training.recipes import Augmentation, Recipe


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Default axes of a grid, and the recipes behind them."""

    name: str
    """Name on the command line."""
    description: str
    """One line for people."""
    datasets: tuple[str, ...]
    """Default axis."""
    archs: tuple[str, ...]
    """Default axis: students and victims."""
    control_archs: tuple[str, ...]
    """Of the students' architectures, those that are trained on the leakage-only controls too."""
    constructions: tuple[str, ...]
    """Default axis of the transfer grid."""
    norms: tuple[Norm, ...]
    """Default axis."""
    epsilons: tuple[float, ...]
    """Default axis: radii of the constructions."""
    radii: tuple[float, ...]
    """Default axis of the robust features: radii of the attacks on the students."""
    seeds: tuple[int, ...]
    """Default axis."""

    nonrobust_archs: tuple[str, ...]
    """Default architectures of the non-robust features: one is enough for Table 1."""
    nonrobust_constructions: tuple[str, ...]
    """Default constructions of the non-robust features."""
    sources: tuple[Literal["standard", "adversarial"], ...] = ("standard", "adversarial")
    """Kinds of source models of the non-robust features; the first must be standard."""
    starts: tuple[Literal["image", "noise"], ...] = ("image", "noise")
    """What the images of D_R and D_NR start from."""

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
    """The same for the constructions that have a recipe of their own."""
    weak: Recipe
    """Training of the weak model that picks the clean rows of `leak_weak`."""
    judge_arch: str
    """Architecture of the robust judge."""
    judge: Recipe
    """Adversarial training of the robust judge; one judge serves all seeds."""

    craft_steps: int
    """PGD steps of a construction."""
    craft_step: float | None = None
    """Their length, pixel units; None for 2.5 eps / steps."""
    attack_steps: int
    """PGD steps of transfer and of robust accuracy; their length is 2.5 eps / steps."""
    test_examples: int | None = None
    """Test images that robust accuracy is measured on, by one fixed permutation; None for all."""
    check_examples: int = 128
    """Test images that the checks of an attack are made on."""
    substitution: Substitution | None = None
    """Of texts, how words are replaced; None for images."""

    search_views: Augmentation
    """The augmentation that a recipe search tries beside none."""
    matching_arch: str
    """Architecture of the sources whose representations are matched."""
    matching_source: Recipe
    """Training of the standard one."""
    matching_robust_source: Recipe
    """Training of the robust one."""
    matched_archs: tuple[str, ...]
    """Architectures of the students of D_R and D_NR."""
    matched_student: Recipe
    """Their training."""
    matching: Matching
    """How images are matched that start from other images."""
    noise_matching: Matching
    """How images are matched that start from noise."""
    mode: Mode = "faithful"
    """How attacks and training are computed."""

    adversary: str = ""
    """Name of the attack that all adversarial training was changed to; empty for the preset's own."""
    note: str = ""
    """What flags have changed in its lengths, for people; empty for nothing."""

    def within(self, norm: Norm, radii: tuple[float, ...]) -> "Preset":
        """Return the same preset with lengths of another norm: those of its own mean nothing there.

        Robust models are trained within the first of `radii`, by steps in the same proportion to it; sets are crafted
        by steps of 2.5 eps / steps; models are attacked within `radii`.
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
            note=f"the lengths of the preset {self.name} are for {' and '.join(self.norms)}: robust models are trained "
            f"within {norm} {radii[0]:g}, and steps of attacks are in proportion to their radii",
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
        """Return the same preset with every training by `workers` processes together."""
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

    def student_of(self, construction: str) -> Recipe:
        """Return the training of students on a construction."""
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
