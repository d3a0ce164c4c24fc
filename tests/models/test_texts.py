"""Networks for texts: what is no word is passed over, and what reads images is not asked to read texts."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nrf_ray.attacks import checks
from nrf_ray.attacks.restarts import ExampleStarts, RunStarts, run_once
from nrf_ray.attacks.specs import AutoAttack, pgd_attack
from nrf_ray.attacks.subject import Subject
from nrf_ray.attacks.threat import NORMS, ThreatModel, l2_token_norm
from nrf_ray.data.catalogue import DATASETS, DatasetInfo, DatasetRef
from nrf_ray.engine.runtime import prepare
from nrf_ray.engine.twin import twin
from nrf_ray.errors import ConfigError
from nrf_ray.graph.stage import Resources
from nrf_ray.models import over_time
from nrf_ray.models.catalogue import ARCHITECTURES
from nrf_ray.models.classifier import TextClassifier, forward_macs
from nrf_ray.models.over_time import NOWHERE
from nrf_ray.models.zoo import build
from nrf_ray.presets import PRESETS
from nrf_ray.sweep.flags import Options
from nrf_ray.sweep.grid import Grid
from nrf_ray.sweep.models_and_sets import trained
from nrf_ray.training.recipes import Augmentation, Recipe
from tests.small import grid_of

LENGTH, WIDTH = 7, 8
ARCHS = [name for name, known in ARCHITECTURES.items() if known.reads == "texts"]
every_arch = pytest.mark.parametrize("arch", ARCHS)
BOOK = DatasetInfo(
    ref=DatasetRef(name="book", digest="0" * 64), shape=(1, LENGTH, WIDTH), num_classes=2, num_train=64, num_test=64,
    kind="texts",
)  # fmt: skip


def made(arch, length=LENGTH, seed=0):
    shape = (1, length, WIDTH)
    return build(arch, shape=shape, num_classes=3, mean=[0.5] * WIDTH, std=[0.1] * WIDTH, seed=seed).eval()


def texts(lengths=(7, 4, 1), length=LENGTH):
    """Return embedded texts of random words, zeros behind them."""
    embedded = 0.5 + 0.05 * torch.randn(len(lengths), 1, length, WIDTH, generator=torch.Generator().manual_seed(0))
    for row, words in enumerate(lengths):
        embedded[row, 0, words:] = 0
    return embedded


@every_arch
def test_shapes_and_seeds(arch):
    model, again, other = (made(arch, seed=seed) for seed in (1, 1, 2))
    assert model.representation(texts()).shape == (3, model.head.in_features)
    assert model(texts()).shape == (3, 3)
    assert torch.equal(model(texts()), again(texts()))
    assert not torch.equal(model(texts()), other(texts()))


@every_arch
def test_what_is_no_word_has_no_gradient_and_every_word_has_one(arch):
    images = texts().requires_grad_(True)
    F.cross_entropy(made(arch)(images), torch.arange(3)).backward()
    reached = images.grad[:, 0].abs().amax(dim=2) > 0
    behind = torch.arange(LENGTH) >= torch.tensor([[7], [4], [1]])
    assert not reached[behind].any()
    assert reached[:, 0].any()
    if arch == "text_transformer":
        assert torch.equal(reached, ~behind), "attention reaches every word; a maximum does not"


@every_arch
def test_what_stands_behind_a_text_does_not_matter(arch):
    """A vector near the corner is read as none, whatever it is."""
    model, images = made(arch), texts()
    noisy = images + 0.1 * torch.rand(images.shape, generator=torch.Generator().manual_seed(1)) * (images == 0)
    assert torch.equal(model(images), model(noisy))


@every_arch
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(0, LENGTH), min_size=1, max_size=4), more=st.integers(1, 6), seed=st.integers(0, 9))
def test_more_padding_changes_no_answer(arch, lengths, more, seed):
    """The same weights in a longer box, rounding apart: sums of other lengths are taken in another order."""
    short, long = made(arch, seed=seed), made(arch, LENGTH + more)
    weights = short.state_dict()
    if arch == "text_transformer":  # the places behind have positions of their own, which must not matter
        weights["body.positions"] = torch.cat([weights["body.positions"], long.body.positions[LENGTH:] + 9])
    long.load_state_dict(weights)
    embedded = texts(lengths)
    torch.testing.assert_close(long(F.pad(embedded, (0, 0, 0, more))), short(embedded), rtol=0, atol=1e-6)


@every_arch
@pytest.mark.parametrize("norm", ["l2", "l2_token"])
def test_an_attack_leaves_padding_alone_and_uses_its_radius(arch, norm):
    attack = pgd_attack(norm, 0.2, steps=4)
    images = texts()
    moved = run_once(attack, made(arch), images, torch.arange(3)) - images
    assert not moved[images == 0].any()
    torch.testing.assert_close(moved.flatten(1).norm(dim=1) if norm == "l2" else l2_token_norm(moved),
                               torch.full((3,), 0.2), rtol=1e-3, atol=0)  # fmt: skip


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["of examples", "of a run"])
def test_random_starts_spend_nothing_of_their_ball_on_padding(norm, kind):
    """What is drawn is uniform in the ball of the words alone, whatever the box behind them."""
    images = texts([1, 4, 7] * 200, length=LENGTH + 20)
    examples = ExampleStarts(seed=0, indices=torch.arange(len(images)))
    starts = examples if kind == "of examples" else RunStarts(generator=torch.Generator().manual_seed(0))
    seen = []

    class Seen(TextClassifier):
        def forward(self, images):
            seen.append(images.detach())
            return super().forward(images)

    model = made("text_cnn", length=LENGTH + 20)
    model.__class__ = Seen
    network = twin(model, images)
    seen.clear()
    run_once(pgd_attack(norm, 0.1, steps=1, start="uniform"), network, images, torch.zeros(len(images)).long(),
               starts=starts)  # fmt: skip
    moved = (seen[0] - images).double()
    assert not moved[images == 0].any()
    for words, moves in zip((1, 4, 7), (moved[place::3, 0] for place in range(3)), strict=True):
        uniform = {
            "l2": (moves.flatten(1).norm(dim=1) / 0.1) ** (words * WIDTH),
            "l2_token": (moves[:, 0].norm(dim=1) / 0.1) ** WIDTH,
            "linf": moves[:, 0, 0] / 0.2 + 0.5,
        }[norm]
        assert kstest(uniform.numpy(), "uniform").pvalue > 0.01


def test_noise_that_an_attack_is_compared_with_is_all_on_words(monkeypatch):
    model, images, drawn = made("text_cnn"), texts((7, 4, 1)), []

    def predict(network, noisy):
        drawn.append(noisy)
        return torch.zeros(len(noisy)).long()

    monkeypatch.setattr("nrf_ray.attacks.checks.predict", predict)
    subject = Subject(model=model, images=images, labels=torch.zeros(3).long(), indices=torch.arange(3),
                      attack=pgd_attack("l2", 0.1), seed=0)  # fmt: skip
    left = torch.zeros(3, dtype=torch.bool)
    checks._noise(checks._Run(subject=subject, found=images, fooled=left, rises=1.0, lost=0.0, steps=[]))
    noisy = torch.cat(drawn).unflatten(0, (checks.NOISE_DRAWS, 3))
    assert not noisy[:, images == 0].any()
    assert noisy[:, images > 0].std(dim=0).min() > 0


def test_a_text_without_words_starts_where_it_is():
    nothing = torch.zeros(1, 1, LENGTH, WIDTH)
    rows = made("text_cnn").words(nothing)
    for norm in NORMS:
        assert torch.equal(ThreatModel(norm=norm, eps=0.1).random_start(nothing, torch.Generator(), rows), nothing)


@every_arch
def test_a_twin_gives_the_same_outputs_and_gradients_by_its_input(arch):
    model = made(arch).train()
    found = twin(model, texts())
    torch.testing.assert_close(found(texts()), model.eval()(texts()))
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


@every_arch
def test_it_works_in_the_state_of_torch_that_stages_have(arch):
    """Deterministic, with precision set by torch's new interface, which does not mix with its old one."""
    flags = (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads())
    try:
        prepare(Resources())
        images = texts().requires_grad_(True)
        twin(made(arch), texts())(images).sum().backward()
        assert images.grad.isfinite().all()
    finally:
        torch.use_deterministic_algorithms(flags[0])
        torch.set_num_threads(flags[1])


