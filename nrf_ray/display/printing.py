"""How numbers are printed: grilles of names and numbers, means with their intervals, explanations under them."""

from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table as Grille

from nrf_ray.statistics import t_interval


def share_text(value: float) -> str:
    """Return a number of about one with three digits and no leading zero, as tables of the field print it."""
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else f"{value:.2f}"


def interval_text(low: float, high: float) -> str:
    """Return an interval of shares in brackets; nothing where it is missing."""
    return "" if pd.isna(low) else f"[{share_text(low)}, {share_text(high)}]"


def mean_ci(values: "pd.Series[float]") -> str:
    """Return mean and 95% t interval over `values` (one per seed) as text; a single value stands alone.

    Nothing where a value is missing.
    """
    if values.isna().any():
        return ""
    interval = t_interval(values)
    if interval.n < 2:
        return share_text(interval.estimate)
    return f"{share_text(interval.estimate)} ± {share_text(interval.high - interval.estimate)}"


def make_grille(title: str, *columns: str, names: int) -> Grille:
    """Return an empty table whose first `names` columns are names and whose others are numbers."""
    grille = Grille(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        grille.add_column(column, justify="left" if index < names else "right", overflow="fold")
    return grille


def explain(console: Console, text: str) -> None:
    """Print what the numbers of a grille are; square brackets are text, not markup."""
    console.print(f"{text}\n", style="dim", markup=False)


ORIGIN = ["construction", "norm", "epsilon", "start", "source_training", "storage", "craft_mode"]
"""Columns that say how a training set was made."""


def origin_text(construction: Any, start: Any, source_training: Any, storage: Any, craft_mode: Any) -> str:
    """Return what a training set is, as in "d_det of robust source" or "d_robust from noise, made fast"."""
    robust_source = source_training == "adversarial" and construction != "d_robust"
    text = f"{construction} of robust source" if robust_source else construction
    text = f"{text} from {start}" if isinstance(start, str) else text
    text = f"{text}, {storage}" if storage == "float32" else text
    return f"{text}, made fast" if craft_mode == "fast" else text


def mode_text(mode: Any) -> str:
    """Return how a network was trained, to be put behind its name; nothing for the faithful mode."""
    return {"faithful": "", "fast": ", trained fast"}.get(mode, ", imported")


def ball_text(norm: Any, epsilon: Any) -> str:
    """Return norm and radius of a ball; nothing where there is none."""
    return f"{norm} {epsilon:g}" if isinstance(norm, str) else ""


def modes_text(modes: "pd.Series[str]") -> str:
    """Return how the networks behind some rows were computed, as in "Mode: faithful."."""
    return f"Mode: {', '.join(sorted(modes.dropna().unique())) or 'none'}."
