"""What the tables are evidence of, on tables whose answer is known. Figure 3 is tested with the reports."""

import math

import pandas as pd
import pytest

from nrf_ray.statistics import wilson_interval
from nrf_ray.tables.contrasts import (
    MODEL,
    contrasts,
    differences,
    figure_3,
    learnt_and_fooled,
    model_text,
    robust_contrasts,
    source_contrasts,
    summarise,
)
from tests.frames import results, robustness, transfers


def test_a_summary_has_one_row_a_group_and_averages_architectures_first():
    frame = results(
        [
            {"construction": "d_det", "seed": 0, "student_arch": "a", "clean_accuracy": 0.2},
            {"construction": "d_det", "seed": 0, "student_arch": "b", "clean_accuracy": 0.4},
            {"construction": "d_det", "seed": 1, "student_arch": "a", "clean_accuracy": 0.5},
            {"construction": "leak_det", "seed": 0, "norm": None, "clean_accuracy": 0.1},
        ]
    )
    found = summarise(frame, ["construction", "norm"], "clean_accuracy")
    assert found["construction"].tolist() == ["d_det", "leak_det"]
    first, second = found.to_dict("records")
    assert (first["mean"], first["seeds"], first["models"], first["n"]) == (pytest.approx(0.4), 2, 3, 360)
    assert first["low"] == pytest.approx(0.4 - 12.706 * 0.1, abs=1e-3)
    assert (first["test_low"], first["test_high"]) == (
        wilson_interval(0.4, 360).low,
        wilson_interval(0.4, 360).high,
    )
    assert first["seed_std"] == pytest.approx(math.sqrt(0.02))
    assert first["test_std"] == pytest.approx(math.sqrt(0.24 / 360))
    assert math.isnan(second["low"])


def test_a_summary_of_nothing_has_its_columns():
    found = summarise(results([]), ["construction"], "clean_accuracy")
    assert found.empty
    assert {"construction", "mean", "low", "test_low", "beyond_std"} <= set(found.columns)


def test_a_difference_is_of_pairs_alone():
    cells = results([{"student_arch": a, "seed": s, "clean_accuracy": 0.5 + 0.1 * s} for a in "ab" for s in (0, 1)])
    against = results([{"student_arch": "a", "seed": s, "clean_accuracy": 0.2} for s in (0, 1, 2)])
    assert differences(cells, against).to_dict() == pytest.approx({0: 0.3, 1: 0.4})
    assert differences(cells, against[:0]).empty


def sets_and_controls(gaps, control="leak_det", made="d_det"):
    rows = []
    for seed, gap in enumerate(gaps):
        rows.append({"construction": made, "seed": seed, "clean_accuracy": 0.3 + gap})
        rows.append({"construction": control, "seed": seed, "clean_accuracy": 0.3, "source_training": None})
    return rows


def test_three_seeds_differ_and_show_nothing():
    (row,) = contrasts(results(sets_and_controls([0.1, 0.2, 0.3]))).to_dict("records")
    assert (row["construction"], row["against"], row["archs"], row["seeds"]) == ("d_det", "leak_det", 1, 3)
    assert row["difference"] == pytest.approx(0.2)
    assert row["low"] == pytest.approx(0.2 - 4.3027 * 0.1 / math.sqrt(3), abs=1e-4)
    assert (row["p"], row["smallest_p"], row["holm_p"], row["shown"]) == (0.25, 0.25, 0.25, False)


def test_many_seeds_show_a_difference_and_holm_counts_the_rows():
    frame = results(
        sets_and_controls([0.1 + 0.01 * s for s in range(8)])
        + sets_and_controls([0.1 * (-1) ** s for s in range(8)], "leak_other", "d_other")
    )
    found = contrasts(frame).set_index("construction")
    assert found.loc["d_det", "p"] == 2 / 2**8
    assert found.loc["d_det", "holm_p"] == 4 / 2**8
    assert found["shown"].to_dict() == {"d_det": True, "d_other": False}


def test_models_on_the_original_data_are_no_contrast():
    frame = results([{"construction": "d", "role": "source"}, {"construction": "leak_det", "role": "student"}])
    found = contrasts(frame)
    assert found.empty
    assert {"difference", "holm_p", "shown"} <= set(found.columns)


def test_a_robust_source_is_compared_with_a_standard_one_at_the_same_seeds():
    rows = [
        {"construction": made, "source_training": source, "seed": seed, "clean_accuracy": share + 0.05 * seed}
        for made in ("d_rand", "d_det")
        for source, share in (("standard", 0.4), ("adversarial", 0.3))
        for seed in range(8)
    ]
    found = source_contrasts(results(rows))
    assert found[["construction", "source_training", "seeds"]].to_numpy().tolist() == [
        ["d_det", "adversarial", 8],
        ["d_rand", "adversarial", 8],
    ]
    assert found["difference"].tolist() == pytest.approx([-0.1, -0.1])
    assert found["shown"].all()
    assert source_contrasts(results(rows[:8])).empty, "no robust source, no contrast"


def test_models_without_a_partner_are_named():
    """Regression: pairs are of one architecture and seed, and what had no partner was left out without a word."""
    rows = sets_and_controls([0.1, 0.2, 0.3])
    alone = [{"construction": "d_det", "student_arch": "resnet_s", "seed": s} for s in (0, 1)]
    (row,) = contrasts(results([*rows, *alone, {"construction": "d_det", "seed": 3}])).to_dict("records")
    assert row["unpaired"] == "resnet_s (seeds 0, 1), vgg_s (seed 3)"
    assert (row["archs"], row["seeds"]) == (1, 3)
    assert contrasts(results(rows))["unpaired"].tolist() == [""]


