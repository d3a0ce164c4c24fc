"""Transfer: one victim on the adversarial test images of one source."""

from collections.abc import Iterator

from nrf_ray.attacks.specs import Attack
from nrf_ray.constructions.spec import ORIGINAL
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.display.printing import Cell, ResultTable, over_seeds, share, share_text
from nrf_ray.graph.stage import Stage
from nrf_ray.stages.transfer import TransferSpec, transfer
from nrf_ray.sweep.columns import (
    ATTACK_COLUMN,
    DATASET_COLUMN,
    INTERVAL_COLUMNS,
    N_COLUMN,
    SEED_COLUMN,
    SOURCE_COLUMNS,
    STEPS_COLUMN,
    SWEEP_COLUMN,
)
from nrf_ray.sweep.models_and_sets import Model
from nrf_ray.sweep.row_facts import wilson
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows
from nrf_ray.sweep.wording import mode_text
from nrf_ray.tables import sentences
from nrf_ray.tables.trained_models import RESULTS

TRANSFER = Table(
    "transfer",
    "one victim on the adversarial test images of one source",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        *SOURCE_COLUMNS,
        Column("victim_arch", "string", "architecture of the model that the images are tried on"),
        Column("victim_training", "string", "training of that model: standard or adversarial"),
        Column("victim_eps", "float64", "radius of its adversarial training, as source_eps", "pixels in [0, 1]"),
        Column("victim_model", "string", "name of that model if it was trained elsewhere; else null"),
        Column("construction", "string", "what the victim was trained on: d, or a construction"),
        Column("mode", "string", "how the victim was trained: faithful or fast; null if imported"),
        Column("source_mode", "string", "how the source was trained: faithful or fast; null if imported"),
        ATTACK_COLUMN,
        STEPS_COLUMN,
        Column("norm", "string", "norm of the attack"),
        Column("epsilon", "float64", "radius of the attack", "pixels in [0, 1]"),
        Column("targeted", "bool", "true: towards a uniform wrong class (Figure 13); false: away from y (Figure 3)"),
        SEED_COLUMN,
        measured(
            "success_rate",
            "float64",
            "images classified as the target, or (untargeted) not as y",
            "share",
        ),
        *INTERVAL_COLUMNS,
        measured("source_success_rate", "float64", "success_rate on the source itself", "share"),
        measured("same_mistake_rate", "float64", "images on which victim and source predict one wrong class", "share"),
        measured(
            "different_mistake_rate",
            "float64",
            "images on which the victim is wrong otherwise: together, the images that it misclassifies",
            "share",
        ),
        measured(
            "same_by_chance",
            "float64",
            "expected same_mistake_rate if the wrong classes of the two were matched at random within each label",
            "share",
        ),
        N_COLUMN,
        key_of("victim's training stage"),
    ),
)


SPLIT = ("same_mistake_rate", "different_mistake_rate", "same_by_chance")
"""Columns that split the victim's mistakes by the source's (Waseda et al. 2021)."""


def transfer_row(sweep: str, dataset: DatasetInfo, source: Model, victim: Model, adversarial: Stage) -> Row:
    """Return the row of one victim on the adversarial test images of one source: an entry of a transfer matrix."""
    attack: Attack = adversarial.config.attack
    tried = transfer(TransferSpec(targeted=attack.targeted), victim=victim.train, adversarial=adversarial).named(
        f"transfer to {victim.train.label}: {adversarial.label}"
    )
    return Row(
        table=TRANSFER,
        facts={
            "sweep": sweep,
            "dataset": dataset.ref.name,
            **_of("source", source),
            **_of("victim", victim),
            "construction": victim.made_from.construction.name if victim.made_from else ORIGINAL,
            "mode": victim.mode,
            "source_mode": source.mode,
            "attack": attack.name,
            "steps": attack.steps,
            "norm": attack.threat.norm,
            "epsilon": attack.threat.eps,
            "targeted": attack.targeted,
            "seed": victim.seed,
            "key": victim.train.key,
        },
        measures={
            "success_rate": Measure(tried, "success_rate"),
            "source_success_rate": Measure(adversarial, "success_rate"),
            **{name: Measure(tried, name) for name in SPLIT},
            "n": Measure(tried, "n"),
        },
        derive=lambda values: wilson(values["success_rate"], values["n"]),
    )


