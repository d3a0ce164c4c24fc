"""What a run shows: every sentence with its numbers by hand, its control, and no word more than the tables allow."""

import pandas as pd
import pytest

from nrf_ray.tables.registry import MOST_SENTENCES, sentences
from tests.frames import results, transfers


def students(construction, accuracies, **more):
    return [
        {"construction": construction, "seed": seed, "clean_accuracy": value, "n": 360} | more
        for seed, value in enumerate(accuracies)
    ]


def said(**tables):
    return sentences({name: frame.assign(dataset="digits") for name, frame in tables.items()})


def test_a_set_is_said_beside_its_control_with_interval_and_n():
    frame = results(students("d_det", [0.5, 0.6, 0.7]) + students("leak_det", [0.1, 0.1, 0.1]))
    (text,) = said(results=frame)
    # differences .4, .5, .6: mean .5, t(2) = 4.3027, sd = .1: .5 -+ .248
    assert text.startswith("On digits, students of d_det, ")
    assert "classify .600 of the untouched test images (n = 360): .500 more ([.252, .748], 3 seeds, 1 " in text
    assert text.endswith("control leak_det; not shown, as 3 seeds cannot give p below 0.25.")


def test_a_difference_against_the_paper_is_said_as_it_is():
    frame = results(students("d_det", [0.1, 0.2]) + students("leak_det", [0.3, 0.3]))
    (text,) = said(results=frame)
    assert ".150 fewer ([-.785, .485], 2 seeds" in text


def test_ten_seeds_can_show_it():
    frame = results(students("d_det", [0.5 + seed / 100 for seed in range(10)]) + students("leak_det", [0.1] * 10))
    (text,) = said(results=frame)
    assert text.endswith("than students of the control leak_det; shown, corrected p = 0.002.")


def test_one_seed_has_no_interval():
    (text,) = said(results=results(students("d_det", [0.5]) + students("leak_det", [0.1])))
    assert ".400 more (no interval, 1 seed, 1 architecture)" in text
    assert "1 seed cannot give p below 1." in text


def test_of_several_radii_the_largest_is_said_and_how_many_agree():
    rows = []
    for epsilon, gain in ((0.5, -0.1), (1.5, 0.3), (1.0, 0.6)):
        rows += students("d_det", [0.2 + gain, 0.3 + gain], epsilon=epsilon)
        rows += students("leak_det", [0.2, 0.3], epsilon=epsilon)
    (text,) = said(results=results(rows))
    assert "l2 1.5" in text
    assert ".300 more" in text
    assert text.endswith("in the same direction in 2 of 3 such comparisons.")


def test_sets_of_a_robust_source_do_not_speak_for_those_of_a_standard_one():
    """Regression: of two sources at the largest radius, only the robust one was said, as it comes first by name."""
    robust = {"source_training": "adversarial"}
    rows = students("d_det", [0.5, 0.6]) + students("d_det", [0.1, 0.2], **robust)
    texts = said(results=results(rows + students("leak_det", [0.1, 0.1], source_training=None)))
    assert len(texts) == 2
    assert [".450 more" in text for text in texts].count(True) == 1
    assert sum("d_det of robust source" in text for text in texts) == 1


def test_robust_units_are_said_beside_those_of_standard_models():
    base = {"dataset": "digits", "construction": "d", "mode": "faithful", "student_arch": "vgg_s", "ball_norm": "l2"}
    units = pd.DataFrame(
        [
            base | {"training": training, "seed": seed, "ball_epsilon": 0.5, "robust": robust, "units": 64, "n": 360}
            for training, counts in (("standard", (16, 16)), ("adversarial", (32, 48)))
            for seed, robust in enumerate(counts)
        ]
    )
    (text,) = sentences({"usefulness": units})
    # .25 and .5 more: mean .375, t(1) = 12.706, sd = .17678: .375 -+ 1.59
    assert "useful and robust in l2 0.5 is .375 higher ([-1.21, 1.96], 2 seeds) in adversarially trained" in text
    assert text.endswith("than in standard ones, the control (n = 360 images).")


def test_the_correlation_stands_beside_that_of_the_control():
    archs = ("vgg_s", "inception_s", "resnet_s")
    learnt = [
        {"student_arch": arch, "construction": name, "clean_accuracy": value}
        for name, values in (("d_det", (0.1, 0.2, 0.4)), ("leak_det", (0.3, 0.2, 0.1)))
        for arch, value in zip(archs, values, strict=True)
    ]
    fooled = [{"victim_arch": arch, "success_rate": rate} for arch, rate in zip(archs, (0.2, 0.4, 0.8), strict=True)]
    texts = said(results=results(learnt), transfer=transfers(fooled))
    (text,) = [text for text in texts if " r = " in text]
    assert "r = 1.00 " in text
    assert "(its control leak_det: -.982 " in text  # by hand: -.06 / (sqrt(.02) * sqrt(.18667))


def test_nothing_is_said_of_nothing():
    assert said(results=results(students("d_det", [0.5]))) == ()
    assert sentences({}) == ()


def test_each_dataset_says_its_first_before_any_says_its_second():
    pairs = ("d_rand", "leak_rand"), ("d_det", "leak_det"), ("d_other", "leak_other")
    frame = results([row for pair in pairs for name in pair for row in students(name, [0.5, 0.4])])
    both = pd.concat([frame.assign(dataset=name) for name in ("a", "b")])
    texts = sentences({"results": both})
    assert [text[: len("On a, students of d_rand")] for text in texts[:2]] == [
        "On a, students of d_rand", "On a, students of d_det,"
    ]  # fmt: skip
    assert len(texts) == MOST_SENTENCES
    assert sum(text.startswith("On b") for text in texts) == 3
    three = pd.concat([frame.assign(dataset=name) for name in ("a", "b", "c", "e")])
    assert {text[:4] for text in sentences({"results": three})} == {"On a", "On b", "On c", "On e"}


@pytest.mark.parametrize("held", [True, False])
def test_the_theory_says_how_many_checks_hold(held):
    theory = pd.DataFrame(
        {"statement": ["a", "b"], "holds": [True, held], "dimension": 2, "epsilon": 0.5, "seed": [0, 1], "error": 0.0,
         "tolerance": 0.1}
    )  # fmt: skip
    assert sentences({"theory": theory})[0].startswith(f"{1 + held} of 2 checks of 2 statements of section 4 hold")
