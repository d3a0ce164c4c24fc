"""Robust accuracy of one model under one attack, with its interval and trust level."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nrf_ray.attacks.named import attack_named
from nrf_ray.attacks.specs import Attack, InBall, Substitution
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.attacks.trust import (
    CHECKS,
    GAP_STEPS,
    LEVELS,
    battery_for,
    checks_of,
    read_checks,
    row_checks,
    trust_level,
)
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.display.printing import ResultTable, over_seeds, share, share_text
from nrf_ray.graph.stage import Stage
from nrf_ray.presets import Preset
from nrf_ray.stages.robustness import RobustnessSpec, robustness
from nrf_ray.stages.trust import TrustSpec, trust
from nrf_ray.sweep.columns import (
    ATTACK_COLUMN,
    CONSTRUCTION_COLUMN,
    CRAFT_MODE_COLUMN,
    DATASET_COLUMN,
    INTERVAL_COLUMNS,
    MODEL_COLUMN,
    N_COLUMN,
    SEED_COLUMN,
    SOURCE_COLUMNS,
    START_COLUMN,
    STEPS_COLUMN,
    STORAGE_COLUMN,
    SWEEP_COLUMN,
    TRAINING_COLUMNS,
)
from nrf_ray.sweep.grid import Grid
from nrf_ray.sweep.models_and_sets import ConstructedSet, Model
from nrf_ray.sweep.row_facts import model_facts, wilson
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows
from nrf_ray.sweep.wording import ORIGIN, ball_text, mode_text, modes_text, origin_text
from nrf_ray.tables import sentences

if TYPE_CHECKING:
    import pandas as pd

ONLY_OTHER = "only_other"
"""Number of a check by another attack: the share of the images that this other attack alone fooled."""
BESIDE = f"pgd-{GAP_STEPS}"
"""PGD that runs beside AutoAttack and beside attacks of one's own, on the same images."""

ROBUSTNESS = Table(
    "robustness",
    "one model under one attack",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        CONSTRUCTION_COLUMN,
        Column("trained_norm", "string", "norm of the construction; null if no ball bounds it (d, D_R, D_NR)"),
        Column("trained_epsilon", "float64", "radius of the construction; null if trained_norm is", "pixels in [0, 1]"),
        START_COLUMN,
        *SOURCE_COLUMNS,
        STORAGE_COLUMN,
        CRAFT_MODE_COLUMN,
        *TRAINING_COLUMNS,
        MODEL_COLUMN,
        Column("student_arch", "string", "architecture of the attacked model"),
        Column("role", "string", "source, judge, victim or student"),
        SEED_COLUMN,
        Column("tested_on", "string", "images tested on: test, or a constructed set and the split it was made from"),
        ATTACK_COLUMN,
        STEPS_COLUMN,
        Column("restarts", "int64", "runs of the attack; an image counts as robust if it withstands all", "runs"),
        Column("norm", "string", "norm of the attack; words if words of a text are replaced"),
        Column("epsilon", "float64", "radius of the attack; for words, their number", "pixels in [0, 1]"),
        measured("clean_accuracy", "float64", "accuracy on the same images without the attack", "share"),
        measured(
            "robust_accuracy",
            "float64",
            "images that stay correctly classified under the attack: an upper bound",
            "share",
        ),
        *INTERVAL_COLUMNS,
        N_COLUMN,
        measured(
            "trust_level",
            "string",
            "; ".join(f"{level}: {meaning}" for level, meaning in LEVELS.items()),
        ),
        measured(
            "checks",
            "string",
            "verdicts of the automatic checks (see attacks/trust.py); null if there are no checks",
        ),
        measured(
            "checks_n", "int64", "number of test images that the checks are made on; null if there are none", "images"
        ),
        measured(
            "autoattack_checks",
            "string",
            "verdicts of the checks on the images of AutoAttack, or of an attack of one's own; null for other attacks",
        ),
        measured(
            "lowest",
            "float64",
            "least robust accuracy that anything found: the attack, PGD beside it, or the attack of the checks "
            "together with that of one check, on checks_n images; an upper bound too",
            "share",
            of_n=False,
        ),
        measured("lowest_by", "string", "what found the least: an attack, or with CHECK, the attacks of both together"),
        key_of("training stage"),
    ),
)


def robustness_rows(
    sweep: str, grid: Grid, dataset: DatasetInfo, model: Model, threat: ThreatModel, *, other: Model | None = None
) -> Iterator[Row]:
    """Yield the row of one model under each attack of the grid; see `robustness_row` for `other`."""
    for name in grid.attacks:
        attack = attack_named(name, grid.preset.pgd(threat))
        yield robustness_row(sweep, dataset, model, threat, grid.preset, attack=attack, other=other)