@every_arch
def test_a_text_without_words_gives_numbers(arch):
    assert made(arch)(torch.zeros(1, 1, LENGTH, WIDTH)).isfinite().all()


@every_arch
def test_no_texts_give_no_numbers(arch):
    nothing = torch.zeros(0, 1, LENGTH, WIDTH, requires_grad=True)
    found = made(arch)(nothing)
    assert found.shape == (0, 3)
    assert torch.autograd.grad(found.sum(), nothing)[0].shape == nothing.shape


def test_normalised_words_are_those_of_the_embedding():
    seen = []
    model = made("text_cnn")
    model.body = type(
        "Body", (torch.nn.Module,), {"forward": lambda self, *given: seen.extend(given) or given[0][:, 0]}
    )()
    model.representation(texts((2,)))
    torch.testing.assert_close(seen[0][0, :2], (texts((2,))[0, 0, :2] - 0.5) / 0.1)
    assert not seen[0][0, 2:].any()
    assert seen[1].tolist() == [[True] * 2 + [False] * 5]


@pytest.mark.parametrize("arch", ["text_cnn", "text_transformer"])
def test_the_catalogue_knows_what_a_pass_costs(arch):
    """A third off at most, at the length and width of rt-polarity."""
    shape = (1, 39, 192)
    model = build(arch, shape=shape, num_classes=2, mean=[0.5] * 192, std=[0.1] * 192, seed=0)
    assert ARCHITECTURES[arch].macs(*shape[1:]) == pytest.approx(forward_macs(model, shape), rel=0.5)


