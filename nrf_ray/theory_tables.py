"""The tables of the theory and of the features: statements on instances, usefulness of units, leakage."""

from nrf_ray.tables import (
    DATASET_COLUMN,
    MODE_COLUMN,
    N_COLUMN,
    ORIGIN_COLUMNS,
    SEED_COLUMN,
    SWEEP_COLUMN,
    Column,
    Table,
)

THEORY = Table(
    "theory",
    "one statement of the Gaussian theory on one instance",
    (
        SWEEP_COLUMN,
        Column("statement", "string", "statement of section 4 that was checked; see nrf_ray.theory_rows"),
        Column("dimension", "int64", "dimension d of x", "coordinates"),
        Column("epsilon", "float64", "radius of the adversary", "smallest standard deviations of x, but in figures"),
        Column("seed", "int64", "seed of the instance"),
        Column("relation", "string", "how lhs has to stand to rhs: = up to the tolerance, >= or >"),
        Column("meaning", "string", "what lhs and rhs are"),
        Column("lhs", "float64", "left side"),
        Column("rhs", "float64", "right side"),
        Column("error", "float64", "how far the statement is missed: |lhs - rhs| for =, else max(0, rhs - lhs)"),
        Column("tolerance", "float64", "how large the error may be; 0 where the sides are compared as they are"),
        Column("holds", "bool", "whether the statement holds on this instance"),
        Column("key", "string", "key of the stage that measured both sides"),
    ),
)

USEFULNESS = Table(
    "usefulness",
    "the penultimate units of one model, on the test set; the stage's units.parquet has one row a unit",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        *ORIGIN_COLUMNS,
        Column("student_arch", "string", "architecture of the model"),
        Column("role", "string", "source, judge, victim or student"),
        Column("training", "string", "standard or adversarial"),
        MODE_COLUMN,
        SEED_COLUMN,
        Column("ball_norm", "string", "norm of the ball of robust usefulness"),
        Column("ball_epsilon", "float64", "its radius", "pixels in [0, 1]"),
        Column("attack", "string", "what seeks the infimum; gamma is an upper bound", ""),
        Column("useful_from", "float64", "least rho of a unit that counts as useful"),
        Column("units", "int64", "units of the penultimate layer: the four kinds together", "units"),
        Column("robust", "int64", "rho >= useful_from and gamma > 0", "units"),
        Column("useful_non_robust", "int64", "rho >= useful_from and gamma <= 0", "units"),
        Column("useless", "int64", "rho < useful_from", "units"),
        Column("constant", "int64", "no variance on the training set: no feature at all", "units"),
        Column("mean_rho", "float64", "mean usefulness E[y f(x)] over units that vary", "standard deviations"),
        Column("mean_gamma", "float64", "mean robust usefulness over units that vary", "standard deviations"),
        Column("gradient_alignment", "float64", "mean cosine of input gradient and difference of class means"),
        Column("input_gradient", "float64", "mean over pixels of |mean(gradient * pixel)|", "nats"),
        N_COLUMN,
        Column("key", "string", "key of the training stage"),
    ),
)

LEAKAGE = Table(
    "leakage",
    "a linear classifier that sees only the features of an adversarially trained one, trained on one set",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        *ORIGIN_COLUMNS,
        SEED_COLUMN,
        Column(
            "features", "string", "linear (an adversarially trained classifier's logits) or penultimate (a network's)"
        ),
        Column("mode", "string", "how the network of the features was trained: faithful or fast; null for linear"),
        Column("feature_norm", "string", "norm that the features were trained against"),
        Column("feature_epsilon", "float64", "radius that the features were trained against", "pixels in [0, 1]"),
        Column("units", "int64", "number of features", "features"),
        Column("accuracy", "float64", "accuracy on the test set (x, y); chance is 1 / k", "share"),
        Column("ci_low", "float64", "lower end of the 95% Wilson interval over test images", "share"),
        Column("ci_high", "float64", "upper end of the 95% Wilson interval over test images", "share"),
        Column("source_accuracy", "float64", "accuracy of the classifier whose features they are", "share"),
        Column("ball_epsilon", "float64", "radius that is certified; null unless linear", "pixels in [0, 1]"),
        Column("certified", "float64", "test images on which it is constant in the ball; null unless linear", "share"),
        Column("lowest_gamma", "float64", "least gamma in the ball of a feature for its class; null unless linear"),
        Column("meets_spec", "bool", "certified >= .8 and lowest_gamma > 0 (Goh 2019); null unless linear"),
        N_COLUMN,
        Column("key", "string", "key of the stage that measured it"),
    ),
)
