"""Tables reshaped for one figure or one display each, so that a notebook's cell only names what it shows."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from nrf_ray.attacks.trust import CHECKS, LEVELS, read_checks, row_checks
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.errors import NrfError
from nrf_ray.sweep.wording import ORIGIN, ball_text, mode_text
from nrf_ray.tables import contrasts
from tables import labelled

VERDICTS_OF_MODELS = {
    "fooling_rate": "the source predicts t",
    "second_seed_says_target": "a second seed predicts t",
    "judge_says_label": "the judge predicts y",
    "judge_says_target": "the judge predicts t",
}
"""Meaning of columns of `datasets`, by column."""

PARTS_USED = {
    "human_alone": "human part alone",
    "noise_alone": "noise part alone",
    "follows_human": "contradicted: follows human",
    "follows_noise": "contradicted: follows noise",
}
"""Meaning of columns of `planted`, by column."""

KINDS_OF_UNITS = {"robust": "robust", "useful_non_robust": "useful, not robust", "useless": "useless"}
"""Kinds of units, by the column of `usefulness` that counts them."""

ENERGIES = {"energy_human": "along human parts", "energy_noise": "along noise parts", "energy_rest": "along neither"}
"""Parts of a perturbation's energy, by column of `footprint`."""

CONTRAST = ["sweep", "dataset", "contrast", "primary", "norm", "epsilon"]
"""Columns that say which contrast of the debate a row is about."""

PLANTED_MODEL = ["modality", "label", "p_human", "p_noise", "noise_norm", "labels", "training"]
"""Columns that say on which planted set a model was trained, and how."""


def shares_of_sets(datasets: pd.DataFrame) -> pd.DataFrame:
    """Return what models predict on each constructed set: one row per set and kind of prediction (`series`)."""
    rows = [
        labelled(contrasts.summarise(datasets, ORIGIN, column)).assign(series=words)
        for column, words in VERDICTS_OF_MODELS.items()
    ]
    return pd.concat(rows, ignore_index=True)


def one_each(datasets: pd.DataFrame, same: Sequence[str]) -> pd.DataFrame:
    """Return one row of `datasets` for each combination of values in the columns `same`.

    It is the row of the largest radius, made from images rather than noise, rounded, of the first seed.
    """
    order = ["epsilon", "start", "storage", "seed"]
    ordered = datasets.sort_values(order, ascending=[False, True, False, True], kind="stable")
    return ordered.drop_duplicates(list(same)).sort_index().reset_index(drop=True)


def failed_checks(robustness: pd.DataFrame) -> pd.DataFrame:
    """Return the number of models by verdict for each check of an attack, and what holds if the check passes."""
    counts: dict[str, Counter[str]] = {}
    for row in robustness.to_dict("records"):
        for name, verdict in read_checks(row_checks(row)).items():
            counts.setdefault(name, Counter())[verdict] += 1
    rows = [(name, CHECKS[name], *(counts[name][verdict] for verdict in ("FAIL", "WARN", "PASS"))) for name in counts]
    return pd.DataFrame(rows, columns=["check", "passes if", "FAIL", "WARN", "PASS"])


def chance(frame: pd.DataFrame) -> float | None:
    """Return the accuracy of guessing on a table's dataset; None without rows, or if its files are missing."""
    try:
        return 1 / dataset_named(frame["dataset"].iloc[0]).num_classes if len(frame) else None
    except NrfError:
        return None


def trust_levels(robustness: pd.DataFrame) -> pd.DataFrame:
    """Return the number of robust accuracies at each trust level, and the meaning of the level."""
    levels: dict[str, str] = {str(level): meaning for level, meaning in LEVELS.items()}
    counts = robustness["trust_level"].value_counts().sort_index()
    rows = [(level, n, levels[str(level)]) for level, n in counts.items()]
    return pd.DataFrame(rows, columns=["level", "rows", "meaning"])


