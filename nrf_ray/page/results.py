"""Results so far, as HTML: what they show, tables with charts of their numbers, scatter plots, curves, images."""

from collections import defaultdict
from collections.abc import Sequence

from nrf_ray.display.printing import ResultTable
from nrf_ray.page.charts import SERIES, charted, curves, dots, kind_of, mark, scatter
from nrf_ray.page.elements import drawn, embedded, grid, more, note, scrolling, section
from nrf_ray.page.html import Html, el
from nrf_ray.page.snapshot import HELD, Curve, Gallery, RunState, Snapshot, Specimen

MOST_ROWS = 200
MOST_GROUPS = 24
"""Maximum number of groups of trainings whose curves are drawn."""

FAMILIES = {
    "original": "models of the original data",
    "constructed": "constructed sets",
    "control": "controls without adversarial features",
}


def shown(known: Snapshot) -> Html | None:
    """Return the section that says what the tables show; None if they say nothing."""
    if not known.sentences:
        return None
    so_far = "" if known.state is RunState.FINISHED else " so far"
    return section(
        "shown", f"What this run shows{so_far}", el("ul", *(el("li", text) for text in known.sentences)),
        note("Shown: the bootstrap interval and the corrected sign-flip test over seeds both exclude zero. Of several "
             "radii, each sentence is about the largest."),
    )  # fmt: skip


def results(known: Snapshot) -> Html:
    """Return the section with the tables, their charts, and scatter plots of transfer against learning."""
    if not known.tables:
        done, rows = known.rows
        none = f"{done:,} of {rows:,} rows are complete."
        if known.state is RunState.INTERRUPTED:
            none += " Run the same command again; it writes the tables when it ends."
        return section("results", "Results", el("p", none))
    partly = not all(fact.standing in HELD for fact in known.stages)
    done, rows = known.rows
    source = (
        "from the records so far" if known.state is RunState.RUNNING else "as in the parquet files beside this page"
    )
    return section(
        "results",
        "Results so far" if partly else "Results",
        el("p", f"{done:,} of {rows:,} rows, {source}."),
        *(table_with_chart(f"table-{number}", table) for number, table in enumerate(known.tables)),
        _scatters(known),
    )


def table_with_chart(name: str, table: ResultTable) -> Html:
    """Return a table with a chart of its numbers, folded if there is a chart; `name` identifies it on the page."""
    chart = dots(table)
    shown = None
    if chart is not None:
        shown = el("figure", _legend(table), scrolling(f"chart: {table.title}", chart))
    rows = table.texts[:MOST_ROWS]
    cut = note(f"The first {MOST_ROWS} of {len(table.rows):,} rows.") if len(table.rows) > MOST_ROWS else None
    return el(
        "article",
        el("h3", table.title),
        shown,
        more(name, "The numbers", grid(table.title, table.columns, rows, names=table.names), cut,
             shown=chart is None),
        *(note(text) for text in (*table.notes, table.failure) if text),
    )  # fmt: skip


def _legend(table: ResultTable) -> Html | None:
    present = set(map(kind_of, table.rows))
    if len(present) < 2 or not charted(table):
        return None
    entries = [
        el("li", el("svg", _mark(name), cls="key", viewBox="0 0 14 14", aria_hidden="true"), meaning)
        for name, meaning in FAMILIES.items()
        if name in present
    ]
    return el("ul", *entries, cls="legend")


def _mark(name: str) -> Html:
    shape = el("rect", x=3, y=3, width=8, height=8) if name == "original" else el("circle", cx=7, cy=7, r=4.5)
    return el("g", shape, cls=name)


def _scatters(known: Snapshot) -> Html | None:
    if not known.scatters:
        return None
    names = series_of(known)
    present = {spot.name for shown in known.scatters for spot in shown.spots}
    keys = [(name, mark(i, 9, 7)) for i, name in enumerate(names) if name in present]
    figures = [
        el("figure", el("h4", shown.title), scatter(shown, names), el("figcaption", shown.note))
        for shown in known.scatters
    ]
    return el(
        "article",
        el("h3", "Learning from d_det and being fooled"),
        _keys(keys),
        el("div", *figures, cls="panels"),
        note(
            "One point per architecture, means over seeds (Figure 3 of the paper; if targeted, Figure 13). r: Pearson "
            "correlation, with a 95% percentile bootstrap interval over architectures. So few points settle nothing."
        ),
    )


