"""Stages on a GPU: where they run, that they repeat to the bit, and that they mean what they mean on a CPU."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import perturbation_norm
from nrf_ray.cluster.run import run_sweep
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.shards import read_shard
from nrf_ray.engine.runtime import prepare
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Resources
from nrf_ray.graph.store import Store
from nrf_ray.stages.attack import AttackSpec, attack
from nrf_ray.stages.construct import construct
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Column, Measure, Row, Table
from nrf_ray.training.recipes import Recipe

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]
DIGITS = dataset_named("digits").ref
CRAFT = pgd_attack("l2", 1.0, steps=5, targeted=True)
TABLE = Table("gpu", "a stage", (Column("key", "string", "key"), Column("n", "int64", "images")))
ADVERSARIAL = Recipe(epochs=2, lr=0.05, adversary=pgd_attack("l2", 0.5, steps=2, targeted=False))


def models() -> Sweep:
    """Return a source, a set of six shards, a student, a robust model, and what is measured of them."""
    recipe = Recipe(epochs=3, lr=0.05)
    source = train(TrainSpec(arch="resnet_s", dataset=DIGITS, recipe=recipe, seed=0)).named("source")
    spec = ConstructSpec(dataset=DIGITS, construction="d_det", craft=CRAFT, seed=3, shard_rows=256, storage="float32")
    data = construct(spec, source=source).named("set")
    student = train(TrainSpec(arch="resnet_s", dataset=DIGITS, recipe=recipe, seed=0), data=data).named("student")
    robust = train(TrainSpec(arch="vgg_s", dataset=DIGITS, recipe=ADVERSARIAL, seed=0)).named("robust")
    goals = [
        *(evaluate(EvaluateSpec(dataset=DIGITS), model=m).named(f"accuracy of {m.label}") for m in (source, student)),
        attack(AttackSpec(dataset=DIGITS, attack=CRAFT, seed=0), source=robust).named("attack on robust"),
    ]
    return Sweep("gpu", tuple(Row(table=TABLE, facts={"key": s.key}, measures={"n": Measure(s, "n")}) for s in goals))


def made_by(sweep: Sweep, store: Store) -> dict[str, object]:
    """Return digests and metrics of all stages by label."""
    records = {stage.label: store.artifact(stage).record for stage in sweep.stages()}
    return {label: (record.files, record.metrics) for label, record in records.items()}


def inline(sweep: Sweep, folder: Path) -> Store:
    store = Store.open(str(folder), create=True)
    frontier = run_inline(sweep.goals, store)
    assert set(frontier.state.values()) == {Progress.DONE}, frontier.errors
    return store


def test_on_a_gpu_stages_repeat_to_the_bit(tmp_path: Path) -> None:
    sweep = models().on(Resources(gpus=1))
    first, second = (inline(sweep, tmp_path / name) for name in ("first", "second"))
    assert made_by(sweep, first) == made_by(sweep, second)
    assert {first.artifact(stage).record.provenance["device"] for stage in sweep.stages()} == {"cuda"}


def test_a_gpu_and_a_cpu_agree_in_what_they_mean(tmp_path: Path) -> None:
    """Bits differ, since sums are taken in another order; targets and indices do not, nor do accuracies by much."""
    on_cpu, on_gpu = models(), models().on(Resources(gpus=1))
    cpu, gpu = inline(on_cpu, tmp_path / "cpu"), inline(on_gpu, tmp_path / "gpu")
    stages = {stage.label: stage for stage in on_cpu.stages()}
    for label in ("accuracy of source", "accuracy of student"):
        found = [float(store.artifact(stages[label]).record.metrics["clean_accuracy"]) for store in (cpu, gpu)]
        # 360 test images: four standard errors of a difference of two shares near 0.9 are 0.09.
        assert abs(found[0] - found[1]) < 0.09, label
    sets = [[read_shard(s.artifact(stages["set"]).read(f"part-{i:05}.parquet")) for i in range(6)] for s in (cpu, gpu)]
    for ours, theirs in zip(*sets, strict=True):
        for column in ("index", "label", "true_label", "seed"):
            assert torch.equal(ours.columns[column], theirs.columns[column]), column


def test_what_is_crafted_on_a_gpu_stays_in_the_ball(tmp_path: Path) -> None:
    sweep = models().on(Resources(gpus=1))
    store = inline(sweep, tmp_path / "store")
    made = store.artifact(next(stage for stage in sweep.stages() if stage.label == "set"))
    from nrf_ray.data.load import train_split

    originals = train_split(DIGITS).floats()
    shards = [read_shard(made.read(name)) for name in made.names()]
    images = torch.cat([shard.images for shard in shards]).float()
    assert images.min() >= 0
    assert images.max() <= 1
    assert perturbation_norm(images - originals, "l2").max() <= 1.0 + 1e-5


def test_two_stages_share_a_gpu_under_ray_and_give_the_same_bits(tmp_path: Path) -> None:
    sweep = models().on(Resources(gpus=0.5))
    alone = inline(models().on(Resources(gpus=1)), tmp_path / "alone")
    store = Store.open(str(tmp_path / "shared"), create=True)
    console, log = Console(file=io.StringIO(), width=200), tmp_path / "logs" / "ray.log"
    outcome = run_sweep(sweep, make_plan(sweep.goals, store), store, address=None, log=log, console=console)
    assert set(outcome.frontier.state.values()) == {Progress.DONE}, json.dumps(outcome.frontier.errors)
    assert outcome.slots >= 2 or torch.cuda.device_count() == 0
    assert made_by(sweep, store) == made_by(sweep, alone)


def test_the_device_comes_from_the_request(tmp_path: Path) -> None:
    assert prepare(Resources(gpus=0)) == "cpu", "also where a GPU could be seen"
    assert prepare(Resources(gpus=0.25)) == "cuda"
