"""The words that a substitution chooses from, for the stages that carry one out."""

from nrf_ray.attacks.hotflip import Lexicon, lexicon
from nrf_ray.attacks.specs import Substitution
from nrf_ray.data.catalogue import DatasetRef
from nrf_ray.data.load import word_table


def lexicon_of(dataset: DatasetRef, craft: object, device: str) -> Lexicon | None:
    """Return the lexicon of `dataset` where `craft` is a substitution, else None."""
    return lexicon(word_table(dataset), craft, device) if isinstance(craft, Substitution) else None
