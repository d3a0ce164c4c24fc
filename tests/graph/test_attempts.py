"""Attempts: those that were lost are counted, and nothing is written where none was."""

from pathlib import Path

from nrf_ray.graph.attempts import lost_attempts, note_lost
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from tests.graph import toys
from tests.graph.toys import chain, refuse, tree


def test_a_run_without_a_fault_leaves_no_note(store: Store, ran: list[str]):
    run_inline([chain("a", "b")[-1]], store)
    assert lost_attempts(store) == {}
    assert not [name for name in tree(Path(store.uri)) if name.startswith("attempts/")]


def test_attempts_that_raised_are_counted_over_runs(store: Store, ran: list[str]):
    a, b = chain("a", "b")
    toys.HOOKS["b"] = refuse
    run_inline([b], store)
    run_inline([b], store)
    toys.HOOKS.clear()
    run_inline([b], store)
    assert lost_attempts(store) == {b.key: 2}
    assert list(store.places()) == list(Store.open(store.uri, create=False).places())
    assert {place.stage for place in store.places()} == {a.kind.name}, "notes are no artifacts"


def test_a_damaged_note_counts_as_none(store: Store):
    (a,) = chain("a")
    note_lost(store, a)
    (name,) = [blob.name for blob in store.blobs.under("attempts")]
    store.blobs.replace(name, b'{"lost": "many"}')
    assert lost_attempts(store) == {a.key: 0}
    note_lost(store, a)
    assert lost_attempts(store) == {a.key: 1}
