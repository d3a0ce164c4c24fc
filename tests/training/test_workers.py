"""Two processes that train one network: together they do what one does alone, and they go on to the same bits."""

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing, nn

from nrf_ray.attacks.specs import fgsm_rs
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.images import LabelledImages
from nrf_ray.errors import ConfigError
from nrf_ray.stages.weights import new_model
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Augmentation, Recipe
from nrf_ray.training.workers import Replica

DIGITS = dataset_named("digits").ref
PLAIN = {"epochs": 2, "lr": 0.05, "batch_size": 64}
BY_ALL_MEANS = {
    "epochs": 3,
    "lr": 0.05,
    "batch_size": 64,
    "augmentation": Augmentation(pad=1, flip=True),
    "adversary": fgsm_rs("l2", 0.5),
}
"""Everything that is random or has a state of its own: order, views, starts of the attack, BatchNorm, momentum."""


def without_batchnorm():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))


def with_batchnorm():
    return new_model("resnet_s", DIGITS, seed=0)


def trained(build, data, recipe, **more):
    model, reported = build(), []
    curve = fit(model, data, recipe, seed=3, on_epoch=lambda e, snapshot: reported.append(snapshot()), **more)
    return {"weights": model.state_dict(), "curve": curve, "snapshots": reported}


def worker(rank, folder, data):
    """What each of the two processes does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    whole = trained(with_batchnorm, data, Recipe(**BY_ALL_MEANS, workers=2))
    kept = [whole["snapshots"]]
    dist.broadcast_object_list(kept, src=0)
    found = {
        "plain": trained(without_batchnorm, data, Recipe(**PLAIN, workers=2)),
        "whole": whole,
        "resumed": trained(with_batchnorm, data, Recipe(**BY_ALL_MEANS, workers=2), resume=kept[0][0]),
    }
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory, few):
    """Return what the first and the second process found."""
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.start_processes(worker, (str(folder), few), nprocs=2, start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def same(left, right):
    return all(torch.equal(left["weights"][name], right["weights"][name]) for name in left["weights"])


def test_two_workers_do_up_to_rounding_what_one_does_where_nothing_sees_the_batch(few, found):
    alone = trained(without_batchnorm, few, Recipe(**PLAIN))
    together = found[0]["plain"]
    for name, weight in alone["weights"].items():
        torch.testing.assert_close(together["weights"][name], weight, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(alone["weights"]["3.weight"], without_batchnorm().state_dict()["3.weight"], atol=1e-3)
    for ours, theirs in zip(together["curve"], alone["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("name", ["plain", "whole", "resumed"])
def test_both_workers_hold_the_same_network_and_the_first_one_alone_reports(found, name):
    first, second = found[0][name], found[1][name]
    parameters = dict(
        without_batchnorm().named_parameters() if name == "plain" else with_batchnorm().named_parameters()
    )
    assert all(torch.equal(first["weights"][key], second["weights"][key]) for key in parameters)
    assert first["curve"] == second["curve"]
    assert (len(first["snapshots"]), len(second["snapshots"])) == (2 if name != "whole" else 3, 0)


def test_a_resumed_training_of_two_workers_ends_with_the_same_bits(found):
    assert same(found[0]["resumed"], found[0]["whole"])
    assert found[0]["resumed"]["curve"] == found[0]["whole"]["curve"]


def test_the_number_of_workers_counts_where_batchnorm_sees_the_batch(few, found):
    assert not same(trained(with_batchnorm, few, Recipe(**BY_ALL_MEANS)), found[0]["whole"])


def test_workers_share_a_batch_without_rest_and_draw_for_themselves():
    batch = torch.arange(12)
    replicas = [Replica(rank=rank, workers=3) for rank in range(3)]
    assert torch.equal(torch.cat([replica.part(batch) for replica in replicas]), batch)
    assert len({replica.seed(0, "augmentation", 1) for replica in replicas}) == 3
    assert replicas[0].seed(0, "augmentation", 1) == Replica().seed(0, "augmentation", 1)


def test_a_training_of_several_workers_is_refused_where_the_others_are_not(few: LabelledImages):
    with pytest.raises(
        ConfigError, match="a recipe of 2 workers was started in a group of 1; run it as part of a sweep"
    ):
        fit(without_batchnorm(), few, Recipe(**PLAIN, workers=2), seed=0)
