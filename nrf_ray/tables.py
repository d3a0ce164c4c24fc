"""The result tables: every column declared once, with its meaning and unit.

A row is put together from facts (what was asked for) and measurements (metrics of committed stages). Tables are
rebuilt from records, sorted by their key columns and written whole, so the same grid gives the same bytes; times live
in `stages` alone. This module declares; `parquet` reads and writes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from nrf_ray.attacks.trust import LEVELS
from nrf_ray.graph.stage import Metrics, Stage

ColumnType = Literal["string", "float64", "int64", "bool", "int64s"]


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: ColumnType
    description: str
    unit: str = ""
    """Empty for names and keys."""


@dataclass(frozen=True)
class Table:
    """A table by its name, what one row is, and its columns; rows are sorted by all columns in order."""

    name: str
    row: str
    columns: tuple[Column, ...]

    def column_names(self) -> list[str]:
        """Return the names of the columns, in order."""
        return [column.name for column in self.columns]


class Measure(NamedTuple):
    """One number of a row: a metric of a stage."""

    stage: Stage
    metric: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row to be filled when all of its stages are committed."""

    table: Table
    facts: Mapping[str, Any]
    """Columns known before anything runs."""
    measures: Mapping[str, Measure]
    """Columns measured by stages."""
    derive: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda values: {}
    """Further columns from the ones above, as an interval from a share and n."""

    def stages(self) -> list[Stage]:
        """Return the stages that have to be committed."""
        return [measure.stage for measure in self.measures.values()]

    def fill(self, metrics: Callable[[Stage], Metrics]) -> dict[str, Any]:
        """Return the row's values by column name."""
        values = {**self.facts, **{name: metrics(m.stage)[m.metric] for name, m in self.measures.items()}}
        return {**values, **self.derive(values)}


SWEEP_COLUMN = Column("sweep", "string", "name of the sweep")
DATASET_COLUMN = Column("dataset", "string", "dataset that everything was made from")
CONSTRUCTION_COLUMN = Column(
    "construction", "string", "training set: d is the original data, else a construction (see nrf_ray.attacks.specs)"
)
START_COLUMN = Column("start", "string", "what matching started from: image or noise; null but for D_R and D_NR")
SOURCE_TRAINING_COLUMN = Column("source_training", "string", "training of the source: standard or adversarial")
STORAGE_COLUMN = Column("storage", "string", "how the set keeps its pixels: uint8 (rounded) or float32; null for d")
CRAFT_MODE_COLUMN = Column(
    "craft_mode", "string", "how the set's images were computed: faithful (float32) or fast (bfloat16); null for none"
)
MODE_COLUMN = Column("mode", "string", "how the training was computed: faithful or fast; null if imported")
NORM_COLUMN = Column(
    "norm",
    "string",
    "norm of the threat model, words where words are replaced; null where there is none (d, D_R, D_NR)",
)
SEED_COLUMN = Column("seed", "int64", "seed of the replicate: source, targets and student change with it")
N_COLUMN = Column("n", "int64", "number of test images behind each share of this row", "images")
ATTACK_COLUMN = Column(
    "attack",
    "string",
    "pgd-STEPS or pgd-STEPSxRESTARTS, -rs from a random start, fgsm; of these -margin climbs the margin in place of "
    "cross-entropy, -worst returns the iterate of the highest loss in place of the last, -fast is in bfloat16; "
    "apgd-ce+t or autoattack; hotflip-WORDS replaces so many words of a text",
)
STEPS_COLUMN = Column("steps", "int64", "gradient steps of a run", "steps")

TRAINING_COLUMNS = (
    Column("training", "string", "standard or adversarial"),
    Column("adversary", "string", "attack that it was trained against; null for standard training"),
    Column("adversary_norm", "string", "norm of that attack"),
    Column("adversary_epsilon", "float64", "radius of that attack", "pixels in [0, 1]"),
    MODE_COLUMN,
)

ORIGIN_COLUMNS = (
    CONSTRUCTION_COLUMN,
    NORM_COLUMN,
    Column("epsilon", "float64", "radius of the construction; null for d, D_R, D_NR", "pixels in [0, 1]"),
    START_COLUMN,
    Column("source_arch", "string", "architecture whose features the set was made with; null without a source"),
    SOURCE_TRAINING_COLUMN,
    STORAGE_COLUMN,
    CRAFT_MODE_COLUMN,
)

