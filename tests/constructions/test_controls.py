"""Leakage-only controls: as far from the originals as the sets they stand beside, and with no feature of any source."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from nrf_ray.attacks.threat import NORMS, ThreatModel, perturbation_norm
from nrf_ray.constructions.class_pattern import add_with_norm, class_patterns, craft_pattern
from nrf_ray.constructions.class_words import ClassWords, class_words, craft_words
from nrf_ray.constructions.crafted import draw_targets
from nrf_ray.data.images import as_float, as_uint8
from nrf_ray.data.words import Scaling, table_of
from nrf_ray.errors import ConfigError
from tests.constructions.rounded import cycle, rounding

every_norm = pytest.mark.parametrize("norm", NORMS)


@every_norm
@pytest.mark.parametrize("eps", [0.3, 1.0])
def test_a_control_moves_exactly_the_rows_with_another_target(digits, norm, eps):
    images, labels = digits[0].images[:200], digits[0].labels[:200]
    targets = draw_targets("uniform", labels, 10, 0)
    threat = ThreatModel(norm=norm, eps=eps)
    crafted = craft_pattern(images, targets, targets == labels, class_patterns(10, (1, 8, 8), threat, 0), threat)
    same = targets == labels
    assert same.any()
    assert torch.equal(crafted.images[same], as_uint8(images)[same])
    assert torch.equal(crafted.moved, ~same)
    assert crafted.norm[same].max() <= rounding(norm)
    torch.testing.assert_close(crafted.norm, perturbation_norm(as_float(crafted.images) - images, norm))
    assert crafted.norm.max() <= eps + rounding(norm)


@pytest.mark.parametrize("eps", [0.3, 1.0, 1.5])
def test_a_control_has_the_norm_of_the_adversarial_set_where_the_box_allows_it(digits, eps):
    """Clipping alone would make the control's pattern shorter than eps, and the comparison unfair."""
    images, labels = digits[0].images[:200], digits[0].labels[:200]
    targets, threat = (labels + 1) % 10, ThreatModel(norm="l2", eps=eps)
    patterns = class_patterns(10, (1, 8, 8), threat, 0)
    crafted = craft_pattern(images, targets, targets == labels, patterns, threat)
    longest = perturbation_norm((images + 8 * patterns[targets]).clamp(0, 1) - images, "l2")
    reachable = longest >= eps
    assert reachable.float().mean() > 0.9
    assert (crafted.norm[reachable] - eps).abs().max() <= rounding("l2")
    plain = perturbation_norm((images + patterns[targets]).clamp(0, 1) - images, "l2")
    assert plain.mean() < 0.95 * eps, "clipping does not bind: the test shows nothing"


@every_norm
def test_a_control_carries_the_pattern_of_its_target_and_of_no_other_class(norm):
    """In the middle of the box nothing is clipped, so the change is the pattern itself, up to 8-bit rounding."""
    threat = ThreatModel(norm=norm, eps=0.2)
    patterns = class_patterns(10, (1, 8, 8), threat, 0)
    images, labels, targets = torch.full((10, 1, 8, 8), 0.5), cycle(10), (cycle(10) + 3) % 10
    change = as_float(craft_pattern(images, targets, targets == labels, patterns, threat).images) - images
    torch.testing.assert_close(change, patterns[targets], rtol=0, atol=0.5 / 255 + 1e-5)
    likeness = F.normalize(change.flatten(1)) @ F.normalize(patterns.flatten(1)).T
    assert torch.equal(likeness.argmax(1), targets)


