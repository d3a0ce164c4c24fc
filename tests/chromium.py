"""Debian's Chromium by playwright, and axe-core, for the tests that look at the report page.

Needs chromium, the package playwright (extra `browser`) and, for accessibility, the script of the npm package axe-core,
whose path NRF_AXE says; `.ci/run` installs all three. What is missing is skipped by name.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("NRF_CHROMIUM", "/usr/bin/chromium")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""Chromium looks for its makers' servers otherwise."""
WIDTHS = {"desktop": (1280, 900), "phone": (360, 740)}


@contextmanager
def launched() -> Iterator[Any]:
    """Start Chromium; it is gone with the context, and so is playwright's event loop, which others would trip over."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra browser)")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}; apt-get install chromium, or say where it is with NRF_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield found
        found.close()


def axe_script() -> str:
    """Return the script of axe-core."""
    path = os.environ.get("NRF_AXE")
    if not path:
        pytest.skip("NRF_AXE does not say where axe.min.js of the npm package axe-core is")
    return Path(path).read_text(encoding="utf-8")


def opened(browser: Any, path: Path | str, *, width: str = "desktop", **how: Any) -> tuple[Any, list[str]]:
    """Return a page in a new window, and where its errors will be."""
    wide, high = WIDTHS[width]
    page = browser.new_context(viewport={"width": wide, "height": high}, **how).new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type != "info" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:", "http://127.")) else
            errors.append(f"asked for {request.url}"))  # fmt: skip
    page.goto(path if isinstance(path, str) else path.as_uri())
    return page, errors


def load_milliseconds(page: Any) -> float:
    """Return how long a page took to load."""
    return float(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))


def unfold(page: Any) -> None:
    """Open everything that can be unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")


def violations(page: Any, axe: str) -> list[tuple[str, str]]:
    """Return what axe-core holds against a page: the rule, and the first element that breaks it."""
    page.evaluate(axe)
    found = page.evaluate(
        "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
    )
    return [(wrong["id"], wrong["nodes"][0]["html"][:200]) for wrong in found["violations"]]
