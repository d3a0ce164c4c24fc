"""The Gaussian theory: does every theorem of section 4 hold, and what does Figure 4 look like?

Ilyas et al. 2019, section 4 and appendix E, Figures 4 and 14.

For every dimension, radius and seed, the sweep samples a random Gaussian instance and checks every statement on it: the
closed form of robust maximum likelihood against adversarial gradient descent, Theorem 1 against Monte Carlo, Theorem 3
against a search. Figure 4 is drawn with the parameters that can be read off it; the paper states none.

If the printed statement differs from the proved statement, the sweep checks the proved one (see nrf_ray.gaussian). No
model is trained on data. Cost: about 80 core-seconds.

    python sweeps/gaussian_theory.py                                   # every statement, both figures
    python sweeps/gaussian_theory.py --dimension 100 --epsilon 0.25    # other instances
"""

from dataclasses import dataclass

from cyclopts import Parameter

from nrf_ray.cli import sweep_main
from nrf_ray.errors import ConfigError
from nrf_ray.stages import gaussian
from nrf_ray.stages.figures import FigureSpec, figure_4, figure_14
from nrf_ray.stages.gaussian import TheorySpec
from nrf_ray.sweep.axes import axis, check_axes, number, whole
from nrf_ray.sweep.flags import Flags, RunOptions
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Row
from nrf_ray.tables.gaussian_theory import figure_4_rows, figure_14_rows, theory_rows

NAME = "gaussian_theory"
FIGURE_4 = FigureSpec(mean=(10.0, -1.0), variances=(25.0, 0.5), radii=(0.0, 1.0, 10.0), samples=500, seed=0)
FIGURE_14 = FigureSpec(mean=(2.0, 0.2), variances=(0.16, 0.0009), radii=(0.0, 0.5), samples=500, seed=0)


MAX_DIMENSION = 500
"""Largest dimension of a Gaussian instance; its gradient descent takes minutes there."""


@dataclass(frozen=True, kw_only=True)
class TheoryGrid:
    """Axes of a sweep over random Gaussian instances: one instance per combination."""

    dimensions: tuple[int, ...]
    epsilons: tuple[float, ...]
    """Radii below 1, the smallest standard deviation of every instance: for them Theorem 2 is proved."""
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        check_axes(self)
        for dimension in self.dimensions:
            if not 2 <= dimension <= MAX_DIMENSION:
                raise ConfigError(f"--dimension {dimension} is out of range; give 2 to {MAX_DIMENSION}")
        for eps in self.epsilons:
            if not 0 < eps < 1:
                raise ConfigError(
                    f"--epsilon {eps:g}: Theorem 2 holds for eps in (0, eps0), and eps0 = 1 in this sweep"
                )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TheoryOptions(RunOptions):
    """Flags of a sweep over random Gaussian instances. Lists are comma-separated."""

    dimension: str = "2,5,20,50"
    """Dimensions d of x, from 2 to 500."""
    epsilon: str = "0.1,0.5,0.9"
    """Radii of the adversary, between 0 and 1, the smallest standard deviation of the data."""
    seeds: str = "0,1,2"
    """Seeds of the instances."""

    def grid(self) -> TheoryGrid:
        """Return the axes, or raise ConfigError with the allowed range."""
        return TheoryGrid(
            dimensions=axis(self.dimension, lambda text: whole(text, "--dimension"), ()),
            epsilons=axis(self.epsilon, number, ()),
            seeds=axis(self.seeds, whole, ()),
        )


def gaussian_theory(grid: TheoryGrid) -> Sweep:
    """Return the sweep over `grid`, with both figures."""
    rows: list[Row] = []
    for dimension in grid.dimensions:
        for eps in grid.epsilons:
            for seed in grid.seeds:
                spec = TheorySpec(dimension=dimension, eps=eps, seed=seed)
                rows += theory_rows(
                    NAME, gaussian.gaussian_theory(spec).named(f"d {dimension}, eps {eps:g}, seed {seed}")
                )
    figures = figure_4(FIGURE_4).named("Figure 4"), figure_14(FIGURE_14).named("Figure 14")
    rows += figure_4_rows(NAME, figures[0])
    rows += figure_14_rows(NAME, figures[1])
    return Sweep(NAME, tuple(rows), figures)


FLAGS = Flags(options=TheoryOptions, grid=TheoryOptions.grid)

if __name__ == "__main__":
    sweep_main(gaussian_theory, FLAGS)
