"""Numbers of the paper and of its independent re-runs, each with its source, for comparison with ours.

Every number belongs to a setting: data, architecture, the training set and its ball, and what was measured. Our numbers
are compared with those of the same kind of training set, norm and measurement. Data, networks and radius may differ, so
the setting is named beside each number. The comparison is of patterns, and the band of the re-runs shows how much a
number varies within one setting. Values are shares.

Sources: Ilyas et al. 2019, arXiv:1905.02175v4 ("Figure": read off the vector graphics, good to .001); the public
re-runs of phibenz (adversarial_ml.research), ndb796 (Pytorch-Adversarial-Training-CIFAR) and K. Jordan
(features-not-bugs, pixelated-features-bugs); the responses in Distill (2019) by Goh, Nakkiran and Wallace.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import pandas as pd

import tables
from nrf_ray.constructions.spec import ORIGINAL, construction_named
from nrf_ray.sweep.wording import ball_text
from nrf_ray.tables import contrasts

ILYAS = "Ilyas et al. 2019"
CIFAR, IMAGENET = "CIFAR-10", "Restricted ImageNet"
PRESET = {CIFAR: "preset cifar10", IMAGENET: "preset restricted-imagenet"}
"""Our preset with the settings of the paper, by dataset of the paper."""
RADIUS = {CIFAR: 0.5, IMAGENET: 3.0}
"""Radius (l2) of the paper's attacks and adversarial training, by dataset of the paper."""
KIND = ["construction", "start", "source_training", "training"]
"""Columns in which two training sets of one kind agree, whatever the data."""
MEASURE = ["measure", "attack_norm", "attack_epsilon", "tested_on"]
"""Columns in which two measurements of the same quantity agree; the attack is null if there is none."""

COLUMNS = ["who", "source", "data", "arch", *KIND, "norm", "epsilon", *MEASURE, "value"]
"""Columns; `norm` and `epsilon` are of the set, or of the adversary in the training of the model or its source."""


def _ilyas() -> Iterator[dict[str, object]]:
    """Yield Tables 1, 7, 8, 9 and 10, Figure 12, and section D.7."""
    table_7: list[tuple[dict[str, str], float, float, float]] = [
        ({"construction": ORIGINAL}, 0.9525, 0.0449, 0.0),
        ({"construction": ORIGINAL, "training": "adversarial"}, 0.9083, 0.8248, 0.7090),
        ({"construction": "d_nonrobust", "start": "image"}, 0.8768, 0.0082, 0.0),
        ({"construction": "d_nonrobust", "start": "noise"}, 0.4560, 0.0150, 0.0),
        ({"construction": "d_robust", "start": "image"}, 0.8540, 0.4820, 0.2185),
        ({"construction": "d_robust", "start": "noise"}, 0.8410, 0.4827, 0.2940),
    ]
    for kind, *values in table_7:
        yield from _accuracies(values, who=ILYAS, source="Table 7", **kind)
    of_sources = {"standard": (0.633, 0.437, 0.162), "adversarial": (0.252, 0.058, 0.655)}
    for training, (d_rand, d_det, relabelled) in of_sources.items():
        table = "Table 1" if training == "standard" else "Table 9"
        made = {"who": ILYAS, "source_training": training}
        yield _number(d_rand, source=table, construction="d_rand", **made)
        yield _number(d_det, source=table, construction="d_det", **made)
        yield _number(relabelled, "relabelled_accuracy", source="Table 10", construction="d_det", **made)
    for construction, value in ((ORIGINAL, 0.966), ("d_rand", 0.879), ("d_det", 0.644)):
        yield _number(value, who=ILYAS, source="Table 1", data=IMAGENET, construction=construction)
    for construction, value in (("d_rand", 0.55), ("d_det", 0.44)):
        yield _number(value, who=ILYAS, source="D.7", construction=construction, tested_on="cifar10.1")
    for tested_on, value in (("d_robust (train)", 0.7733), ("d_robust (test)", 0.6249)):
        of_set = {"construction": "d_robust", "start": "noise", "tested_on": tested_on}
        yield _number(
            value, "robust_accuracy", 0.25, who=ILYAS, source="Table 8 (its .4827 is the from-noise row)", **of_set
        )
    figure_12 = (
        (ORIGINAL, "standard", 0.980, 0.185),
        (ORIGINAL, "adversarial", 0.957, 0.928),
        ("d_robust", "standard", 0.868, 0.706),
    )
    for construction, training, clean, robust in figure_12:
        model = {
            "who": ILYAS,
            "source": "Figure 12",
            "data": IMAGENET,
            "construction": construction,
            "training": training,
        }
        yield _number(clean, **model)
        yield _number(robust, "robust_accuracy", 0.5, **model)


