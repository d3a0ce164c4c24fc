"""What is printed of planted sets: which part models use, and which part an attack on them changes."""

import pandas as pd
from rich.console import Console

from nrf_ray.display.printing import explain, make_grille, mean_ci
from nrf_ray.statistics import seed_means

SET = ["modality", "label", "p_human", "p_noise", "noise_norm"]
MODEL = ["labels", "training", "student_arch"]


def print_planted(console: Console, planted: pd.DataFrame) -> None:
    """Print what models of every planted set say without a part, and where the parts contradict."""
    grille = make_grille(
        "planted sets: what models use",
        "set", "human", "noise", "norm", "labels", "training", "models", "clean", "Bayes", "human alone", "noise alone",
        "follows human", "follows noise", "score", names=6,
    )  # fmt: skip
    for (modality, label, p_human, p_noise, norm, labels, training, arch), cells in planted.groupby(SET + MODEL):
        shown = ("clean_accuracy", "human_alone", "noise_alone", "follows_human", "follows_noise", "nonrobustness")
        clean, *others = (mean_ci(seed_means(cells, name)) for name in shown)
        grille.add_row(
            f"{modality}, by {label}", f"{p_human:g}", f"{p_noise:g}", f"{norm:g}", str(labels),
            f"{training} {arch}", str(len(cells)), clean, f"{cells['bayes'].iloc[0]:.3g}", *others,
        )  # fmt: skip
    console.print(grille)
    n = ", ".join(map(str, sorted(set(planted["n"]))))
    explain(
        console,
        f"shares of n = {n} test examples; mean ± 95% t interval over seeds. human, noise: how often each part shows "
        "the label; norm: of the noise part. human alone, noise alone: the other part is removed, and the model gives "
        "the class of the part that is left. follows: the parts show two classes, and the model gives that of the one "
        "or the other. score: share of the input-gradient score that the noise part has. labels: planted, or read in "
        "one part: the noise part by a linear model, the human part by another.",
    )


def print_footprint(console: Console, footprint: pd.DataFrame) -> None:
    """Print robust accuracy, and what the attack changes."""
    grille = make_grille(
        "planted sets: what attacks change",
        "set", "norm", "labels", "training", "attack", "models", "clean", "robust", "chance", "energy: human", "noise",
        "neither", "human kept", "noise kept", names=5,
    )  # fmt: skip
    keys = [*SET, *MODEL, "attack", "norm", "epsilon"]
    for (modality, label, _, _, noise, labels, training, arch, attack, norm, epsilon), cells in footprint.groupby(keys):
        shown = (
            "clean_accuracy", "robust_accuracy", "energy_human", "energy_noise", "energy_rest", "human_kept",
            "noise_kept",
        )  # fmt: skip
        clean, robust, *others = (mean_ci(seed_means(cells, name)) for name in shown)
        grille.add_row(
            f"{modality}, by {label}", f"{noise:g}", str(labels), f"{training} {arch}",
            f"{attack} {norm} {epsilon:g}", str(len(cells)), clean, robust, f"{cells['chance'].iloc[0]:.3g}", *others,
        )  # fmt: skip
    console.print(grille)
    explain(
        console,
        "robust: test examples that stay right, an upper bound. energy: shares of the perturbation's squared l2 norm "
        "along human parts, noise parts and neither, on the examples that were right when clean (an isotropic one has "
        ".25, .25 and .5 in an image; half and half in the words of a text). kept: of the attacked examples, those "
        "whose human part a reader still gives its class, and those whose noise part is still nearest to its class.",
    )
