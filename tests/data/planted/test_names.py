"""Planted sets by name: one name each, known odds, and one line for every mistake."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nrf_ray.data.catalogue import DatasetRef, dataset_named, info_of
from nrf_ray.data.load import load, normalisation
from nrf_ray.data.planted import LABELS, MODALITIES, Odds, naming, parse_planted, planted, planted_digest, planted_name
from nrf_ray.errors import ConfigError
from nrf_ray.sweep.flags import Options
from tests.sweeps import heavy_imports_of_plan


@settings(max_examples=60, deadline=None)
@given(
    modality=st.sampled_from(MODALITIES),
    label=st.sampled_from(LABELS),
    classes=st.integers(2, 8),
    given=st.fixed_dictionaries(
        {},
        optional={
            "human": st.floats(0.01, 2),
            "noise": st.floats(0.001, 0.5),
            "p_human": st.floats(0, 1),
            "p_noise": st.floats(0, 1),
            "train": st.integers(8, 10_000),
            "test": st.integers(8, 10_000),
            "seed": st.integers(0, 2**63 - 1),
        },
    ),
)
def test_a_set_has_one_name_which_means_it(modality, label, classes, given):
    spec = planted(modality, label=label, classes=classes, **given)
    assert parse_planted(planted_name(spec)) == spec
    assert dataset_named(planted_name(spec)).ref.name == planted_name(spec)


def test_a_name_states_what_is_not_usual_and_nothing_else():
    assert planted_name(parse_planted("planted-text")) == "planted-text"
    assert planted_name(parse_planted("planted-text[]")) == "planted-text"
    written = " p_noise = 1 , label=noise, noise=1/8,human=4.0 "
    assert planted_name(parse_planted(f"planted-image[{written}]")) == "planted-image[label=noise,noise=0.125]"


def test_minus_zero_is_zero():
    assert dataset_named("planted-image[correlation=-0]").ref == dataset_named("planted-image").ref


def test_every_parameter_and_the_generator_are_in_the_digest(monkeypatch):
    usual = planted("image", p_human=0.8, p_noise=0.8)
    changed = [
        planted("text", p_human=0.8, p_noise=0.8),
        *(
            planted("image", **{"p_human": 0.8, "p_noise": 0.8, name: value})
            for name, value in {
                "label": "both", "classes": 5, "human": 3.0, "p_human": 0.7, "p_noise": 0.7,
                "noise": 0.5, "correlation": 0.1, "train": 1000, "test": 400, "seed": 1,
            }.items()
        ),
    ]  # fmt: skip
    digests = {planted_digest(spec) for spec in (usual, *changed)}
    assert len(digests) == len(changed) + 1
    monkeypatch.setattr(naming, "GENERATOR", naming.GENERATOR + 1)
    assert planted_digest(usual) not in digests


def test_a_planted_set_is_a_dataset():
    info = dataset_named("planted-image[label=noise,train=40,test=20]")
    train, test = load(info.ref)
    assert (len(train), len(test), info.num_classes) == (40, 20, 4)
    assert tuple(train.images.shape[1:]) == info.shape
    assert info_of(info.ref) == info
    assert all(len(values) == 1 for values in normalisation(info.ref))
    names = "planted-image[label=noise,noise=0.5],digits"
    assert Options(dataset=names, plan=True).grid().datasets == ("planted-image[label=noise,noise=0.5]", "digits")


def test_a_set_of_another_generator_is_refused():
    ref = DatasetRef(name="planted-image[test=20,train=20]", digest="0" * 64)
    with pytest.raises(ConfigError, match="another version of nrf_ray planned this run"):
        load(ref)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "planted-sound",
            "unknown planted dataset 'planted-sound'; write planted-image, planted-colour or planted-text, with",
        ),
        ("planted-image[noise=0.5", "unknown planted dataset"),
        ("planted-image:noise=0.5", "unknown planted dataset"),
        ("planted-image[size=3]", "'size=3' in dataset .* is not a parameter; write NAME=VALUE with one of the names "),
        ("planted-image[modality=text]", "'modality=text' in dataset .* is not a parameter"),
        ("planted-image[noise]", "'noise' in dataset .* is not a parameter; write NAME=VALUE"),
        ("planted-image[noise=0.5,noise=0.5]", "gives noise twice; give it once"),
        ("planted-image[noise=low]", "noise='low' in dataset .* is not a number; write it as 0.5 or 1/4"),
        (f"planted-image[noise={'9' * 400}/1]", "is not a number"),
        ("planted-image[p_human=1/0]", "p_human='1/0' in dataset .* is not a number"),
        (
            "planted-image[noise=nan]",
            "noise=nan is out of range; the norm of the noise part of planted images is from 0 to 1 over",
        ),
        ("planted-image[noise=-1]", "noise=-1 is out of range"),
        (
            "planted-text[noise=0.6]",
            "noise=0.6 is out of range; the norm of the noise part of planted texts is from 0 to 0.5 over each",
        ),
        (
            "planted-image[human=5]",
            "human=5 is out of range; the norm of the human part of planted images is from 0 to 4.5 over the i",
        ),
        ("planted-image[human=0,noise=0]", "shows nothing; give one part a norm above 0"),
        ("planted-image[label=mine]", "unknown label of a planted set 'mine'; known: human, noise, both, conflict"),
        ("planted-image[classes=1]", "a planted set has 2 to 8 classes, not 1"),
        ("planted-image[classes=2.5]", "classes='2.5' in dataset .* is not a whole number; write it as 4"),
        ("planted-image[train=inf]", "train='inf' in dataset .* is not a whole number"),
        ("planted-image[train=3]", "train of a planted set must be from 4 to 1048576, not 3"),
        ("planted-image[test=2000000]", "test of a planted set must be from 4 to 1048576, not 2000000"),
        (f"planted-image[seed={'0' * 5000}1]", "seed='0000.*' in dataset .* is not a whole number"),
        ("planted-image[seed=9223372036854775808]", "seed of a planted set must be from 0 to 9223372036854775807"),
        ("planted-image[p_human=1.5]", "p_human=1.5 is out of range; give a number from 0 to 1"),
        ("planted-image[p_noise=nan]", "p_noise=nan is out of range"),
        ("planted-image[correlation=2]", "correlation=2 is out of range; give a number from -1 to 1"),
        ("planted-image[correlation=0.5]", "is impossible if a part shows the label always or never .*; leave it out"),
        (
            "planted-image[p_human=0.9,p_noise=0.5,correlation=0.9]",
            "correlation=0.9 is impossible with p_human=0.9 and p_noise=0.5; give a number from -0.3333 to 0.3333",
        ),
    ],
)
def test_a_mistake_is_refused_in_one_line(name, message):
    with pytest.raises(ConfigError, match=message) as error:
        dataset_named(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("p_human", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("p_noise", [0.1, 0.6, 1.0])
def test_bayes_accuracies_are_those_of_the_whole_joint_distribution(classes, p_human, p_noise):
    """Against the sum over all classes of both parts of the likeliest label's probability."""
    free = 0 < p_human < 1 and 0 < p_noise < 1
    odds = Odds(classes=classes, p_human=p_human, p_noise=p_noise, correlation=0.1 if free else 0.0)
    k = classes
    human_only, noise_only = p_human - odds.both, p_noise - odds.both
    assert odds.both + human_only + noise_only + odds.neither == pytest.approx(1)

    def joint(label, human, noise):
        given = {(True, True): odds.both, (True, False): human_only, (False, True): noise_only}
        shown = given.get((human == label, noise == label), odds.neither)
        return shown / k / (k - 1) ** ((human != label) + (noise != label))

    pairs = list(itertools.product(range(k), repeat=2))
    assert sum(max(joint(y, *pair) for y in range(k)) for pair in pairs) == pytest.approx(odds.bayes)
    of_human = (max(sum(joint(y, h, n) for n in range(k)) for y in range(k)) for h in range(k))
    of_noise = (max(sum(joint(y, h, n) for h in range(k)) for y in range(k)) for n in range(k))
    assert (sum(of_human), sum(of_noise)) == (pytest.approx(odds.bayes_human), pytest.approx(odds.bayes_noise))


def test_planning_with_planted_sets_imports_nothing_heavy(tmp_path):
    assert heavy_imports_of_plan(tmp_path / "store", "transfer_grid.py", "--preset", "planted-image") == []
