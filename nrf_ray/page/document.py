"""The whole page: one HTML file that contains its style sheet, script and images and loads nothing from elsewhere.

A content security policy in its head allows only this style sheet, this script, images in the page itself and requests
to the server of the page, so that even a mistake in escaping could not run another script or load anything else.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path

from nrf_ray.page.html import Html, el
from nrf_ray.page.progress import failures, heading, progress
from nrf_ray.page.provenance import commands, provenance
from nrf_ray.page.results import images, learning_curves, results
from nrf_ray.page.snapshot import RunState, Snapshot
from nrf_ray.page.texts import texts

REFRESH_SECONDS = 5
"""Seconds between two reloads of the page of a running sweep."""

LINKS = {
    "failures": "Failures",
    "progress": "Progress",
    "results": "Results",
    "curves": "Learning curves",
    "images": "Images",
    "texts": "Texts",
    "provenance": "Provenance",
    "commands": "Commands",
}


def document(known: Snapshot) -> bytes:
    """Return the page of a sweep: failures first, then results if the run has ended, otherwise progress."""
    running = known.state is RunState.RUNNING
    parts = {
        "failures": failures(known),
        "progress": progress(known),
        "results": results(known),
        "curves": learning_curves(known),
        "images": images(known),
        "texts": texts(known),
        "provenance": provenance(known),
        "commands": commands(known),
    }
    ended = ["failures", "results", "images", "texts", "curves", "progress", "provenance", "commands"]
    order = list(parts) if running else ended
    shown = [name for name in order if parts[name] is not None]
    links = el(
        "nav", el("ul", *(el("li", el("a", LINKS[name], href=f"#{name}")) for name in shown)), aria_label="Parts"
    )
    body = el(
        "body",
        el("a", "To the content", href="#content", cls="skip"),
        heading(known),
        links,
        el("main", *(parts[name] for name in shown), id="content"),
        el("footer", el("p", "Written by nrf_ray. ", "No information is given by colour alone.")),
        Html(f"<script>{_text('page.js')}</script>"),
    )
    page = el("html", _head(known, running), body, lang="en", data_refresh=REFRESH_SECONDS if running else None)
    return f"<!doctype html>\n{page}\n".encode()


def _head(known: Snapshot, running: bool) -> Html:
    policy = (
        f"default-src 'none'; style-src {_hash('page.css')}; script-src {_hash('page.js')}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    again = Html(f'<noscript><meta http-equiv="refresh" content="{REFRESH_SECONDS}"></noscript>') if running else None
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="generator", content="nrf_ray"),
        again,
        el("title", f"{known.sweep}: {known.state.value}"),
        el("link", rel="icon", href="data:,"),
        Html(f"<style>{_text('page.css')}</style>"),
    )


@cache
def _text(name: str) -> Html:
    return Html(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _hash(name: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(_text(name).encode()).digest()).decode()}'"
