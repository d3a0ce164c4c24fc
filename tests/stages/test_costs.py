"""Costs of stages: by hand for known sizes, growing with the work, and the same work on any number of workers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from nrf_ray.attacks.specs import Attack, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.data.catalogue import DatasetRef, dataset_named
from nrf_ray.errors import ConfigError
from nrf_ray.graph.estimates import Estimates
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Resources, Stage, walk
from nrf_ray.graph.store import Store
from nrf_ray.models.catalogue import ARCHITECTURES
from nrf_ray.run.forecast import Grounds, forecast
from nrf_ray.run.machine import Machine, machine_named
from nrf_ray.run.overheads import Overheads
from nrf_ray.stages import (
    errors_of,
    figures,
    gaussian,
    labelled_by,
    leakage,
    perturbed,
    phase,
    relabel,
    reliance,
    shuffled,
    squares,
    usefulness,
    wrong_points,
)
from nrf_ray.stages.attack import AttackSpec, attack
from nrf_ray.stages.construct import construct
from nrf_ray.stages.devices import DEVICES, gpu_of, is_model
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.import_weights import ImportSpec, import_weights
from nrf_ray.stages.judge import JudgeSpec, judge
from nrf_ray.stages.robustness import RobustnessSpec, robustness
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.stages.transfer import TransferSpec, transfer
from nrf_ray.stages.trust import TrustSpec, trust
from nrf_ray.stages.validate import ValidateSpec, validate
from nrf_ray.training.recipes import Recipe
from tests.golden.pin import KINDS

PGD = pgd_attack("l2", 0.5, steps=20)
DIGITS = dataset_named("digits").ref
BALL = ThreatModel(norm="l2", eps=0.5)


def planted(train_rows: int, test_rows: int) -> DatasetRef:
    return dataset_named(f"planted-image[train={train_rows},test={test_rows}]").ref


def stages_of(dataset: DatasetRef, arch: str) -> Iterator[Stage]:
    """Yield a stage of every kind that works on a dataset, inputs first, with networks `arch`."""
    recipe = Recipe(epochs=3, lr=0.1)
    model = train(TrainSpec(arch=arch, dataset=dataset, recipe=recipe, seed=0))
    targeted = replace(PGD, targeted=True)
    made = construct(ConstructSpec(dataset=dataset, construction="d_rand", craft=targeted, seed=0), source=model)
    student = train(TrainSpec(arch=arch, dataset=dataset, recipe=recipe, seed=0, holdout=0.1), data=made)
    adversarial = attack(AttackSpec(dataset=dataset, attack=PGD, seed=0), source=model)
    yield from (model, made, student, adversarial)
    yield evaluate(EvaluateSpec(dataset=dataset), model=model)
    yield judge(JudgeSpec(), data=made, model=model)
    yield transfer(TransferSpec(targeted=False), victim=student, adversarial=adversarial)
    yield validate(ValidateSpec(dataset=dataset, holdout=0.1), model=student, data=made)
    yield robustness(RobustnessSpec(dataset=dataset, attack=PGD), model=model)
    yield trust(TrustSpec(dataset=dataset, attack=PGD, examples=10_000), model=model)
    yield usefulness.usefulness(usefulness.UsefulnessSpec(dataset=dataset, attack=PGD, useful_from=0.1), model=model)
    yield leakage.network_leakage(leakage.NetworkLeakageSpec(dataset=dataset), model=model, data=made)
    yield reliance.reliance(reliance.RelianceSpec(dataset=dataset), model=model)
    yield reliance.footprint(reliance.FootprintSpec(dataset=dataset, attack=PGD), model=model, reader=student)
    yield relabel.relabel(relabel.RelabelSpec(dataset=dataset, part="human"), reader=model)
    yield errors_of.errors_of(errors_of.ErrorsSpec(dataset=dataset), labeller=model)
    carried = labelled_by.LabelledSpec(dataset=DIGITS, carrier=dataset)
    digits = train(TrainSpec(arch=arch, dataset=DIGITS, recipe=recipe, seed=0))
    yield labelled_by.labelled_by(carried, labeller=digits)
    spec = perturbed.PerturbedSpec(dataset=dataset, attack=targeted, targets="next", seed=0)
    yield perturbed.perturbed(spec, source=model, other_1=student)


def without_networks(dataset: DatasetRef, weights: str) -> Iterator[Stage]:
    """Yield stages whose cost depends on a dataset or on a file alone."""
    yield leakage.linear_leakage(leakage.LinearLeakageSpec(dataset=dataset, train_threat=BALL, ball=BALL))
    made = relabel.relabel(relabel.RelabelSpec(dataset=dataset, part="noise"))
    yield from (made, shuffled.shuffled(shuffled.ShuffledSpec(dataset=dataset, seed=0), data=made))
    spec = ImportSpec(arch="vgg_s", dataset=dataset, training="standard", sha256="", location=weights)
    yield import_weights(spec)


OTHERS: dict[str, tuple[Callable[[], Stage], Callable[[], Stage]]] = {
    "gaussian_theory": (
        lambda: gaussian.gaussian_theory(gaussian.TheorySpec(dimension=10, eps=0.5, seed=0)),
        lambda: gaussian.gaussian_theory(gaussian.TheorySpec(dimension=99, eps=0.5, seed=0)),
    ),
    **{
        kind.name: (lambda kind=kind: kind(figure(100)), lambda kind=kind: kind(figure(1000)))
        for kind in (figures.figure_4, figures.figure_14)
    },
    "phase_diagram": (lambda: diagram(2), lambda: diagram(20)),
    "squares": tuple(partial(squares.squares, squares.SquaresSpec(train=n, seed=0)) for n in (100, 1000)),
    "wrong_points": tuple(
        partial(wrong_points.wrong_points, wrong_points.WrongPointsSpec(steps=n, seed=0)) for n in (100, 1000)
    ),
}
"""A small and a larger stage of each kind whose size is its own."""


def figure(samples: int) -> figures.FigureSpec:
    return figures.FigureSpec(mean=(1.0, 0.0), variances=(1.0, 1.0), radii=(0.0, 0.5), samples=samples, seed=0)


def diagram(points: int) -> Stage:
    model = train(TrainSpec(arch="vgg_s", dataset=planted(100, 100), recipe=Recipe(epochs=1, lr=0.1), seed=0))
    seen = reliance.reliance(reliance.RelianceSpec(dataset=planted(100, 100)), model=model)
    names = tuple(f"m{i}" for i in range(points))
    cell = phase.Cell(p_noise=0.5, noise=0.1, models=names)
    panel = phase.PhasePanel(modality="image", arch="vgg_s", p_human=0.9, cells=(cell,))
    return phase.phase_diagram(phase.PhaseSpec(panels=(panel,)), **dict.fromkeys(names, seen))


def test_the_stages_here_are_of_every_kind():
    small = planted(200, 100)
    seen = {stage.kind.name for stage in (*stages_of(small, "vgg_s"), *without_networks(small, ""))}
    assert seen | set(OTHERS) == {kind.name for kind in KINDS}


def test_ten_times_the_rows_cost_up_to_ten_times_as_much():
    """A part of the cost does not grow; a stage whose cost does not grow at all was forecast by a constant."""
    few, many = ((*stages_of(planted(n, n), "resnet_m"), *without_networks(planted(n, n), "")) for n in (2000, 20_000))
    for small, large in zip(few, many, strict=True):
        if small.kind.name != "import_weights":
            assert 3 < large.cost() / small.cost() <= 10.0001, small.kind.name


def test_a_network_with_more_multiply_adds_costs_more():
    one, two = (list(stages_of(planted(2000, 2000), arch)) for arch in ("resnet_s", "resnet50"))
    for small, large in zip(one, two, strict=True):
        assert large.cost() > 20 * small.cost(), small.kind.name


def test_stages_without_rows_cost_by_their_own_sizes(tmp_path):
    for small, large in OTHERS.values():
        assert small().cost() < large().cost()
    path = tmp_path / "weights"
    costs = []
    for size in (10, 10**8):
        path.touch()
        with path.open("r+b") as file:
            file.truncate(size)
        costs.append(list(without_networks(planted(100, 100), str(path)))[-1].cost())
    assert costs[1] - costs[0] == pytest.approx(1.0, rel=0.01)


def test_a_prediction_of_ten_thousand_images_by_a_resnet50_takes_minutes_on_a_core():
    """Regression: .05 s were forecast. 1.05 G multiply-adds of 16 pixels, a third of a training step, by hand."""
    model = next(stages_of(planted(100, 10_000), "resnet50"))
    macs = ARCHITECTURES["resnet50"].macs(16, 16)
    expected = 0.05 + 10_000 * macs / 4.5e10 + 10_000 / 256 * 2.56e-3 / 3
    assert evaluate(EvaluateSpec(dataset=model.config.dataset), model=model).cost() == pytest.approx(expected)
    assert expected > 60


def test_a_set_is_read_by_whoever_trains_on_it():
    dataset, recipe = planted(4000, 100), Recipe(epochs=10, lr=0.1)
    spec = TrainSpec(arch="resnet_s", dataset=dataset, recipe=recipe, seed=0)
    model = train(spec)
    of_tests = ConstructSpec(dataset=dataset, construction="d_det", craft=replace(PGD, targeted=True), seed=0)
    on_all = train(spec, data=construct(of_tests, source=model))
    on_test = train(spec, data=construct(replace(of_tests, split="test"), source=model))
    assert on_all.cost() == model.cost()
    assert on_test.cost() < model.cost() / 5, "the set has 100 rows, not 4000"


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_the_catalogue_knows_the_number_of_units(arch):
    import torch

    from nrf_ray.models.zoo import BUILDERS

    known = ARCHITECTURES[arch]
    with torch.device("meta"):
        assert BUILDERS[arch](*((10, 32) if known.reads == "texts" else (3, 32)))[1] == known.units


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
@pytest.mark.parametrize("on", ["16xcpu", "8xa100"])
def test_the_work_is_the_same_on_any_number_of_workers_and_the_time_is_less(tmp_path, workers, on):
    """Regression: 4 workers were said to need 19 GPU-hours in place of 65."""
    store = Store.open(str(tmp_path / "store"), create=True)
    machine = machine_named(on, Resources())
    alone, together = (planned(store, machine, number) for number in (1, workers))
    device = machine.resources.device
    assert together.plan.seconds(device) == pytest.approx(alone.plan.seconds(device), rel=0.01)
    one, several = (forecast(grounds, machine.slots) for grounds in (alone, together))
    assert several.work == pytest.approx(one.work, rel=0.01)
    assert several.kinds["train"].seconds == pytest.approx(one.kinds["train"].seconds, rel=0.01)
    assert several.wall == pytest.approx(one.wall / workers, rel=0.01)
    assert several.bound <= several.wall


def planned(store: Store, machine: Machine, workers: int) -> Grounds:
    """Return the plan of one long training by `workers` workers."""
    recipe = Recipe(epochs=500, lr=0.1, workers=workers)
    handle = train(TrainSpec(arch="resnet18", dataset=planted(50_000, 100), recipe=recipe, seed=0))
    estimates = Estimates(formula=machine.seconds)
    plan = make_plan([handle.on(machine.resources, {})], store, cost=estimates.seconds)
    return Grounds(plan=plan, estimates=estimates, overheads=Overheads(start=0, first=0, end=0))


def test_all_gpus_that_a_stage_holds_count(tmp_path):
    store = Store.open(str(tmp_path / "store"), create=True)
    machines = [machine_named("8xa100", Resources(gpus=gpus)) for gpus in (0.5, 1, 2)]
    one, other, both = (planned(store, machine, 1).plan.seconds("cuda") for machine in machines)
    assert one == other == both / 2


@pytest.mark.parametrize("name", [name for name, device in DEVICES.items() if device.on_gpu])
def test_a_stage_costs_by_the_peak_of_the_named_gpu(name):
    handle = train(TrainSpec(arch="resnet50", dataset=planted(10_000, 10), recipe=Recipe(epochs=90, lr=0.1), seed=0))
    machine = machine_named(f"8x{name}", Resources())
    steps, macs = 90 * 10_000, ARCHITECTURES["resnet50"].macs(16, 16)
    by_hand = 0.25 + steps * (2.56e-3 / 128 + 3 * macs / DEVICES[name].float32)
    on_gpu = handle.on(machine.resources, {})
    assert machine.seconds(on_gpu) == pytest.approx(by_hand)
    assert on_gpu.cost() == machine_named("1xa100", Resources()).seconds(on_gpu), "records state the reference"
    fast = train(replace(handle.config, recipe=replace(handle.config.recipe, mode="fast")))
    if DEVICES[name].bfloat16 is None:
        with pytest.raises(ConfigError, match=f"bfloat16, which a {name} does not have"):
            machine.seconds(fast.on(machine.resources, {}))
    else:
        assert machine.seconds(fast.on(machine.resources, {})) <= by_hand


def test_data_sheets_as_they_are_published():
    """A few figures by hand, in TFLOP/s: float32, and bfloat16 without sparsity."""
    sheets = {"a100": (19.5, 312), "h100": (67, 989.5), "l4": (30.3, 121), "t4": (8.1, None), "mi300x": (163.4, 1307.4)}
    for name, (float32, bfloat16) in sheets.items():
        device = DEVICES[name]
        assert device.float32 == pytest.approx(float32 * 1e12 * 0.57 / 2)
        assert device.bfloat16 == (bfloat16 and pytest.approx(bfloat16 * 1e12 * 0.19 / 2))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA B200", "b200"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA A10G", "a10g"),
        ("Tesla V100-SXM2-16GB", "v100"),
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA GeForce RTX 5090", "rtx5090"),
        ("AMD Instinct MI300X", "mi300x"),
        ("NVIDIA L40", None),
        ("NVIDIA A10", None),
        ("NVIDIA GH200 480GB", None),
        ("Tesla K80", None),
    ],
)
def test_a_gpu_is_known_by_the_name_that_its_driver_gives(model, name):
    found = gpu_of(["Tesla K80", model])
    assert (found.name if found else None) == name
    assert [known for known in DEVICES if is_model(known, model)] == ([name] if name else [])


def test_a_mode_is_costed_by_its_own_rate():
    attack_ = Attack(threat=BALL, steps=10, step_size=0.1, mode="fast")
    model = next(stages_of(planted(1000, 1000), "resnet50"))
    spec = RobustnessSpec(dataset=model.config.dataset, attack=attack_)
    fast, faithful = (
        robustness(replace(spec, attack=replace(attack_, mode=mode)), model=model).cost()
        for mode in ("fast", "faithful")
    )
    assert 1.4 < faithful / fast < 1.6, "bfloat16 on a core is 1.6 times as fast; what it finds is judged in float32"


def test_every_stage_of_a_walk_has_a_cost():
    assert all(stage.cost() > 0.05 for stage in walk(list(stages_of(planted(100, 50), "densenet_s"))))
