"""Contrasts of the debate: rows, what is shown of them, and when a claim counts as decided."""

from dataclasses import replace

import pytest

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.tables.debate import DEBATE, Contrast, debate_row, verdict
from nrf_ray.tables.registry import result_tables
from nrf_ray.training.recipes import Recipe
from tests.frames import filled
from tests.sweeps import heavy_imports_of_plan, load

DIGITS = dataset_named("digits")
SPEC = TrainSpec(arch="resnet_s", dataset=DIGITS.ref, recipe=Recipe(epochs=1, lr=0.1), seed=0)
ONE, OTHER = (evaluate(EvaluateSpec(dataset=DIGITS.ref), model=train(replace(SPEC, seed=seed))) for seed in range(2))
METRICS = {ONE.key: {"clean_accuracy": 0.6, "n": 360}, OTHER.key: {"clean_accuracy": 0.25, "n": 360}}
BASE = {
    "sweep": "s", "dataset": "digits", "contrast": "a - b", "primary": True, "subject": "resnet_s", "seed": 0,
    "claimed": 0.5, "control": 0.25, "difference": 0.25, "n": 360, "key": "k",
}  # fmt: skip


def row(control):
    contrast = Contrast(text="a - b", primary=True)
    made = debate_row("s", "digits", contrast, "resnet_s", 3, claimed=(ONE, "clean_accuracy"), control=control)
    return made.fill(lambda stage: METRICS[stage.key])


def shown(rows):
    (table,) = result_tables({"debate": filled(DEBATE, rows, BASE)})
    return table


def test_a_row_has_both_sides_and_their_difference():
    values = row((OTHER, "clean_accuracy"))
    assert set(values) == set(DEBATE.column_names())
    assert (values["claimed"], values["control"], values["n"]) == (0.6, 0.25, 360)
    assert values["difference"] == pytest.approx(0.35)
    assert values["key"] == ONE.key


def test_a_control_can_be_a_known_share():
    values = row(0.5)
    assert (values["control"], values["difference"]) == (0.5, pytest.approx(0.1))


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([0.2, 0.21, 0.19, 0.2, 0.22, 0.18], "as claimed"),
        ([-0.2, -0.21, -0.19, -0.2, -0.22, -0.18], "opposite"),
        ([0.2, 0.21, 0.19, 0.2, 0.22], "undecided"),
        ([0.2, -0.21, 0.19, 0.2, -0.22, 0.18], "undecided"),
        ([0.0] * 6, "undecided"),
        ([0.3], "undecided"),
    ],
    ids=["above", "below", "five seeds cannot", "both signs", "no difference", "one seed"],
)
def test_a_claim_is_decided_by_an_interval_and_a_test_that_six_seeds_can_pass(differences, expected):
    assert verdict(differences) == expected


def test_the_primary_contrast_is_shown_first_with_means_over_models():
    seeds = [
        {"seed": seed, "subject": arch, "claimed": 0.4 + shift, "difference": 0.15 + shift}
        for seed in range(6)
        for arch, shift in (("a", 0.0), ("b", 0.2))
    ]
    others = [{**found, "contrast": "c - d", "primary": False, "norm": "l2", "epsilon": 0.5} for found in seeds]
    table = shown([*others, *seeds])
    assert [texts[:3] for texts in table.texts] == [("a - b (primary)", "", "6"), ("c - d", "l2 0.5", "6")]
    assert table.texts[0][3:] == (".500 ± .000", ".250 ± .000", ".250 ± .000", ".031", "as claimed")


@pytest.mark.parametrize("name", ["same_mistake", "learning_from_errors", "just_bugs", "perturbations_alone"])
def test_a_sweep_of_the_debate_has_one_primary_contrast_and_plans_without_torch(name, tmp_path):
    module = load(name)
    sweep = getattr(module, name)(module.FLAGS.grid(module.FLAGS.options()))
    found = [row.facts for row in sweep.rows if row.table is DEBATE]
    primary = {(facts["contrast"], facts["norm"], facts["epsilon"]) for facts in found if facts["primary"]}
    assert len(primary) == 1
    assert {facts["seed"] for facts in found if facts["primary"]} >= set(range(6))
    assert heavy_imports_of_plan(tmp_path / "store", f"discussion/{name}.py") == []


def test_the_same_mistake_is_compared_with_chance_at_the_same_stage():
    module = load("same_mistake")
    sweep = module.same_mistake(module.FLAGS.grid(module.FLAGS.options(preset="smoke")))
    (found,) = (row for row in sweep.rows if row.table is DEBATE)
    assert found.facts["seed"] == 0, "a preset of one seed keeps it"
    sides = {name: (measure.stage.kind.name, measure.metric) for name, measure in found.measures.items()}
    assert sides == {
        "claimed": ("transfer", "same_mistake_rate"),
        "control": ("transfer", "same_by_chance"),
        "n": ("transfer", "n"),
    }
    assert len({measure.stage.key for measure in found.measures.values()}) == 1
    assert found.measures["claimed"].stage.config.targeted is False


def test_a_row_says_its_ball():
    contrast = Contrast(text="a - b")
    made = debate_row(
        "s", "digits", contrast, "x", 0, claimed=(ONE, "n"), control=0.0, threat=ThreatModel(norm="linf", eps=0.1)
    )
    assert (made.facts["norm"], made.facts["epsilon"], made.facts["primary"]) == ("linf", 0.1, False)
