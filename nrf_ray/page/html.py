"""HTML elements that escape every plain string put into them.

Labels, paths and error texts come from users, file names and libraries. `el` treats every plain string as text; only
an `Html`, which `el` itself made, is inserted unchanged. So no caller has to remember to escape.
"""

from collections.abc import Iterable
from html import escape

VOID = {"br", "hr", "img", "link", "meta"}
"""Elements without an end tag."""


class Html(str):
    """String that is already HTML."""

    __slots__ = ()


Attribute = str | int | float | bool | None


def el(tag: str, *children: str | None, **attributes: Attribute) -> Html:
    """Return an element. A child that is not an `Html` is escaped; None is left out.

    Attributes: `cls` becomes class, an underscore within a name becomes a hyphen, and one at the end is dropped. None
    and False leave an attribute out; True writes it without a value.
    """
    shown = "".join(map(_attribute, attributes, attributes.values()))
    if tag in VOID:
        return Html(f"<{tag}{shown}>")
    return Html(f"<{tag}{shown}>{join(children)}</{tag}>")


def join(children: Iterable[str | None]) -> Html:
    """Return `children` one after the other, plain strings escaped."""
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