def learning_curves(known: Snapshot) -> Html | None:
    """Return the section with learning curves, one panel for trainings that differ only in architecture and seed."""
    if known.curves_at is None:
        return section("curves", "Learning curves", el("p", "Curves are kept in local stores only."))
    if not known.curves:
        return None
    lines = series_of(known)
    present = {curve.line for curve in known.curves}
    keys = [(name, _stroke(i)) for i, name in enumerate(lines) if name in present]
    quantities: dict[str, dict[str, list[Curve]]] = defaultdict(lambda: defaultdict(list))
    for curve in known.curves:
        quantities[curve.quantity][curve.group].append(curve)
    ordered = sorted(quantities, key=lambda quantity: ("accuracy" not in quantity, quantity))
    parts = [_quantity(quantity, quantities[quantity], lines, shown=i == 0) for i, quantity in enumerate(ordered)]
    return section("curves", "Learning curves", _keys(keys), *parts)


def series_of(known: Snapshot) -> list[str]:
    """Return the architectures of curves and scatter plots in one order, so that each looks the same everywhere."""
    return sorted({curve.line for curve in known.curves} | {spot.name for s in known.scatters for spot in s.spots})


def _keys(keys: Sequence[tuple[str, Html]]) -> Html:
    """Return a legend: names with their marks or lines."""
    entries = [
        el("li", el("svg", drawn, cls="key", viewBox="0 0 18 14", aria_hidden="true"), name) for name, drawn in keys
    ]
    return el("ul", *entries, cls="legend")


def _stroke(series: int) -> Html:
    return el("path", d="M1,7L17,7", cls=f"curve series{min(series, SERIES - 1)}")


def _quantity(quantity: str, groups: dict[str, list[Curve]], lines: list[str], *, shown: bool) -> Html:
    shares = "accuracy" in quantity
    panels = []
    for name in list(groups)[:MOST_GROUPS]:
        chart = curves(f"{name}: {quantity}", quantity, [(lines.index(c.line), c) for c in groups[name]], shares)
        panels.append(el("figure", el("h3", name), chart))
    rest = len(groups) - len(panels)
    return more(
        f"curves-{quantity.replace('/', '-')}",
        f"{quantity} over epochs",
        el("div", *panels, cls="panels small"),
        note(f"{rest:,} more groups are in TensorBoard's files.") if rest > 0 else None,
        shown=shown,
    )


def images(known: Snapshot) -> Html | None:
    """Return the section with a few images of each constructed set, and the pictures that stages drew."""
    parts = [_gallery(gallery) for gallery in known.galleries]
    parts += [
        el("figure", drawn(name, data), el("figcaption", name), cls="drawn") for name, data in known.pictures.items()
    ]
    if not parts:
        return None
    lede = "Each beside an image of the training set; the change is shown around grey, magnified by the factor given."
    return section("images", "Images", el("p", lede) if known.galleries else None, *parts)


def _gallery(gallery: Gallery) -> Html:
    names = [gallery.first, "constructed"]
    if gallery.factor:
        names.append("change" if gallery.factor == 1 else f"change, {gallery.factor:g} times")
    unrelated = None if gallery.factor else " Each was made of noise, so no change is shown."
    figures = [_specimen(specimen, gallery) for specimen in gallery.specimens]
    return el(
        "figure",
        el("h3", gallery.title),
        scrolling(f"images of {gallery.title}", el("div", el("div", *(el("span", n) for n in names), cls="rows"),
                                                     *figures, cls="gallery")),
        el("figcaption", "true label → new label. ", el("code", f"nrf show {gallery.key[:12]}"), unrelated),
    )  # fmt: skip


def _specimen(specimen: Specimen, gallery: Gallery) -> Html:
    shown = ((gallery.first, specimen.original), ("constructed", specimen.constructed), ("change", specimen.change))
    pictures = [
        el("img", src=embedded("image/png", data), alt=f"{what}, {specimen.label}") for what, data in shown if data
    ]
    return el("div", *pictures, el("span", specimen.label), cls="specimen")