def test_an_l2_token_ball_is_one_ball_a_token():
    originals = torch.full((1, 1, 2, 2), 0.5)
    images = originals + torch.tensor([[3.0, 4.0], [0.3, 0.0]]).view(1, 1, 2, 2) / 10
    projected = ThreatModel(norm="l2_token", eps=0.25).project(images, originals) - originals
    torch.testing.assert_close(projected.view(2, 2), torch.tensor([[0.15, 0.2], [0.03, 0.0]]))
    step = ThreatModel(norm="l2_token", eps=0.25).ascend(torch.tensor([[3.0, 4.0], [0.0, 0.0]]).view(1, 1, 2, 2))
    torch.testing.assert_close(step.view(2, 2), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_l2_token_starts_are_uniform_in_each_ball():
    from scipy.stats import kstest

    originals = torch.full((200, 1, 10, 4), 0.5)
    start = ThreatModel(norm="l2_token", eps=0.3).random_start(originals, torch.Generator().manual_seed(0))
    shares = ((start - originals).norm(dim=3).double() / 0.3) ** 4
    assert kstest(shares.flatten().numpy(), "uniform").pvalue > 0.01


def test_a_ball_of_a_token_that_holds_the_box_is_refused():
    ThreatModel(norm="l2_token", eps=2.0).check_fits((1, 9, 4))
    with pytest.raises(ConfigError, match="beyond the box"):
        ThreatModel(norm="l2_token", eps=2.1).check_fits((1, 9, 4))


def test_autoattack_knows_no_token():
    with pytest.raises(ConfigError, match="AutoAttack supports l2 and linf, not l2_token; use PGD with restarts"):
        AutoAttack(threat=ThreatModel(norm="l2_token", eps=0.1))


@pytest.mark.parametrize("attack", ["apgd", "autoattack"])
def test_autoattack_of_two_classes_is_refused_when_it_is_planned(attack):
    with pytest.raises(ConfigError, match=f"{attack} needs at least 4 classes, and .* has 2; use few-classes"):
        grid_of(PRESETS["text"], datasets=("planted-text[classes=2]",), attacks=("pgd", attack))


def test_few_classes_are_planned_for_two_classes_and_refused_for_ten():
    grid = grid_of(PRESETS["text"], datasets=("planted-text[classes=2]",), attacks=("few-classes",))
    assert grid.attacks == ("few-classes",)
    with pytest.raises(ConfigError, match="few-classes is for at most 3 classes, and digits has 10; use autoattack"):
        grid_of(PRESETS["laptop"], attacks=("few-classes",))


def test_a_token_norm_is_refused_for_pictures():
    with pytest.raises(ConfigError, match="l2_token bounds the tokens of texts, and digits holds images"):
        grid_of(PRESETS["laptop"], norms=("l2_token",))


def test_pictures_and_texts_have_architectures_of_their_own():
    recipe = Recipe(epochs=1, lr=0.1)
    with pytest.raises(ConfigError, match="resnet_s reads images, but book holds texts; use one of text_cnn"):
        trained(BOOK, "resnet_s", recipe, "source", 0)
    with pytest.raises(ConfigError, match="text_cnn reads texts, but digits holds images; use one of vgg_s"):
        trained(DATASETS["digits"], "text_cnn", recipe, "source", 0)


def test_a_set_smaller_than_a_batch_is_refused_when_it_is_planned():
    batch = Recipe(epochs=1, lr=0.1, batch_size=64)
    assert trained(BOOK, "text_cnn", batch, "source", 0)
    with pytest.raises(
        ConfigError, match="the source of book would be trained on 64 examples, fewer than one batch of"
    ):
        trained(BOOK, "text_cnn", replace(batch, batch_size=65), "source", 0)
    with pytest.raises(ConfigError, match="would be trained on 48 examples"):
        trained(BOOK, "text_cnn", batch, "source", 0, holdout=0.25)


def test_texts_are_neither_cropped_nor_flipped():
    with pytest.raises(ConfigError, match="would be trained on crops or flips, but book holds texts"):
        trained(BOOK, "text_cnn", Recipe(epochs=1, lr=0.1, augmentation=Augmentation(flip=True)), "source", 0)


def test_a_sweep_has_a_preset_of_its_own_which_a_flag_overrides():
    assert Options().grid(default_preset="text").preset.name == "text"
    assert Options(preset="smoke").grid(default_preset="text").preset.name == "smoke"
    assert isinstance(Options().grid(), Grid)


def test_recipes_for_texts_have_no_views():
    preset = PRESETS["text"]
    recipes = (preset.source, preset.robust_source, preset.victim, preset.student, preset.weak, preset.judge)
    assert {recipe.augmentation for recipe in recipes} == {Augmentation()}
    assert preset.substitution is not None
    assert replace(preset.substitution, targeted=True).name == "hotflip-2"


@pytest.mark.parametrize("device", ["that counts words", "that is not waited for"])
@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(0, LENGTH), min_size=1, max_size=5), seed=st.integers(0, 99), holes=st.booleans())
def test_the_largest_over_time_is_that_of_torch_convolutions(device, lengths, seed, holes):
    """Values and gradients by words, weights and biases, of texts of any length, and with no words between words."""
    drawn = torch.Generator().manual_seed(seed)
    words = torch.arange(LENGTH) < torch.tensor(lengths).unsqueeze(1)
    if holes:
        words &= torch.rand(words.shape, generator=drawn) > 0.4
    spans = (2, 3, 5)
    convs = nn.ModuleList(nn.Conv1d(WIDTH, 4, span) for span in spans).double()
    vectors = (torch.randn(*words.shape, WIDTH, generator=drawn).double() * words.unsqueeze(2)).requires_grad_()
    windows = [
        F.conv1d(vectors.transpose(1, 2), conv.weight, conv.bias, padding=span - 1)
        + NOWHERE * (F.conv1d(words[:, None].double(), torch.ones(1, 1, span).double(), padding=span - 1) == 0)
        for conv, span in zip(convs, spans, strict=True)
    ]
    expected = torch.cat([by_place.amax(dim=2) for by_place in windows], dim=1)
    with pytest.MonkeyPatch.context() as patch:
        if device == "that is not waited for":
            patch.setattr(over_time, "_lengths", over_time._whole)
        found = over_time.largest_over_time(vectors, words, convs)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, generator=drawn).double() * (expected > NOWHERE / 2)
    by = [vectors, *convs.parameters()]
    for ours, theirs in zip(*(torch.autograd.grad((of * weights).sum(), by) for of in (found, expected)), strict=True):
        meant = words.unsqueeze(2) if ours.shape == vectors.shape else torch.ones(())  # behind a text, it means nothing
        torch.testing.assert_close(ours * meant, theirs * meant)


