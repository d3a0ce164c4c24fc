"""Conclusions from tables, in computed sentences, so that no number is typed into a notebook's text.

Each function returns Markdown, one bullet per statement. A claim is called shown only if interval and test agree. If
there are too few seeds to show it, a statement says so.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from nrf_ray.display.printing import interval_text, share_text
from nrf_ray.statistics import holm, seed_means, seeds_needed, t_interval
from nrf_ray.statistics.intervals import LEVEL, RESAMPLES
from nrf_ray.sweep.wording import ball_text
from nrf_ray.tables.debate import verdict

NOTHING = "*No conclusion: the table is missing, or lacks the rows for it.*"


def of_contrasts(contrasts: pd.DataFrame) -> str:
    """State for every set whether it teaches more than its control or than the same set of a standard source.

    `contrasts` is `nrf_ray.tables.contrasts.contrasts` or `source_contrasts`, labelled.
    """
    tested = contrasts.dropna(subset="difference")
    statements = [f"**{row['label']}** teaches {_difference(row)}" for row in tested.to_dict("records")]
    return _bullets([*statements, *_out_of_reach(tested), *_without_partner(contrasts)])


def of_robust_features(contrasts: pd.DataFrame) -> str:
    """State at which radii students of D_R are more robust than students of D_NR and than standard models of D.

    `contrasts` is `nrf_ray.tables.contrasts.robust_contrasts`, labelled.
    """
    tested = contrasts.dropna(subset="difference")
    statements = [
        f"Under {row['attack']}, {ball_text(row['norm'], row['epsilon'])}: **{row['label']}** gives {_difference(row)}"
        for row in tested.to_dict("records")
    ]
    return _bullets([*statements, *_out_of_reach(tested), *_without_partner(contrasts)])


def of_paper(beside: pd.DataFrame) -> str:
    """State which of the paper's numbers are in our intervals (`paper.beside`, labelled)."""
    known = beside.dropna(subset=["paper", "low"])
    inside = known[(known["low"] <= known["paper"]) & (known["paper"] <= known["high"])]
    if known.empty:
        return NOTHING
    named = f": {', '.join(inside['label'])}" if len(inside) else ""
    return _bullets(
        [
            f"Of {len(known)} published numbers ({'; '.join(dict.fromkeys(known['paper_of']))}), {len(inside)} are in "
            f"our interval over seeds{named}. If data, networks or radius differ from the paper's, this does not test "
            "either result; compare the order of the rows instead.",
            _order(known),
        ]
    )


def of_figure_3(figure_3: pd.DataFrame) -> str:
    """State how learning from D_det correlates with being fooled (`nrf_ray.tables.contrasts.figure_3`)."""
    return _bullets(
        f"{row['attack']}, d_det at {row['d_det']}: r = {row['r']:.2f} {interval_text(row['low'], row['high'])} over "
        f"{row['archs']} architectures, permutation p = {row['p']:.3g} "
        f"({pairings_text(row['exact'])}), corrected {row['holm_p']:.3g}: {_direction(row)}."
        for row in figure_3.to_dict("records")
    )


def pairings_text(exact: bool) -> str:
    """Return which pairings the permutation test of a correlation used."""
    return "every pairing counted" if exact else f"{RESAMPLES} pairings drawn"


def of_theory(theory: pd.DataFrame) -> str:
    """State whether all statements hold on all instances, and name those that do not."""
    if theory.empty:
        return NOTHING
    failed = theory[~theory["holds"].astype(bool)]
    names = ", ".join(dict.fromkeys(failed["statement"]))
    verdict = f"{len(failed)} do not hold: {names}" if len(failed) else "all of them hold"
    return _bullets([f"{len(theory)} checks of {theory['statement'].nunique()} statements: {verdict}."])


def of_leakage(leaked: pd.DataFrame, chance: float | None) -> str:
    """State what leaks through features meant to be robust (`views.leaked`), compared with chance if it is known."""
    return _bullets(
        f"**{row['label']}** through {row['series']} ({_spec(row['meets_spec'])}): {share_text(row['mean'])} "
        f"{interval_text(row['test_low'], row['test_high'])}{_beside_chance(row, chance)}."
        for row in leaked.to_dict("records")
    )


def of_debate(debates: pd.DataFrame) -> str:
    """State for every contrast of the debate what its seeds say of the claim, the primary contrasts first."""
    keys = ["sweep", "dataset", "contrast", "primary", "norm", "epsilon"]
    found = sorted(debates.groupby(keys, dropna=False), key=lambda pair: (not pair[0][3], pair[0][:3]))
    return _bullets(_debated(dict(zip(keys, key, strict=True)), cells) for key, cells in found)