def at_largest_radius(points: pd.DataFrame, *, targeted: bool) -> list[pd.DataFrame]:
    """Return the points of Figure 3 (if targeted, 13), a table for each D_det set of the largest radius of its norm.

    For each set, it has the attack of the largest radius. Radii of two norms are not comparable, and sets of one radius
    may be stored or trained on in two ways, so no two sets are in one table. If there is no set, return one table
    without rows.
    """
    found = points[points["targeted"].astype(bool) == targeted]
    found = found[found["epsilon"] == found.groupby("norm")["epsilon"].transform("max")]
    found = found[found["radius"] == found.groupby("d_det")["radius"].transform("max")]
    return [of_set.reset_index(drop=True) for _, of_set in found.groupby("d_det", sort=False)] or [found]


def kinds_of_units(usefulness: pd.DataFrame) -> pd.DataFrame:
    """Return, for each kind of model, the mean shares of its penultimate units that are of each kind."""
    kinds = list(KINDS_OF_UNITS)
    shares = usefulness.assign(**{kind: usefulness[kind] / usefulness["units"] for kind in kinds})
    return labelled(shares.groupby(contrasts.MODEL, dropna=False)[kinds].mean().reset_index())


def parts_used(planted: pd.DataFrame) -> pd.DataFrame:
    """Return how often models follow each part (`series`), for sets labelled by one; the phase diagram has the rest."""
    one_part = planted[planted["label"] != "both"]
    rows = [
        contrasts.summarise(one_part, PLANTED_MODEL, column).assign(series=words)
        for column, words in PARTS_USED.items()
    ]
    return _planted_labels(pd.concat(rows, ignore_index=True))


def energies(footprint: pd.DataFrame) -> pd.DataFrame:
    """Return the parts of the energy of perturbations against models of planted sets, mean over seeds, by radius."""
    keys = [*PLANTED_MODEL, "attack", "norm", "epsilon"]
    means = _planted_labels(footprint.groupby(keys)[list(ENERGIES)].mean().reset_index())
    balls = [
        ball_text(row["norm"], row["epsilon"]).replace(" ", "\N{NO-BREAK SPACE}") for row in means.to_dict("records")
    ]
    return means.assign(label=means["label"] + ", " + pd.Series(balls, index=means.index, dtype="str"))


def _planted_labels(table: pd.DataFrame) -> pd.DataFrame:
    labels = [
        f"{row['modality']} by {row['label']}, noise {row['noise_norm']:g}: {row['training']}"
        + ("" if row["labels"] == "planted" else f", labels {row['labels']}")
        for row in table.to_dict("records")
    ]
    return table.assign(label=pd.Series(labels, index=table.index, dtype="str"))


def leaked(leakage: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy learnt from each set by kind of features (`series`), certified in the smallest ball."""
    certified = leakage["ball_epsilon"].isna() | (leakage["ball_epsilon"] == leakage["ball_epsilon"].min())
    keys = ["features", "mode", "feature_norm", "feature_epsilon", "meets_spec", *ORIGIN]
    summary = labelled(contrasts.summarise(leakage[certified], keys, "accuracy"))
    series = [
        f"{row['features']} features, {ball_text(row['feature_norm'], row['feature_epsilon'])}"
        + ("" if row["features"] == "linear" else mode_text(row["mode"]))
        for row in summary.to_dict("records")
    ]
    return summary.assign(series=series)


def debated(*debates: pd.DataFrame) -> pd.DataFrame:
    """Return both sides of the contrasts of tables `debate`: for each contrast a row `claimed` and a row `control`."""
    frame = pd.concat(debates, ignore_index=True)
    sides = [contrasts.summarise(frame, CONTRAST, side).assign(series=side) for side in ("claimed", "control")]
    both = pd.concat(sides, ignore_index=True)
    labels = [
        ", ".join(filter(None, (str(row["contrast"]), row["dataset"], ball_text(row["norm"], row["epsilon"]))))
        for row in both.to_dict("records")
    ]
    return both.assign(label=labels)
