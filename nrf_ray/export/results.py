"""The tables of a sweep as LaTeX (booktabs) and Markdown, for a paper or a page.

Rows that differ only in their seed become one row: the mean of each share, its 95% t interval over seeds, the number of
seeds, and n images. A single seed has no spread; its share has the 95% Wilson interval over images instead. Values that
are the same in all rows are printed once, above the table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nrf_ray.display.printing import share_text
from nrf_ray.export.fresh import new_folder
from nrf_ray.results.roles import SEED, about, of_others, shares
from nrf_ray.results.stored_sweep import KeptSweep
from nrf_ray.statistics import t_interval, wilson_interval

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class ResultsTable:
    """Table in printed form."""

    name: str
    """Name of the table that it was made from."""
    title: str
    """Meaning of one row of that table."""
    constants: tuple[tuple[str, str], ...]
    """Values that are the same in all rows, by column."""
    columns: tuple[str, ...]
    """Column headings."""
    names: int
    """Number of columns, from the left, that are names instead of numbers."""
    rows: tuple[tuple[str, ...], ...]
    """Rows of table entries."""
    note: str
    """Explanation of the numbers."""


def write_latex(sweep: KeptSweep, destination: Path) -> str:
    """Write `TABLE.tex` for every table that has shares to the new folder `destination`; return the file names."""
    return _write(sweep, destination, ".tex", to_latex)


def write_markdown(sweep: KeptSweep, destination: Path) -> str:
    """Write `TABLE.md` for every table that has shares to the new folder `destination`; return the file names."""
    return _write(sweep, destination, ".md", to_markdown)


def _write(sweep: KeptSweep, destination: Path, ending: str, text: Callable[[ResultsTable], str]) -> str:
    with new_folder(destination) as folder:
        tables = list(results_tables(sweep))
        for table in tables:
            (folder / f"{table.name}{ending}").write_text(text(table), encoding="utf-8")
    return f"{', '.join(table.name + ending for table in tables) or 'no table'}"


def results_tables(sweep: KeptSweep) -> Iterator[ResultsTable]:
    """Yield the tables of `sweep` that have rows and shares, averaged over seeds."""
    for name, table in sweep.tables.items():
        found = shares(table)
        if found and SEED in table.column_names and table.num_rows:
            yield _summed_up(name, table, found, sweep.preset)


def _summed_up(name: str, table: "pa.Table", summed: list[str], preset: str) -> ResultsTable:
    frame = table.to_pandas()
    keys = [column for column in about(table.column_names) if column != SEED]
    varying = [column for column in keys if frame[column].nunique(dropna=False) > 1]
    same = tuple((c, _text(frame[c].iloc[0])) for c in keys if c not in varying and not _is_null(frame[c].iloc[0]))
    groups = frame.groupby(varying, dropna=False, sort=True) if varying else [((), frame)]
    rows, others = [], of_others()
    for keyed, cells in groups:
        n = int(cells["n"].iloc[0]) if "n" in cells else 0
        numbers = [_number(cells[share], 0 if share in others else n) for share in summed]
        rows.append((*map(_text, keyed), *numbers, str(cells[SEED].nunique()), str(n or "")))
    return ResultsTable(
        name=name,
        title=(table.schema.metadata or {}).get(b"row", b"").decode(),
        constants=(("preset", preset), *same) if preset else same,
        columns=(*varying, *summed, "seeds", "n"),
        names=len(varying),
        rows=tuple(rows),
        note="Mean over seeds ± half of its 95% t interval over seeds; for a single seed, the share and its 95% Wilson "
        "interval over n images. n: images behind each share of one seed.",
    )


def _number(values: "pd.Series[float]", n: int) -> str:
    """Return a share over seeds as text; n is its number of images, 0 if unknown. Empty if the share is null."""
    values = values.dropna()
    if values.empty:
        return ""
    if len(values) > 1:
        found = t_interval(values)
        return f"{share_text(found.estimate)} ± {share_text(found.high - found.estimate)}"
    share = float(values.iloc[0])
    if not n:
        return share_text(share)
    interval = wilson_interval(share, n)
    return f"{share_text(share)} [{share_text(interval.low)}, {share_text(interval.high)}]"


def to_markdown(table: ResultsTable) -> str:
    """Return the table as Markdown, with a title and notes."""
    rule = ["---"] * table.names + ["---:"] * (len(table.columns) - table.names)
    lines = [f"**{table.name}**: {table.title}. {_same(table)}", ""]
    for cells in (table.columns, rule, *table.rows):
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "", table.note]) + "\n"


def to_latex(table: ResultsTable) -> str:
    """Return the table as LaTeX; it needs the package booktabs."""
    columns = "l" * table.names + "r" * (len(table.columns) - table.names)
    body = [" & ".join(map(_latex, cells)) + r" \\" for cells in (table.columns, *table.rows)]
    return (
        "\n".join(
            [
                r"% needs \usepackage{booktabs}",
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{_latex(f'{table.title}. {_same(table)} {table.note}')}}}",
                rf"\label{{tab:{table.name}}}",
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                body[0],
                r"\midrule",
                *body[1:],
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        )
        + "\n"
    )


SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
}  # fmt: skip
"""Special characters of LaTeX and their escapes."""


def _latex(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def _same(table: ResultsTable) -> str:
    same = ", ".join(f"{name} {value}" for name, value in table.constants)
    return f"In all rows: {same}." if same else ""


def _is_null(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


def _text(value: Any) -> str:
    if _is_null(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