def test_a_control_knows_no_source(digits):
    images, labels = digits[0].images[:50], digits[0].labels[:50]
    threat = ThreatModel(norm="l2", eps=1.0)
    patterns = class_patterns(10, (1, 8, 8), threat, 0)
    crafted = craft_pattern(images, (labels + 1) % 10, torch.zeros(50, dtype=torch.bool), patterns, threat)
    assert crafted.loss.isnan().all()
    assert crafted.loss.shape == (50,)
    assert crafted.prediction.tolist() == [-1] * 50
    assert crafted.prediction_stored.tolist() == [-1] * 50


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 5, 7)], ids=str)
@every_norm
def test_class_patterns_have_norm_eps_and_come_from_the_seed(norm, shape):
    threat = ThreatModel(norm=norm, eps=0.7)
    state = torch.random.get_rng_state()
    patterns = class_patterns(10, shape, threat, 3)
    assert patterns.shape == (10, *shape)
    torch.testing.assert_close(perturbation_norm(patterns, norm), torch.full((10,), 0.7))
    assert torch.equal(class_patterns(10, shape, threat, 3), patterns)
    assert not torch.equal(class_patterns(10, shape, threat, 4), patterns)
    assert torch.equal(torch.random.get_rng_state(), state)
    directions = F.normalize(patterns.flatten(1))
    assert ((directions @ directions.T) - torch.eye(10)).abs().max() < 0.95, "every class has its own"


@every_norm
@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 1.0))
def test_patterns_are_added_inside_ball_and_box(norm, seed, eps):
    generator = torch.Generator().manual_seed(seed)
    originals = torch.rand(8, 1, 6, 6, generator=generator)
    originals[:4] = originals[:4].round()  # at the walls of the box
    threat = ThreatModel(norm=norm, eps=eps)
    moved = add_with_norm(originals, class_patterns(8, (1, 6, 6), threat, seed), threat)
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert perturbation_norm(moved - originals, norm).max() <= eps * (1 + 1e-5) + 1e-6


# of words

WORDS = ["<unk>", *"abcdefghij"]
TABLE = table_of(WORDS, np.random.default_rng(0).standard_normal((11, 6)), Scaling((0.5,) * 6, (0.1,) * 6))
TEXTS = [list("abcde"), list("fgh"), ["<unk>", "i"], ["c"]]


def replaced(targets, spared, seed=0, rows=range(4), budget=2):
    """Return TEXTS with words of `targets`, as words, and these words by class."""
    words = class_words(2, ClassWords(budget=budget), TABLE, seed)
    texts = as_float(torch.from_numpy(TABLE.embed(TEXTS, 5)))[list(rows)]
    crafted = craft_words(texts, torch.tensor(targets), torch.tensor(spared), words, rows, TABLE, seed)
    told = [text.split() for text in TABLE.texts_of(crafted.images.numpy())]
    return crafted, told, [[WORDS[place] for place in own] for own in words.tolist()]


def test_a_text_gets_the_words_of_its_target_in_place_of_its_own():
    crafted, told, words = replaced([0, 1, 0, 1], [False, False, False, True])
    assert len({word for own in words for word in own} - {"<unk>"}) == 4, "no word is of two classes"
    for new, old, own in zip(told[:3], TEXTS, (words[0], words[1], words[0][:1]), strict=False):
        changed = [word for word, before in zip(new, old, strict=True) if word != before]
        assert set(changed) <= set(own) <= set(new), "every other word is as it was"
        assert len(changed) <= len(own), "a text of one word besides <unk> gets one"
    assert told[3] == ["c"], "spared"
    assert crafted.moved.tolist() == [True, True, True, False]
    assert crafted.norm[3] == 0
    assert crafted.loss.isnan().all()
    assert crafted.prediction.tolist() == [-1] * 4


def test_where_words_go_depends_on_the_row_and_the_seed_alone():
    targets, spared = [0, 1, 0, 1], [False] * 4
    whole = replaced(targets, spared)[0].images
    apart = [replaced(targets[row : row + 1], [False], rows=range(row, row + 1))[0].images for row in range(4)]
    assert torch.equal(torch.cat(apart), whole)
    assert not torch.equal(replaced(targets, spared, seed=1)[0].images, whole)


def test_more_words_than_there_are_are_refused():
    with pytest.raises(ConfigError, match="6 words for each of 2 classes are 12 words, and the dataset has only 10"):
        class_words(2, ClassWords(budget=6), TABLE, 0)
    with pytest.raises(ConfigError, match="class words need a budget from 1 to 5000 words per text, not 0"):
        ClassWords(budget=0)