def _reruns() -> Iterator[dict[str, object]]:
    """Yield the numbers of the re-runs."""
    phibenz = {
        "phibenz, released images": ((0.8455, 0.4654, 0.1662), (0.8628, 0.0003, 0.0), 0.6413, 0.4354),
        "phibenz, rebuilt": ((0.8679, 0.4993, 0.1922), (0.8438, 0.0002, 0.0), 0.6775, 0.4203),
    }
    for who, (robust, nonrobust, d_rand, d_det) in phibenz.items():
        made = {"who": who, "source": "re-run"}
        yield from _accuracies(robust, construction="d_robust", start="image", **made)
        yield from _accuracies(nonrobust, construction="d_nonrobust", start="image", **made)
        yield _number(d_rand, construction="d_rand", **made)
        yield _number(d_det, construction="d_det", **made)
    ndb796 = {"who": "ndb796", "source": "re-run", "arch": "ResNet-18", "start": "image"}
    yield from _accuracies((0.7869, 0.3796), construction="d_robust", **ndb796)
    yield from _accuracies((0.8200, 0.0010), construction="d_nonrobust", **ndb796)
    jordan = {"who": "K. Jordan", "source": "re-run"}
    yield _number(0.8106, construction="d_rand", arch="ResNet-9", **jordan)
    yield _number(0.8390, construction="d_rand", arch="a small network", **jordan)
    yield _number(0.1981, construction="d_det", arch="a small network", **jordan)
    for d_rand, d_det in ((0.104, 0.351), (0.099, 0.251), (0.112, 0.347)):
        yield _number(d_rand, construction="d_rand", arch="ResNet-18", **jordan)
        yield _number(d_det, construction="d_det", arch="ResNet-18", **jordan)
    for leak_rand in (0.795, 0.758, 0.783):
        yield _number(leak_rand, construction="leak_rand", arch="a small network", **jordan)
    for leak_weak in (0.323, 0.254):
        yield _number(leak_weak, construction="leak_weak", arch="a small network", **jordan)


def _number(
    value: float, measure: str = "clean_accuracy", epsilon: float | None = None, /, **setting: str
) -> dict[str, object]:
    """Return one number; settings that are not given are those of the paper's main experiments."""
    made = None if setting["construction"] == ORIGINAL else construction_named(setting["construction"])
    source = None
    if made is not None and made.needs_source:
        source = "standard" if made.source_training == "any" else made.source_training
    perturbed = made is not None and made.features != "matched"
    within_ball = perturbed or "adversarial" in (source, setting.get("training"))
    usual: dict[str, object] = {
        "data": CIFAR, "arch": "ResNet-50", "training": "standard", "tested_on": "test", "start": None,
        "source_training": source,
    }  # fmt: skip
    ball = {
        "norm": "l2" if within_ball else None,
        "epsilon": RADIUS[setting.get("data", CIFAR)] if within_ball else None,
    }
    attack = {"attack_norm": "l2" if epsilon else None, "attack_epsilon": epsilon}
    return {**usual, **setting, **ball, **attack, "measure": measure, "value": value}


def _accuracies(values: Sequence[float], **setting: str) -> Iterator[dict[str, object]]:
    """Yield clean accuracy, and robust accuracy at l2 .25 and .5, as far as they are given."""
    for value, epsilon in zip(values, (None, 0.25, 0.5), strict=False):
        yield _number(value, "robust_accuracy" if epsilon else "clean_accuracy", epsilon, **setting)


PUBLISHED = pd.DataFrame([*_ilyas(), *_reruns()], columns=COLUMNS)
"""All published numbers that have a counterpart in one of our tables."""

