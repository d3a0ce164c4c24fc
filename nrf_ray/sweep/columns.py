"""Columns that several tables share."""

from nrf_ray.sweep.table import Column, measured

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


N_COLUMN = measured("n", "int64", "number of test images behind each share of this row", "images")


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