def robustness_row(
    sweep: str,
    dataset: DatasetInfo,
    model: Model,
    threat: ThreatModel,
    preset: Preset,
    *,
    attack: InBall | None = None,
    tested_on: ConstructedSet | None = None,
    other: Model | None = None,
) -> Row:
    """Return the row of one model under an untargeted attack, by default one run of the preset's PGD.

    The model is attacked on test images, or on the images of the constructed set `tested_on`. The checks are those of
    the attack itself if it is an `Attack`, and otherwise those of the preset's PGD on this model. Adversarial images of
    `other` are tried on the model if its level needs that; without it, those of a surrogate.
    """
    pgd = preset.pgd(threat)
    attack = attack or pgd
    spec = RobustnessSpec(dataset=dataset.ref, attack=attack, examples=preset.test_examples)
    stage = robustness(spec, model=model.train, data=tested_on.construct if tested_on else None).named(
        f"robustness {attack.name} {threat.norm} {threat.eps:g}: {model.train.label}"
        + (f", on {tested_on.construct.label}" if tested_on else "")
    )
    checked = trust_checks(dataset, model, attack, pgd, preset.check_examples, other)
    by_itself = {} if isinstance(attack, Attack) else {"autoattack_checks": Measure(stage, "checks")}
    # What the checks find on test images says nothing of the images of a constructed set.
    others = {} if tested_on else _others(checked)
    return Row(
        table=ROBUSTNESS,
        facts={
            **model_facts(sweep, dataset, model, "trained_"),
            "tested_on": f"{tested_on.construction.name} ({tested_on.construct.config.split})" if tested_on else "test",
            "attack": attack.name,
            "steps": attack.steps,
            "restarts": attack.restarts,
            "norm": attack.threat.norm,
            "epsilon": attack.threat.eps,
            **({} if by_itself else {"autoattack_checks": None}),
        },
        measures={
            **by_itself,
            "clean_accuracy": Measure(stage, "clean_accuracy"),
            "robust_accuracy": Measure(stage, "robust_accuracy"),
            "n": Measure(stage, "n"),
            "checks": Measure(checked, "checks"),
            "checks_n": Measure(checked, "n"),
        },
        derive=lambda values: {
            **wilson(values["robust_accuracy"], values["n"]),
            "trust_level": trust_level(attack, row_checks(values)),
            **_lowest(values, others),
        },
        unshown=others | ({BESIDE: Measure(stage, "under_pgd")} if by_itself else {}),
    )


def substitution_row(
    sweep: str, dataset: DatasetInfo, model: Model, substitution: Substitution, examples: int | None
) -> Row:
    """Return the row of one model of texts when a few words are replaced.

    Its norm is "words"; its epsilon and its steps are the number of words that may be replaced. The checks apply only
    to attacks that follow a gradient in a ball, so this row has none.
    """
    spec = RobustnessSpec(dataset=dataset.ref, attack=substitution, examples=examples)
    stage = robustness(spec, model=model.train).named(f"robustness {substitution.name}: {model.train.label}")
    return Row(
        table=ROBUSTNESS,
        facts={
            **model_facts(sweep, dataset, model, "trained_"),
            "tested_on": "test",
            "attack": substitution.name,
            "steps": substitution.steps,
            "restarts": substitution.restarts,
            "norm": "words",
            "epsilon": float(substitution.budget),
            "checks": None,
            "checks_n": None,
            "autoattack_checks": None,
            "trust_level": trust_level(substitution, ""),
        },
        measures={name: Measure(stage, name) for name in ("clean_accuracy", "robust_accuracy", "n")},
        derive=lambda values: {**wilson(values["robust_accuracy"], values["n"]), **_lowest(values)},
    )


def _others(checked: Stage) -> dict[str, Measure]:
    """Return the share of the images that each check's attack alone fooled; null for checks by no other attack."""
    names = [f"{name}/{ONLY_OTHER}" for name in checks_of(checked.config.battery)]
    return {name: Measure(checked, name, later=True) for name in names}


def _lowest(values: Mapping[str, Any], others: Iterable[str] = ()) -> dict[str, Any]:
    """Return the least robust accuracy that anything found, and what found it.

    `values` has for each of `others` the share of the correctly classified images that a check's attack alone fooled:
    it and the checked attack together, image by image, leave as many fewer than the checked attack does.
    """
    left = {values["attack"]: values["robust_accuracy"]}
    if BESIDE in values:
        left[BESIDE] = values[BESIDE]
    *_, checked = left.values()
    for name in others:
        if share := values[name]:
            left[f"with {name.removesuffix(f'/{ONLY_OTHER}')}"] = max(checked - values["clean_accuracy"] * share, 0.0)
    by = min(left, key=lambda name: left[name])
    return {"lowest": left[by], "lowest_by": by}


