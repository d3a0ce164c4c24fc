"""Statistics of the tables: means with intervals, contrasts of sets with their controls, Figure 3.

Every function takes frames of one dataset, as the tables of `nrf_ray.tables` declare them, and returns a frame with one
row per statement. Architectures are averaged first; intervals are over seeds unless a column says otherwise.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from nrf_ray.constructions.spec import CONSTRUCTIONS, ORIGINAL, with_control
from nrf_ray.statistics import Interval, correlation, holm, over_seeds, paired, seed_means, spread, wilson_interval
from nrf_ray.statistics.intervals import LEVEL, ROUNDING
from nrf_ray.sweep.wording import ORIGIN, mode_text, origin_text

MODEL = ["role", "training", "mode", *ORIGIN]
"""Columns of `results` that say what kind of model a row is about, whatever its architecture and seed."""

ATTACKED = [{"norm": "trained_norm", "epsilon": "trained_epsilon"}.get(name, name) for name in MODEL] + [
    "tested_on",
    "attack",
]
"""The same columns of `robustness`, and those of the test set and attack; there, norm and epsilon are the attack's."""

SAME = ["norm", "epsilon", "storage", "student_arch", "mode", "seed"]
"""Columns that must agree for two students to form a pair."""

UNDER_ATTACK = ["tested_on", "attack", "norm", "epsilon", "student_arch", "mode", "seed"]
"""Columns that must agree for two attacked models to form a pair; if both are students, also those of `MATCHED`."""

MATCHED = ["start", "storage"]
"""Columns that say how a set was matched, besides its source."""


def summarise(frame: pd.DataFrame, keys: Sequence[str], column: str) -> pd.DataFrame:
    """Return one row for each value of `keys`: the mean of a share, its sample sizes, and the sources of its spread.

    Columns: `keys`; `mean` with `low` and `high`, a t interval over seeds (null for one seed); `seeds` and `models`;
    `n` test images with the Wilson interval `test_low`, `test_high` of one model of that mean; and the standard
    deviations `seed_std`, `test_std`, `beyond_std` (see `nrf_ray.statistics.Spread`).
    """
    rows = []
    for values, cells in frame.groupby(list(keys), dropna=False):
        mean, n = over_seeds(cells, column), int(cells["n"].min())
        test, parts = wilson_interval(mean.estimate, n), spread(seed_means(cells, column), n)
        rows.append(
            {
                **dict(zip(keys, values, strict=True)),
                "mean": mean.estimate, "low": mean.low, "high": mean.high,
                "seeds": mean.n, "models": len(cells),
                "n": n, "test_low": test.low, "test_high": test.high,
                "seed_std": parts.seed_std, "test_std": parts.test_std, "beyond_std": parts.beyond_std,
            }
        )  # fmt: skip
    measured = ["mean", "low", "high", "seeds", "models", "n", "test_low", "test_high"]
    return pd.DataFrame(rows, columns=[*keys, *measured, "seed_std", "test_std", "beyond_std"])


def set_text(made: Any) -> str:
    """Return the wording of a row's training set, as in "d_det of robust source"."""
    return origin_text(made["construction"], *(made[name] for name in ORIGIN[3:]))


def model_text(model: Any) -> str:
    """Return the wording of a row's model and training set: "standard victim on d", "d_det of robust source"."""
    if model["role"] == "student":
        return set_text(model) + mode_text(model["mode"])
    return f"{model['training']} {model['role']} on {model['construction']}{mode_text(model['mode'])}"


def differences(
    cells: pd.DataFrame, against: pd.DataFrame, column: str = "clean_accuracy", same: Sequence[str] = SAME
) -> "pd.Series[float]":
    """Return the mean difference in `column`, `cells` minus `against`, for each seed; empty if there are no pairs.

    Two models form a pair if the columns `same` agree; for students these are norm, radius, storage, architecture, mode
    and seed. Models without a partner are left out, and a contrast names them.
    """
    pairs = cells.merge(against, on=list(same), suffixes=("", "_against"))
    pairs["difference"] = pairs[column] - pairs[f"{column}_against"]
    return seed_means(pairs, "difference")


CONTRAST = ["role", "mode", *ORIGIN, "against"]
"""Columns that say which comparison a row of `contrasts` or `source_contrasts` is about."""


def control_pairs() -> list[tuple[str, str]]:
    """Return the pairs whose difference in clean accuracy is of interest: a construction, and its control for leakage.

    `d_rand_changed` is compared with `leak_other` because neither has rows that keep their label.
    """
    named = CONSTRUCTIONS.items()
    first = [(name, made.control) for name, made in named if made.control]
    return [*first, *((name, control) for name, made in named for control in made.also_against)]


