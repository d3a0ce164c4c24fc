"""Stages of the debate, run in this process: the sets that they write, and what they measure of toys."""

from dataclasses import replace

import pytest
import torch

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import perturbation_norm
from nrf_ray.constructions.stored_set import constructed_rows, constructed_set
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.images import as_float
from nrf_ray.engine.predict import predict, share
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import execute, run_inline
from nrf_ray.graph.store import Store
from nrf_ray.stages.errors_of import ErrorsSpec, errors_of
from nrf_ray.stages.labelled_by import LabelledSpec, labelled_by, refitted
from nrf_ray.stages.perturbed import PerturbedSpec, perturbed
from nrf_ray.stages.shuffled import ShuffledSpec, shuffled
from nrf_ray.stages.squares import SquaresSpec, drawn, squares
from nrf_ray.stages.wrong_points import WrongPointsSpec, wrong_points
from nrf_ray.training.recipes import Recipe
from tests.goals import DIGITS, JUDGE, SOURCE, model_of

ATTACK = pgd_attack("l2", 1.0, steps=3, targeted=True)
SPEC = PerturbedSpec(dataset=DIGITS, attack=ATTACK, targets="next", seed=3)
NOISE = replace(SPEC, base="noise", targets="uniform")
ERRORS = ErrorsSpec(dataset=DIGITS)
CARRIED = LabelledSpec(dataset=DIGITS, carrier=dataset_named("planted-image[train=64,test=40]").ref)
SQUARES = SquaresSpec(side=8, train=200, test=100, recipe=Recipe(epochs=2, lr=0.05, batch_size=50), seed=0)