def trust_checks(
    dataset: DatasetInfo,
    model: Model,
    attack: InBall,
    pgd: Attack,
    examples: int,
    other: Model | None = None,
) -> Stage:
    """Return the stage that checks `attack` on `model`, on `examples` test images that it classifies correctly.

    It makes the checks that `attack` needs for its trust level, on the attack itself or, for AutoAttack and attacks of
    one's own, on `pgd`.
    """
    checked, battery = attack if isinstance(attack, Attack) else pgd, battery_for(attack)
    spec = TrustSpec(dataset=dataset.ref, attack=checked, examples=examples, battery=battery)
    tried = other.train if other and battery != "cheap" and other.train.key != model.train.key else None
    return trust(spec, model=model.train, other=tried).named(
        f"trust {checked.name} {checked.threat.norm} {checked.threat.eps:g} ({battery}): {model.train.label}"
    )


@shows(ROBUSTNESS, say=sentences.of_robustness)
def show_robustness(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each kind of model and attack, and then a table of the checks that did not pass.

    The second table is left out if all checks passed.
    """
    robustness, rows = frames[ROBUSTNESS.name], []
    made = [{"norm": "trained_norm", "epsilon": "trained_epsilon"}.get(name, name) for name in ORIGIN]
    keys = ["training", "role", "mode", *made, "tested_on", "attack", "norm", "epsilon", "trust_level"]
    for keyed, cells in robustness.groupby(keys, dropna=False):
        training, role, mode, construction, trained_norm, trained_epsilon, *how = keyed[: 3 + len(made)]
        tested_on, attack, norm, epsilon, level = keyed[3 + len(made) :]
        trained_on = f"{origin_text(construction, *how)} {ball_text(trained_norm, trained_epsilon)}"
        model = (f"on {trained_on.strip()}" if role == "student" else f"{training} {role}") + mode_text(mode)
        low, high = float(cells["ci_low"].max()), float(cells["ci_high"].max())
        rows.append(
            (
                model if tested_on == "test" else f"{model}, tested on {tested_on}",
                f"{attack} {norm} {epsilon:g}",
                str(level) if cells["checks_n"].isna().all() else f"{level} ({int(cells['checks_n'].min())})",
                str(len(cells)),
                *over_seeds(cells, "robust_accuracy"),
                share(float(cells["robust_accuracy"].max()), low, high),
                f"{share_text(low)}, {share_text(high)}",
                _lowest_text(cells),
            )
        )
    n = ", ".join(map(str, sorted(set(robustness["n"]))))
    yield ResultTable(
        title=f"{dataset}: robust accuracy",
        columns=("model", "attack", "trust (checked)", "models", "robust", "highest", "its 95% Wilson", "lowest found"),
        names=3,
        rows=tuple(rows),
        notes=(
            f"share of n = {n} images that stay correctly classified: upper bounds by the untargeted attack named. "
            f"{modes_text(robustness['mode'])} {_levels(robustness)} In brackets: n of its checks. "
            "Lowest found: mean of the least that anything found, and what did if it is not the attack alone.",
        ),
    )
    yield from _failed_checks(robustness)


def _lowest_text(cells: "pd.DataFrame") -> str:
    """Return the mean of the least that anything found for models of one kind, and what found it besides the attack.

    It is empty for tables of former versions, which did not keep the least.
    """
    if "lowest" not in cells or cells["lowest"].isna().all():
        return ""
    others = sorted({str(by) for by, attack in zip(cells["lowest_by"], cells["attack"], strict=True) if by != attack})
    return " ".join((share_text(float(cells["lowest"].mean())), ", ".join(others))).strip()


def _levels(robustness: "pd.DataFrame") -> str:
    """Return the meanings of the trust levels that occur."""
    found = set(robustness["trust_level"])
    return " ".join(f"Trust {level}: {meaning}." for level, meaning in LEVELS.items() if level in found)


def _failed_checks(robustness: "pd.DataFrame") -> Iterator[ResultTable]:
    """Yield a table of the checks that did not pass: numbers of models by verdict, per kind of model and attack."""
    found: dict[tuple[str, ...], Counter[str]] = {}
    for row in robustness.to_dict("records"):
        kind = f"{row['training']} {row['role']} on {row['construction']}{mode_text(row['mode'])}"
        attack = f"{row['attack']} {row['norm']} {row['epsilon']:g}"
        for name, verdict in read_checks(row_checks(row)).items():
            found.setdefault((name, kind, attack), Counter())[verdict] += 1
    doubtful = {key: counts for key, counts in found.items() if counts["PASS"] < counts.total()}
    if not doubtful:
        return
    verdicts = ("FAIL", "WARN", "PASS")
    names = sorted({name for name, _, _ in doubtful})
    yield ResultTable(
        title="Checks that did not pass",
        columns=("check", "models", "attack", *verdicts),
        names=3,
        rows=tuple((*key, *(str(counts[verdict]) for verdict in verdicts)) for key, counts in sorted(doubtful.items())),
        notes=("numbers of models; " + "; ".join(f"{name} passes if {CHECKS[name]}" for name in names) + ".",),
    )