def test_of_equal_windows_one_has_the_gradient():
    """By the weights it is that of torch, since the windows hold the same; by the words it is not shared out."""
    drawn = torch.Generator().manual_seed(0)
    convs = nn.ModuleList([nn.Conv1d(WIDTH, 4, 2)])
    with torch.no_grad():  # whole numbers, so that equal windows are equal in whatever order they are summed
        convs[0].weight.copy_(torch.randint(-4, 5, convs[0].weight.shape, generator=drawn))
        convs[0].bias.fill_(9)
    vectors = torch.randint(-4, 5, (1, 1, WIDTH), generator=drawn).float().repeat(1, LENGTH, 1).requires_grad_()
    words = torch.ones(1, LENGTH, dtype=torch.bool)
    inside = F.conv1d(vectors.transpose(1, 2), convs[0].weight, convs[0].bias)
    partly = F.conv1d(vectors.transpose(1, 2), convs[0].weight, convs[0].bias, padding=1)
    expected = torch.maximum(inside.mean(dim=2), partly[..., [0, -1]].amax(dim=2))
    found = over_time.largest_over_time(vectors, words, convs)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(of.sum(), [vectors, convs[0].weight]) for of in (found, expected))
    torch.testing.assert_close(ours[0].sum(dim=1), theirs[0].sum(dim=1))
    torch.testing.assert_close(ours[1], theirs[1])
    touched = ours[0].abs().amax(dim=2) > 0
    assert touched.sum() <= 3, "four filters, whose largest windows are the first inside or one at an end"


