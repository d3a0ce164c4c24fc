"""Words replaced by gradients: exact where a model is linear in words, within the budget, and whole words."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from torch import nn

from nrf_ray.attacks.hotflip import best_flips, lexicon, substitute
from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import Substitution, check_measures
from nrf_ray.data.words import Scaling, table_of
from nrf_ray.engine.predict import BATCH
from nrf_ray.errors import ConfigError

WIDTH, LENGTH = 6, 5
DRAW = np.random.Generator(np.random.PCG64(0))
WORDS = ["<unk>", *"abcdefghij"]
TABLE = table_of(WORDS, DRAW.standard_normal((len(WORDS), WIDTH)), Scaling((0.5,) * WIDTH, (0.1,) * WIDTH))
TEXTS = [list("abcde"), list("fgh"), ["<unk>", *"ij"], ["c"]]


class Linear(nn.Module):
    """The logit of class 1 is the sum over all words of weights . vector; that of class 0 is zero."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.weights = nn.Parameter(torch.randn(WIDTH, generator=draw))

    def forward(self, images):
        score = (images[:, 0] @ self.weights).sum(dim=1)
        return torch.stack([torch.zeros_like(score), score], dim=1)


def embedded(texts=TEXTS):
    return torch.from_numpy(TABLE.embed(texts, LENGTH)).float() / 255


def spec(budget, **changes):
    return Substitution(budget=budget, **{"candidates": 4, "among": 11, "tries": 1, **changes})


def replaced(before, after):
    """Return how many words of each text are others."""
    return (before != after).any(dim=3).sum(dim=(1, 2)).tolist()


def brute_force(model, text, budget, label, words):
    """Return the lowest logit of `label`, relative to the other, of all texts with up to `budget` words replaced."""
    places = words.places_of(text[None])[0]
    free = [at for at in range(LENGTH) if words.replaceable[places[at]]]
    best = np.inf
    for count in range(min(budget, len(free)) + 1):
        for chosen in combinations(free, count):
            for new in product(*(words.candidates[places[at]].tolist() for at in chosen)):
                tried = text.clone()
                for at, place in zip(chosen, new, strict=True):
                    tried[0, at] = words.vectors[place]
                score = model(tried[None])[0, 1].item()
                best = min(best, score if label == 1 else -score)
    return best


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("budget", [1, 2])
def test_on_a_linear_model_no_other_replacement_is_better(budget, label):
    """First order is all there is, and the words of a text add up: greedy is optimal, as brute force shows."""
    model, words = Linear(), lexicon(TABLE, spec(budget), "cpu")
    labels = torch.full((len(TEXTS),), 1 - label)
    found = substitute(model, embedded(), labels, spec(budget, targeted=True), words)
    scores = model(found)[:, 1] * (1 if label == 1 else -1)
    expected = [brute_force(model, text, budget, label, words) for text in embedded()]
    torch.testing.assert_close(scores, torch.tensor(expected), rtol=0, atol=1e-5)


def test_the_first_order_gain_is_the_gain_of_a_linear_score():
    model, words = Linear(), lexicon(TABLE, spec(1), "cpu")
    images = embedded()
    places = words.places_of(images)
    gradient = model.weights.detach().expand(len(images), LENGTH, WIDTH)
    flips = best_flips(gradient, images[:, 0], places, words.replaceable[places], words, 3)
    for text in range(len(images)):
        for rank in range(3):
            flipped = images[text : text + 1].clone()
            flipped[0, 0, flips.positions[text, rank]] = words.vectors[flips.places[text, rank]]
            gain = model(flipped)[0, 1] - model(images[text : text + 1])[0, 1]
            assert flips.gains[text, rank].item() == pytest.approx(gain.item(), abs=1e-5)
        assert flips.gains[text].tolist() == sorted(flips.gains[text].tolist(), reverse=True)


@pytest.mark.parametrize("budget", [1, 2, 4])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("tries", [1, 3])
def test_no_more_words_than_the_budget_are_others_and_all_are_words(budget, targeted, tries):
    given = spec(budget, targeted=targeted, tries=tries)
    before, words = embedded(), lexicon(TABLE, given, "cpu")
    after = substitute(Linear(), before, torch.tensor([0, 1, 0, 1]), given, words)
    assert max(replaced(before, after)) <= budget
    levels = (after * 255).round().to(torch.uint8)
    assert torch.equal(levels.float() / 255, after)
    new = words.places_of(after)
    assert torch.equal(new < 0, words.places_of(before) < 0), "padding stays padding"
    assert all(TABLE.vectors[place].tolist() == row.tolist() for place, row in
               zip(new[new >= 0], levels[:, 0][new >= 0], strict=True))  # fmt: skip