FIGURE_3 = pd.DataFrame(
    [
        ("VGG-16", 0.279, 0.657, 0.092),
        ("Inception-v3", 0.394, 0.827, 0.230),
        ("ResNet-18", 0.408, 0.921, 0.324),
        ("DenseNet", 0.417, 0.927, 0.365),
        ("ResNet-50", 0.447, 0.987, 0.716),
    ],
    columns=["arch", "learnt", "untargeted", "targeted"],
)
"""Figures 3 and 13: accuracy learnt from D_det, and how often adversarial images of a ResNet-50 transfer."""

FIGURE_3_OF = f"{ILYAS}, {CIFAR}, {PRESET[CIFAR]}, source ResNet-50, {ball_text('l2', RADIUS[CIFAR])}"
"""Setting of Figures 3 and 13."""

LEAKAGE = pd.DataFrame([("d_rand", 0.235), ("d_det", 0.0681)], columns=["construction", "value"]).assign(
    who="Goh 2019", source="Distill, response 2", data=CIFAR
)
"""Accuracy of a linear classifier whose only inputs are ten robust linear features of a set."""

DEBATED = pd.DataFrame(
    [
        ("Wallace 2019", "training images of CIFAR-10 that a 2-epoch model got wrong, with its labels", 0.497),
        ("Wallace 2019", "Fashion-MNIST labelled by an MNIST network, tested on MNIST", 0.9104),
        ("Nakkiran 2019", "linf images made not to transfer, labelled y + 1: accuracy on (x, y)", 0.025),
        ("Nakkiran 2019", "the same: accuracy on (x, y + 1)", 0.759),
        ("Nakkiran 2019", "linf PGD, labelled y + 1: accuracy on (x, y)", 0.237),
    ],
    columns=["who", "experiment", "value"],
)
"""Numbers of the discussion, whose experiments the sweeps of `sweeps/discussion` repeat on small networks and data."""


def figure_3(points: pd.DataFrame, attack: str) -> pd.DataFrame:
    """Return the paper's `arch`, `learnt` and `fooled` for an `attack` ("untargeted", "targeted") beside `points`.

    The table is empty if `points` (`views.at_largest_radius`) have another norm than the paper's.
    """
    comparable = bool((points["norm"] == "l2").all())
    return FIGURE_3[["arch", "learnt", attack]].rename(columns={attack: "fooled"})[: None if comparable else 0]


def compared(frame: pd.DataFrame, measure: str, data: str = CIFAR) -> pd.DataFrame:
    """Return a summary of `measure` with a label and the published numbers beside each row.

    `frame` is `results` or `extra_tests`, or for "robust_accuracy" `robustness`, of one dataset. The column `series`
    names the measurement in words, the column `ours` what the frame is about (`tables.load`).
    """
    attacked = measure == "robust_accuracy"
    keys = [*contrasts.ATTACKED, "norm", "epsilon"] if attacked else list(contrasts.MODEL)
    keys += [name for name in ("test_set",) if name in frame]
    summary = contrasts.summarise(frame, keys, measure)
    ball = ("trained_norm", "trained_epsilon") if attacked else ("norm", "epsilon")
    words = [_words(row, measure) for row in summary.to_dict("records")]
    about = frame.attrs.get("about", "")
    return beside(tables.labelled(summary, ball).assign(series=words, ours=about), measure, data)


def of_controls() -> pd.DataFrame:
    """Return the published numbers of leakage-only controls."""
    controls = PUBLISHED[PUBLISHED["construction"].str.startswith("leak")]
    return controls[["who", "source", "data", "arch", "construction", "value"]].reset_index(drop=True)


def leaked(ours: pd.DataFrame) -> pd.DataFrame:
    """Return `views.leaked` with Goh's numbers beside the linear features trained at the smallest radius."""
    known = dict(zip(LEAKAGE["construction"], LEAKAGE["value"], strict=True))
    smallest = ours["feature_epsilon"] == ours["feature_epsilon"].min()
    same = (ours["features"] == "linear") & smallest & (ours["norm"] == "l2")
    return ours.assign(paper=ours["construction"].map(known).where(same).astype("float64"))


