"""Printed text of a comparison: first the numbers, then their origins."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from nrf_ray.compare.origins import Origins
from nrf_ray.compare.rows import Change, TableComparison
from nrf_ray.display.printing import explain, make_grille

SHOWN = 10
"""Maximum number of settings, and of artifacts, that are printed; the rest is counted."""


def print_names(console: Console, first: Sequence[str], second: Sequence[str]) -> None:
    """Print the sweeps that only one store has."""
    for side, mine, others in (("first", first, second), ("second", second, first)):
        alone = [name for name in mine if name not in others]
        if alone:
            console.print(f"sweeps only in the {side} store: {', '.join(alone)}")


def print_sweep(
    console: Console,
    name: str,
    tables: Sequence[TableComparison],
    refused: Mapping[str, str],
    origins: Origins,
    rows: int,
) -> None:
    """Print what changed in one sweep; for each table, the `rows` most certain changes.

    `refused` are the tables that cannot be compared, with the reason.
    """
    console.print(f"\n{name}", style="bold")
    for compared in tables:
        _print_table(console, compared)
    for table, reason in refused.items():
        console.print(f"  {table}: not compared: {reason}", soft_wrap=True, markup=False)
    changed = [table for table in tables if table.changes]
    if changed:
        _print_changes(console, changed, rows)
    _print_origins(console, origins)


def _print_table(console: Console, table: TableComparison) -> None:
    alone = [
        f"{count} rows only in the {side}"
        for side, count in (("first", table.only_first), ("second", table.only_second))
        if count
    ]
    same = "all the same" if not table.differing else f"{table.differing} differ"
    console.print(f"  {table.name}: {table.both} rows in both, {'; '.join([same, *alone])}", soft_wrap=True)
    for side, values, columns in (
        ("first", table.values_only_first, table.columns_only_first),
        ("second", table.values_only_second, table.columns_only_second),
    ):
        for column, found in values.items():
            console.print(f"    {column} only in the {side}: {', '.join(map(_text, found))}", soft_wrap=True)
        if columns:
            console.print(f"    columns only in the {side}: {', '.join(columns)}", soft_wrap=True)


def _print_changes(console: Console, tables: Sequence[TableComparison], rows: int) -> None:
    grille = make_grille(
        "Numbers that changed", "table", "of", "number", "first", "second", "difference", "95%", "over", "p (Holm)",
        "seeds", names=3,
    )  # fmt: skip
    left_out = 0
    for table in tables:
        varying = _varying([change.cell for change in table.changes])
        ranked = sorted(zip(table.changes, table.adjusted(), strict=True), key=lambda pair: _by_certainty(pair[0]))
        left_out += max(0, len(ranked) - rows)
        for change, p in ranked[:rows]:
            of = ", ".join(f"{key} {_text(value)}" for key, value in change.cell.items() if key in varying)
            interval = "" if math.isnan(change.low) else f"{change.low:+.3g}, {change.high:+.3g}"
            grille.add_row(
                table.name,
                of,
                change.measure,
                f"{change.first:.4g}",
                f"{change.second:.4g}",
                f"{change.difference:+.3g}",
                interval,
                change.over,
                "" if math.isnan(p) else f"{p:.2g}",
                f"{change.seeds}{'' if change.paired else ', unpaired'}",
            )
    console.print(grille)
    explain(
        console,
        "Difference: second - first, means over the seeds that both stores have (unpaired: over each side's own seeds, "
        "by Welch). 95%: t interval over seeds; for a share of a single seed, Newcombe's interval over its rows, which "
        "says nothing about other seeds. p: for no difference between seeds, by sign flips, which cannot be below .25 "
        "for three seeds, adjusted for every compared number of the table. Sorted by difference relative to its "
        "interval." + (f" {left_out} more changes: give --output or a larger --rows." if left_out else ""),
    )


def _by_certainty(change: Change) -> tuple[bool, float]:
    """Return the sort key of a change: by certainty; changes of unknown certainty last, by relative size."""
    if math.isnan(change.certainty):
        return True, -abs(change.difference) / max(abs(change.first), abs(change.second))
    return False, -change.certainty


def _varying(cells: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the names of the columns that differ between cells; all names if none differs, as with one cell."""
    names = {name for cell in cells for name in cell}
    return {name for name in names if len({cell.get(name) for cell in cells}) > 1} or names


def _print_origins(console: Console, origins: Origins) -> None:
    for setting in origins.settings[:SHOWN]:
        console.print(
            f"  setting: {setting.stage}: {setting.path} {setting.first} -> {setting.second} ({setting.count} stages)",
            soft_wrap=True,
            markup=False,
        )
    _print_rest(console, "settings", len(origins.settings))
    for thing in origins.circumstances:
        console.print(
            f"  {thing.name}: {', '.join(thing.first) or 'none'} -> {', '.join(thing.second) or 'none'}",
            soft_wrap=True,
            markup=False,
        )
    for artifact in origins.other_bytes[:SHOWN]:
        console.print(
            f"  other bytes: {artifact.stage} {artifact.key[:12]} {artifact.label}: {', '.join(artifact.differing)}",
            soft_wrap=True,
            markup=False,
        )
    _print_rest(console, "artifacts with other bytes", len(origins.other_bytes))
    console.print(
        f"  {origins.same_keys} artifacts have the same key in both; {len(origins.other_bytes)} differ in their bytes"
        + (" (other machines round otherwise; on one kind of machine this is a defect)" if origins.other_bytes else ""),
        soft_wrap=True,
    )


def _print_rest(console: Console, what: str, count: int) -> None:
    if count > SHOWN:
        console.print(f"  and {count - SHOWN} more {what}")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