def test_a_word_becomes_one_of_its_candidates_and_a_mark_stays():
    given = spec(5, targeted=True, candidates=2)
    before, words = embedded(), lexicon(TABLE, given, "cpu")
    old, new = (
        words.places_of(before),
        words.places_of(substitute(Linear(), before, torch.tensor([0, 1, 0, 1]), given, words)),
    )
    assert new[2, 0] == old[2, 0] == 0, "<unk> is no word"
    for was, now in zip(old[old != new].tolist(), new[old != new].tolist(), strict=True):
        assert now in TABLE.neighbours(2, 11)[was]


def test_an_untargeted_one_stops_where_the_model_is_fooled():
    model, given = Linear(), spec(4)
    before, words = embedded(), lexicon(TABLE, given, "cpu")
    wrong = 1 - model(before).argmax(dim=1)
    assert torch.equal(substitute(model, before, wrong, given, words), before), "it was wrong before"
    right = 1 - wrong
    after = substitute(model, before, right, given, words)
    one_less = [substitute(model, before, right, spec(budget), words) for budget in (1, 2, 3)]
    for text, count in enumerate(replaced(before, after)):
        if model(after)[text].argmax() != right[text] and count > 1:
            assert model(one_less[count - 2])[text].argmax() == right[text], "no word was replaced in vain"


def test_what_helps_nothing_is_not_done():
    class Flat(nn.Module):
        def forward(self, images):
            return torch.stack([images.sum(dim=(1, 2, 3)) * 0, torch.ones(len(images))], dim=1)

    given = spec(3, targeted=True)
    before = embedded()
    assert torch.equal(
        substitute(Flat(), before, torch.zeros(4, dtype=torch.int64), given, lexicon(TABLE, given, "cpu")), before
    )


def test_a_look_at_the_loss_is_never_worse_than_the_first_order_choice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        curved = nn.Sequential(nn.Flatten(), nn.Linear(LENGTH * WIDTH, 8), nn.Tanh(), nn.Linear(8, 2))
    curved[1].weight.data *= 40
    before, labels, words = embedded(), torch.tensor([0, 1, 0, 1]), lexicon(TABLE, spec(1), "cpu")
    losses = []
    for tries in (1, 20):
        after = substitute(curved, before, labels, spec(1, targeted=True, tries=tries), words)
        losses.append(nn.functional.cross_entropy(curved(after), labels, reduction="none"))
    assert (losses[1] <= losses[0] + 1e-6).all()
    assert (losses[1] < losses[0] - 1e-6).any()


def test_the_batch_does_not_matter():
    given, labels = spec(2, tries=2), torch.tensor([0, 1, 0, 1])
    words = lexicon(TABLE, given, "cpu")
    together = substitute(Linear(), embedded(), labels, given, words)
    alone = [substitute(Linear(), embedded()[[row]], labels[[row]], given, words) for row in range(4)]
    assert torch.equal(together, torch.cat(alone))


def test_texts_of_two_batches_are_attacked_in_their_order_also_at_eight_bits():
    given, labels = spec(1), torch.tensor([0, 1, 0, 1])
    words, many = lexicon(TABLE, given, "cpu"), BATCH // len(TEXTS) + 1
    alone = substitute(Linear(), embedded(), labels, given, words)
    assert sum(replaced(embedded(), alone)) > 0
    for texts in (embedded(TEXTS * many), (embedded(TEXTS * many) * 255).to(torch.uint8)):
        found = run_attack(given, Linear(), texts, labels.repeat(many), words=words)
        assert torch.equal(found, alone.repeat(many, 1, 1, 1))


@pytest.mark.parametrize("field", ["budget", "candidates", "among", "tries"])
def test_numbers_below_one_are_refused(field):
    with pytest.raises(ConfigError, match="a substitution needs budget, candidates, among and tries >= 1") as error:
        Substitution(**{"budget": 1, field: 0})
    assert "\n" not in str(error.value)


def test_a_targeted_one_measures_nothing():
    with pytest.raises(ConfigError, match="untargeted"):
        check_measures(spec(1, targeted=True))
    check_measures(spec(1))
    assert spec(3).name == "hotflip-3"