def contrasts(results: pd.DataFrame, column: str = "clean_accuracy") -> pd.DataFrame:
    """Return one row for each set and control: their difference, and whether it is shown.

    Columns: how the set was made; `against`; `archs`, `seeds`; `difference` with the t interval `low`, `high` and the
    BCa bootstrap `bootstrap_low`, `bootstrap_high`; the sign-flip test's `p`, the `smallest_p` that this number of
    seeds can give, and `holm_p`, corrected for the number of tests; `shown`, whether bootstrap and corrected test
    exclude zero; and `unpaired`, the models of the set that have no partner in the control and are left out. If all
    models are left out, the numbers are null and nothing is tested.
    """
    students = results[results["role"] == "student"]
    rows = []
    for made, control in control_pairs():
        others = students[students["construction"] == control]
        for values, cells in students[students["construction"] == made].groupby(["mode", *ORIGIN], dropna=False):
            of = dict(zip(CONTRAST, ["student", *values, control], strict=True))
            rows += _contrast(of, cells, others, column, SAME)
    return _judged(rows, CONTRAST)


def source_contrasts(results: pd.DataFrame, column: str = "clean_accuracy") -> pd.DataFrame:
    """Return contrasts of sets of a robust source with the same sets of a standard source (Table 9), as `contrasts`.

    `against` is "a standard source"; the correction is for the number of these tests.
    """
    students = results[(results["role"] == "student") & results["construction"].isin(with_control())]
    standard = students[students["source_training"] == "standard"]
    robust = students[students["source_training"] == "adversarial"]
    rows = []
    for values, cells in robust.groupby(["mode", *ORIGIN], dropna=False):
        of = dict(zip(CONTRAST, ["student", *values, "a standard source"], strict=True))
        rows += _contrast(of, cells, standard, column, ["construction", *SAME])
    return _judged(rows, CONTRAST)


def robust_contrasts(robustness: pd.DataFrame) -> pd.DataFrame:
    """Return contrasts in robust accuracy of students of D_R with those of D_NR and standard models of D (section 3.1).

    One row for each D_R, or other construction with `robust_against`, attack and comparison, on the test set. The
    columns are those of `contrasts`, with `attack` and `training`; `norm` and `epsilon` are the attack's. The
    correction is for the number of these tests.
    """
    tested = robustness[(robustness["tested_on"] == "test") & (robustness["training"] == "standard")]
    named = [*(name for name in ATTACKED if name != "tested_on"), "norm", "epsilon"]
    rows = []
    pairs = [(name, other) for name, made in CONSTRUCTIONS.items() for other in made.robust_against]
    for construction, against in pairs:
        students = tested[(tested["construction"] == construction) & (tested["role"] == "student")]
        others = tested[(tested["construction"] == against) & (tested["role"] != "judge")]
        same = [*UNDER_ATTACK, *(MATCHED if against != ORIGINAL else ())]
        for values, cells in students.groupby(named, dropna=False):
            of = {**dict(zip(named, values, strict=True)), "against": against}
            rows += _contrast(of, cells, others, "robust_accuracy", same)
    return _judged(rows, [*named, "against"])


def _contrast(
    of: dict[str, Any], cells: pd.DataFrame, against: pd.DataFrame, column: str, same: Sequence[str]
) -> list[dict[str, Any]]:
    """Return one row of a table of contrasts, described by `of`; no row if there is nothing to compare with."""
    if against.empty:
        return []
    of, found = of | {"unpaired": _unpaired(cells, against, same)}, differences(cells, against, column, same)
    if found.empty:
        return [{**of, "archs": 0, "seeds": 0, "excluded": False}]
    result, archs = paired(found), cells.merge(against, on=list(same))["student_arch"].nunique()
    return [
        {
            **of, "archs": archs, "seeds": result.t.n,
            "difference": result.t.estimate, "low": result.t.low, "high": result.t.high,
            "bootstrap_low": result.bootstrap.low, "bootstrap_high": result.bootstrap.high,
            "p": result.test.p, "smallest_p": result.test.smallest_p, "excluded": result.bootstrap.excludes(0.0),
        }
    ]  # fmt: skip


def _unpaired(cells: pd.DataFrame, against: pd.DataFrame, same: Sequence[str]) -> str:
    """Return the models of `cells` without a partner, as in "resnet_s (seeds 0, 1), vgg_s (seed 2)"; empty for none."""
    partners = against[list(same)].drop_duplicates()
    found = cells.merge(partners, on=list(same), how="left", indicator="where")
    alone = found[found["where"] == "left_only"].groupby("student_arch")["seed"].unique()
    return ", ".join(
        f"{arch} ({'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, sorted(seeds)))})"
        for arch, seeds in alone.items()
    )


