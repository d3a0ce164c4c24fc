"""Estimates learned from records: medians, what they fall back to, and that nothing else depends on them."""

from dataclasses import replace

import pytest

from nrf_ray.graph.estimates import Basis, Estimates, learn, learn_from
from nrf_ray.graph.record import Record, record_of
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
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
    assert learn_from([*records, *old]).ratios == {}


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
