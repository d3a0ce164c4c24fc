"""What is printed of the theory's tables: which statements hold, how many features are robust, what leaks."""

from collections.abc import Mapping

import pandas as pd
from rich.console import Console

from nrf_ray.display.printing import (
    ORIGIN,
    ball_text,
    explain,
    make_grille,
    mean_ci,
    mode_text,
    origin_text,
    share_text,
)
from nrf_ray.statistics import seed_means
from nrf_ray.theory_rows import STATEMENTS
from nrf_ray.theory_tables import LEAKAGE, USEFULNESS


def print_theory(console: Console, theory: pd.DataFrame) -> None:
    """Print one line a statement: on how many instances it holds, and the worst of them."""
    grille = make_grille(
        "the Gaussian model: statements of section 4",
        "statement", "sides", "", "instances", "hold", "largest error", "tolerance", names=3,
    )  # fmt: skip
    for name, statement in STATEMENTS.items():
        cells = theory[theory["statement"] == name]
        if len(cells):
            worst = max(cells.to_dict("records"), key=lambda cell: cell["error"] - cell["tolerance"])
            grille.add_row(
                name,
                statement.meaning,
                statement.relation,
                str(len(cells)),
                str(int(cells["holds"].sum())),
                f"{worst['error']:.1e}",
                f"{worst['tolerance']:.1e}",
            )
    console.print(grille)
    explain(
        console,
        "sides: left, right. largest error: |left - right| for =, how far left falls short of right for the others, on "
        "the instance that is nearest to failing.",
    )
    failed = theory[~theory["holds"].astype(bool)]
    if len(failed):
        places = ", ".join(
            f"{row['statement']} (d {row['dimension']}, eps {row['epsilon']:g}, seed {row['seed']})"
            for row in failed.to_dict("records")
        )
        console.print(f"FAIL: {len(failed)} of {len(theory)} statements do not hold: {places}", style="bold red")


def print_usefulness(console: Console, dataset: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """Print how many penultimate units of each kind the models have."""
    frame = tables[USEFULNESS.name]
    grille = make_grille(
        f"{dataset}: penultimate units",
        "trained on", "eps", "ball", "models", "robust", "non-robust", "useless", "rho", "gamma", "alignment", names=3,
    )  # fmt: skip
    keys = ["role", "training", "mode", "ball_norm", "ball_epsilon", *ORIGIN]
    for key, cells in frame.groupby(keys, dropna=False):
        role, training, mode, ball, radius, construction, norm, epsilon, *how = key
        name = origin_text(construction, *how) if role == "student" else f"d ({training} {role})"
        shares = {name: cells[name] / cells["units"] for name in ("robust", "useful_non_robust", "useless")}
        measured = cells.assign(**shares)
        columns = (*shares, "mean_rho", "mean_gamma", "gradient_alignment")
        grille.add_row(
            name + mode_text(mode),
            ball_text(norm, epsilon),
            ball_text(ball, radius),
            str(len(cells)),
            *(mean_ci(seed_means(measured, column)) for column in columns),
        )
    console.print(grille)
    explain(
        console,
        f"robust, non-robust (useful but not robust), useless: shares of units; useful from rho "
        f"{share_text(float(frame['useful_from'].iloc[0]))}, robust where gamma > 0. rho = E[y f(x)], gamma = E[inf y "
        "f(x + delta)] for one class against the rest, by PGD, so an upper bound. Mean ± 95% t interval over seeds.",
    )


def print_leakage(console: Console, dataset: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """Print what is learnt of each set through adversarially trained features, and which of them are robust."""
    frame = tables[LEAKAGE.name]
    grille = make_grille(
        f"{dataset}: leakage through adversarially trained features (n = {frame['n'].iloc[0]})",
        "features", "trained at", "set", "eps", "accuracy", "lowest 95%", "highest 95%", "certified in", "certified",
        "gamma >=", "spec", names=4,
    )  # fmt: skip
    keys = ["features", "mode", "feature_norm", "feature_epsilon", "ball_epsilon", *ORIGIN]
    for key, cells in frame.groupby(keys, dropna=False):
        features, mode, ball, radius, certified, construction, norm, epsilon, *how = key
        linear = features == "linear"
        grille.add_row(
            str(features) if linear else f"{features}{mode_text(mode)}",
            ball_text(ball, radius),
            origin_text(construction, *how),
            ball_text(norm, epsilon),
            mean_ci(seed_means(cells, "accuracy")),
            share_text(float(cells["ci_low"].min())),
            share_text(float(cells["ci_high"].max())),
            ball_text(ball, certified) if linear else "",
            share_text(float(cells["certified"].min())) if linear else "",
            share_text(float(cells["lowest_gamma"].min())) if linear else "",
            ("meets" if cells["meets_spec"].all() else "misses") if linear else "",
        )
    console.print(grille)
    explain(
        console,
        "accuracy on the untouched test set of a linear classifier that sees only these features of the set; mean ± "
        "95% t interval over seeds, then the extremes of the 95% Wilson intervals. certified: test images on which the "
        "classifier that the features come from is constant in the ball. spec (Goh 2019): certified >= .8 and gamma "
        "> 0; only features that meet it are robust, and penultimate units carry no certificate. Goh on CIFAR-10: "
        "d_rand .235, d_det .068 (chance .1).",
    )