def test_a_contrast_of_no_pair_at_all_is_named_and_counts_as_no_test():
    of_d_robust = {"construction": "d_robust", "source_training": "adversarial", "start": "image"}
    of_d = {"construction": "d", "role": "victim", "source_training": None, "storage": None}
    rows = [
        {**of, "student_arch": arch, "seed": seed, "robust_accuracy": share + 0.01 * seed}
        for of, arch, share in ((of_d_robust, "vgg_s", 0.5), (of_d, "resnet_s", 0.3))
        for seed in range(8)
    ]
    (alone,) = robust_contrasts(robustness(rows)).to_dict("records")
    assert (alone["against"], alone["unpaired"]) == ("d", "vgg_s (seeds 0, 1, 2, 3, 4, 5, 6, 7)")
    assert math.isnan(alone["difference"])
    assert not alone["shown"]
    of_d_nonrobust = {**of_d_robust, "construction": "d_nonrobust", "source_training": "standard"}
    rows += [{**of_d_nonrobust, "seed": seed, "robust_accuracy": 0.1} for seed in range(8)]
    found = robust_contrasts(robustness(rows)).set_index("against")
    assert found.loc["d_nonrobust", "holm_p"] == found.loc["d_nonrobust", "p"], "one test was made"
    assert math.isnan(found.loc["d", "holm_p"])


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({"role": "victim", "construction": "d"}, "standard victim on d"),
        ({"role": "source", "construction": "d", "training": "adversarial"}, "adversarial source on d"),
        ({"construction": "d_det", "source_training": "adversarial"}, "d_det of robust source"),
        ({"construction": "d_robust", "start": "noise"}, "d_robust from noise"),
    ],
)
def test_a_model_is_told_in_words(model, text):
    (row,) = results([model]).to_dict("records")
    assert model_text(row) == text


def test_the_points_of_figure_3_are_means_over_seeds_with_their_intervals():
    learnt = [{"student_arch": "a", "seed": s, "clean_accuracy": 0.4 + 0.1 * s} for s in (0, 1)]
    fooled = [
        {"victim_arch": "a", "seed": s, "success_rate": 0.8 + 0.1 * s, "targeted": t} for s in (0, 1) for t in (0, 1)
    ]
    robust = [{"student_arch": "a", "seed": 0, "clean_accuracy": 0.9, "source_training": "adversarial"}]
    found = learnt_and_fooled(transfers(fooled), results(learnt + robust + [{"student_arch": "b"}]))
    assert found[["arch", "targeted"]].to_numpy().tolist() == [["a", False], ["a", True], ["b", False], ["b", True]]
    point = found.iloc[0]
    assert (point["learnt"], point["fooled"], point["seeds"]) == (pytest.approx(0.45), pytest.approx(0.85), 2)
    assert point["learnt_high"] == pytest.approx(0.45 + 12.706 * 0.05, abs=1e-3)
    assert found[found["arch"] == "b"]["fooled"].isna().all(), "no victim is called b"
    assert (point["d_det"], point["attack"]) == ("l2 1", "untargeted l2 1")


def test_pandas_nulls_make_groups_too():
    frame = results([{"norm": None}, {"norm": "l2"}])
    assert len(summarise(frame, ["norm", "epsilon"], "clean_accuracy")) == 2
    assert pd.isna(summarise(frame, ["norm"], "clean_accuracy")["norm"]).sum() == 1


def test_networks_of_two_modes_are_never_averaged():
    rows = [
        {"mode": mode, "seed": s, "clean_accuracy": x} for mode, x in (("faithful", 0.2), ("fast", 0.8)) for s in (0, 1)
    ]
    frame = results(rows)
    assert summarise(frame, MODEL, "clean_accuracy")["mean"].tolist() == pytest.approx([0.2, 0.8])
    fooled = [{"mode": mode, "source_mode": mode, "success_rate": x} for mode, x in (("faithful", 0.3), ("fast", 0.9))]
    mixed = [{"mode": "fast", "source_mode": "faithful", "success_rate": 0.0}]
    found = learnt_and_fooled(transfers(fooled + mixed), frame)
    assert found[["d_det", "learnt", "fooled"]].to_numpy().tolist() == [
        ["l2 1", 0.2, 0.3],
        ["l2 1, trained fast", 0.8, 0.9],
    ]
    assert [model_text(row) for row in frame.to_dict("records")][::2] == ["d_det", "d_det, trained fast"]


def test_sets_that_differ_in_how_they_were_made_are_points_of_their_own():
    made = [{"craft_mode": "faithful", "clean_accuracy": 0.2}, {"craft_mode": "fast", "clean_accuracy": 0.8}]
    found = learnt_and_fooled(transfers([{}]), results(made))
    assert found[["d_det", "norm", "learnt"]].to_numpy().tolist() == [
        ["l2 1, made faithful", "l2", 0.2],
        ["l2 1, made fast", "l2", 0.8],
    ]


def test_figure_3_of_two_datasets_is_refused_by_their_names():
    with pytest.raises(ValueError, match="these are of digits, fashion-mnist"):
        learnt_and_fooled(transfers([{}]), results([{}, {"dataset": "fashion-mnist"}]))


@pytest.mark.parametrize(("archs", "exact"), [(7, True), (8, False)])
def test_figure_3_says_whether_every_pairing_was_counted(archs, exact):
    learnt = [{"student_arch": f"a{i}", "clean_accuracy": 0.1 * i} for i in range(archs)]
    fooled = [{"victim_arch": f"a{i}", "success_rate": 0.1 * i + 0.05 * (i % 2)} for i in range(archs)]
    assert figure_3(transfers(fooled), results(learnt))["exact"].tolist() == [exact]
