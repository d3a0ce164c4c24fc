"""The paper's numbers: typed in rightly, found for the right rows, and for no others."""

import math

import pandas as pd
import pytest

import paper
import tables
import views
from nrf_ray.constructions.spec import CONSTRUCTIONS
from nrf_ray.tables import conclusions, contrasts
from tests.frames import leakages, results, robustness


def value(**wanted):
    """Return the one published number of a setting; what is not named is null."""
    found = paper.PUBLISHED
    for name, wish in (
        {"attack_epsilon": None, "start": None, "data": "CIFAR-10", "who": paper.ILYAS} | wanted
    ).items():
        found = found[found[name].isna() if wish is None else found[name] == wish]
    assert len(found) == 1, found
    return found["value"].iloc[0]


@pytest.mark.parametrize(
    ("wanted", "percent"),
    [
        ({"construction": "d", "training": "standard", "source": "Table 7"}, 95.25),
        ({"construction": "d", "training": "adversarial", "attack_epsilon": 0.5}, 70.90),
        ({"construction": "d_nonrobust", "start": "image", "attack_epsilon": 0.25}, 0.82),
        ({"construction": "d_robust", "start": "image", "attack_epsilon": 0.5}, 21.85),
        ({"construction": "d_robust", "start": "noise", "attack_epsilon": 0.5}, 29.40),
        ({"construction": "d_rand", "source": "Table 1"}, 63.3),
        ({"construction": "d_det", "source": "Table 9"}, 5.8),
        ({"construction": "d_det", "source": "Table 10", "source_training": "standard"}, 16.2),
        ({"construction": "d_det", "source": "Table 10", "source_training": "adversarial"}, 65.5),
        ({"construction": "d_rand", "data": "Restricted ImageNet"}, 87.9),
        ({"construction": "d_det", "tested_on": "cifar10.1"}, 44.0),
    ],
)
def test_numbers_are_those_of_the_paper(wanted, percent):
    assert value(**wanted) == pytest.approx(percent / 100)


def test_every_number_is_a_share_of_a_known_kind_with_a_source():
    published = paper.PUBLISHED
    assert published["value"].between(0, 1).all()
    assert set(published["construction"]) <= {"d", *CONSTRUCTIONS}
    assert published[["who", "source", "data", "arch", "measure", "tested_on"]].notna().all(axis=None)
    assert (published["attack_norm"].notna() == (published["measure"] == "robust_accuracy")).all()
    settings = published[published["who"] == paper.ILYAS][[name for name in paper.COLUMNS if name != "value"]]
    assert not settings.duplicated().any(), "a setting has one number in the paper"


def test_the_papers_numbers_stand_beside_the_same_kind_of_set():
    frame = results(
        [
            {"construction": "d_det", "seed": 0, "clean_accuracy": 0.3},
            {"construction": "d_det", "seed": 1, "clean_accuracy": 0.5},
            {"construction": "d_det", "source_training": "adversarial"},
            {"construction": "leak_other", "source_training": None},
            {"construction": "d", "role": "victim", "norm": None, "epsilon": None, "source_training": None},
        ]
    )
    table = paper.compared(frame, "clean_accuracy").set_index("label")
    assert table.loc["d_det l2 1", "paper"] == 0.437
    assert table.loc["d_det l2 1", "paper_source"] == "Table 1"
    assert table.loc["d_det l2 1", "mean"] == pytest.approx(0.4)
    assert table.loc["d_det l2 1", ["reruns_low", "reruns_high", "reruns"]].tolist() == [0.1981, 0.4354, 6]
    assert table.loc["d_det of robust source l2 1", "paper"] == 0.058
    assert table.loc["standard victim on d", "paper"] == 0.9525
    assert math.isnan(table.loc["leak_other l2 1", "paper"])
    assert table.loc["leak_other l2 1", "reruns"] == 0
    assert set(table["series"]) == {"accuracy on (x, y)"}


def test_the_papers_numbers_and_the_band_of_reruns_name_their_preset_and_data():
    """Regression: numbers of CIFAR-10 at l2 .5 stood beside others as if they were of the same."""
    frame = results([{"construction": "d_det"}])
    frame.attrs["about"] = "preset laptop, digits"
    (row,) = tables.readable(paper.compared(frame, "clean_accuracy"), "label").to_dict("records")
    assert row["ours"] == "preset laptop, digits"
    assert row["paper"] == ".437 (Table 1: CIFAR-10, preset cifar10, ResNet-50, l2 0.5)"
    assert row["re-runs"] == (
        "[.198, .435] (6: CIFAR-10, no preset of ours, ResNet-50 and a small network and ResNet-18, l2 0.5)"
    )
    of_imagenet = paper.compared(frame, "clean_accuracy", data=paper.IMAGENET)
    assert of_imagenet["paper_of"].tolist() == ["Restricted ImageNet, preset restricted-imagenet, ResNet-50, l2 3"]
    assert "published numbers" not in conclusions.of_paper(of_imagenet), "one seed has no interval"


