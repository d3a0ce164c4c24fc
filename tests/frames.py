"""Tables for tests: each row gives what matters, the rest is filled in."""

from typing import Any

import pandas as pd

from nrf_ray.results.parquet import to_arrow
from nrf_ray.sweep.table import Table
from nrf_ray.tables.constructed_sets import DATASETS
from nrf_ray.tables.leakage import LEAKAGE
from nrf_ray.tables.robustness import ROBUSTNESS
from nrf_ray.tables.trained_models import RESULTS
from nrf_ray.tables.transfer import TRANSFER

MODEL = {
    "sweep": "s", "dataset": "digits", "construction": "d_det", "norm": "l2", "epsilon": 1.0, "storage": "uint8",
    "source_arch": "resnet_m", "source_training": "standard", "craft_mode": "faithful", "student_arch": "vgg_s",
    "role": "student", "training": "standard", "mode": "faithful", "seed": 0, "precision": "fp32",
    "clean_accuracy": 0.5, "relabelled_accuracy": 0.25, "train_accuracy": 0.75, "n": 360, "key": "k",
}  # fmt: skip

TRIED = {
    "sweep": "s", "dataset": "digits", "source_arch": "resnet_m", "victim_arch": "vgg_s", "construction": "d",
    "mode": "faithful", "source_mode": "faithful", "attack": "pgd-20", "steps": 20, "norm": "l2", "epsilon": 1.0,
    "targeted": False, "seed": 0, "success_rate": 0.5,
    "ci_low": 0.45, "ci_high": 0.55, "source_success_rate": 0.9, "n": 360, "key": "k",
}  # fmt: skip


ATTACKED = {
    **{name: value for name, value in MODEL.items() if name not in ("norm", "epsilon", "precision")},
    "trained_norm": None, "trained_epsilon": None, "tested_on": "test", "attack": "pgd-20", "steps": 20, "restarts": 1,
    "norm": "l2", "epsilon": 0.5, "robust_accuracy": 0.5, "ci_low": 0.45, "ci_high": 0.55, "trust_level": "L0",
    "checks": "logits:PASS noise:FAIL", "checks_n": 100, "autoattack_checks": None,
    "lowest": 0.5, "lowest_by": "pgd-20",
}  # fmt: skip

LEAKED = {
    "sweep": "s", "dataset": "digits", "construction": "d_rand", "norm": "l2", "epsilon": 1.0, "storage": "uint8",
    "source_arch": "resnet_m", "source_training": "standard", "seed": 0, "features": "linear", "feature_norm": "l2",
    "feature_epsilon": 0.25, "units": 10, "accuracy": 0.2, "ci_low": 0.15, "ci_high": 0.25, "source_accuracy": 0.9,
    "ball_epsilon": 0.25, "certified": 0.85, "lowest_gamma": 0.01, "meets_spec": True, "n": 360, "key": "k",
}  # fmt: skip


def filled(table: Table, rows: list[dict[str, Any]], base: dict[str, Any]) -> pd.DataFrame:
    """Return rows of a table, in the order of its file; what neither `base` nor a row gives is null."""
    known = dict.fromkeys(table.column_names())
    return to_arrow(
        table, [known | {name: base[name] for name in known if name in base} | row for row in rows]
    ).to_pandas()


def results(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return filled(RESULTS, rows, MODEL)


def transfers(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return filled(TRANSFER, [{**row, "targeted": bool(row.get("targeted", False))} for row in rows], TRIED)


def robustness(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return filled(ROBUSTNESS, rows, ATTACKED)


def leakages(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return filled(LEAKAGE, rows, LEAKED)


def datasets(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return filled(DATASETS, rows, MODEL)
