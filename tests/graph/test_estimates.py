"""Estimates learned from records: medians, what they fall back to, and that nothing else depends on them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.graph.estimates import Basis, Estimates, learn, learn_from
from nrf_ray.graph.record import COST_FORM, Record, record_of
from nrf_ray.graph.stage import Resources, Stage
from nrf_ray.graph.store import Store
from tests.graph.test_schedule import Shards, shards
from tests.graph.toys import node


def ran(stage: Stage, seconds: float, **provenance: object) -> Record:
    record = record_of(stage, [], {"n": 1}, seconds, "now")
    return replace(record, provenance={**record.provenance, **provenance})


def test_without_records_the_formula_stands():
    stage = node("a", seconds=4)
    assert (Estimates().seconds(stage), Estimates().basis(stage)) == (4, Basis.FORMULA)


def test_the_median_of_the_same_work_counts_and_one_disturbed_run_does_not():
    learned = learn_from([ran(node(str(i), seconds=4), took) for i, took in enumerate((2.0, 2.2, 40.0))])
    assert learned.seconds(node("new", seconds=4)) == pytest.approx(2.2)
    assert learned.basis(node("new", seconds=4)) is Basis.SAME


def test_other_work_is_scaled_by_its_network_and_else_by_its_kind():
    slow = [ran(node(f"s{i}", seconds=1 + i), 3.0 * (1 + i), arch="slow") for i in range(3)]
    fast = [ran(node(f"f{i}", seconds=1 + i), 0.5 * (1 + i)) for i in range(5)]
    learned = learn_from([*slow, *fast])
    new = node("new", seconds=100)
    assert (learned.seconds(new), learned.basis(new)) == (50, Basis.NETWORK)
    only_slow = learn_from(slow)
    assert (only_slow.seconds(new), only_slow.basis(new)) == (300, Basis.KIND)


def test_too_few_records_teach_nothing():
    learned = learn_from([ran(node(str(i), seconds=4), 8.0) for i in range(2)])
    assert learned.basis(node("new", seconds=4)) is Basis.FORMULA


def test_records_of_before_estimates_and_of_pools_teach_nothing():
    records = [ran(node(str(i)), 8.0, expected_seconds=None) for i in range(5)]
    old = [replace(r, provenance={"seconds": 8.0}) for r in records]
    by_other_formulas = [ran(node(str(i)), 8.0, expected_form=COST_FORM - 1) for i in range(5)]
    assert learn_from([*records, *old, *by_other_formulas]).ratios == {}


def test_the_first_stage_of_a_process_teaches_nothing():
    slow = [ran(node(str(i), seconds=4), 9.0, first_of_process=True) for i in range(3)]
    assert learn_from(slow).ratios == {}
    learned = learn_from([*slow, *(ran(node(f"n{i}", seconds=4), 5.0) for i in range(3))])
    assert learned.seconds(node("new", seconds=4)) == 5.0


def test_kinds_without_records_are_estimated_by_the_work_of_all_others():
    other = shards(Shards(name="unknown", num_shards=1, seconds=10))
    light = [ran(node(f"l{i}", seconds=0.05), 1.0) for i in range(9)]
    heavy = [ran(node(f"h{i}", seconds=20), 30.0) for i in range(4)]
    learned = learn_from([*light, *heavy])
    assert (learned.basis(other), learned.seconds(other)) == (Basis.MACHINE, 15)
    assert learn_from(light).basis(other) is Basis.FORMULA, "work of half a second tells nothing of more"
    on_gpu = other.on(Resources(gpus=1), {})
    assert learned.basis(on_gpu) is Basis.FORMULA, "cores tell nothing of GPUs"


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.5, 5)), min_size=3, max_size=9))
def test_what_stands_for_all_kinds_is_a_ratio_that_was_seen_and_splits_the_work(seen):
    records = [ran(node(f"n{i}", seconds=expected), expected * ratio) for i, (ratio, expected) in enumerate(seen)]
    ratio = learn_from(records).seconds(shards(Shards(name="unknown", num_shards=1, seconds=1)))
    told = [(r.seconds / r.provenance["expected_seconds"], r.provenance["expected_seconds"]) for r in records]
    below = sum(weight for one, weight in told if one < ratio)
    above = sum(weight for one, weight in told if one > ratio)
    assert ratio in [one for one, _ in told]
    assert max(below, above) <= sum(weight for _, weight in told) / 2 + 1e-9


def test_a_store_teaches_what_its_machines_have_in_common(store: Store):
    for i in range(4):
        store.commit(ran(node(f"here {i}", seconds=2), 1.0))
        store.commit(ran(node(f"there {i}", seconds=2), 9.0, processor="another"))
    here = record_of(node("here"), [], {}, 1.0, "now").provenance["processor"]
    learned = learn(store, store.contents(), lambda provenance: provenance["processor"] == here)
    assert learned.seconds(node("new", seconds=2)) == 1.0
    there = learn(store, store.contents(), lambda provenance: provenance["processor"] == "another")
    assert there.seconds(node("new", seconds=2)) == 9.0
    assert learn(store, {}, lambda provenance: True).ratios == {}