def test_sets_of_a_norm_that_nobody_published_have_no_number_beside_them():
    made = [{"construction": "d_det", "norm": "linf", "epsilon": 0.1}, {"construction": "leak_rand", "norm": "linf"}]
    table = paper.compared(results(made), "clean_accuracy")
    assert table[["paper", "reruns_low"]].isna().all(axis=None)
    attacked = {"trained_norm": "linf", "source_training": "adversarial", "start": "image", "construction": "d_robust"}
    assert paper.compared(robustness([attacked]), "robust_accuracy")["paper"].isna().all()
    points = pd.DataFrame({"norm": ["l2", "l2"]})
    assert paper.figure_3(points, "targeted").to_numpy().tolist()[0] == ["VGG-16", 0.279, 0.092]
    assert paper.figure_3(points.assign(norm="linf"), "targeted").empty


def test_the_relabelled_accuracy_has_numbers_of_its_own_and_other_data_have_others():
    frame = results([{"construction": "d_det"}])
    assert paper.compared(frame, "relabelled_accuracy")["paper"].tolist() == [0.162]
    assert paper.compared(frame, "clean_accuracy", data=paper.IMAGENET)["paper"].tolist() == [0.644]
    assert paper.compared(frame, "clean_accuracy", data="text")["paper"].isna().all()


def test_robust_accuracies_are_beside_those_of_the_same_radius():
    made = {"construction": "d_robust", "start": "image", "source_training": "adversarial"}
    table = paper.compared(
        robustness([made | {"epsilon": 0.25}, made | {"epsilon": 0.5}, made | {"epsilon": 1.0}]), "robust_accuracy"
    )
    assert table["paper"].fillna(-1).tolist() == [0.482, 0.2185, -1]
    assert table["series"].tolist() == [f"accuracy under pgd-20, l2 {eps}" for eps in ("0.25", "0.5", "1")]


def test_a_note_tells_n_seeds_and_data_and_mentions_diamonds_only_where_there_are_any():
    table = paper.compared(results([{"seed": 0}, {"seed": 1}]), "clean_accuracy")
    assert paper.note(table, "preset laptop, digits") == (
        "Ours: preset laptop, digits; n = 360 test images; mean over architectures, then over 2 seeds; 95% t interval "
        "over them, cut at 0 and 1. Hollow diamonds: Ilyas et al. 2019: CIFAR-10, preset cifar10, ResNet-50, l2 0.5."
    )
    alone = paper.compared(results([{"construction": "d_other"}]), "clean_accuracy")
    assert "diamonds" not in paper.note(alone, "digits")
    assert "then over 1 seed; one seed has no interval" in paper.note(alone, "digits")
    assert "n = 360 test texts" in paper.note(alone, "reviews", examples="texts")


def test_goh_stands_beside_the_narrowest_linear_features():
    rows = [
        {
            "construction": made,
            "features": kind,
            "feature_epsilon": eps,
            "ball_epsilon": 0.25 if kind == "linear" else None,
        }
        for made in ("d_rand", "d_det", "d_other")
        for kind in ("linear", "penultimate")
        for eps in (0.25, 0.5)
    ]
    table = paper.leaked(views.leaked(leakages(rows)))
    known = table.dropna(subset="paper")
    assert dict(zip(known["construction"], known["paper"], strict=True)) == {"d_rand": 0.235, "d_det": 0.0681}
    assert set(known["series"]) == {"linear features, l2 0.25"}


def contrast(**changes):
    base = {
        "label": "d_det l2 1", "against": "leak_det", "difference": 0.2, "low": 0.1, "high": 0.3, "seeds": 3,
        "smallest_p": 0.25, "holm_p": 0.5, "shown": False, "unpaired": "",
    }  # fmt: skip
    return pd.DataFrame([base | changes])


def test_a_difference_is_worded_by_what_was_shown():
    few = conclusions.of_contrasts(contrast())
    assert "**d_det l2 1** teaches .200 more than leak_det [.100, .300], whose interval excludes 0." in few
    assert "With 3 seeds, a sign-flip test cannot give less than p = 0.25" in few
    single = conclusions.of_contrasts(contrast(seeds=1, smallest_p=1.0, holm_p=1.0, low=math.nan, high=math.nan))
    assert "- With 1 seed, a sign-flip test cannot give less than p = 1, which" in single
    many = conclusions.of_contrasts(contrast(seeds=8, smallest_p=1 / 128, holm_p=0.01, shown=True, difference=-0.2))
    assert "teaches .200 less than leak_det" in many
    assert "shown, corrected p = 0.01" in many
    assert "sign-flip" not in many


