"""README's picture shows the numbers of its table; what README says of it in words is what it shows."""

import importlib.util
import re
import runpy
import sys
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

import pandas as pd
import pytest

from nrf_ray.errors import ConfigError
from nrf_ray.statistics import Interval
from tests.docs.pages import ROOT

FILE = ROOT / "analysis" / "picture.py"
SVG = "{http://www.w3.org/2000/svg}"
PICTURE = ROOT / "analysis" / "transfer_grid.svg"


@pytest.fixture(scope="module")
def module():
    """Return analysis/picture.py, which is a script beside the package."""
    spec = importlib.util.spec_from_file_location("picture_under_test", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results():
    """Return a table of two models for each of three seeds, with one set and its control."""
    rows = [("d", None, "victim", 0.9), ("d_det", 1.0, "student", 0.3), ("leak_det", 1.0, "student", 0.0)]
    made = []
    for construction, epsilon, role, accuracy in rows:
        for seed in (0, 1, 2):
            one = {"construction": construction, "epsilon": epsilon, "role": role, "seed": seed}
            one |= {"norm": "l2", "storage": "uint8", "mode": "faithful"}
            drift = seed / 10 if role == "student" else 0.0
            made += [{**one, "dataset": "made", "clean_accuracy": accuracy + drift, "n": 50}] * 2
    return pd.DataFrame(made)


@pytest.mark.parametrize("column", ["dataset", "norm", "storage", "mode"])
def test_what_cannot_stand_in_one_picture_is_refused(module, results, column) -> None:
    results.loc[0, column] = "another"
    with pytest.raises(ConfigError, match=f"more than one {column} \\(another, "):
        module.draw(results)


def test_lines_are_means_over_architectures_with_intervals_over_seeds(module, results) -> None:
    (whole, _, first), (name, is_control, accuracy), (control, last, _) = module.lines(results)
    assert (whole, first.estimate, first.low) == ("the original data", pytest.approx(0.9), pytest.approx(0.9))
    assert (name, is_control, accuracy.estimate, accuracy.n) == (
        "d_det (t = y + 1), eps 1",
        False,
        pytest.approx(0.4),
        3,
    )
    assert (control, last) == ("leak_det, its control, eps 1", True)


def test_marks_lie_where_the_scale_says(module, results) -> None:
    svg = ET.fromstring(module.draw(results))
    circles = [float(circle.get("cx")) for circle in svg.iter(f"{SVG}circle")]
    assert circles == pytest.approx([module.LEFT + module.WIDTH * share for share in (0.9, 0.4)], abs=0.06)
    assert len(list(svg.iter(f"{SVG}rect"))) == 2, "the page and the square of the control"
    assert module.draw(results) == module.draw(results)


def test_the_command_of_readme_writes_the_picture_and_prints_its_words(
    module, results, tmp_path, monkeypatch, capsys
) -> None:
    table = tmp_path / "results.parquet"
    results[results["seed"] == 0].to_parquet(table)
    monkeypatch.setattr(sys, "argv", [str(FILE), str(table), str(tmp_path / "picture.svg")])
    runpy.run_path(str(FILE), run_name="__main__")
    drawn = (tmp_path / "picture.svg").read_text()
    assert drawn == module.draw(pd.read_parquet(table))
    assert f"<desc>{escape(capsys.readouterr().out.strip())}</desc>" in drawn
    assert "±" not in drawn, "a single seed has no interval"


def test_the_committed_picture_shows_the_numbers_of_the_claims() -> None:
    drawn = re.findall(r">(\.\d+ ± \.\d+)<", PICTURE.read_text())
    assert len(drawn) == 13
    claims = (ROOT / "analysis" / "claims" / "nonrobust_features_suffice.md").read_text()
    assert all(number in claims for number in drawn)


def test_the_committed_picture_says_in_words_what_its_lines_show(module) -> None:
    svg = ET.fromstring(PICTURE.read_text())
    words = [text.text for text in svg.iter(f"{SVG}text")]
    numbers = [i for i, word in enumerate(words) if re.fullmatch(r"\.\d+ ± \.\d+", word)]
    shown = [(words[i - 1], False, interval(float(words[i].split()[0]))) for i in numbers]
    assert len(shown) == 13
    assert svg.findtext(f"{SVG}desc") == module.told(shown)


def test_readme_says_in_words_what_the_picture_says() -> None:
    told = re.search(r"!\[([^\]]*)\]", (ROOT / "README.md").read_text())
    assert told is not None
    assert " ".join(told[1].split()) == ET.fromstring(PICTURE.read_text()).findtext(f"{SVG}desc")


def test_what_is_told_are_means_under_their_own_radius(module) -> None:
    """No set needs to have every radius."""
    lines = [
        ("the original data", False, interval(0.989)), ("d_other (t: any wrong class), eps 1.5", False, interval(0.6)),
        ("d_det (t = y + 1), eps 1", False, interval(0.0861)), ("leak_det, its control, eps 1", True, interval(0.0)),
        ("d_det (t = y + 1), eps 1.5", False, interval(0.33)), ("d_rand (t: any class), eps 16", False, interval(0.5)),
    ]  # fmt: skip
    assert module.told(lines).endswith(
        "(leak_...: controls): the original data .989; at eps 1: d_det .086, leak_det .000; at eps 1.5: d_other .600, "
        "d_det .330; at eps 16: d_rand .500"
    )


def test_what_is_told_is_rounded_once(module) -> None:
    """The picture says .125 of it, which to two digits would be .12 or .13."""
    assert module.told([("the original data", False, interval(0.1248))]).endswith("the original data .125")


def interval(mean: float) -> Interval:
    return Interval(estimate=mean, low=mean, high=mean, n=3, over="seeds", method="t")
