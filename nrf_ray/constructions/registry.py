"""Crafting methods of this package, by spec."""

from typing import Any

from nrf_ray.constructions.class_pattern import ClassPattern
from nrf_ray.constructions.class_words import WordsOfTheClass
from nrf_ray.constructions.craft import Craft
from nrf_ray.constructions.matching import RepresentationMatching
from nrf_ray.constructions.replaced_words import ReplacedWords
from nrf_ray.constructions.targeted_pgd import TargetedPgd
from nrf_ray.errors import ConfigError, lookup

CRAFTS: dict[type, Craft] = {
    craft.spec: craft
    for craft in (TargetedPgd(), ReplacedWords(), RepresentationMatching(), ClassPattern(), WordsOfTheClass())
}
"""Crafting methods by the class of their spec."""


def craft_of(spec: Any) -> Craft:
    """Return the crafting method of `spec`, or raise ConfigError with the known spec classes."""
    if type(spec) not in CRAFTS:
        known = ", ".join(kind.__name__ for kind in CRAFTS)
        raise ConfigError(f"a {type(spec).__name__} cannot make a constructed set; use one of {known}")
    return CRAFTS[type(spec)]


def spec_named(name: str) -> type:
    """Return the spec class that keys and records call `name`, or raise ConfigError."""
    return lookup({kind.__name__: kind for kind in CRAFTS}, name, "crafting method")