def beside(ours: pd.DataFrame, measure: str, data: str = CIFAR) -> pd.DataFrame:
    """Return `ours`, rows of `contrasts.summarise`, with the paper's number and the re-runs' band beside each.

    `ours` has the columns of `KIND` and `norm`; for robust accuracy, it has `trained_norm` of the set, and `norm` and
    `epsilon` of the attack. Added are `paper`, `paper_source` and its setting `paper_of`; `reruns`, the number of
    re-runs on the same `data`, their minimum `reruns_low`, maximum `reruns_high` and setting `reruns_of`. They are null
    (`reruns` is 0) if no number is published for a set of that norm.
    """
    rows = [_beside(row, measure, data) for row in ours.to_dict("records")]
    named = ["paper", "paper_source", "paper_of", "reruns_low", "reruns_high", "reruns", "reruns_of"]
    found = pd.DataFrame(rows, columns=named)
    numbers = {name: "float64" for name in ("paper", "reruns_low", "reruns_high")}
    return pd.concat([ours.reset_index(drop=True), found.astype(numbers)], axis=1)


def note(table: pd.DataFrame, about: str, *, examples: str = "images") -> str:
    """Return the footnote of a compared table: our setting, n, the interval, and settings of the published numbers."""
    if table.empty:
        return ""
    n, seeds = (_several(table[name]) for name in ("n", "seeds"))
    interval = "95% t interval over them, cut at 0 and 1" if table["seeds"].max() > 1 else "one seed has no interval"
    over = f"{seeds} {'seed' if seeds == '1' else 'seeds'}"
    text = f"Ours: {about}; n = {n} test {examples}; mean over architectures, then over {over}; {interval}."
    if table["paper"].notna().any():
        text += f" Hollow diamonds: {ILYAS}: {settings_text(table)}."
    return text


def settings_text(table: pd.DataFrame) -> str:
    """Return the settings of the paper's numbers in a compared table."""
    return "; ".join(dict.fromkeys(table["paper_of"].dropna()))


def _several(values: "pd.Series[int]") -> str:
    return " or ".join(str(value) for value in sorted(set(values)))


def _words(row: dict[Hashable, Any], measure: str) -> str:
    match measure:
        case "clean_accuracy":
            return "accuracy on (x, y)"
        case "relabelled_accuracy":
            return "accuracy on (x, y + 1)"
        case _:
            return f"accuracy under {row['attack']}, {ball_text(row['norm'], row['epsilon'])}"


def _beside(row: dict[Hashable, Any], measure: str, data: str) -> dict[str, object]:
    """Return the published numbers of the same kind of training set, measured in the same way."""
    attacked = measure == "robust_accuracy"
    wanted = {
        **{name: row[name] for name in KIND},
        "measure": measure,
        "attack_norm": row["norm"] if attacked else None,
        "attack_epsilon": row["epsilon"] if attacked else None,
        "tested_on": row.get("tested_on", row.get("test_set", "test")),
        "data": data,
    }
    norm = row["trained_norm" if attacked else "norm"]
    same = PUBLISHED["norm"].isna() | (pd.isna(norm) or PUBLISHED["norm"] == norm)
    for name, value in wanted.items():
        same &= PUBLISHED[name].isna() if pd.isna(value) else PUBLISHED[name] == value
    paper = PUBLISHED[same & (PUBLISHED["who"] == ILYAS)]
    reruns = PUBLISHED[same & (PUBLISHED["who"] != ILYAS)]
    values = reruns["value"]
    return {
        "paper": paper["value"].iloc[0] if len(paper) else None,
        "paper_source": paper["source"].iloc[0] if len(paper) else None,
        "paper_of": _setting(paper, PRESET[data]) if len(paper) else None,
        "reruns_low": values.min() if len(reruns) else None,
        "reruns_high": values.max() if len(reruns) else None,
        "reruns": len(reruns),
        "reruns_of": _setting(reruns, "no preset of ours") if len(reruns) else None,
    }


def _setting(numbers: pd.DataFrame, preset: str) -> str:
    """Return the setting of numbers of one kind, as in "CIFAR-10, preset cifar10, ResNet-50, l2 0.5"."""
    data, norm, epsilon = numbers[["data", "norm", "epsilon"]].iloc[0]
    parts = (data, preset, " and ".join(numbers["arch"].unique()), ball_text(norm, epsilon))
    return ", ".join(part for part in parts if part)