def _judged(rows: list[dict[str, Any]], named: Sequence[str]) -> pd.DataFrame:
    """Return contrasts as a table, each with its p corrected for the number of rows, and whether it is shown."""
    measured = ["difference", "low", "high", "bootstrap_low", "bootstrap_high", "p", "smallest_p", "excluded"]
    found = pd.DataFrame(rows, columns=[*named, "archs", "seeds", *measured, "unpaired"])
    found["holm_p"] = holm(found["p"]) if rows else []
    found["shown"] = found.pop("excluded").astype(bool) & (found["holm_p"] < 1 - LEVEL)
    return found


def learnt_and_fooled(transfer: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Return the points of Figures 3 and 13: accuracy that each architecture learns from d_det, and its fooling rate.

    One row for each d_det set of a standard source, attack and architecture: the norm and the radii of both, the means
    `learnt` and `fooled`, and their t intervals over seeds (`learnt_low` and so on); `fooled` is null if no victim of
    the architecture was trained in the same mode. `d_det` and `attack` are unique names of set and attack. Raises
    ValueError if the tables are of several datasets.
    """
    if len(several := sorted({*transfer["dataset"], *results["dataset"]})) > 1:
        raise ValueError(f"Figure 3 needs tables of one dataset, and these are of {', '.join(several)}; choose one")
    points = []
    learnt = results[(results["construction"] == "d_det") & (results["source_training"] != "adversarial")]
    differ = [name for name in ("storage", "craft_mode") if learnt[name].nunique() > 1]
    made = ["mode", "norm", "epsilon", "storage", "craft_mode", "student_arch"]
    for (mode, norm, epsilon, storage, craft_mode, arch), students in learnt.groupby(made):
        how = {"storage": str(storage), "craft_mode": f"made {craft_mode}"}
        of_norm = (transfer["norm"] == norm) & (transfer["construction"] == ORIGINAL)
        tried = transfer[of_norm & (transfer["mode"] == mode) & (transfer["source_mode"] == mode)]
        for (targeted, radius), victims in tried.groupby(["targeted", "epsilon"]):
            same = victims[victims["victim_arch"] == arch]
            points.append(
                {
                    "d_det": ", ".join([f"{norm} {epsilon:g}", *(how[name] for name in differ)]) + mode_text(mode),
                    "attack": f"{'targeted' if targeted else 'untargeted'} {norm} {radius:g}",
                    "norm": norm,
                    "epsilon": epsilon,
                    "radius": radius,
                    "targeted": targeted,
                    "arch": arch,
                    "seeds": students["seed"].nunique(),
                    **_ends("learnt", over_seeds(students, "clean_accuracy")),
                    **_ends("fooled", over_seeds(same, "success_rate") if len(same) else None),
                }
            )
    measured = [f"{what}{end}" for what in ("learnt", "fooled") for end in ("", "_low", "_high")]
    return pd.DataFrame(
        points, columns=["d_det", "attack", "norm", "epsilon", "radius", "targeted", "arch", "seeds", *measured]
    )


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    """Return an interval as three columns, or nulls if there is no interval."""
    ends = (interval.estimate, interval.low, interval.high) if interval else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def figure_3(transfer: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Return how learning from each d_det set correlates with being fooled by each attack (Figures 3, 13).

    One row each with `d_det`, `attack`, Pearson's `r` over architectures with its bootstrap interval `low`, `high`, the
    permutation test's `p`, whether it is `exact` (all pairings counted, not a random sample) and `holm_p`, corrected
    for the number of rows, and the numbers of `archs` and `seeds`. A row is left out if an architecture has no victim,
    or if the correlation is undefined because there are fewer than three architectures or no spread.
    """
    rows = []
    for (d_det, attack), points in learnt_and_fooled(transfer, results).groupby(["d_det", "attack"], sort=False):
        x, y = points["learnt"], points["fooled"]
        if len(x) < 3 or y.isna().any() or min(x.std(), y.std()) < ROUNDING:
            continue
        found = correlation(x, y)
        shown = found.r.estimate, found.r.low, found.r.high, found.test.p, found.test.exact
        rows.append((d_det, attack, *shown, len(x), points["seeds"].max()))
    found_all = pd.DataFrame(rows, columns=["d_det", "attack", "r", "low", "high", "p", "exact", "archs", "seeds"])
    return found_all.assign(holm_p=holm(found_all["p"]) if len(found_all) else [])
