"""The tables of planted sets: which part models use, and which part an attack on them changes."""

from nrf_ray.tables import (
    ATTACK_COLUMN,
    DATASET_COLUMN,
    SEED_COLUMN,
    STEPS_COLUMN,
    SWEEP_COLUMN,
    TRAINING_COLUMNS,
    Column,
    Table,
)

ABOUT = (
    SWEEP_COLUMN,
    Column("modality", "string", "image, colour or text"),
    Column("label", "string", "what the label goes by: human, noise, both, conflict (see nrf_ray.data.planted)"),
    Column("p_human", "float64", "examples whose human part shows the label", "share"),
    Column("p_noise", "float64", "examples whose noise part shows the label", "share"),
    Column("correlation", "float64", "of human part shows the label and noise part shows the label", "1"),
    Column(
        "human_norm", "float64", "l2 norm of the human part: of an image, of each word's vector", "pixels in [0, 1]"
    ),
    Column(
        "noise_norm", "float64", "l2 norm of the noise part: of an image, of each word's vector", "pixels in [0, 1]"
    ),
    DATASET_COLUMN,
    Column("labels", "string", "labels trained on: planted, or read in one part; a linear model reads the noise part"),
    Column("student_arch", "string", "architecture of the model"),
    Column("role", "string", "source (trained on the set), reader (on human parts alone) or student (on labels read)"),
    *TRAINING_COLUMNS,
    SEED_COLUMN,
)

PLANTED = Table(
    "planted",
    "one model trained on a planted set, and which part of the examples it uses",
    (
        *ABOUT,
        Column("clean_accuracy", "float64", "accuracy on the test set", "share"),
        Column("bayes", "float64", "best possible accuracy, closed form", "share"),
        Column("bayes_human", "float64", "best possible accuracy by the human part alone, closed form", "share"),
        Column("bayes_noise", "float64", "best possible accuracy by the noise part alone, closed form", "share"),
        Column("human_alone", "float64", "noise part removed: given the class of the human part", "share"),
        Column("noise_alone", "float64", "human part removed: given the class of the noise part", "share"),
        Column("follows_human", "float64", "parts of two classes: given the class of the human part", "share"),
        Column("follows_noise", "float64", "parts of two classes: given the class of the noise part", "share"),
        Column("score_human", "float64", "|E[gradient . human part]|: input-gradient score of the part", "nats"),
        Column("score_noise", "float64", "|E[gradient . noise part]|: input-gradient score of the part", "nats"),
        Column("nonrobustness", "float64", "non-robustness score: score_noise / (score_human + score_noise)", "share"),
        Column("chance", "float64", "1 / k", "share"),
        Column("train_accuracy", "float64", "accuracy on its own training set during the last epoch", "share"),
        Column("label_agreement", "float64", "labels read that are the class shown; null for planted labels", "share"),
        Column("n", "int64", "number of test examples behind each share of this row", "examples"),
        Column("key", "string", "key of the training stage"),
    ),
)

FOOTPRINT = Table(
    "footprint",
    "one model under one attack, and which part of the examples the attack changes",
    (
        *ABOUT,
        ATTACK_COLUMN,
        STEPS_COLUMN,
        Column("norm", "string", "norm of the attack"),
        Column("epsilon", "float64", "radius of the attack", "pixels in [0, 1]"),
        Column("clean_accuracy", "float64", "the same test examples without the attack", "share"),
        Column("robust_accuracy", "float64", "test examples that stay right under the attack: an upper bound", "share"),
        Column("ci_low", "float64", "lower end of the 95% Wilson interval over test examples", "share"),
        Column("ci_high", "float64", "upper end of the 95% Wilson interval over test examples", "share"),
        Column("chance", "float64", "1 / k", "share"),
        Column("energy_human", "float64", "of the perturbation's squared l2 norm: along human parts", "share"),
        Column("energy_noise", "float64", "of the perturbation's squared l2 norm: along noise parts", "share"),
        Column("energy_rest", "float64", "of the perturbation's squared l2 norm: along neither", "share"),
        Column("human_kept", "float64", "attacked examples whose human part a reader still gives its class", "share"),
        Column("noise_kept", "float64", "attacked examples whose noise part is still nearest to its class", "share"),
        Column("attacked", "int64", "test examples that were right when clean, and so attacked", "examples"),
        Column("n", "int64", "test examples behind the accuracies", "examples"),
        Column("key", "string", "key of the training stage"),
    ),
)