def test_what_had_no_partner_is_named_once_and_has_no_difference():
    some = contrast(unpaired="vgg_s (seed 3)")
    none = contrast(label="d_det linf 1", difference=None, smallest_p=None, unpaired="resnet_s (seeds 0, 1)")
    text = conclusions.of_contrasts(pd.concat([some, some, none], ignore_index=True))
    assert text.count("- Left out: d_det l2 1 without a partner of leak_det: vgg_s (seed 3).") == 1
    assert "- Left out: d_det linf 1 without a partner of leak_det: resnet_s (seeds 0, 1)." in text
    assert "d_det linf 1** teaches" not in text
    assert "corrected for 2 rows" in text, "what was not tested is not corrected for"


def test_conclusions_of_nothing_say_so():
    nothing = conclusions.NOTHING
    assert conclusions.of_contrasts(contrasts.contrasts(results([]))) == nothing
    assert conclusions.of_figure_3(pd.DataFrame()) == nothing
    assert conclusions.of_theory(pd.DataFrame()) == nothing
    assert conclusions.of_paper(paper.compared(results([]), "clean_accuracy")) == nothing
    assert conclusions.of_robust_features(contrasts.robust_contrasts(robustness([]))) == nothing
    assert conclusions.of_leakage(views.leaked(leakages([])), 0.1) == nothing


def model(construction, accuracy, seed, **changes):
    source = {"d_robust": "adversarial", "d_nonrobust": "standard"}.get(construction)
    start = "image" if source else None
    role = "student" if source else "victim"
    return {
        "construction": construction, "source_training": source, "start": start, "role": role, "seed": seed,
        "robust_accuracy": accuracy + 0.001 * seed, **changes,
    }  # fmt: skip


def test_robustness_is_compared_at_the_same_seeds():
    """Seeds move both models by far more than they differ: intervals overlap, and every difference is the same."""
    rows = [
        model(name, share + 0.04 * seed, seed)
        for seed in range(8)
        for name, share in (("d_robust", 0.5), ("d_nonrobust", 0.49), ("d", 0.51))
    ]
    found = contrasts.robust_contrasts(robustness(rows))
    assert found[["against", "seeds", "shown"]].to_numpy().tolist() == [["d_nonrobust", 8, True], ["d", 8, True]]
    assert found["difference"].tolist() == pytest.approx([0.01, -0.01])
    assert found["holm_p"].tolist() == pytest.approx([4 / 2**8] * 2), "of a table of two rows"
    text = conclusions.of_robust_features(tables.labelled(found, ("trained_norm", "trained_epsilon")))
    assert "Under pgd-20, l2 0.5: **d_robust from image** gives .010 more than d_nonrobust" in text
    assert ".010 less than d [" in text


def test_a_table_of_many_rows_needs_more_seeds_than_one_of_one():
    six = contrast(seeds=6, smallest_p=2 / 2**6)
    assert "sign-flip" not in conclusions.of_contrasts(six)
    table = pd.concat([six] * 4, ignore_index=True)
    text = conclusions.of_contrasts(table)
    assert "corrected for 4 rows: nothing here can be shown by it; 8 seeds are needed" in text


def test_correlations_failures_and_leaks_are_worded_by_their_intervals():
    row = {"attack": "targeted l2 1", "d_det": "l2 1", "r": 0.9, "low": 0.5, "high": 1.0, "archs": 5, "p": 0.0167}
    row |= {"holm_p": 0.0167, "exact": True}
    assert "they rise together" in conclusions.of_figure_3(pd.DataFrame([row]))
    assert "p = 0.0167 (every pairing counted)" in conclusions.of_figure_3(pd.DataFrame([row]))
    assert "p = 0.0167 (9999 pairings drawn)" in conclusions.of_figure_3(pd.DataFrame([row | {"exact": False}]))
    assert "nothing is shown" in conclusions.of_figure_3(pd.DataFrame([row | {"holm_p": 0.13}])), "eight were tried"
    assert "nothing is shown" in conclusions.of_figure_3(pd.DataFrame([row | {"low": -0.5}]))
    theory = pd.DataFrame({"statement": ["theorem_1", "theorem_3"], "holds": [True, False]})
    assert "1 do not hold: theorem_3" in conclusions.of_theory(theory)
    leaks = views.leaked(leakages([{"accuracy": 0.3}, {"construction": "d_det", "accuracy": 0.01, "meets_spec": None}]))
    text = conclusions.of_leakage(leaks, 0.1)
    assert "meet Goh's specification): .300" in text
    assert "above chance" in text
    assert "(not certified): .010" in text
    assert "below chance" in text
    assert "chance" not in conclusions.of_leakage(leaks, None)
