"""The page of `nrf trust`: what it says of each finding, and a table behind every curve."""

import re

import pytest

from nrf_ray.attacks.checks import _CHECKS
from nrf_ray.attacks.trust import CHECKS, LEVELS, Curve
from nrf_ray.inspection.trust import ADVICE
from nrf_ray.page.charts import profile
from nrf_ray.page.trust import SEEN, Suspicion, trust_document
from tests.page.known import HOSTILE, assessed
from tests.page.test_document import Page


def test_the_page_is_whole_and_says_what_is_suspicious_and_what_to_try() -> None:
    known = assessed()
    data = trust_document(known)
    page, text = Page(data), data.decode()
    assert page.text("h1") == "Is this robust accuracy real?"
    assert "Trust level L0" in page.text("strong")
    assert "1 check failed and 1 check gave a warning." in page.text("p")
    headings = [text.index(f"{found.verdict}: {found.check}") for found in known.suspicions]
    assert headings == sorted(headings)
    for found in known.suspicions:
        assert found.passes_if in page.text("p")
        assert found.advice in page.text("p")
    links = [link["href"] for link in page.all("a")]
    assert links == ["#content", "#suspicions", "#numbers", "#curves", "#checks", "#command"]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_curve_has_its_title_its_reading_and_all_its_numbers() -> None:
    known = assessed()
    text = trust_document(known).decode()
    figures = re.findall(r"<figure><h3>.*?</figure>", text, re.DOTALL)
    assert len(figures) == len(known.curves) == len(SEEN)
    for figure, shown in zip(figures, known.curves, strict=True):
        title, should = SEEN[shown.quantity, shown.over]
        assert title in figure
        assert should in figure.replace("&#x27;", "'")
        cells = re.findall(r'<th class="name" scope="row">([^<]*)</th><td class="number">([^<]*)</td>', figure)
        assert cells == [(f"{x:g}", f"{value:.3f}") for x, value in shown.points]
        assert f"{shown.quantity} from {shown.points[0][1]:.3f} at {shown.over} 0 to" in figure


def test_a_model_without_suspicions_is_not_called_proven() -> None:
    text = trust_document(assessed(suspicions=(), level="L1", meaning=LEVELS["L1"])).decode()
    assert "Every check passed." in text
    assert "This does not prove the number" in text
    assert "and what to try" not in text


def test_without_images_there_are_no_curves_and_no_link_to_them() -> None:
    text = trust_document(assessed(curves=())).decode()
    assert "#curves" not in text
    assert "<figure><h3>" not in text


def test_names_of_models_are_text() -> None:
    bad = Suspicion(check=HOSTILE, verdict="FAIL", passes_if=HOSTILE, numbers=HOSTILE, advice=HOSTILE)
    page = Page(trust_document(assessed(model=HOSTILE, suspicions=(bad,), facts=(("Model", HOSTILE),))))
    assert len(page.all("script")) == 1
    assert not page.all("img")


@pytest.mark.parametrize(
    ("points", "path", "marks"),
    [
        (((0.0, 1.0), (2.0, 0.5), (4.0, 0.0)), "46,30L237,123L428,216", 3),
        (tuple((float(i), 1.0) for i in range(13)), None, 0),
    ],
)
def test_a_profile_goes_through_its_points(points, path, marks) -> None:
    drawn = profile(Curve(quantity="accuracy", over="radius", points=points), "t")
    (found,) = re.findall(r'<path d="M([^"]*)" class="curve series0"', drawn)
    assert found == path or path is None
    assert drawn.count('class="mark series0"') == marks
    assert "The table has every point." in drawn


def test_margins_below_zero_are_inside_the_chart() -> None:
    drawn = profile(Curve(quantity="margin", over="step", points=((0.0, -4.0), (1.0, 6.0))), "t")
    (found,) = re.findall(r'<path d="M([^"]*)" class="curve', drawn)
    heights = [float(point.split(",")[1]) for point in found.split("L")]
    # 8% room above and below, on an axis from 216 up to 30.
    assert heights == pytest.approx([216 - 186 * 0.08 / 1.16, 30 + 186 * 0.08 / 1.16], abs=0.06)


def test_every_check_has_advice() -> None:
    assert ADVICE.keys() == CHECKS.keys() >= _CHECKS.keys()
