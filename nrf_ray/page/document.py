"""The whole page: one HTML file that contains its style sheet, script and images and loads nothing from elsewhere.

A content security policy in its head allows only this style sheet, this script, images in the page itself and requests
to the server of the page, so that even a mistake in escaping could not run another script or load anything else.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from nrf_ray.page.html import Html, el
from nrf_ray.page.progress import failures, heading, progress
from nrf_ray.page.provenance import commands, provenance
from nrf_ray.page.results import images, learning_curves, results, shown
from nrf_ray.page.snapshot import RunState, Snapshot
from nrf_ray.page.texts import texts

REFRESH_SECONDS = 5
"""Seconds between two reloads of the page of a running sweep."""

LINKS = {
    "failures": "Failures",
    "progress": "Progress",
    "shown": "What this run shows",
    "results": "Results",
    "curves": "Learning curves",
    "images": "Images",
    "texts": "Texts",
    "provenance": "Provenance",
    "commands": "Commands",
}


def document(known: Snapshot) -> bytes:
    """Return the page of a sweep: failures first, then what it shows if the run has ended, otherwise progress."""
    running = known.state is RunState.RUNNING
    parts = {
        "failures": failures(known),
        "progress": progress(known),
        "shown": shown(known),
        "results": results(known),
        "curves": learning_curves(known),
        "images": images(known),
        "texts": texts(known),
        "provenance": provenance(known),
        "commands": commands(known),
    }
    ended = ["failures", "shown", "results", "images", "texts", "curves", "progress", "provenance", "commands"]
    order = list(parts) if running else ended
    sections = {name: parts[name] for name in order}
    title = f"{known.sweep}: {known.state.value}"
    return whole(title, heading(known), sections, LINKS, refresh=REFRESH_SECONDS if running else None)


def whole(
    title: str,
    heading: Html,
    sections: Mapping[str, Html | None],
    links: Mapping[str, str],
    *,
    refresh: int | None = None,
) -> bytes:
    """Return a page: its heading, links to its sections, and those of `sections` that are there, in their order.

    `links` has the text of the link to each section; with `refresh`, the page is loaded again after so many seconds.
    """
    shown = {name: section for name, section in sections.items() if section is not None}
    to_sections = (el("li", el("a", links[name], href=f"#{name}")) for name in shown)
    body = el(
        "body",
        el("a", "To the content", href="#content", cls="skip"),
        heading,
        el("nav", el("ul", *to_sections), aria_label="Parts"),
        el("main", *shown.values(), id="content"),
        el("footer", el("p", "Written by nrf_ray. ", "No information is given by colour alone.")),
        Html(f"<script>{_text('page.js')}</script>"),
    )
    page = el("html", _head(title, refresh), body, lang="en", data_refresh=refresh)
    return f"<!doctype html>\n{page}\n".encode()


def _head(title: str, refresh: int | None) -> Html:
    policy = (
        f"default-src 'none'; style-src {_hash('page.css')}; script-src {_hash('page.js')}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    again = Html(f'<noscript><meta http-equiv="refresh" content="{refresh}"></noscript>') if refresh else None
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="generator", content="nrf_ray"),
        again,
        el("title", title),
        el("link", rel="icon", href="data:,"),
        Html(f"<style>{_text('page.css')}</style>"),
    )


@cache
def _text(name: str) -> Html:
    return Html(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _hash(name: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(_text(name).encode()).digest()).decode()}'"