RESULTS = Table(
    "results",
    "one trained model",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        *ORIGIN_COLUMNS,
        Column("student_arch", "string", "architecture of this model"),
        Column(
            "role", "string", "source, judge, victim (standard model on d), weak (picks rows of a control) or student"
        ),
        *TRAINING_COLUMNS,
        SEED_COLUMN,
        Column("precision", "string", "arithmetic of the training: fp32, or bf16 in the fast mode"),
        Column("clean_accuracy", "float64", "accuracy on the test set (x, y)", "share"),
        Column("relabelled_accuracy", "float64", "accuracy on the test set relabelled (x, y + 1), paper D.6", "share"),
        Column(
            "train_accuracy",
            "float64",
            "accuracy on its own training set during the last epoch; null if imported",
            "share",
        ),
        Column("train_examples", "int64", "images in its training set; null if imported", "images"),
        N_COLUMN,
        Column("parameters", "int64", "trainable numbers of the model", "numbers"),
        Column(
            "macs",
            "int64",
            "work of one forward pass of one image: convolutions and matrix products; a FLOP count is twice this",
            "multiply-adds",
        ),
        Column("key", "string", "key of the training stage"),
    ),
)

DATASETS = Table(
    "datasets",
    "one constructed set",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        CONSTRUCTION_COLUMN,
        NORM_COLUMN,
        Column("epsilon", "float64", "radius of the construction; null for D_R, D_NR", "pixels in [0, 1]"),
        START_COLUMN,
        Column("source_arch", "string", "architecture of the source; null for leakage-only controls"),
        SOURCE_TRAINING_COLUMN,
        STORAGE_COLUMN,
        CRAFT_MODE_COLUMN,
        SEED_COLUMN,
        Column("n", "int64", "images in the set", "images"),
        Column("share_target_is_label", "float64", "rows whose new label t equals the true label y", "share"),
        Column("fooling_rate", "float64", "rows that the source of this seed classifies as t, as stored", "share"),
        Column(
            "second_seed_says_target",
            "float64",
            "rows that a standard model of the source's architecture and another seed classifies as t",
            "share",
        ),
        Column("judge_says_label", "float64", "rows that the robust judge classifies as y", "share"),
        Column("judge_says_target", "float64", "rows that the robust judge classifies as t", "share"),
        Column(
            "mean_loss",
            "float64",
            "on the stored images: the source's cross-entropy towards t; for D_R, D_NR the relative distance of the "
            "representations; null for controls",
            "nats, or share",
        ),
        Column(
            "mean_norm", "float64", "mean distance of a stored image from its start (D_R, D_NR: l2)", "pixels in [0, 1]"
        ),
        Column(
            "max_norm",
            "float64",
            "largest stored perturbation; 8-bit rounding may exceed epsilon a little",
            "pixels in [0, 1]",
        ),
        Column("norm_histogram", "int64s", "images in each of 20 equal parts of 0 to max_norm", "images"),
        Column(
            "mean_distance",
            "float64",
            "mean distance from the image whose label it bears; as mean_norm, except for D_R, D_NR",
            "pixels in [0, 1]",
        ),
        Column(
            "share_unmoved", "float64", "rows equal to the original at 8 bits (zero gradient, or left clean)", "share"
        ),
        Column(
            "gradients", "int64", "cost of making the set, for every machine alike", "image gradients of the source"
        ),
        Column("key", "string", "key of the construct stage"),
    ),
)

ROBUSTNESS = Table(
    "robustness",
    "one model under one attack",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        CONSTRUCTION_COLUMN,
        Column("trained_norm", "string", "norm of the construction; null where there is none (d, D_R, D_NR)"),
        Column("trained_epsilon", "float64", "radius of the construction; null as trained_norm", "pixels in [0, 1]"),
        START_COLUMN,
        Column("source_arch", "string", "architecture whose features the set was made with; null without a source"),
        SOURCE_TRAINING_COLUMN,
        STORAGE_COLUMN,
        CRAFT_MODE_COLUMN,
        *TRAINING_COLUMNS,
        Column("student_arch", "string", "architecture of the attacked model"),
        Column("role", "string", "source, judge, victim or student"),
        SEED_COLUMN,
        Column("tested_on", "string", "the images: test, or a constructed set and the split that it was made of"),
        ATTACK_COLUMN,
        STEPS_COLUMN,
        Column("restarts", "int64", "runs of the attack; an image counts as robust if it withstands all", "runs"),
        Column("norm", "string", "norm of the attack; words where words of a text are replaced"),
        Column("epsilon", "float64", "radius of the attack; of words, how many", "pixels in [0, 1]"),
        Column("clean_accuracy", "float64", "the same test images without the attack", "share"),
        Column("robust_accuracy", "float64", "test images that stay right under the attack: an upper bound", "share"),
        Column("ci_low", "float64", "lower end of the 95% Wilson interval over test images", "share"),
        Column("ci_high", "float64", "upper end of the 95% Wilson interval over test images", "share"),
        N_COLUMN,
        Column("trust_level", "string", "; ".join(f"{level}: {meaning}" for level, meaning in LEVELS.items())),
        Column(
            "checks",
            "string",
            "verdicts of the automatic checks (see attacks/trust.py); null where none were made",
        ),
        Column("key", "string", "key of the training stage"),
    ),
)

