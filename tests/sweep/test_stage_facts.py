"""What the config of a trial says of its stage."""

import pytest

from nrf_ray.sweep.stage_facts import FACTS, facts_of_stages


@pytest.fixture(scope="module")
def facts(transfer_grid, tiny_grid):
    """Return the stages of a tiny transfer grid with what is said of them."""
    sweep = transfer_grid(tiny_grid)
    found = facts_of_stages(sweep)
    return [(stage, found[stage.key]) for stage in sweep.stages()]


def test_every_stage_has_every_name_and_values_that_json_holds(facts) -> None:
    for stage, about in facts:
        assert tuple(about) == FACTS
        assert about["kind"] == stage.kind.name
        assert all(value is None or type(value) in (str, int, float) for value in about.values())


def test_a_student_is_told_by_its_set(facts) -> None:
    students = [about for stage, about in facts if about["kind"] == "train" and "data" in stage.inputs]
    assert students
    for about in students:
        assert about["role"] == "student"
        assert about["dataset"] == "digits"
        assert about["training"] == "standard"
        assert about["construction"] not in (None, "d")


def test_a_source_is_trained_on_the_original_data(facts) -> None:
    sources = [about for _, about in facts if about["kind"] == "train" and about["role"] == "source"]
    assert sources
    assert {(about["norm"], about["epsilon"]) for about in sources} == {(None, None)}
    assert {about["training"] for about in sources} == {"standard"}


def test_a_measurement_shares_the_role_of_its_model_and_an_attack_has_its_own_ball(facts) -> None:
    by_key = {stage.key: about for stage, about in facts}
    measured = [(stage, about) for stage, about in facts if "model" in stage.inputs]
    assert measured
    for stage, about in measured:
        model = by_key[stage.inputs["model"].key]
        assert [about[name] for name in ("role", "arch", "training")] == [
            model[name] for name in ("role", "arch", "training")
        ]
    attacks = [(stage, about) for stage, about in facts if hasattr(stage.config, "attack")]
    assert attacks
    for stage, about in attacks:
        threat = stage.config.attack.threat
        assert (about["norm"], about["epsilon"]) == (threat.norm, threat.eps)


def test_seeds_are_those_of_the_replicates(facts, tiny_grid) -> None:
    assert {about["seed"] for _, about in facts} <= set(tiny_grid.seeds)


def test_what_judges_a_set_is_about_the_set(facts) -> None:
    by_key = {stage.key: about for stage, about in facts}
    judged = [(stage, about) for stage, about in facts if {"model", "data"} <= stage.inputs.keys()]
    assert judged
    for stage, about in judged:
        made = by_key[stage.inputs["data"].key]
        assert (about["construction"], about["norm"], about["epsilon"]) == (
            made["construction"],
            made["norm"],
            made["epsilon"],
        )


def test_transfer_is_about_the_victim_and_the_ball_of_the_attack(facts) -> None:
    by_key = {stage.key: about for stage, about in facts}
    tried = [(stage, about) for stage, about in facts if "adversarial" in stage.inputs]
    assert tried
    for stage, about in tried:
        attack, victim = (by_key[stage.inputs[name].key] for name in ("adversarial", "victim"))
        assert (about["norm"], about["epsilon"], about["role"]) == (attack["norm"], attack["epsilon"], victim["role"])


def test_a_set_has_the_bound_of_its_craft(facts) -> None:
    sets = [(stage, about) for stage, about in facts if about["kind"] == "construct"]
    assert sets
    for stage, about in sets:
        assert about["construction"] == stage.config.construction
        assert (about["norm"], about["epsilon"]) == (stage.config.threat.norm, stage.config.threat.eps)
        assert about["role"] is None
