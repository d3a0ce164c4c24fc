"""How far trainings, constructions and attacks say that they are, while they are at work."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nrf_ray.attacks.functions import FUNCTIONS, AttackFunction
from nrf_ray.attacks.robustness import against, robust_accuracy
from nrf_ray.attacks.specs import FunctionAttack, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.graph.execute import execute
from nrf_ray.graph.headway import Headway, begin, current
from nrf_ray.graph.store import Store
from nrf_ray.stages.construct import CraftShard
from nrf_ray.stages.weights import new_model
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Recipe
from tests.goals import LEAK_RAND
from tests.training.test_fit import DIGITS

RECIPE = Recipe(epochs=3, lr=0.05, batch_size=64)


class Seen(list):
    """A list that a copy of a network shares with it."""

    def __deepcopy__(self, memo: dict[int, object]) -> "Seen":
        return self


SEEN = Seen()


class Watched(nn.Module):
    """A network that notes how far its work is whenever it is called."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seen = SEEN

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(current())
        return self.network(images)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    begin()
    SEEN.clear()


def test_a_training_goes_through_its_epochs_batch_by_batch(few) -> None:
    model, told = Watched(new_model("resnet_s", DIGITS, seed=0)), []
    curve = fit(model, few, RECIPE, seed=0, on_epoch=lambda epoch, snapshot: told.append((epoch, current())))
    batches = len(few) // 64
    assert batches >= 2, "otherwise this shows nothing"
    assert [seen.share for seen in model.seen] == [pytest.approx(n / (3 * batches)) for n in range(3 * batches)]
    assert {(seen.unit, seen.total) for seen in model.seen} == {("epochs", 3)}
    assert [(one.done, one.values) for _, one in told] == [
        (epoch.epoch, {"loss": epoch.loss, "accuracy": epoch.accuracy}) for epoch in curve
    ]
    assert all(one.rate > 0 for _, one in told)
    assert told[-1][1].left == 0
    assert current() is None


def test_a_training_that_resumes_says_what_was_done_before(few) -> None:
    states: list[bytes] = []
    fit(
        new_model("resnet_s", DIGITS, seed=0),
        few,
        RECIPE,
        seed=0,
        on_epoch=lambda epoch, snapshot: states.append(snapshot()),
    )
    told = []
    model = new_model("resnet_s", DIGITS, seed=0)
    fit(model, few, RECIPE, seed=0, resume=states[1], on_epoch=lambda epoch, snapshot: told.append(current()))
    assert [(one.done, one.before) for one in told] == [(3, pytest.approx(2 / 3))]


@pytest.fixture
def grey() -> Callable[[int], tuple[nn.Module, object]]:
    """Return a function that makes a network that is right on n grey images, and these images."""
    from nrf_ray.data.images import LabelledImages

    def make(n: int) -> tuple[nn.Module, LabelledImages]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
        images = torch.full((n, 1, 4, 4), 0.5)
        return Watched(network), LabelledImages(images=images, labels=network(images).argmax(1))

    return make


def test_pgd_goes_through_its_batches(grey) -> None:
    model, data = grey(600)
    robust_accuracy(model, data, pgd_attack("l2", 0.1, steps=2))
    told = [seen for seen in model.seen if seen is not None]
    assert {(seen.unit, seen.total) for seen in told} == {("batches", 3)}
    assert [seen.done for seen in told] == sorted(seen.done for seen in told)
    assert {seen.done for seen in told} == {0, 1, 2}


def test_an_attack_of_ones_own_and_the_pgd_beside_it_are_one_bar(grey, monkeypatch) -> None:
    def still(model, images, labels, threat, generator):
        model(images)
        return images

    monkeypatch.setitem(FUNCTIONS, "still", AttackFunction(run=still, passes=1))
    model, data = grey(300)
    against(model, data, FunctionAttack(function="still", threat=ThreatModel(norm="l2", eps=0.1)))
    told = [seen for seen in model.seen if seen is not None]
    assert {(seen.unit, seen.total) for seen in told} == {("attacks", 2)}
    assert [seen.share for seen in told] == sorted(seen.share for seen in told)
    assert {0.0, 0.25, 0.5, 0.75} <= {seen.share for seen in told}


def test_a_construction_goes_through_its_shards_batch_by_batch(tmp_path, monkeypatch) -> None:
    seen: list[Headway] = []

    class Watching(CraftShard):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            make = self.make

            def watched(rows: slice) -> object:
                seen.append(current())
                return make(rows)

            self.make = watched

    monkeypatch.setattr("nrf_ray.stages.construct.CraftShard", Watching)
    execute(LEAK_RAND, Store.open(str(tmp_path), create=True))
    assert {(told.unit, told.total) for told in seen} == {("shards", 3)}
    assert [told.done for told in seen] == [0, 0, 1, 1, 2, 2]
    assert [told.share for told in seen] == [pytest.approx(n / 6) for n in range(6)]
