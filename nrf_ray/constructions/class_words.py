"""Words of the class, the leakage-only control for replaced words: every class has a few fixed words that mean nothing.

A text gets those of its t in place of as many of its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from nrf_ray.constructions.controls import remade, spared
from nrf_ray.constructions.craft import Craft, Maker, Setup, Stored, verifies
from nrf_ray.constructions.replaced_words import wrong_words
from nrf_ray.constructions.spec import Features, Storage
from nrf_ray.data.catalogue import info_of
from nrf_ray.errors import ConfigError
from nrf_ray.seeding import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

    from nrf_ray.constructions.crafted import Crafted
    from nrf_ray.data.words import WordTable


@dataclass(frozen=True, kw_only=True)
class ClassWords:
    """A pattern made of words, the control for replaced words: every class has its own few, for any words of a text."""

    budget: int
    """Words of a text that are replaced."""
    among: int = 5000
    """The words of the classes are drawn from so many of the most frequent."""

    def __post_init__(self) -> None:
        if not 1 <= self.budget <= self.among:
            raise ConfigError(f"1 to {self.among} words of a text can be those of its class, not {self.budget}")


class WordsOfTheClass(Craft):
    """Texts with words of their class t; spared rows stay clean. Norms are l2."""

    spec = ClassWords
    features: ClassVar[Features] = "pattern"
    replaces_words = True

    def bound(self, spec: ClassWords) -> tuple[str, float]:
        """Return how many words may be others."""
        return "words", float(spec.budget)

    def details(self, spec: ClassWords) -> tuple[str, ...]:
        """Return how many words may be others."""
        return (f"{spec.budget} words",)

    def make(self, setup: Setup) -> Maker:
        """Return what makes the rows of one set."""
        from nrf_ray.data.load import word_table

        config = setup.config
        table = word_table(config.dataset)
        words = class_words(info_of(config.dataset).num_classes, config.craft, table, config.seed)

        def make(rows: slice) -> "Crafted":
            texts, targets, numbers = setup.originals.images[rows], setup.targets[rows], range(rows.start, rows.stop)
            return craft_words(texts, targets, spared(setup, rows), words, numbers, table, config.seed, config.storage)

        return make


def craft_words(
    texts: "Tensor",
    targets: "Tensor",
    spared: "Tensor",
    words: "Tensor",
    rows: Iterable[int],
    table: "WordTable",
    seed: int,
    storage: Storage = "uint8",
) -> "Crafted":
    """Return embedded `texts` [b, 1, length, width] with words of their target class; `spared` [b] rows stay clean.

    `words` [k, budget] come from `class_words`, in its order. Where they go is drawn from `seed` and from each text's
    number in the dataset, `rows`; a shorter text gets as many as it has words.
    """
    import numpy as np
    import torch

    from nrf_ray.constructions.crafted import unseen
    from nrf_ray.data.images import as_float, as_uint8, stored_as

    originals = as_float(texts)
    vectors = torch.from_numpy(table.vectors)[words] / 255.0
    is_word = np.append(~table.is_mark, False)  # and padding, at -1, is none
    free = is_word[table.places_of(as_uint8(originals).numpy())[:, 0]]
    made = originals.clone()
    for number, row in enumerate(rows):
        if not spared[number]:
            drawn = np.random.default_rng((seed, row)).permutation(np.flatnonzero(free[number]))[: words.shape[1]]
            made[number, 0, torch.from_numpy(drawn)] = vectors[targets[number], : len(drawn)]
    return unseen(originals, stored_as(made, storage), "l2")


def class_words(num_classes: int, craft: ClassWords, table: "WordTable", seed: int) -> "Tensor":
    """Return the places in `table` of the words of each class, [k, budget], no word twice.

    Drawn from the first of the table, which are the most frequent of learnt ones, they say nothing of a class but by
    chance; where most words tell of a class, as in planted texts, that chance is large. Raises ConfigError where there
    are too few.
    """
    import numpy as np
    import torch

    usable = np.flatnonzero(~table.is_mark[: craft.among])
    needed = num_classes * craft.budget
    if needed > len(usable):
        raise ConfigError(
            f"{craft.budget} words for each of {num_classes} classes are {needed}, and the dataset has {len(usable)} to"
            " choose from; replace fewer, or take a larger set"
        )
    drawn = np.random.default_rng(derive_seed(seed, "class words")).permutation(usable)[:needed]
    return torch.from_numpy(drawn).view(num_classes, craft.budget)


@verifies(ClassWords)
def wrong_class_words(stored: Stored) -> Iterator[str]:
    """Make the texts again, and read them in their vectors."""
    yield from remade(WordsOfTheClass(), stored)
    yield from wrong_words(stored)
