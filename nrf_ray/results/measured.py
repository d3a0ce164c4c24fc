"""Which columns of a table were measured, and which say what a row is about.

Two tables are compared, and one is summed up, by what their rows are about; that is all that was not measured, except
for the key of a stage, which is another wherever anything is. Names mean the same in every table, so one list serves
tables of other versions too.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

KEY = "key"
"""The column with the key of the stage behind a row."""
SEED = "seed"
"""The column with the seed of the replicate."""
SHARE = "share"
"""The unit of what is summed up."""
ENDS = frozenset(("ci_low", "ci_high"))
"""Ends of the interval of another column: they follow from it."""
OF_OTHERS = frozenset(
    (
        "clean_validation", "constructed_validation", "energy_human", "energy_noise", "energy_rest", "human_kept",
        "label_agreement", "noise_kept", "nonrobustness", "train_accuracy",
    )
)  # fmt: skip
"""Shares of other examples than the `n` of their row, or of something else than examples."""

MEASURED = frozenset(
    (
        "accuracy", "attacked", "certified", "checks", "ci_high", "ci_low", "clean_accuracy", "clean_validation",
        "constant", "constructed_validation", "energy_human", "energy_noise", "energy_rest", "error", "follows_human",
        "follows_noise", "fooling_rate", "gradient_alignment", "gradients", "holds", "human_alone", "human_kept",
        "input_gradient", "judge_says_label", "judge_says_target", "label_agreement", "lhs", "lowest_gamma", "macs",
        "max_norm", "mean_distance", "mean_gamma", "mean_loss", "mean_norm", "mean_rho", "meets_spec", "n",
        "noise_alone", "noise_kept", "nonrobustness", "norm_histogram", "parameters", "relabelled_accuracy", "rhs",
        "robust", "robust_accuracy", "score_human", "score_noise", "second_seed_says_target", "share_target_is_label",
        "share_unmoved", "source_accuracy", "source_success_rate", "success_rate", "test_accuracy", "tolerance",
        "train_accuracy", "train_examples", "trust_level", "units", "useful_non_robust", "useless",
        "validation_examples",
    )
)  # fmt: skip
"""Columns that hold what a stage measured, or what follows from it."""


def about(columns: Sequence[str]) -> list[str]:
    """Return those of `columns` that say what a row is about, in order."""
    return [name for name in columns if name not in MEASURED and name != KEY]


def measured(columns: Sequence[str]) -> list[str]:
    """Return those of `columns` that were measured, in order."""
    return [name for name in columns if name in MEASURED]


def shares(table: "pa.Table") -> list[str]:
    """Return the columns of a table that hold measured shares, by their unit; without the ends of intervals."""
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in table.schema}
    return [name for name in measured(table.column_names) if units[name] == SHARE and name not in ENDS]