def of(store, stage):
    """Run `stage` in `store`, which has its inputs; return the rows that it writes, and its metrics."""
    record = execute(stage, store)
    return constructed_rows(store.artifact(stage)), record.metrics


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Return a store of this module with the two trained models that its stages start from."""
    made = Store.open(str(tmp_path_factory.mktemp("debate") / "store"), create=True)
    assert run_inline([SOURCE, JUDGE], made).errors == {}
    return made


def test_errors_are_the_misclassified_images_with_the_labels_predicted(own, digits):
    rows, metrics = of(own, errors_of(ERRORS, labeller=SOURCE))
    predictions = predict(model_of(own, SOURCE), digits[0].images)
    wrong = torch.nonzero(predictions != digits[0].labels).flatten()
    assert len(wrong) > 20
    assert torch.equal(rows.columns["index"], wrong)
    assert torch.equal(rows.columns["label"], predictions[wrong])
    assert torch.equal(rows.columns["true_label"], digits[0].labels[wrong])
    assert torch.equal(as_float(rows.images), as_float(digits[0].images[wrong]))
    assert metrics == {"labeller_accuracy": share(predictions == digits[0].labels), "n": len(wrong)}


def test_shuffled_errors_have_as_many_labels_of_each_kind_for_each_class(own):
    made = errors_of(ERRORS, labeller=SOURCE)
    control = shuffled(ShuffledSpec(dataset=DIGITS, within="class", seed=3), data=made)
    (rows, _), (other, metrics) = of(own, made), of(own, control)
    assert torch.equal(other.images, rows.images)
    pairs, others = (
        (10 * found.columns["true_label"] + found.columns["label"]).sort().values for found in (rows, other)
    )
    assert torch.equal(pairs, others)
    assert (other.columns["label"] != other.columns["true_label"]).all()
    kept = share(other.columns["label"] == rows.columns["label"])
    assert metrics == {"share_kept": kept, "n": len(rows.images)}
    assert kept < 0.9


def test_foreign_images_get_the_shape_of_the_labeller_and_its_labels(own):
    rows, metrics = of(own, labelled_by(CARRIED, labeller=SOURCE))
    assert rows.images.shape == (64, 1, 8, 8)
    assert torch.equal(rows.columns["label"], predict(model_of(own, SOURCE), rows.images))
    assert metrics == {"share_of_commonest": float(rows.columns["label"].bincount().max()) / 64, "n": 64}


def test_images_are_resized_by_area_and_their_channels_averaged_or_repeated():
    image = torch.arange(12.0).view(1, 3, 2, 2)
    assert torch.equal(refitted(image, (1, 1, 1)), torch.full((1, 1, 1, 1), 5.5))
    assert torch.equal(refitted(image, (3, 1, 1)).flatten(), torch.tensor([1.5, 5.5, 9.5]))
    assert torch.equal(refitted(image[:, :1], (3, 2, 2)), image[:, :1].repeat(1, 3, 1, 1))


@pytest.mark.parametrize(("carrier", "message"), [("digits", "cannot carry its own labels"), ("planted-text", "texts")])
def test_images_that_cannot_carry_labels_are_refused(carrier, message):
    with pytest.raises(ConfigError, match=message):
        LabelledSpec(dataset=DIGITS, carrier=dataset_named(carrier).ref)


def test_a_set_is_moved_to_the_next_class_and_labelled_so(own, digits):
    rows, metrics = of(own, perturbed(SPEC, source=SOURCE, fresh=JUDGE))
    assert torch.equal(rows.columns["label"], (digits[0].labels + 1) % 10)
    assert torch.equal(rows.columns["true_label"], digits[0].labels)
    assert perturbation_norm(as_float(rows.images) - digits[0].floats(), "l2").max() <= 1.0 + 8 / 510 + 1e-5
    hits = [share(predict(model_of(own, model), rows.images) == rows.columns["label"]) for model in (SOURCE, JUDGE)]
    assert [metrics["success_rate"], metrics["transfer_rate"]] == hits
    assert hits[0] > 0.3 > hits[1]
    assert (metrics["share_label_is_target"], metrics["share_label_is_true"], metrics["n"]) == (1.0, 0.0, 1437)
    assert torch.equal(
        constructed_set(own.artifact(perturbed(SPEC, source=SOURCE, fresh=JUDGE))).labels, (digits[0].labels + 1) % 10
    )


def test_another_model_is_held_to_the_true_class(own, digits):
    spec = replace(SPEC, attack=replace(ATTACK, steps=6))
    held = []
    for others in ({}, {"other_1": JUDGE}):
        rows, metrics = of(own, perturbed(spec, source=SOURCE, **others))
        held.append(share(predict(model_of(own, JUDGE), rows.images) == digits[0].labels))
        assert metrics["transfer_rate"] is None
    assert held[1] > held[0] + 0.1


def test_poison_has_the_right_labels_and_is_moved_to_the_class_before(own, digits):
    rows, metrics = of(own, perturbed(replace(SPEC, targets="previous", labels="true"), source=SOURCE))
    assert torch.equal(rows.columns["label"], digits[0].labels)
    assert torch.equal(rows.columns["target"], (digits[0].labels + 9) % 10)
    assert (metrics["share_label_is_target"], metrics["share_label_is_true"]) == (0.0, 1.0)


def test_shuffled_noise_is_the_same_noise_with_each_others_labels(own):
    made = perturbed(NOISE, source=SOURCE)
    (rows, metrics), (other, control) = (
        of(own, made),
        of(own, shuffled(ShuffledSpec(dataset=DIGITS, seed=3), data=made)),
    )
    assert torch.equal(rows.images, other.images)
    assert torch.equal(rows.columns["label"].sort().values, other.columns["label"].sort().values)
    assert torch.equal(rows.columns["label"], other.columns["target"]), "the targets are where they were"
    assert 0.05 < control["share_kept"] < 0.2
    assert (rows.columns["true_label"] == -1).all()
    assert metrics["success_rate"] > 0.2
    assert (metrics["share_label_is_target"], metrics["share_label_is_true"]) == (1.0, 0.0)
    pixels = as_float(rows.images)
    assert pixels.mean() == pytest.approx(0.5, abs=0.02)
    assert pixels.std() == pytest.approx(12**-0.5, abs=0.04)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack": replace(ATTACK, targeted=False)}, "needs a targeted attack that starts from the image"),
        ({"base": "noise"}, "noise has no true class, so its targets cannot be 'next' with the labels 'target'"),
        ({"base": "noise", "targets": "uniform", "labels": "true"}, "use uniform targets, and the label target"),
    ],
)
def test_a_set_that_means_nothing_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(SPEC, **change)


def test_noise_cannot_be_held_to_a_true_class(own):
    with pytest.raises(ConfigError, match="noise has no true class that other models could keep"):
        execute(perturbed(NOISE, source=SOURCE, other_1=JUDGE), own)


def test_points_are_learnt_and_flipped_or_no_student_sees_them(own):
    (metrics,) = (execute(wrong_points(WrongPointsSpec(steps=300, seed=1000)), own).metrics,)
    assert metrics["first_right"] > 0.8
    assert 0.3 < metrics["flipped"] <= 1
    for name in ("right_from_adversarial", "right_from_random"):
        assert metrics[name] * 32 == round(metrics[name] * 32)


def test_points_are_the_same_in_another_store(own, tmp_path):
    stage, other = wrong_points(WrongPointsSpec(points=8, steps=50, seed=1)), Store.open(str(tmp_path), create=True)
    assert execute(stage, own).metrics == execute(stage, other).metrics


def test_squares_are_their_sign_plus_bounded_noise_with_some_labels_wrong():
    spec = replace(SQUARES, label_noise=0.2)
    images, labels, signs = drawn(spec, "train", 4000)
    pixels = (images - 0.5) * spec.span
    sign = (2.0 * signs - 1).view(-1, 1, 1, 1)
    assert (pixels - sign).abs().max() <= 0.1 + 1e-6
    assert (pixels - sign).std() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    assert share(labels != signs) == pytest.approx(0.2, abs=0.02)
    assert share(labels == 1) == pytest.approx(0.5, abs=0.03)
    assert not torch.equal(images, drawn(spec, "test", 4000)[0])


def test_a_linear_rule_withstands_nine_tenths_on_every_square(own):
    metrics = execute(squares(SQUARES), own).metrics
    assert 0.9 < metrics["rule_radius"] <= 1.1
    assert metrics["accuracy"] > 0.9
    assert metrics["n"] == 100


@pytest.mark.parametrize("change", [{"label_noise": 0.5}, {"label_noise": -0.1}, {"noise": -1.0}, {"eps": 0.0}])
def test_squares_that_cannot_be_drawn_are_refused(change):
    with pytest.raises(ConfigError, match=r"squares need 0 <= label_noise < \.5, noise >= 0 and eps > 0"):
        replace(SQUARES, **change)
