"""What is handed out and when, on clusters that do not exist: slots, pools, and what waits for them."""

from collections.abc import Iterator

import pytest

from nrf_ray.cluster.capacity import Capacity, Node
from nrf_ray.cluster.search import StageSearcher
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from tests.cluster.toys import Toy, toy, wide


@pytest.fixture
def leases(tmp_path) -> Iterator[Leases]:
    with Leases(Store.open(str(tmp_path / "store"), create=True)) as held:
        yield held


def searcher(leases: Leases, stages: list[Stage], cpus: int, tmp_path) -> StageSearcher:
    store = Store.open(str(tmp_path / "store"), create=False)
    return StageSearcher(Frontier(stages), store, leases, Capacity(lambda: {"a node": Node(cpus, 0)}))


def test_as_many_are_handed_out_as_can_run_and_a_few_more(leases: Leases, tmp_path):
    stages = [toy(Toy(name=str(i), seconds=1)) for i in range(30)]
    search = searcher(leases, stages, 8, tmp_path)
    given = [search.suggest(str(i)) for i in range(12)]
    assert sum(config is not None for config in given) == 8 + 2


def test_nothing_is_handed_out_while_a_pool_waits_and_then_another_pool_may(leases: Leases, tmp_path):
    sets = [wide(Toy(name=f"set {i}", num_shards=4)) for i in range(2)]
    others = [toy(Toy(name=str(i), seconds=0.5)) for i in range(8)]
    search = searcher(leases, [*sets, *others], 8, tmp_path)
    first = search.suggest("first")
    assert isinstance(first, dict)
    assert (first["key"], first["actors"]) == (sets[0].key, 4)
    assert search.suggest("not yet") is None
    search.started("first")
    second = search.suggest("second")
    assert isinstance(second, dict)
    assert (second["key"], second["actors"]) == (sets[1].key, 4)
    search.started("second")
    # Both pools hold all 8 slots; two more stages may be prepared.
    assert [search.suggest(f"more {i}") is not None for i in range(3)] == [True, True, False]


def test_a_set_that_is_one_of_many_gets_no_pool(leases: Leases, tmp_path):
    sets = [wide(Toy(name=f"set {i}", num_shards=2)) for i in range(20)]
    search = searcher(leases, [*sets, toy(Toy(name="long", seconds=9))], 2, tmp_path)
    search.suggest("long")
    config = search.suggest("set")
    assert isinstance(config, dict)
    assert config["actors"] == 0
