"""Columns that several tables share."""

from nrf_ray.sweep.table import Column, measured

SWEEP_COLUMN = Column("sweep", "string", "name of the sweep")

DATASET_COLUMN = Column("dataset", "string", "dataset that everything was made from")

CONSTRUCTION_COLUMN = Column(
    "construction", "string", "training set: d (original data) or a construction (see nrf_ray.constructions.spec)"
)

START_COLUMN = Column("start", "string", "start of representation matching: image or noise; null except for D_R, D_NR")

SOURCE_ARCH_COLUMN = Column(
    "source_arch", "string", "architecture whose features the set was made with; null without a source"
)

SOURCE_TRAINING_COLUMN = Column("source_training", "string", "training of the source: standard or adversarial")

SOURCE_COLUMNS = (
    SOURCE_ARCH_COLUMN,
    SOURCE_TRAINING_COLUMN,
    Column(
        "source_eps",
        "float64",
        "radius of the source's adversarial training; null if it is standard, or nobody has stated it",
        "pixels in [0, 1]",
    ),
    Column("source_model", "string", "name of the source if it was trained elsewhere; else null"),
)

STORAGE_COLUMN = Column("storage", "string", "how the set stores its pixels: uint8 (rounded) or float32; null for d")

CRAFT_MODE_COLUMN = Column(
    "craft_mode",
    "string",
    "how the set's images were computed: faithful (float32) or fast (bfloat16); null for d and controls",
)

MODE_COLUMN = Column("mode", "string", "how the training was computed: faithful or fast; null if imported")

NORM_COLUMN = Column(
    "norm",
    "string",
    "norm of the threat model, or words if words are replaced; null if no ball bounds the set (d, D_R, D_NR)",
)

SEED_COLUMN = Column("seed", "int64", "seed of the replicate: source, targets and student change with it")

N_COLUMN = measured("n", "int64", "number of test images behind each share of this row", "images")

ATTACK_COLUMN = Column(
    "attack",
    "string",
    "fgsm, pgd-STEPS or pgd-STEPSxRESTARTS, -rs if started at random; with the suffix -margin they maximise the margin "
    "instead of cross-entropy, with -worst they return the iterate of the highest loss instead of the last, with -fast "
    "they run in bfloat16; apgd-ce+t or autoattack, or, for 2 or 3 classes, apgd-ce+margin+square; hotflip-WORDS "
    "replaces at most WORDS words of a text; or the name of an attack of one's own",
)

STEPS_COLUMN = Column(
    "steps", "int64", "gradient steps per run; of an attack of one's own, the passes that its author says", "steps"
)

TRAINING_COLUMNS = (
    Column("training", "string", "standard or adversarial"),
    Column("adversary", "string", "attack that the model was trained against; null for standard training, or unknown"),
    Column("adversary_norm", "string", "norm of that attack"),
    Column("adversary_epsilon", "float64", "radius of that attack", "pixels in [0, 1]"),
    MODE_COLUMN,
)

MODEL_COLUMN = Column("model", "string", "name of the model if it was trained elsewhere; null if this sweep trains it")

ORIGIN_COLUMNS = (
    CONSTRUCTION_COLUMN,
    NORM_COLUMN,
    Column("epsilon", "float64", "radius of the construction; null for d, D_R, D_NR", "pixels in [0, 1]"),
    START_COLUMN,
    *SOURCE_COLUMNS,
    STORAGE_COLUMN,
    CRAFT_MODE_COLUMN,
)

INTERVAL_COLUMNS = (
    measured("ci_low", "float64", "lower end of the 95% Wilson interval over test images", "share"),
    measured("ci_high", "float64", "upper end of the 95% Wilson interval over test images", "share"),
)
"""Interval of a share, as `row_facts.wilson` computes it."""
