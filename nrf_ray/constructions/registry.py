"""Every craft of this package, by its spec."""

from typing import Any

from nrf_ray.constructions.class_pattern import ClassPattern
from nrf_ray.constructions.class_words import WordsOfTheClass
from nrf_ray.constructions.craft import Craft
from nrf_ray.constructions.matching import RepresentationMatching
from nrf_ray.constructions.replaced_words import ReplacedWords
from nrf_ray.constructions.targeted_pgd import TargetedPgd
from nrf_ray.errors import ConfigError

CRAFTS: dict[type, Craft] = {
    craft.spec: craft
    for craft in (TargetedPgd(), ReplacedWords(), RepresentationMatching(), ClassPattern(), WordsOfTheClass())
}
"""Crafts by the class of their spec."""


def craft_of(spec: Any) -> Craft:
    """Return the craft that `spec` is of, or raise ConfigError with those that are known."""
    if type(spec) not in CRAFTS:
        known = ", ".join(kind.__name__ for kind in CRAFTS)
        raise ConfigError(f"a {type(spec).__name__} makes no images; a set is made with one of {known}")
    return CRAFTS[type(spec)]


def spec_named(name: str) -> type:
    """Return the class of specs called `name`, as keys and records name it, or raise ConfigError."""
    found = {kind.__name__: kind for kind in CRAFTS}
    if name not in found:
        raise ConfigError(f"no craft has a spec called {name!r}; known: {', '.join(found)}")
    return found[name]
