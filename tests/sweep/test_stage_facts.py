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
    for stage, about in facts:
        if "model" in stage.inputs:
            model = by_key[stage.inputs["model"].key]
            assert (about["role"], about["arch"], about["seed"] is None) == (model["role"], model["arch"], False)
    attacks = [(stage, about) for stage, about in facts if hasattr(stage.config, "attack")]
    assert attacks
    for stage, about in attacks:
        threat = stage.config.attack.threat
        assert (about["norm"], about["epsilon"]) == (threat.norm, threat.eps)


def test_a_set_has_the_bound_of_its_craft(facts) -> None:
    sets = [(stage, about) for stage, about in facts if about["kind"] == "construct"]
    assert sets
    for stage, about in sets:
        assert (about["construction"], about["seed"]) == (stage.config.construction, stage.config.seed)
        assert (about["norm"], about["epsilon"]) == (stage.config.threat.norm, stage.config.threat.eps)
        assert about["role"] is None
