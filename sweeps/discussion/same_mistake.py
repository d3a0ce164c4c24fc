"""Same mistake or different: do models that adversarial images fool together predict the same wrong class?

Waseda et al. 2021, "Closer Look at the Transferability of Adversarial Examples: How They Fool Different Models
Differently" (2112.14337).

If adversarial images move other models because they contain features of a class, these models should predict the class
that the source predicts. For every seed, the sweep attacks a standard source and counts, for victims of five
architectures, images on which both predict the same wrong class. Digits have classes that every model confuses, so its
control is the number expected if, within each label, the victim's wrong classes were matched with the source's at
random.

Primary contrast, fixed before the first run: same_mistake_rate - same_by_chance, untargeted, at the first radius, mean
over architectures. Cost: two minutes on two CPU cores.

    python sweeps/discussion/same_mistake.py
    python sweeps/discussion/same_mistake.py --epsilon 0.5,1.0 --seeds 0,1,2
    python sweeps/discussion/same_mistake.py --preset cifar10 --plan
"""

from collections.abc import Iterator

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.cli import sweep_main
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.presets import Preset
from nrf_ray.sweep.axes import seeds_to_decide
from nrf_ray.sweep.flags import of_models
from nrf_ray.sweep.given_models import source_of, victims_of
from nrf_ray.sweep.grid import Axes, Grid
from nrf_ray.sweep.models_and_sets import attacked
from nrf_ray.sweep.sweep import Sweep, over_datasets
from nrf_ray.sweep.table import Row
from nrf_ray.tables.debate import Contrast, debate_row
from nrf_ray.tables.trained_models import result_row
from nrf_ray.tables.transfer import transfer_row

NAME = "same_mistake"
TEXT = "same mistake as the source's, untargeted - the same by chance within labels"


def axes(preset: Preset) -> Axes:
    """Return the default axes: six seeds."""
    return {"seeds": seeds_to_decide(preset.seeds)}


def same_mistake(grid: Grid) -> Sweep:
    """Return the sweep over `grid`."""
    grid.refuse(
        NAME,
        storages="its images are stored as uint8",
        attacks="it attacks with PGD",
        extra_tests="nonrobust_features tests on them",
        given_judges="no judge takes part",
    )
    return over_datasets(NAME, grid, _rows)


def _rows(grid: Grid, dataset: DatasetInfo) -> Iterator[Row]:
    preset = grid.preset
    threats = [ThreatModel(norm=norm, eps=eps) for norm in grid.norms for eps in grid.epsilons]
    for seed in grid.seeds:
        source = source_of(grid, dataset, preset.source_arch, preset.source, seed, of_any_kind=True)
        victims = victims_of(grid, dataset, grid.archs, preset.victim, seed)
        yield from (result_row(NAME, dataset, model) for model in (source, *victims))
        for threat in threats:
            for targeted in (False, True):
                adversarial = attacked(dataset, source, threat, preset, targeted=targeted)
                for victim in victims:
                    row = transfer_row(NAME, dataset, source, victim, adversarial)
                    yield row
                    if not targeted:
                        tried = row.measures["n"].stage
                        yield debate_row(
                            NAME,
                            dataset.ref.name,
                            Contrast(text=TEXT, primary=threat == threats[0]),
                            victim.arch,
                            seed,
                            claimed=(tried, "same_mistake_rate"),
                            control=(tried, "same_by_chance"),
                            threat=threat,
                        )


FLAGS = of_models(axes)

if __name__ == "__main__":
    sweep_main(same_mistake, FLAGS)
