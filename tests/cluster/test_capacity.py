"""What a cluster can run: counted node by node, GPU by GPU, and anew whenever it has changed."""

import pytest

from nrf_ray.cluster.capacity import Capacity, Cluster, Node
from nrf_ray.errors import ClusterError
from nrf_ray.graph.stage import Resources

MIXED = Cluster({"large": Node(4, 1), "small": Node(2, 0)})


@pytest.mark.parametrize(
    ("request_", "slots"),
    [
        pytest.param(Resources(cpus=1), 6, id="one CPU"),
        pytest.param(Resources(cpus=4), 1, id="no node is cut in two"),
        pytest.param(Resources(cpus=1, gpus=0.5), 2, id="two share a GPU"),
        pytest.param(Resources(cpus=1, gpus=2), 0, id="two GPUs are nowhere"),
    ],
)
def test_slots_are_counted_node_by_node(request_: Resources, slots: int) -> None:
    assert MIXED.slots(request_) == slots


@pytest.mark.parametrize(
    ("gpus", "slots"),
    # Regression: 1 // 0.1 is 9 and 1 // 0.2 is 4 in floating point, and a slot of every GPU was never used.
    [(0.1, 40), (0.2, 20), (0.25, 16), (0.3333, 12), (1 / 3, 12), (0.5, 8), (1, 4), (2, 2), (3, 1), (4, 1), (5, 0)],
)
def test_shares_fill_each_gpu_and_are_never_spread_over_two(gpus: float, slots: int) -> None:
    assert Node(cpus=64, gpus=4).slots(Resources(cpus=1, gpus=gpus)) == slots


def test_a_request_that_no_node_can_meet_names_what_there_is() -> None:
    with pytest.raises(ClusterError, match=r"asks for 1 CPUs and 2 GPUs.*largest: 4 CPUs and 1 GPUs.*--gpus-per-trial"):
        MIXED.check_can_meet(Resources(cpus=1, gpus=2))


def test_gpus_on_a_cluster_without_any_are_refused_for_that_reason() -> None:
    with pytest.raises(ClusterError, match=r"no GPU on any of its 2 nodes; leave --gpus-per-trial out"):
        Cluster({"a": Node(4, 0), "b": Node(2, 0)}).check_can_meet(Resources(gpus=0.25))


def test_nodes_that_come_and_go_are_noticed() -> None:
    nodes, time = {"a": Node(2, 0)}, [0.0]
    capacity = Capacity(lambda: nodes, lambda: time[0])
    nodes["b"] = Node(4, 0)
    assert capacity.now().slots(Resources()) == 2, "a look is not repeated at once"
    time[0] = 5.0
    assert capacity.now().slots(Resources()) == 6
    del nodes["a"]
    time[0] = 6.0
    assert capacity.lost_a_node_since(5.5)
    assert capacity.now().slots(Resources()) == 4
    time[0] = 7.0
    assert not capacity.lost_a_node_since(6.5)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (
            None,
            "no Ray at this machine: the raylet took too long; its logs are in /.*/session_latest/logs, and `nrf",
        ),
        ("10.0.0.1:6379", "no Ray at 10.0.0.1:6379: the raylet took too long; if it runs with token authentication"),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(
    address: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: on a machine that was busy for half a minute Ray raises a plain Exception, which was a traceback."""
    from nrf_ray.cluster import session

    def init(**_: object) -> None:
        raise Exception("the raylet took too long\nand so on")

    monkeypatch.setattr(session.ray, "init", init)
    monkeypatch.setattr(session, "check_can_start", lambda: None)
    monkeypatch.setattr(session, "make_token", lambda: None)
    with pytest.raises(ClusterError, match=f"^{words}"), session.connect(address):
        pass
