"""What planted sets are made to show, on one seed: models use the part that the label goes by, and fall with it."""

from dataclasses import replace

import pytest

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.data.planted import MODALITIES, planted
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.sweep.planted_models import planted_model, preset_of, reader_of, set_of
from nrf_ray.tables.planted import footprint_row, planted_row

EPS = 0.25
"""The default radius of the sweep."""

pytestmark = pytest.mark.slow


def measured(rows, store):
    """Run what `rows` measure here; return them filled, each a dict."""
    assert run_inline([stage for row in rows for stage in row.stages()], store).errors == {}
    return [row.fill(lambda stage: store.artifact(stage).record.metrics) for row in rows]


@pytest.mark.parametrize("modality", MODALITIES)
def test_labels_by_the_noise_part_give_accuracy_that_a_small_ball_destroys(modality, tmp_path):
    store, preset = Store.open(str(tmp_path), create=True), preset_of(modality)
    found = {}
    for label in ("human", "noise"):
        dataset = set_of(planted(modality, label=label))
        model = planted_model(dataset, preset.source_arch, preset.source, seed=0)
        attack, reader = pgd_attack("l2", EPS, steps=20, loss="margin"), reader_of(dataset, preset)
        used, changed = measured([planted_row("t", model), footprint_row("t", model, attack, reader)], store)
        found[label] = {**used, **changed}
    by_noise, by_human = found["noise"], found["human"]
    assert by_noise["clean_accuracy"] >= 0.95
    assert by_noise["robust_accuracy"] <= by_noise["chance"] + 0.2
    assert by_human["clean_accuracy"] >= 0.9
    assert by_human["robust_accuracy"] >= 0.7
    assert by_noise["energy_noise"] > 0.5 > 0.1 > by_noise["energy_human"]
    assert by_human["energy_human"] > 0.4 > 0.15 > by_human["energy_noise"]
    assert (by_noise["follows_noise"] > 0.95, by_human["follows_human"] > 0.95) == (True, True)
    assert by_human["human_alone"] > 0.95
    assert by_noise["nonrobustness"] > 0.3 > 0.1 > by_human["nonrobustness"]


def test_adversarial_training_turns_a_network_from_the_noise_part_to_the_human_part(tmp_path):
    """Both parts always show the label. A resnet_s takes the noise part, which the ball then takes away from it."""
    store, preset = Store.open(str(tmp_path), create=True), preset_of("image")
    dataset = set_of(planted("image", label="both"))
    kinds = {"standard": preset.source, "adversarial": preset.robust_source}
    recipes = {name: replace(recipe, epochs=6, batch_size=128) for name, recipe in kinds.items()}
    models = {name: planted_model(dataset, "resnet_s", recipe, seed=0) for name, recipe in recipes.items()}
    rows = dict(zip(models, measured([planted_row("t", model) for model in models.values()], store), strict=True))
    assert all(row["clean_accuracy"] > 0.95 for row in rows.values())
    assert rows["adversarial"]["follows_human"] > 0.95
    assert rows["standard"]["follows_noise"] > 0.7
