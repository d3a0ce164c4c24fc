"""Pieces of HTML: whatever is no HTML yet is escaped when it is put into some.

Labels, paths and error texts come from users, file names and libraries. `el` treats every plain string as text; only
what `el` made itself, an `Html`, goes in as it is. So nobody has to remember to escape.
"""

from collections.abc import Iterable
from html import escape

VOID = {"br", "hr", "img", "link", "meta"}
"""Elements that have no end."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Attribute = str | int | float | bool | None


def el(tag: str, *children: str | None, **attributes: Attribute) -> Html:
    """Return an element. A child that is no `Html` is escaped, None is left out.

    Attributes: `cls` is class, an underscore within a name a hyphen, one at the end is dropped; None and False leave an
    attribute out, True gives it no value.
    """
    shown = "".join(map(_attribute, attributes, attributes.values()))
    if tag in VOID:
        return Html(f"<{tag}{shown}>")
    return Html(f"<{tag}{shown}>{join(children)}</{tag}>")


def join(children: Iterable[str | None]) -> Html:
    """Return `children` one after the other."""
    return Html("".join(_text(child) for child in children if child is not None))


def _text(child: str) -> str:
    return child if isinstance(child, Html) else escape(child, quote=False)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = "class" if name == "cls" else name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f' {name}="{escape(text)}"'