TRANSFER = Table(
    "transfer",
    "one victim on the adversarial test images of one source",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        Column("source_arch", "string", "architecture that the images were found against"),
        Column("victim_arch", "string", "architecture of the model that they are tried on"),
        Column("construction", "string", "what the victim was trained on: d, or a construction"),
        Column("mode", "string", "how the victim was trained: faithful or fast; null if imported"),
        Column("source_mode", "string", "how the source was trained: faithful or fast; null if imported"),
        ATTACK_COLUMN,
        STEPS_COLUMN,
        Column("norm", "string", "norm of the attack"),
        Column("epsilon", "float64", "radius of the attack", "pixels in [0, 1]"),
        Column("targeted", "bool", "true: towards a uniform wrong class (Figure 13); false: away from y (Figure 3)"),
        SEED_COLUMN,
        Column("success_rate", "float64", "images classified as the target, or (untargeted) not as y", "share"),
        Column("ci_low", "float64", "lower end of the 95% Wilson interval over test images", "share"),
        Column("ci_high", "float64", "upper end of the 95% Wilson interval over test images", "share"),
        Column("source_success_rate", "float64", "the same on the source itself", "share"),
        N_COLUMN,
        Column("key", "string", "key of the victim's training stage"),
    ),
)

RECIPES = Table(
    "recipes",
    "one training recipe on one constructed set",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        CONSTRUCTION_COLUMN,
        NORM_COLUMN,
        Column("epsilon", "float64", "radius of the construction", "pixels in [0, 1]"),
        Column("source_arch", "string", "architecture whose features the set was made with"),
        CRAFT_MODE_COLUMN,
        Column("student_arch", "string", "architecture of the trained model"),
        SEED_COLUMN,
        Column("lr", "float64", "learning rate at the start", "1"),
        Column("batch_size", "int64", "examples a step", "images"),
        Column("lr_drop", "bool", "whether the learning rate falls to a tenth, again and again"),
        Column("augmented", "bool", "whether the training images are augmented"),
        Column("epochs", "int64", "passes over the training set", "epochs"),
        MODE_COLUMN,
        Column("constructed_validation", "float64", "accuracy towards t on constructed rows kept out", "share"),
        Column("clean_validation", "float64", "accuracy towards y on the originals of the same rows", "share"),
        Column("validation_examples", "int64", "rows kept out of training", "images"),
        Column("test_accuracy", "float64", "accuracy on the untouched test set; choosing by it is an oracle", "share"),
        N_COLUMN,
        Column("key", "string", "key of the training stage"),
    ),
)

EXTRA = Table(
    "extra_tests",
    "one model on one extra test set",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        Column("test_set", "string", "other images of the same classes, as cifar10.1 (paper D.7)"),
        *ORIGIN_COLUMNS,
        Column("student_arch", "string", "architecture of this model"),
        Column("role", "string", "source, judge, victim, weak or student"),
        *TRAINING_COLUMNS,
        SEED_COLUMN,
        Column("clean_accuracy", "float64", "accuracy on the extra test set", "share"),
        Column("ci_low", "float64", "lower end of the 95% Wilson interval over test images", "share"),
        Column("ci_high", "float64", "upper end of the 95% Wilson interval over test images", "share"),
        N_COLUMN,
        Column("key", "string", "key of the training stage"),
    ),
)

STAGES = Table(
    "stages",
    "one stage of the sweep",
    (
        Column("sweep", "string", "name of the sweep"),
        Column("stage", "string", "kind of the stage"),
        Column("label", "string", "what people call it"),
        Column("key", "string", "key of the stage"),
        Column("state", "string", "done, failed, blocked (needs one that failed), damaged or missing"),
        Column("reason", "string", "why it is not done; null where it is"),
        Column("seconds", "float64", "wall time of the work, on one slot", "seconds"),
        Column("started", "string", "when the work began, UTC"),
        Column("device", "string", "cpu or cuda"),
        Column("threads", "int64", "torch threads", "threads"),
        Column("host", "string", "where it ran"),
        Column(
            "attempts",
            "int64",
            "how often it was begun; above 1 where it raised, or its process or run ended",
            "starts",
        ),
        Column("inputs", "string", "keys of the stages that it is made from, by space; empty for none"),
    ),
)
