"""HTML elements that several sections of the page use."""

import base64
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import unescape

from nrf_ray.page.html import Html, el, join


def section(name: str, title: str, *content: str | None) -> Html:
    """Return a section of the page with its heading; `name` is the anchor for links."""
    heading = el("h2", title, id=name)
    return el("section", heading, *content, aria_labelledby=name)


def scrolling(what: str, content: Html) -> Html:
    """Return `content` in a box that scrolls, also by keyboard, if it is wider than the screen."""
    return el("div", content, cls="scroll", role="region", aria_label=what, tabindex=0)


def grid(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str | None]], *, names: int = 1) -> Html:
    """Return a table that scrolls; its first `names` columns are names, and the first column has the row headers."""
    kinds = ["name" if i < names else "number" for i in range(len(columns))]
    head = [
        el("th", column, scope="col", cls=kind) if column else el("td", cls=kind)
        for column, kind in zip(columns, kinds, strict=True)
    ]
    body = []
    for row in rows:
        first, *others = [
            el("th" if i == 0 else "td", cell, cls=kind, scope="row" if i == 0 else None)
            for i, (cell, kind) in enumerate(zip(row, kinds, strict=True))
        ]
        body.append(el("tr", first, *others))
    table = el(
        "table",
        el("caption", caption, cls="hidden"),
        el("thead", el("tr", *head)),
        el("tbody", *body),
    )
    return scrolling(caption, table)


def more(name: str, summary: str, *content: str | None, shown: bool = False) -> Html:
    """Return content that can be unfolded; `name` identifies it, so that it stays open when the page refreshes."""
    return el("details", el("summary", summary), *content, id=f"more-{name}", open=shown)


def command(text: str) -> Html:
    """Return a command to copy."""
    return scrolling(f"command: {text}", el("pre", el("code", text)))


def embedded(kind: str, data: bytes) -> str:
    """Return a file of media type `kind` as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def drawn(name: str, svg: bytes) -> Html:
    """Return an SVG file as an image; the alternative text is its title, or its name if it has no title."""
    title = re.search(r"<title>(.*?)</title>", svg.decode(errors="replace"), flags=re.DOTALL)
    return el("img", src=embedded("image/svg+xml", svg), alt=unescape(title[1]) if title else name)


def note(text: str) -> Html:
    """Return a short explanation as a paragraph."""
    return el("p", text, cls="note")


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Return a list of names with their values."""
    return el("dl", join(el("div", el("dt", name), el("dd", value)) for name, value in pairs))


def moment(when: datetime) -> str:
    """Return a time (in UTC) as text."""
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def count(number: int, one: str, many: str = "") -> str:
    """Return `number` with its noun, as in "1 stage" and "10,000 stages"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def listed(words: list[str], most: int) -> str:
    """Return the first `most` of `words`, comma-separated, and the number of further ones."""
    more = len(words) - most
    return ", ".join(words[:most]) + (f" and {more:,} more" if more > 0 else "")
