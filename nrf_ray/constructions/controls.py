"""Leakage-only controls: sets whose labels t are predicted by a pattern that means nothing.

Every class has one fixed smooth pattern, of the size that the adversarial perturbation would have, and an image gets
that of its t; or a few fixed words, and a text gets those of its t in place of as many of its own. Some rows are spared
and stay clean, so a student can learn true features from them: what it then knows of the clean test set, it did not
learn from adversarial features.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nrf_ray.attacks.threat import Norm, ThreatModel, perturbation_norm
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.constructions.crafted import Crafted, differ
from nrf_ray.constructions.spec import ClassWords, Storage
from nrf_ray.data.catalogue import info_of
from nrf_ray.data.images import as_float, as_uint8, stored_as
from nrf_ray.data.load import word_table
from nrf_ray.data.outline import Kind
from nrf_ray.data.words import WordTable
from nrf_ray.errors import ConfigError
from nrf_ray.seeding import derive_seed


def craft_pattern(
    images: Tensor,
    targets: Tensor,
    spared: Tensor,
    patterns: Tensor,
    threat: ThreatModel,
    storage: Storage = "uint8",
    *,
    kind: Kind = "images",
) -> Crafted:
    """Return `images` [b, c, h, w] with the fixed pattern of their target class added; `spared` [b] rows stay clean.

    `patterns` [k, c, h, w] come from `class_patterns`. Clipping to the box would shorten the perturbation, so it is
    scaled per example until the clipped one has norm eps (l2), as an adversarial one has. Of texts, words get it alone.
    """
    originals, added = as_float(images), patterns[targets]
    if kind == "texts":
        added = added * (originals.amax(dim=3, keepdim=True) > 0)
    moved = add_with_norm(originals, added, threat)
    stored = stored_as(torch.where(spared.view(-1, 1, 1, 1), originals, moved), storage)
    return _without_source(originals, stored, threat.norm)


def craft_words(
    texts: Tensor,
    targets: Tensor,
    spared: Tensor,
    words: Tensor,
    rows: Iterable[int],
    table: WordTable,
    seed: int,
    storage: Storage = "uint8",
) -> Crafted:
    """Return embedded `texts` [b, 1, length, width] with words of their target class; `spared` [b] rows stay clean.

    `words` [k, budget] come from `class_words`, in its order. Where they go is drawn from `seed` and from each text's
    number in the dataset, `rows`; a shorter text gets as many as it has words.
    """
    originals = as_float(texts)
    vectors = torch.from_numpy(table.vectors)[words] / 255.0
    is_word = np.append(~table.is_mark, False)  # and padding, at -1, is none
    free = is_word[table.places_of(as_uint8(originals).numpy())[:, 0]]
    made = originals.clone()
    for number, row in enumerate(rows):
        if not spared[number]:
            drawn = np.random.default_rng((seed, row)).permutation(np.flatnonzero(free[number]))[: words.shape[1]]
            made[number, 0, torch.from_numpy(drawn)] = vectors[targets[number], : len(drawn)]
    return _without_source(originals, stored_as(made, storage), "l2")


def _without_source(originals: Tensor, stored: Tensor, norm: Norm) -> Crafted:
    """Return what was made of `originals` and stored, with nothing where others have what a source says."""
    distance = perturbation_norm(as_float(stored) - originals, norm)
    nothing = torch.full(distance.shape, -1)
    return Crafted(
        images=stored,
        norm=distance,
        distance=distance,
        moved=differ(as_uint8(as_float(stored)), as_uint8(originals)),
        loss=torch.full(distance.shape, float("nan")),
        prediction=nothing,
        prediction_stored=nothing,
    )


def class_words(num_classes: int, craft: ClassWords, table: WordTable, seed: int) -> Tensor:
    """Return the places in `table` of the words of each class, [k, budget], no word twice.

    Drawn from the first of the table, which are the most frequent of learnt ones, they say nothing of a class but by
    chance; where most words tell of a class, as in planted texts, that chance is large. Raises ConfigError where there
    are too few.
    """
    usable = np.flatnonzero(~table.is_mark[: craft.among])
    needed = num_classes * craft.budget
    if needed > len(usable):
        raise ConfigError(
            f"{craft.budget} words for each of {num_classes} classes are {needed}, and the dataset has {len(usable)} to"
            " choose from; replace fewer, or take a larger set"
        )
    drawn = np.random.default_rng(derive_seed(seed, "class words")).permutation(usable)[:needed]
    return torch.from_numpy(drawn).view(num_classes, craft.budget)


def class_patterns(num_classes: int, shape: tuple[int, int, int], threat: ThreatModel, seed: int) -> Tensor:
    """Return one smooth random pattern of norm eps per class, as [k, c, h, w]; it carries no feature of any class."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(derive_seed(seed, "patterns"))
    coarse = torch.randn(num_classes, channels, max(2, height // 2), max(2, width // 2), generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return threat.eps * threat.ascend(smooth)


def add_with_norm(originals: Tensor, patterns: Tensor, threat: ThreatModel) -> Tensor:
    """Return `originals` plus a multiple of `patterns`, clamped to the box, at distance eps where the box allows it.

    For l2 the multiple, at most 8, is found per example by bisection, for l2_token per token; for linf a pattern needs
    no scaling.
    """
    if threat.norm == "linf":
        return (originals + patterns).clamp(0.0, 1.0)
    low = torch.zeros_like(threat.ball_norms(originals))
    high = torch.full_like(low, 8.0)
    for _ in range(30):
        middle = (low + high) / 2
        moved = (originals + middle * patterns).clamp(0.0, 1.0)
        short = threat.ball_norms(moved - originals) < threat.eps
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (originals + low * patterns).clamp(0.0, 1.0)


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
