"""Replaced words: puts features of class t into a text by replacing words (HotFlip, Ebrahimi et al. 2018)."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from nrf_ray.attacks.specs import Substitution
from nrf_ray.constructions.craft import Craft, Maker, Setup, Stored, verifies
from nrf_ray.constructions.spec import Features, Storage

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nrf_ray.attacks.hotflip import Lexicon
    from nrf_ray.constructions.crafted import Crafted


class OfWords(Craft):
    """Base of the crafting methods that replace at most `spec.budget` words of a text. Norms are l2."""

    replaces_words = True

    def bound(self, spec: Any) -> tuple[str, float]:
        """Return "words" and the number of words that may be replaced."""
        return "words", float(spec.budget)

    def details(self, spec: Any) -> tuple[str, ...]:
        """Return the number of words that may be replaced, as in "2 words"."""
        return (f"{spec.budget} words",)


class ReplacedWords(OfWords):
    """Crafting method that replaces a few words of a text so that the source predicts t."""

    spec = Substitution
    features: ClassVar[Features] = "adversarial"

    def gradients(self, spec: Substitution) -> int:
        """Return the number of gradients: one per replaced word."""
        return spec.steps

    def passes(self, spec: Substitution) -> int:
        """Return the passes of its gradients and of its tries."""
        return spec.passes

    def make(self, setup: Setup) -> Maker:
        """Return the function that makes rows of one set."""
        from nrf_ray.attacks.hotflip import lexicon_of
        from nrf_ray.constructions.crafted import by_source

        config = setup.config
        words = lexicon_of(config.dataset, config.craft, setup.device)
        return by_source(setup, partial(craft_replaced, substitution=config.craft, words=words, storage=config.storage))


def craft_replaced(
    model: "nn.Module",
    texts: "Tensor",
    targets: "Tensor",
    substitution: Substitution,
    words: "Lexicon",
    storage: Storage = "uint8",
) -> "Crafted":
    """Return embedded `texts` [b, 1, length, width] with some words replaced from `words`, towards `targets` [b]."""
    from nrf_ray.attacks.hotflip import substitute
    from nrf_ray.constructions.crafted import seen_by
    from nrf_ray.data.images import as_float
    from nrf_ray.engine.twin import twin

    assert substitution.targeted, "a construction needs a targeted attack"
    originals = as_float(texts)
    network = twin(model, originals, substitution.mode)
    made = substitute(network, originals, targets, substitution, words)
    return seen_by(network.original, originals, made, targets, storage, "l2")


@verifies(Substitution)
def wrong_words(stored: Stored) -> Iterator[str]:
    """Yield how many texts differ from their vectors, and how many have too many replaced words."""
    from nrf_ray.constructions.construct_spec import TEXTS
    from nrf_ray.data.images import as_float, as_uint8
    from nrf_ray.data.load import word_table

    config, rows, originals = stored.setup.config, stored.rows, stored.setup.originals
    table = word_table(config.dataset)
    new, old = (table.places_of(as_uint8(as_float(texts)).numpy()) for texts in (rows.images, originals.images))
    for name, indices in zip(TEXTS, (new, old), strict=True):
        others = sum(one != other for one, other in zip(rows.texts[name], table.texts_at(indices), strict=True))
        if others:
            yield f"{others} texts in the column {name} do not match their vectors"
    beyond = int(((new != old).sum(axis=(1, 2)) > config.craft.budget).sum())
    if beyond:
        yield f"{beyond} texts have more than {config.craft.budget} replaced words"