def _of(side: str, model: Model) -> dict[str, object]:
    """Return the facts that say which model is on one side of a transfer, `source` or `victim`."""
    return {
        f"{side}_arch": model.arch,
        f"{side}_training": model.training,
        f"{side}_eps": model.threat.eps if model.threat else None,
        f"{side}_model": model.name,
    }


@shows(TRANSFER, say=sentences.of_transfer)
def show_transfer(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each source, victim and goal and one column per radius, and then Figure 3."""
    transfer, rows, split = frames[TRANSFER.name], [], []
    radii = sorted(set(zip(transfer["norm"], transfer["epsilon"], strict=True)))
    sides = ["source_arch", "source_mode", "source_model", "construction", "victim_arch", "mode", "victim_model"]
    for key, cells in transfer.groupby([*sides, "attack", "targeted"], dropna=False):
        source, source_mode, source_model, construction, victim, mode, victim_model, attack, targeted = key
        trained_on = "" if construction == ORIGINAL else f" on {construction}"
        by_radius = [cells[(cells["norm"] == norm) & (cells["epsilon"] == epsilon)] for norm, epsilon in radii]
        named = (
            f"{source}{mode_text(source_mode)}{_from_elsewhere(source_model)}",
            f"{victim}{trained_on}{mode_text(mode)}{_from_elsewhere(victim_model)}",
            f"{'targeted' if targeted else 'untargeted'} {attack}",
        )
        rows.append((*named, *(cell for found in by_radius for cell in over_seeds(found, "success_rate"))))
        for (norm, epsilon), found in zip(radii, by_radius, strict=True):
            if len(found) and not targeted:
                split.append((*named, f"{norm} {epsilon:g}", *over_seeds(found, *SPLIT)))
    yield ResultTable(
        title=f"{dataset}: transfer of adversarial test images",
        columns=("source", "victim", "attack", *(f"{norm} {epsilon:g}" for norm, epsilon in radii)),
        names=3,
        rows=tuple(rows),
        notes=(
            "share of test images that the victim classifies as the target (targeted), or not as their label "
            "(untargeted); mean ± 95% t interval over seeds.",
        ),
    )
    if split:
        yield _mistakes(dataset, tuple(split))
    if RESULTS.name in frames:
        yield from _figure_3(dataset, frames)


def _mistakes(dataset: str, rows: tuple[tuple[Cell, ...], ...]) -> ResultTable:
    """Return the table of the mistakes that victims share with the source, and of those that they do not share."""
    return ResultTable(
        title=f"{dataset}: mistakes of victims on untargeted adversarial test images",
        columns=("source", "victim", "attack", "eps", "same", "different", "same by chance"),
        names=4,
        rows=rows,
        notes=(
            "same: share of test images on which the victim predicts the wrong class that the source predicts; "
            "different: it is wrong otherwise. by chance: expected share if the wrong classes of the two were matched "
            "at random within each label. Mean ± 95% t interval over seeds (Waseda et al. 2021).",
        ),
    )


def _from_elsewhere(name: object) -> str:
    """Return the name of a model, to append to its architecture; empty for a model that the sweep trained."""
    return f" ({name})" if isinstance(name, str) else ""


def _figure_3(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table of the correlation of learning from each d_det set with being fooled by each attack."""
    from nrf_ray.tables.contrasts import figure_3

    points = figure_3(frames[TRANSFER.name], frames[RESULTS.name])
    if points.empty:
        return
    rows = [
        (
            point["d_det"],
            point["attack"],
            share(point["r"], point["low"], point["high"]),
            f"{share_text(point['low'])}, {share_text(point['high'])}",
        )
        for point in points.to_dict("records")
    ]
    yield ResultTable(
        title=f"{dataset}: Figure 3, learning from d_det and being fooled",
        columns=("d_det", "attack", "r", "95%"),
        names=2,
        rows=tuple(rows),
        notes=(
            f"Pearson correlation over {points['archs'].iloc[0]} architectures of means over "
            f"{points['seeds'].iloc[0]} seeds; percentile bootstrap over architectures. So few points prove nothing: "
            "the correlation is reported, and no decision depends on it.",
        ),
    )
