"""Class words, the leakage-only control for replaced words: each class has a few fixed words, drawn at random.

In each text, they replace as many of its own words: the class words of its label t.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from nrf_ray.constructions.controls import remade, spared
from nrf_ray.constructions.craft import Maker, Setup, Stored, verifies
from nrf_ray.constructions.replaced_words import OfWords, wrong_words
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
    """Pattern made of words, the control for replaced words: a few words of the class replace any words of a text."""

    budget: int
    """Number of words of a text that are replaced."""
    among: int = 5000
    """Number of most frequent words from which the class words are drawn."""

    def __post_init__(self) -> None:
        if not 1 <= self.budget <= self.among:
            raise ConfigError(f"class words need a budget from 1 to {self.among} words per text, not {self.budget}")


class WordsOfTheClass(OfWords):
    """Crafting method that replaces words by words of class t; spared texts stay clean."""

    spec = ClassWords
    features: ClassVar[Features] = "pattern"

    def make(self, setup: Setup) -> Maker:
        """Return the function that makes rows of one set."""
        from nrf_ray.data.load import word_table

        config = setup.config
        table = word_table(config.dataset)
        words = class_words(info_of(config.dataset).num_classes, config.craft, table, config.seed)

        def make(rows: slice) -> "Crafted":
            texts, targets, indices = setup.originals.images[rows], setup.targets[rows], range(rows.start, rows.stop)
            return craft_words(texts, targets, spared(setup, rows), words, indices, table, config.seed, config.storage)

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
    """Return embedded `texts` [b, 1, length, width] with words of their target class; `spared` [b] texts stay clean.

    `words` [k, budget] come from `class_words`, in its order. Their positions are drawn from `seed` and each text's
    index in the dataset, `rows`. A text with fewer words gets only as many as it has.
    """
    import numpy as np
    import torch

    from nrf_ray.constructions.crafted import unseen
    from nrf_ray.data.images import as_float, as_uint8, stored_as

    originals = as_float(texts)
    vectors = torch.from_numpy(table.vectors)[words] / 255.0
    is_word = np.append(~table.is_mark, False)  # padding has index -1 and is not a word
    free = is_word[table.places_of(as_uint8(originals).numpy())[:, 0]]
    made = originals.clone()
    for number, row in enumerate(rows):
        if not spared[number]:
            drawn = np.random.default_rng((seed, row)).permutation(np.flatnonzero(free[number]))[: words.shape[1]]
            made[number, 0, torch.from_numpy(drawn)] = vectors[targets[number], : len(drawn)]
    return unseen(originals, stored_as(made, storage), "l2")


def class_words(num_classes: int, craft: ClassWords, table: "WordTable", seed: int) -> "Tensor":
    """Return the indices in `table` of the words of each class, [k, budget], no word twice.

    They are drawn from the first words of the table; in a learnt table these are the most frequent. A drawn word is
    related to a class only by chance; if most words depend on the class, as in planted texts, that chance is large.
    Raises ConfigError if there are too few words.
    """
    import numpy as np
    import torch

    usable = np.flatnonzero(~table.is_mark[: craft.among])
    needed = num_classes * craft.budget
    if needed > len(usable):
        raise ConfigError(
            f"{craft.budget} words for each of {num_classes} classes are {needed} words, and the dataset has only "
            f"{len(usable)} to choose from; replace fewer words, or use a larger dataset"
        )
    drawn = np.random.default_rng(derive_seed(seed, "class words")).permutation(usable)[:needed]
    return torch.from_numpy(drawn).view(num_classes, craft.budget)


@verifies(ClassWords)
def wrong_class_words(stored: Stored) -> Iterator[str]:
    """Yield how the stored texts differ from recomputed ones, and from their own vectors."""
    yield from remade(WordsOfTheClass(), stored)
    yield from wrong_words(stored)
