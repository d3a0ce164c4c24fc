"""Crafting methods of this package, by spec."""

from typing import Any

from nrf_ray.constructions.class_pattern import ClassPattern
from nrf_ray.constructions.class_words import WordsOfTheClass
from nrf_ray.constructions.craft import Craft
from nrf_ray.constructions.matching import RepresentationMatching
from nrf_ray.constructions.replaced_words import ReplacedWords
from nrf_ray.constructions.targeted_pgd import TargetedPgd
from nrf_ray.errors import ConfigError, Registry

CRAFTS: Registry[Craft] = Registry.of(
    "crafting method",
    (TargetedPgd(), ReplacedWords(), RepresentationMatching(), ClassPattern(), WordsOfTheClass()),
)
"""Crafting methods by the name of the class of their spec, which is in keys."""


def craft_of(spec: Any) -> Craft:
    """Return the crafting method of `spec`, or raise ConfigError with the known spec classes."""
    craft = CRAFTS.get(type(spec).__name__)
    if craft is None or craft.spec is not type(spec):
        raise ConfigError(f"a {type(spec).__name__} cannot make a constructed set; use one of {', '.join(CRAFTS)}")
    return craft


def spec_named(name: str) -> type:
    """Return the spec class that keys and records call `name`, or raise ConfigError."""
    return CRAFTS.named(name).spec
