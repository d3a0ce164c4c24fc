"""What a recipe search shows: the recipe that each way of choosing chooses, and what it is worth on the test set."""

from collections.abc import Mapping

import pandas as pd
from rich.console import Console

from nrf_ray.display.printing import ball_text, explain, make_grille, share_text
from nrf_ray.tables import RECIPES

RULES = {
    "constructed validation": "constructed_validation",
    "clean validation": "clean_validation",
    "test oracle": "test_accuracy",
}
"""From a way of choosing to the column that it maximises."""

KNOBS = ["lr", "batch_size", "lr_drop", "augmented"]


def print_recipes(console: Console, dataset: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """Print one line for each set and way of choosing."""
    grille = make_grille(
        f"{dataset}: which recipe would be chosen", "set", "eps", "chosen by", "recipe", "its score", "test", "worst",
        names=4,
    )  # fmt: skip
    keys = ["construction", "norm", "epsilon", "student_arch"]
    for (construction, norm, epsilon, _), trials in tables[RECIPES.name].groupby(keys):
        means = trials.groupby(KNOBS, as_index=False)[list(RULES.values())].mean()
        for rule, column in RULES.items():
            best = chosen(means, column)
            grille.add_row(
                str(construction), ball_text(norm, epsilon), rule, recipe_text(best),
                share_text(float(best[column])), share_text(float(best["test_accuracy"])),
                share_text(float(means["test_accuracy"].min())),
            )  # fmt: skip
    console.print(grille)
    explain(
        console,
        "score: what the rule maximises, mean over seeds, on rows kept out of training: constructed validation is "
        "accuracy towards t on constructed images, clean validation towards y on their originals. test: the chosen "
        "recipe on the untouched test set; worst: the lowest of all recipes there. The test oracle is no result.",
    )


def chosen(trials: pd.DataFrame, column: str) -> pd.Series:
    """Return the trial with the highest `column`; of equal ones the first by learning rate, batch, drop, views."""
    return trials.sort_values([column, *KNOBS], ascending=[False] + [True] * len(KNOBS)).iloc[0]


def recipe_text(trial: pd.Series) -> str:
    """Return a recipe in a few words."""
    drop = "drop" if trial["lr_drop"] else "no drop"
    views = "augmented" if trial["augmented"] else "as they are"
    return f"lr {trial['lr']:g}, batch {trial['batch_size']}, {drop}, {views}"