def test_in_bfloat16_the_largest_over_time_is_nearly_the_same():
    body, words = made("text_cnn").body, torch.arange(LENGTH) < torch.tensor([[7], [4], [1]])
    vectors = (
        torch.randn(3, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0)) * words.unsqueeze(2)
    ).requires_grad_()
    by = [vectors, *body.convs.parameters()]

    def gradients(enabled):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            largest = over_time.largest_over_time(vectors, words, body.convs)
        assert largest.dtype == torch.float32
        return largest, *torch.autograd.grad(largest.sum(), by)

    (rough, *of_rough), (exact, *of_exact) = gradients(True), gradients(False)
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.02)
    assert [gradient.dtype for gradient in of_rough] == [torch.float32] * len(by)
    apart = (of_rough[0] - of_exact[0])[words].norm() / of_exact[0][words].norm()
    assert apart < 0.15, "where two windows are nearly equal, another one is the largest"
    for found, expected in zip(of_rough[1::2], of_exact[1::2], strict=True):
        by_filter = (found - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
        assert (by_filter < 0.01).double().mean() > 0.9, "two digits, but for such filters"


def test_the_largest_over_time_looks_at_words_alone():
    """A batch of short texts in a long box costs what it costs in a short one."""
    body = made("text_cnn", length=100).body
    words = torch.arange(100) < torch.tensor([[3], [7]])
    with FlopCounterMode(display=False) as counter:
        body(torch.zeros(2, 100, WIDTH), words)
    taps, gaps = 3 + 4 + 5, 3 * 4
    assert counter.get_total_flops() == 2 * (3 + 7 + gaps) * WIDTH * taps * 64
