"""The rows of a control, made from its spec: by the stage that builds it, and by whoever looks again."""

from collections.abc import Callable

from torch import Tensor

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions import Crafted
from nrf_ray.controls import class_patterns, class_words, craft_pattern, craft_words
from nrf_ray.crafts import ClassWords
from nrf_ray.data.catalogue import info_of
from nrf_ray.data.load import word_table
from nrf_ray.stages.construct import ConstructSpec

ControlMaker = Callable[[Tensor, Tensor, Tensor, range], Crafted]
"""From originals [b, c, h, w], labels t, whether each is spared, and their numbers in the dataset to what is stored."""


def control_maker(config: ConstructSpec) -> ControlMaker:
    """Return what makes rows of the control `config`, on the CPU."""
    info = info_of(config.dataset)
    match config.craft:
        case ThreatModel() as threat:
            patterns = class_patterns(info.num_classes, info.shape, threat, config.seed)
            return lambda images, targets, spared, numbers: craft_pattern(
                images, targets, spared, patterns, threat, config.storage, kind=info.kind
            )
        case ClassWords() as craft:
            table = word_table(config.dataset)
            words = class_words(info.num_classes, craft, table, config.seed)
            return lambda images, targets, spared, numbers: craft_words(
                images, targets, spared, words, numbers, table, config.seed, config.storage
            )
    raise AssertionError(f"{config.construction} is no control: it is made with a {type(config.craft).__name__}")
