"""Discrete attacks on texts: replace a few words, chosen by gradients (HotFlip, Ebrahimi et al. 2018).

A model sees vectors. The gradient g with respect to the vector v of a word gives, to first order, the change of the
loss if another vector v' replaces v: g . (v' - v). Candidates are the nearest words of the embedding. The loop is
greedy, one word per step, as PGD takes one step per gradient, and it uses the model's twin as PGD does.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nrf_ray.attacks.losses import LOSSES
from nrf_ray.attacks.pgd import input_gradient
from nrf_ray.attacks.specs import Substitution
from nrf_ray.data.catalogue import DatasetRef
from nrf_ray.data.load import word_table
from nrf_ray.data.words import WordTable
from nrf_ray.engine import meter
from nrf_ray.engine.given import check_images, check_labels, check_outputs
from nrf_ray.engine.predict import classes_of
from nrf_ray.engine.twin import twin

if TYPE_CHECKING:
    import numpy.typing as npt

LOSS = LOSSES["cross_entropy"]


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Words that may replace each other, on one device."""

    table: WordTable
    """The words of the dataset."""
    vectors: Tensor
    """[v, width], float32 in [0, 1]."""
    candidates: Tensor
    """[v, c], for each word the indices of the words that may replace it."""
    replaceable: Tensor
    """[v + 1], whether each is a word. A mark such as [CLS] is not a word; the last entry is padding's."""

    def places_of(self, texts: Tensor) -> Tensor:
        """Return the word indices of embedded texts [b, 1, length, width] in [0, 1], as [b, length]."""
        levels = (texts * 255.0).round().to(torch.uint8).cpu().numpy()
        return torch.from_numpy(self.table.places_of(levels)[:, 0]).to(texts.device)


def lexicon(table: WordTable, substitution: Substitution, device: str) -> Lexicon:
    """Return the lexicon of `substitution` for a dataset with the words of `table`."""
    nearest = _neighbours(table, substitution.candidates, substitution.among)
    return Lexicon(
        table=table,
        vectors=torch.from_numpy(table.vectors).to(device).float() / 255.0,
        candidates=torch.from_numpy(nearest).to(device),
        replaceable=torch.from_numpy(np.append(~table.is_mark, False)).to(device),
    )


@lru_cache(maxsize=2)
def _neighbours(table: WordTable, count: int, among: int) -> "npt.NDArray[np.int64]":
    return table.neighbours(count, among)


class Flips(NamedTuple):
    """Replacements of one word of each text by a word of the lexicon, [b, m] or [b]."""

    gains: Tensor
    """Expected rise of the loss, to first order; -inf if no choice is left."""
    positions: Tensor
    """Position of the word in the text."""
    places: Tensor
    """Index of the new word in the lexicon."""


def substitute(model: nn.Module, texts: Tensor, labels: Tensor, substitution: Substitution, words: Lexicon) -> Tensor:
    """Return embedded `texts` [b, 1, length, width] in [0, 1] with up to `budget` words replaced.

    The loss towards `labels` [b] goes down if `substitution` is targeted, otherwise up. A word is replaced only if the
    gradient predicts a gain, and then even if the true loss changes the other way, as in a step of PGD. An untargeted
    substitution stops changing a text once the model no longer predicts its label.
    """
    check_images(texts)
    network = twin(model, texts)
    with torch.no_grad():
        logits = check_outputs(network(texts[:1]), network.original, len(texts[:1]))
    check_labels(labels, len(texts), logits.shape[1])
    sign = -1.0 if substitution.targeted else 1.0
    places = words.places_of(texts)
    free = words.replaceable[places]
    current = texts.clone()
    rows = torch.arange(len(texts), device=texts.device)
    for _ in range(substitution.budget):
        rows = rows[free[rows].any(dim=1)]
        if not substitution.targeted:
            rows = rows[_correct(network, current[rows], labels[rows])]
        if len(rows) == 0:
            break
        gradient, _ = input_gradient(network, current[rows], labels[rows], LOSS)
        flips = best_flips(sign * gradient[:, 0], current[rows, 0], places[rows], free[rows], words, substitution.tries)
        flip = _best_tried(network, current[rows], labels[rows], sign, flips, words)
        rows, at, to = (part[flip.gains > 0] for part in (rows, flip.positions, flip.places))
        current[rows, 0, at] = words.vectors[to]
        places[rows, at] = to
        free[rows, at] = False
    meter.count("attacked", len(texts))
    return current


def best_flips(gradient: Tensor, vectors: Tensor, places: Tensor, free: Tensor, words: Lexicon, count: int) -> Flips:
    """Return the `count` flips of each text that raise the loss most to first order, best first.

    `gradient` and `vectors` are [b, length, width]. `places` and `free`, [b, length], hold the index of the word at
    each position, and whether it may be replaced.
    """
    at = free.nonzero(as_tuple=True)
    slopes, candidates = gradient[at], words.candidates[places[at]]
    gains = gradient.new_full((*places.shape, candidates.shape[1]), -torch.inf)
    now = (slopes * vectors[at]).sum(dim=1, keepdim=True)
    gains[at] = torch.einsum("nd,ncd->nc", slopes, words.vectors[candidates]) - now
    best = gains.flatten(1).topk(min(count, gains[0].numel()), dim=1)
    position, choice = best.indices // gains.shape[2], best.indices % gains.shape[2]
    place = words.candidates[places.gather(1, position).clamp_min(0), choice]
    return Flips(best.values, position, place)


@torch.no_grad()
def _best_tried(
    network: nn.Module, current: Tensor, labels: Tensor, sign: float, flips: Flips, words: Lexicon
) -> Flips:
    """Return the flip of each text with the best true loss among the flips [b, m], as [b] each."""
    rows = torch.arange(len(current), device=current.device)
    gains = torch.zeros_like(flips.gains)
    for number in range(flips.gains.shape[1] if flips.gains.shape[1] > 1 else 0):
        tried = current.clone()
        tried[rows, 0, flips.positions[:, number]] = words.vectors[flips.places[:, number]]
        gains[:, number] = sign * LOSS(network(tried), labels)
    best = gains.masked_fill(flips.gains <= 0, -torch.inf).argmax(dim=1)
    return Flips(*(part[rows, best] for part in flips))


@torch.no_grad()
def _correct(network: nn.Module, texts: Tensor, labels: Tensor) -> Tensor:
    return classes_of(network(texts)) == labels


def lexicon_of(dataset: DatasetRef, substitution: Substitution, device: str) -> Lexicon:
    """Return the lexicon of `substitution` for `dataset`, which holds texts."""
    return lexicon(word_table(dataset), substitution, device)
