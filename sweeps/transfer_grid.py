"""The transfer grid: do non-robust features teach, and do they explain transfer?

Ilyas et al. 2019, sections 3.2 and 3.3, Tables 1 and 10, Figures 3 and 13.

For every seed a standard model is trained (the source), and training sets are made from it whose new labels only its
non-robust features predict (d_rand, d_det, d_other). Students of five architectures are trained on each and tested on
the untouched test set. Beside each set stands its leakage-only control (leak_...), whose labels a meaningless pattern
predicts. Standard models of the same architectures (victims) meet the source's adversarial test images: an
architecture that learns more from d_det should be fooled more (Figure 3). A robust judge looks at every set.

What it shows on digits, with n and spread, stands in README. Cost: about four minutes on two CPU cores.

    python sweeps/transfer_grid.py                       # the whole grid
    python sweeps/transfer_grid.py --plan                # what would run, why, and what it costs
    python sweeps/transfer_grid.py --preset smoke        # half a minute: does everything run here?
    python sweeps/transfer_grid.py --arch resnet_s,vgg_s --epsilon 0.5,1.0 --seeds 0,1,2,3
"""

from collections.abc import Iterator

from nrf_ray.cli import sweep_main
from nrf_ray.data.catalogue import DatasetInfo, dataset_named
from nrf_ray.graph.stage import Stage
from nrf_ray.rows import ConstructedSet, Model, dataset_row, result_row, robustness_row, transfer_row
from nrf_ray.seeding import derive_seed
from nrf_ray.specs import Recipe, construction_named, pgd_attack
from nrf_ray.stages.attack import AttackSpec, attack
from nrf_ray.stages.construct import ConstructSpec, construct
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.sweep import Grid, Sweep
from nrf_ray.tables import Row
from nrf_ray.threat import ThreatModel

NAME = "transfer_grid"


def transfer_grid(grid: Grid) -> Sweep:
    """Return the sweep over `grid`."""
    return Sweep(NAME, tuple(row for dataset in grid.datasets for row in _rows(grid, dataset_named(dataset))))


def _rows(grid: Grid, dataset: DatasetInfo) -> Iterator[Row]:
    preset = grid.preset
    threats = [ThreatModel(norm=norm, eps=eps) for norm in grid.norms for eps in grid.epsilons]
    judge = _model(dataset, preset.judge_arch, preset.judge, "judge", seed=0)
    yield result_row(NAME, dataset, judge)
    yield from (robustness_row(NAME, dataset, judge, threat, preset.attack_steps) for threat in threats)
    for seed in grid.seeds:
        source = _model(dataset, preset.source_arch, preset.source, "source", seed)
        victims = [_model(dataset, arch, preset.victim, "victim", seed) for arch in grid.archs]
        for model in (source, *victims):
            yield result_row(NAME, dataset, model)
            yield from (robustness_row(NAME, dataset, model, threat, preset.attack_steps) for threat in threats)
        for threat in threats:
            for targeted in (False, True):
                adversarial = _attacked(grid, dataset, source, threat, targeted)
                yield from (transfer_row(NAME, dataset, source, victim, adversarial) for victim in victims)
            for construction in grid.constructions:
                made = _constructed(grid, dataset, source, threat, construction)
                yield dataset_row(NAME, dataset, made, judge.train)
                for arch in _student_archs(grid, construction):
                    student = _model(dataset, arch, preset.student, "student", seed, made.construct)
                    yield result_row(NAME, dataset, student, made)


def _student_archs(grid: Grid, construction: str) -> tuple[str, ...]:
    """Return the architectures to train on a set: all, or for a control the preset's few, if the grid has any."""
    few = tuple(arch for arch in grid.archs if arch in grid.preset.control_archs)
    return few if few and not construction_named(construction).needs_source else grid.archs


def _model(dataset: DatasetInfo, arch: str, recipe: Recipe, role: str, seed: int, data: Stage | None = None) -> Model:
    """Return a model of the replicate `seed`; the same architecture in two roles gets two independent trainings."""
    spec = TrainSpec(arch=arch, dataset=dataset.ref, recipe=recipe, seed=derive_seed(seed, role))
    trained_on = data.label if data else f"{dataset.ref.name}, seed {seed}"
    return Model(train=train(spec, data=data).named(f"{role} {arch} on {trained_on}"), role=role, seed=seed)


def _constructed(
    grid: Grid, dataset: DatasetInfo, source: Model, threat: ThreatModel, construction: str
) -> ConstructedSet:
    """Return one constructed set; a control is made without the source."""
    spec = ConstructSpec(
        dataset=dataset.ref,
        construction=construction,
        attack=pgd_attack(threat.norm, threat.eps, steps=grid.preset.attack_steps, targeted=True),
        seed=derive_seed(source.seed, "construct"),
    )
    made_with = source.train if construction_named(construction).needs_source else None
    made = construct(spec, source=made_with)
    label = f"{construction} {threat.norm} {threat.eps:g} of {dataset.ref.name}, seed {source.seed}"
    return ConstructedSet(construct=made.named(label), source=source.train, seed=source.seed)


def _attacked(grid: Grid, dataset: DatasetInfo, source: Model, threat: ThreatModel, targeted: bool) -> Stage:
    """Return the source's adversarial test images."""
    spec = AttackSpec(
        dataset=dataset.ref,
        attack=pgd_attack(threat.norm, threat.eps, steps=grid.preset.attack_steps, targeted=targeted),
        seed=derive_seed(source.seed, "attack"),
    )
    kind = "targeted" if targeted else "untargeted"
    label = f"{kind} {threat.norm} {threat.eps:g} on {dataset.ref.name}, seed {source.seed}"
    return attack(spec, source=source.train).named(label)


if __name__ == "__main__":
    sweep_main(transfer_grid)