def _debated(about: dict[str, Any], cells: pd.DataFrame) -> str:
    differences = seed_means(cells, "difference")
    interval = t_interval(differences)
    where = ", ".join(filter(None, (about["dataset"], ball_text(about["norm"], about["epsilon"]))))
    return (
        f"**{about['contrast']}** ({where}{'; primary' if about['primary'] else ''}): difference "
        f"{share_text(interval.estimate)} {interval_text(interval.low, interval.high)} over {interval.n} seeds, "
        f"{verdict(differences)}."
    )


def of_costs(kinds: pd.DataFrame, path: pd.DataFrame) -> str:
    """State which stages took the time, and how many slots can help (`cost.by_kind`, `cost.critical_path`)."""
    if kinds.empty or path.empty:
        return NOTHING
    total, least = kinds["seconds"].sum(), path["seconds"].sum()
    first = kinds.iloc[0]
    return _bullets(
        [
            f"{total:.0f} seconds of work in {kinds['stages'].sum()} stages; {first['stage']}: {first['share']:.0%}.",
            f"The longest chain of stages takes {least:.0f} seconds if the shards of a set are made one after the "
            f"other. More than {max(1, round(total / least))} slots help only if they share the shards.",
        ]
    )


def _bullets(statements: Iterable[str]) -> str:
    return "\n".join(f"- {statement}" for statement in statements) or NOTHING


def _difference(row: dict[Any, Any]) -> str:
    """Return the wording of a paired difference: its size, the other set, and whether it is shown."""
    return (
        f"{share_text(abs(row['difference']))} {_more(row['difference'])} than {row['against']} "
        f"{interval_text(row['low'], row['high'])}{_verdict(row)}"
    )


def _out_of_reach(contrasts: pd.DataFrame) -> Iterator[str]:
    """Yield a statement if some rows have too few seeds to be shown, even if every p were the smallest possible.

    Corrected p values never fall if other p values rise. So a row that is not shown with the smallest p values could
    not have been shown by any outcome.
    """
    best = holm(contrasts["smallest_p"]).tolist() if len(contrasts) else []
    hopeless = contrasts[[p >= 1 - LEVEL for p in best]]
    if len(hopeless):
        rows = f"{len(contrasts)} {'row' if len(contrasts) == 1 else 'rows'}"
        which = "nothing here" if len(hopeless) == len(contrasts) else "not every row"
        seeds = hopeless["seeds"].max()
        yield (
            f"With {seeds} {'seed' if seeds == 1 else 'seeds'}, a sign-flip test cannot give less than "
            f"p = {hopeless['smallest_p'].min():.2g}, which is then corrected for {rows}: {which} can be shown by it; "
            f"{seeds_needed(len(contrasts))} seeds are needed. Intervals of so few seeds hold only if differences are "
            "normally distributed."
        )


def _without_partner(contrasts: pd.DataFrame) -> Iterator[str]:
    """Yield the models that were left out of a contrast because the other set has no model like them."""
    left_out = contrasts[contrasts["unpaired"] != ""].to_dict("records")
    named = (f"{row['label']} without a partner of {row['against']}: {row['unpaired']}" for row in left_out)
    yield from (f"Left out: {text}." for text in dict.fromkeys(named))


def _more(difference: float) -> str:
    return "more" if difference >= 0 else "less"


def _spec(meets: Any) -> str:
    if pd.isna(meets):
        return "not certified"
    return "they meet Goh's specification" if meets else "they miss Goh's specification"


def _beside_chance(row: dict[Any, Any], chance: float | None) -> str:
    """Return the wording of a share against chance, by its interval over test images with the models held fixed."""
    if chance is None:
        return ""
    if row["test_low"] > chance:
        return ", above chance"
    return ", below chance" if row["test_high"] < chance else ", not distinguishable from chance"


def _direction(row: dict[Any, Any]) -> str:
    """Return the wording of a correlation; it is shown if its interval and the corrected test both exclude zero."""
    if row["holm_p"] >= 0.05 or row["low"] <= 0 <= row["high"]:
        return "nothing is shown"
    return "they rise together" if row["r"] > 0 else "one falls as the other rises"


def _verdict(row: dict[Any, Any]) -> str:
    if row["shown"]:
        return f": shown, corrected p = {row['holm_p']:.3g}."
    excluded = row["low"] > 0 or row["high"] < 0
    return ", whose interval excludes 0." if excluded else "."


def _order(known: pd.DataFrame) -> str:
    ours, theirs = (list(known.sort_values(name)["label"]) for name in ("mean", "paper"))
    return f"From low to high, ours: {', '.join(ours)}. The paper's: {', '.join(theirs)}."
