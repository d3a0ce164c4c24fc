"""Loading and reshaping of tables: from the files that sweeps write, from files that are wrong, and from none."""

import base64
import os
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import gallery
import tables
import texts
import views
from nrf_ray.attacks.named import ATTACKS
from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.graph.blobs import Blobs
from nrf_ray.results.parquet import to_arrow, write_table
from nrf_ray.sweep.columns import ATTACK_COLUMN
from nrf_ray.tables.trained_models import RESULTS
from tests import frames


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Return the blobs of an empty store that the notebooks read."""
    monkeypatch.setenv("NRF_STORE", str(tmp_path))
    monkeypatch.delenv("NRF_DATASET", raising=False)
    blobs = Blobs(str(tmp_path), create=True)
    blobs.put_new("nrf-store.json", b'{"schema": 1}')
    return blobs


def put_results(store, *rows):
    frame = [dict.fromkeys(RESULTS.column_names()) | frames.MODEL | {"parameters": 1, "macs": 1} | row for row in rows]
    write_table(store, "sweeps/transfer_grid/results.parquet", RESULTS, frame, preset="laptop")


def test_a_table_comes_with_what_it_is_about_and_what_its_columns_mean(store, capsys):
    put_results(store, {}, {"seed": 1})
    frame = tables.load("transfer_grid", "results")
    assert capsys.readouterr().out == "transfer_grid/results: 2 rows; preset laptop, digits\n"
    assert tables.about(frame) == "preset laptop, digits"
    assert tables.dictionary(frame, "n") == "- `n` (images): number of test images behind each share of this row"
    assert len(tables.dictionary(frame).splitlines()) == len(RESULTS.columns)


def test_one_of_several_datasets_is_chosen_and_the_others_are_named(store, capsys, monkeypatch):
    put_results(store, {"dataset": "digits"}, {"dataset": "cifar10"})
    assert tables.load("transfer_grid", "results")["dataset"].tolist() == ["cifar10"]
    assert "also here: digits; choose one with the environment variable NRF_DATASET" in capsys.readouterr().out
    monkeypatch.setenv("NRF_DATASET", "digits")
    assert tables.load("transfer_grid", "results")["dataset"].tolist() == ["digits"]


def test_a_table_of_many_datasets_may_be_read_whole(store):
    put_results(store, {"dataset": "digits"}, {"dataset": "cifar10"})
    frame = tables.load("transfer_grid", "results", one_dataset=False)
    assert len(frame) == 2
    assert tables.about(frame) == "preset laptop"


def test_a_missing_table_is_empty_with_its_columns_and_names_the_command(store, capsys):
    frame = tables.load("nrf", "results")
    assert frame.empty
    assert list(frame.columns) == RESULTS.column_names()
    assert f"Run: python sweeps/nrf.py --store {store.uri}" in capsys.readouterr().out
    assert "share" in tables.dictionary(frame, "clean_accuracy")
    assert tables.about(frame) == "no table here"
    unknown = tables.load("nrf", "a_table_of_ones_own")
    assert unknown.empty
    assert tables.dictionary(unknown) == ""


def test_the_command_of_extra_tests_names_the_flag_that_finds_their_files(store, capsys):
    assert tables.load("nonrobust_features", "extra_tests").empty
    assert f"--store {store.uri} --extra-test cifar10.1:PATH\n" in capsys.readouterr().out
    assert "extra-test" not in tables._command("nonrobust_features", "results")


def test_the_command_of_a_store_in_a_folder_with_a_space_can_be_typed(capsys, monkeypatch):
    monkeypatch.setenv("NRF_STORE", "/no such/store")
    assert tables.load("nrf", "results").empty
    assert "--store '/no such/store'" in capsys.readouterr().out


def test_a_table_of_another_nrf_ray_is_as_good_as_missing(store, capsys):
    sink = store.root / "sweeps" / "transfer_grid"
    sink.mkdir(parents=True)
    made = to_arrow(RESULTS, [dict.fromkeys(RESULTS.column_names())])
    pq.write_table(made.drop_columns(["macs"]), sink / "results.parquet")
    assert tables.load("transfer_grid", "results").empty
    assert "is of another nrf_ray and lacks macs" in capsys.readouterr().out
    (sink / "results.parquet").write_bytes(b"not parquet")
    assert tables.load("transfer_grid", "results").empty
    assert "Run: python sweeps/transfer_grid.py" in capsys.readouterr().out


@pytest.mark.parametrize("marker", [b'{"schema": 99}', None], ids=["of a newer nrf_ray", "no store at all"])
def test_what_is_no_store_of_ours_is_told(store, capsys, marker):
    store.replace("nrf-store.json", marker) if marker else store.delete("nrf-store.json")
    store.put_new("notes.txt", b"mine")
    assert tables.load("transfer_grid", "results").empty
    out = capsys.readouterr().out
    assert "newer nrf_ray" in out or "not an nrf_ray store" in out


def test_the_store_is_beside_the_folder_by_default(monkeypatch):
    monkeypatch.delenv("NRF_STORE", raising=False)
    assert tables.store_uri().endswith("/runs")


def test_tables_of_two_sweeps_are_put_together(store, capsys):
    put_results(store, {})
    there, missing = tables.load("transfer_grid", "results"), tables.load("robust_features", "results")
    both = tables.together(there, missing)
    assert len(both) == 1
    assert tables.about(both) == "preset laptop, digits"
    assert tables.about(tables.together(missing, missing)) == "no table here"


def test_tables_of_two_datasets_are_not_mixed(store, capsys, monkeypatch):
    digits, fashion = (pd.DataFrame({"dataset": [name], "key": [name]}) for name in ("digits", "fashion_mnist"))
    for frame in (digits, fashion):
        frame.attrs = {"about": frame["dataset"][0], "columns": {}}
    found = tables.together(digits, fashion)
    assert found["key"].tolist() == ["digits"]
    assert tables.about(found) == "digits"
    assert "kept: digits; left out: fashion_mnist" in capsys.readouterr().out
    monkeypatch.setenv("NRF_DATASET", "fashion_mnist")
    assert tables.together(digits, fashion)["key"].tolist() == ["fashion_mnist"]


def test_images_of_two_datasets_are_not_paired_by_number(store):
    made = frames.datasets([{"dataset": "digits"}, {"dataset": "fashion_mnist", "construction": "d_robust"}])
    with pytest.raises(ValueError, match="several datasets, digits, fashion_mnist"):
        gallery.same_images(tables.store(), made)


def test_shares_are_written_as_the_field_does():
    summary = pd.DataFrame(
        [
            {
                "label": "a", "mean": 0.5, "low": 0.25, "high": 0.75, "seeds": 3, "models": 6, "n": 360,
                "test_low": 0.4, "test_high": 0.6, "ours": "preset laptop, digits", "paper": 0.437,
                "paper_source": "Table 1", "paper_of": "CIFAR-10", "reruns_low": np.nan, "reruns_high": np.nan,
                "reruns": 0, "reruns_of": None,
            },
        ]
    )  # fmt: skip
    (row,) = tables.readable(summary, "label").to_dict("records")
    assert row == {
        "label": "a", "ours": "preset laptop, digits", "mean [95% over seeds]": ".500 [.250, .750]", "seeds": 3,
        "models": 6, "n": 360, "95% over test images": "[.400, .600]", "paper": ".437 (Table 1: CIFAR-10)",
        "re-runs": "",
    }  # fmt: skip


def test_pictures_are_shown_where_they_are(store, capsys):
    assert tables.picture("gaussian_theory", "figure_4.svg") is None
    assert "Run: python sweeps/gaussian_theory.py" in capsys.readouterr().out
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><title>Figure 4 &lt;b&gt;</title></svg>'
    store.put_new("sweeps/gaussian_theory/figure_4.svg", svg)
    shown = tables.picture("gaussian_theory", "figure_4.svg").data
    assert shown.startswith("<img "), "two pictures put into one page as they are would share their ids"
    assert base64.b64encode(svg).decode() in shown
    assert 'alt="Figure 4 &lt;b&gt;"' in shown


def test_what_models_say_of_sets_is_one_row_a_set_and_verdict():
    says = {"fooling_rate": 0.9, "second_seed_says_target": 0.5, "judge_says_label": 0.8, "judge_says_target": 0.1}
    table = views.shares_of_sets(frames.datasets([says | {"seed": seed} for seed in (0, 1)]))
    found = dict(zip(table["series"], table["mean"], strict=True))
    assert found == pytest.approx(dict(zip(views.VERDICTS_OF_MODELS.values(), says.values(), strict=True)))
    assert set(table["label"]) == {"d_det l2 1"}
    assert views.shares_of_sets(frames.datasets([])).empty


def test_checks_and_levels_are_counted():
    frame = frames.robustness([{}, {"checks": "logits:PASS noise:PASS"}, {"checks": None, "trust_level": "L3"}])
    counts = views.failed_checks(frame).set_index("check")[["FAIL", "WARN", "PASS"]]
    assert counts.loc["noise"].tolist() == [1, 0, 1]
    assert counts.loc["logits"].tolist() == [0, 0, 2]
    assert views.trust_levels(frame)[["level", "rows"]].to_numpy().tolist() == [["L0", 2], ["L3", 1]]


PLANTED = {
    "modality": "image", "label": "noise", "p_human": 0.25, "p_noise": 1.0, "noise_norm": 0.5, "labels": "planted",
    "training": "standard", "seed": 0, "n": 100,
}  # fmt: skip


def test_planted_sets_show_which_part_is_used_and_which_is_changed():
    used = {"human_alone": 0.1, "noise_alone": 0.9, "follows_human": 0.2, "follows_noise": 0.8}
    planted = pd.DataFrame([PLANTED | used, PLANTED | used | {"label": "both"}])
    table = views.parts_used(planted)
    assert table["mean"].tolist() == [0.1, 0.9, 0.2, 0.8]
    assert table["series"].tolist() == list(views.PARTS_USED.values())
    assert set(table["label"]) == {"image by noise, noise 0.5: standard"}
    gone = {
        "energy_human": 0.2,
        "energy_noise": 0.7,
        "energy_rest": 0.1,
        "attack": "pgd-5",
        "norm": "l2",
        "epsilon": 0.5,
    }
    read = {"labels": "read by a linear model", "seed": 1}
    changed = views.energies(pd.DataFrame([PLANTED | gone, PLANTED | gone | read]))
    assert changed[list(views.ENERGIES)].to_numpy().tolist() == [[0.2, 0.7, 0.1]] * 2
    assert changed["label"].str.replace("\N{NO-BREAK SPACE}", " ").tolist() == [
        "image by noise, noise 0.5: standard, l2 0.5",
        "image by noise, noise 0.5: standard, labels read by a linear model, l2 0.5",
    ]
    assert views.parts_used(planted[:0]).empty


def test_the_largest_radius_is_of_a_norm_and_no_two_sets_are_mixed():
    """Regression: sets of one radius and of two norms, or kept in two ways, were points of one line."""
    points = pd.DataFrame(
        [
            (True, "l2 1", "l2", 1.0, 1.5), (True, "l2 1.5, uint8", "l2", 1.5, 1.0),
            (True, "l2 1.5, uint8", "l2", 1.5, 1.5), (False, "l2 1.5, uint8", "l2", 1.5, 2.0),
            (True, "l2 1.5, float32", "l2", 1.5, 1.5), (True, "linf 0.1", "linf", 0.1, 0.1),
            (True, "linf 0.1", "linf", 0.1, 0.05), (True, "linf 0.05", "linf", 0.05, 0.1),
        ],
        columns=["targeted", "d_det", "norm", "epsilon", "radius"],
    )  # fmt: skip
    found = views.at_largest_radius(points, targeted=True)
    assert [table[["d_det", "radius"]].to_numpy().tolist() for table in found] == [
        [["l2 1.5, uint8", 1.5]],
        [["l2 1.5, float32", 1.5]],
        [["linf 0.1", 0.1]],
    ]
    (nothing,) = views.at_largest_radius(points[:0], targeted=True)
    assert nothing.empty, "one table, for a figure that says so"


def test_chance_is_known_of_datasets_that_are_here():
    assert views.chance(frames.results([{}])) == 0.1
    assert views.chance(frames.results([{"dataset": "cifar10:/nowhere"}])) is None
    assert views.chance(frames.results([])) is None


def test_one_set_is_picked_of_each_construction():
    table = gallery.one_each(
        frames.datasets(
            [
                {"construction": "d_det", "epsilon": 1.0, "key": "small"},
                {"construction": "d_det", "epsilon": 1.5, "seed": 1, "key": "second seed"},
                {"construction": "d_det", "epsilon": 1.5, "key": "this one"},
                {"construction": "d_det", "epsilon": 1.5, "source_training": "adversarial", "key": "robust source"},
                {"construction": "d_robust", "epsilon": None, "start": "noise", "source_training": "adversarial"},
                {
                    "construction": "d_robust",
                    "epsilon": None,
                    "start": "image",
                    "source_training": "adversarial",
                    "key": "r",
                },
            ]
        ),
        ["d_robust", "d_det", "d_rand"],
    )
    assert table[["construction", "key"]].to_numpy().tolist() == [["d_robust", "r"], ["d_det", "this one"]]


def test_texts_of_each_way_of_making_a_set_are_picked():
    """Regression: of a construction and norm one set was shown, whatever it started from and however it was kept."""
    ways = [{"start": "noise"}, {"start": "image"}, {"storage": "float32"}, {"source_training": "adversarial"}]
    later = [{"key": "smaller", "epsilon": 0.5}, {"key": "second seed", "seed": 1}]
    found = texts.one_each(frames.datasets([*later, *ways]))
    assert set(found["label"]) == {
        "d_det l2 1", "d_det from noise l2 1", "d_det from image l2 1", "d_det, float32 l2 1",
        "d_det of robust source l2 1",
    }  # fmt: skip
    assert "smaller" not in set(found["key"])


def test_texts_that_cannot_be_read_are_named(store, capsys):
    shown = texts.side_by_side(tables.store(), texts.one_each(frames.datasets([{}])))
    assert texts.EMPTY in shown.data
    assert (
        "The texts of d_det l2 1 cannot be read; run its sweep again: the set k is no longer in"
        in capsys.readouterr().out
    )


def test_reading_texts_as_the_page_does_brings_neither_torch_nor_ray():
    folder = pathlib.Path(tables.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", "import sys, texts; print(sorted({'torch', 'ray'} & set(sys.modules)))"],
        env={**os.environ, "PYTHONPATH": f"{folder}:{folder.parent}"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_changes_are_magnified_until_the_largest_just_fits():
    assert gallery.magnification([np.array([0.1, -0.25]), np.array([0.2])]) == 2.0
    assert gallery.magnification([np.zeros(3)]) == 1.0


@pytest.mark.parametrize("changes", [{"loss": "margin"}, {"returns": "worst_loss"}, {"mode": "fast"}], ids=str)
def test_the_column_of_attacks_explains_every_suffix_of_their_names(changes):
    name = Attack(threat=ThreatModel(norm="l2", eps=0.5), steps=9, step_size=0.1, **changes).name
    suffix = name.removeprefix("pgd-9")
    assert suffix.startswith("-")
    assert suffix in ATTACK_COLUMN.description


def test_the_guide_has_every_attack_and_says_who_is_refused_autoattack():
    guide = (pathlib.Path(tables.__file__).parent / "guide.md").read_text(encoding="utf-8")
    assert not [name for name in ATTACKS if f"`{name}`" not in guide]
    trust = guide.partition("## How far to trust")[2].partition("\n## ")[0]
    assert "fewer than four classes" in " ".join(trust.split())
