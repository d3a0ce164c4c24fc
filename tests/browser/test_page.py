"""The page in Chromium: no errors, nothing sideways, for the keyboard, without script, in light and dark, by axe-core.

`tests/chromium.py` says what it needs. The page of the real main job is looked at by `tests/test_main_job.py`.
"""

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nrf_ray.page.document import document
from nrf_ray.page.origin import Host
from nrf_ray.page.serve import make_server
from nrf_ray.page.snapshot import Standing
from nrf_ray.page.trust import trust_document
from tests.chromium import WIDTHS, axe_script, launched, load_milliseconds, opened, unfold, violations
from tests.page.known import assessed, fact, failed, finished, hostile, running

pytestmark = pytest.mark.browser

PAGES = {
    "running": lambda: document(running()),
    "finished": lambda: document(finished()),
    "failed": lambda: document(failed()),
    "hostile": lambda: document(hostile()),
    "large": lambda: document(
        running(stages=tuple(fact(f"stage {i}", Standing.WAITING) for i in range(10_000)), working=())
    ),
    "trust": lambda: trust_document(assessed()),
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with launched() as found:
        yield found


@pytest.fixture(scope="session")
def axe() -> str:
    return axe_script()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a file of each page."""
    folder = tmp_path_factory.mktemp("pages")
    for name, make in PAGES.items():
        (folder / f"{name}.html").write_bytes(make())
    return {name: folder / f"{name}.html" for name in PAGES}


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("running", "desktop", "light"), ("running", "phone", "dark"), ("finished", "phone", "light"),
     ("finished", "desktop", "dark"), ("failed", "desktop", "light"), ("failed", "phone", "dark"),
     ("hostile", "phone", "light"), ("trust", "desktop", "light"), ("trust", "phone", "dark")],
)  # fmt: skip
def test_a_page_is_for_everyone(name: str, width: str, scheme: str, browser: Any, files: Any, axe: str) -> None:
    page, errors = opened(browser, files[name], width=width, color_scheme=scheme)
    unfold(page)
    assert violations(page, axe) == []
    assert errors == []
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_loads_at_once_without_errors_and_is_as_wide_as_the_screen(
    name: str, width: str, browser: Any, files: Any
) -> None:
    page, errors = opened(browser, files[name], width=width)
    assert load_milliseconds(page) < 1000, "milliseconds; a page of the main job takes 200 on two busy cores"
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width][0]
    assert errors == []
    page.context.close()


def test_a_page_is_whole_without_script(browser: Any, files: Any) -> None:
    page, errors = opened(browser, files["finished"], java_script_enabled=False)
    assert page.locator("h1").inner_text() == "transfer_grid"
    page.get_by_text("The numbers").first.click()
    assert page.get_by_role("cell", name=".086 ± .039").is_visible()
    assert errors == []
    page.context.close()


def test_every_curve_of_trust_is_described_and_has_its_table(browser: Any, files: Any) -> None:
    page, errors = opened(browser, files["trust"])
    figures = page.locator("#content figure:has(figcaption)")
    assert figures.count() == len(assessed().curves)
    for figure, shown in zip(figures.all(), assessed().curves, strict=True):
        chart = figure.get_by_role("img")
        described = chart.get_attribute("aria-describedby")
        assert "The table has every point." in page.locator(f"#{described}").text_content()
        figure.locator("summary").click()
        assert figure.locator("tbody tr:visible").count() == len(shown.points)
    assert errors == []
    page.context.close()


def test_everything_is_reached_by_the_keyboard(browser: Any, files: Any) -> None:
    page, _ = opened(browser, files["finished"])
    unfold(page)
    reached, first = set(), ""
    for _ in range(200):
        page.keyboard.press("Tab")
        tag = page.evaluate("document.activeElement.tagName")
        if tag == "BODY":
            break
        first = first or page.evaluate("document.activeElement.textContent")
        reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert first == "To the content"
    wanted = page.evaluate(
        "[...document.querySelectorAll('a, summary, button, [tabindex]')].map((e) => "
        "[...document.querySelectorAll('*')].indexOf(e))"
    )
    assert set(wanted) == reached
    page.context.close()


def edges(chart: Any) -> list[bool]:
    """Return whether the left and the right edge of a scrolling chart are shaded: paper is all but white."""
    pixels = np.asarray(Image.open(io.BytesIO(chart.screenshot())).convert("L"))
    return [bool(np.median(pixels[:, column]) < 230) for column in (1, -2)]


def test_a_chart_is_shaded_where_it_goes_on_beyond_an_edge(browser: Any, files: Any) -> None:
    page, _ = opened(browser, files["finished"], width="phone", color_scheme="light")
    chart = page.locator(".scroll:has(> .chart)").first
    wider = chart.evaluate("(element) => element.scrollWidth - element.clientWidth")
    assert wider > 100
    seen = []
    for position in (0, wider // 2, wider):
        chart.evaluate("(element, position) => { element.scrollLeft = position; }", position)
        seen.append(edges(chart))
    assert seen == [[False, True], [True, True], [True, False]]
    page.context.close()
    page, _ = opened(browser, files["finished"], color_scheme="light")
    assert edges(page.locator(".scroll:has(> .chart)").first) == [False, False], "it fits on a large screen"
    page.context.close()


def test_tables_sort_by_the_keyboard(browser: Any, files: Any) -> None:
    page, _ = opened(browser, files["finished"])
    page.get_by_text("The numbers").first.click()
    table = page.locator("table", has_text="clean").first
    names = lambda: table.locator("tbody th").all_inner_texts()  # noqa: E731
    table.get_by_role("button", name="clean").focus()
    page.keyboard.press("Enter")
    assert names() == ["leak_det", "d_det", "d (source)"]
    assert table.locator("th[aria-sort=ascending]").count() == 1
    page.keyboard.press("Enter")
    assert names() == ["d (source)", "d_det", "leak_det"]
    page.context.close()


def test_times_sort_by_how_long_they_are(browser: Any, tmp_path: Path) -> None:
    seconds = {"b": 245.0, "d": 3_720.0, "a": 12.0, "c": 1_800.0}
    page_of = finished()
    hosts = tuple(Host(name=n, processor="p", device="cpu", stages=1, seconds=s) for n, s in seconds.items())
    (tmp_path / "report.html").write_bytes(document(replace(page_of, origin=replace(page_of.origin, hosts=hosts))))
    page, _ = opened(browser, tmp_path / "report.html")
    unfold(page)
    table = page.locator("table", has=page.get_by_text("Machines"))
    table.get_by_role("button", name="work").click()
    assert table.locator("tbody tr > :last-child").all_inner_texts() == ["12 s", "4 min 5 s", "30 min", "1 h 2 min"]
    page.context.close()


REFRESH = 5_000
"""Milliseconds after which a page shows what is new."""


def held(browser: Any, path: Path | str) -> tuple[Any, list[str]]:
    """Return a page whose clock stands still, so that it refreshes itself when a test says so and never in between."""
    page, errors = opened(browser, "about:blank")
    page.clock.install(time=0)
    page.clock.pause_at(1)
    page.goto(path if isinstance(path, str) else path.as_uri())
    return page, errors


def test_a_file_loads_itself_again_and_stays_where_the_reader_was(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(document(running()))
    page, errors = held(browser, path)
    page.locator("#more-table-0 summary").click()
    page.get_by_role("button", name="trained on").click()
    page.evaluate("scrollTo(0, 700)")
    path.write_bytes(document(failed()))
    with page.expect_navigation():
        page.clock.fast_forward(REFRESH)
    assert page.locator(".state").inner_text() == "Failed"
    assert page.locator("#more-table-0").get_attribute("open") is not None
    page.wait_for_function("Math.abs(scrollY - 700) < 2", timeout=20_000)
    assert page.locator("#more-table-0 th[aria-sort=ascending]").inner_text().startswith("trained on")
    assert page.locator("#refresh").inner_text() == ""
    assert errors == []
    page.context.close()


def test_a_page_can_be_paused(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(document(running()))
    page, _ = held(browser, path)
    page.get_by_role("button", name="Pause").click()
    path.write_bytes(document(finished()))
    loads: list[Any] = []
    page.on("framenavigated", lambda frame: loads.append(frame))
    page.clock.run_for(3 * REFRESH)
    assert page.locator(".state").inner_text() == "Running"
    assert not loads
    page.get_by_role("button", name="Refresh again").click()
    with page.expect_navigation():
        page.clock.fast_forward(REFRESH)
    assert page.locator(".state").inner_text() == "Finished"
    page.context.close()


def test_a_served_page_keeps_up_in_place(browser: Any) -> None:
    shown = [document(running())]
    with make_server(lambda: shown[0], 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        page, errors = held(browser, f"http://127.0.0.1:{server.server_port}/")
        page.evaluate("window.same = true")
        page.locator("#more-table-0 summary").click()
        page.evaluate("scrollTo(0, 700)")
        shown[0] = document(finished())
        page.clock.fast_forward(REFRESH)
        page.locator(".state", has_text="Finished").wait_for(timeout=20_000)
        assert page.evaluate("window.same"), "put in place, not loaded again"
        assert page.evaluate("scrollY") == 700
        assert page.locator("#more-table-0").get_attribute("open") is not None
        assert page.title() == "transfer_grid: finished"
        server.shutdown()
        thread.join()
    assert errors == []
    page.context.close()
