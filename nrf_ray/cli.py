"""The command line: one parser for every sweep file, and `nrf` to look into a store.

    python sweeps/transfer_grid.py --arch resnet_s,vgg_s --epsilon 1.0,1.5 --seeds 0,1,2

A mistake of the user's is one line on stderr and exit code 2; stages that failed are exit code 1; Ctrl-C is 130.
Neither ray nor torch is imported before something has to run.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.text import Text

from nrf_ray.errors import ConfigError, NrfError, lookup
from nrf_ray.presets import PRESETS
from nrf_ray.sweep import Grid, Sweep
from nrf_ray.threat import NORMS

INTERRUPTED = 130


def split(text: str) -> tuple[str, ...]:
    """Return the values of a list by comma."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def number(text: str) -> float:
    """Return a number, also one written as a fraction (8/255)."""
    try:
        return float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"--epsilon {text!r} is no number; write it as 1.5 or 8/255") from error


def whole(text: str) -> int:
    """Return a whole number."""
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"--seeds {text!r} is no whole number; write seeds as 0,1,2") from error


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of every sweep file. Lists are by comma; what is left out comes from the preset."""

    preset: str = "laptop"
    """Default axes and recipes: laptop, or smoke to see in half a minute whether all is well."""
    dataset: str | None = None
    """Datasets."""
    arch: str | None = None
    """Architectures of students and victims."""
    construction: str | None = None
    """Constructions of training sets."""
    norm: str | None = None
    """Norms of the threat model: l2, linf."""
    epsilon: str | None = None
    """Radii in pixel units of [0, 1]; fractions such as 8/255 are fine."""
    seeds: str | None = None
    """Seeds of the replicates, as in 0,1,2."""
    store: str = "./runs"
    """Where everything is kept: a folder, or a URI such as s3://bucket/runs."""
    address: str | None = None
    """Ray cluster to join (auto, or HOST:6379); without it, or RAY_ADDRESS, Ray runs on this machine."""
    gpus_per_trial: float = 0.0
    """GPUs that every stage gets, whole or a share of one; 0 runs on CPUs."""
    plan: Annotated[bool, Parameter(negative=())] = False
    """Print every stage with its state, the reason and the expected cost, and stop."""

    def grid(self) -> Grid:
        """Return the axes, or raise ConfigError with the names that are known."""
        preset = lookup(PRESETS, self.preset, "preset")
        norms = split(self.norm) if self.norm is not None else preset.norms
        return Grid(
            preset=preset,
            datasets=split(self.dataset) if self.dataset is not None else preset.datasets,
            archs=split(self.arch) if self.arch is not None else preset.archs,
            constructions=split(self.construction) if self.construction is not None else preset.constructions,
            norms=tuple(lookup({known: known for known in NORMS}, norm, "norm") for norm in norms),
            epsilons=tuple(map(number, split(self.epsilon))) if self.epsilon is not None else preset.epsilons,
            seeds=tuple(map(whole, split(self.seeds))) if self.seeds is not None else preset.seeds,
        )


def sweep_main(build: Callable[[Grid], Sweep]) -> None:
    """Run the sweep file that defines `build` by the flags in sys.argv, and exit."""
    app = App(name=f"{build.__name__}.py", help=_help(build), version_flags=[], result_action="return_value")

    @app.default
    def run(options: Options = Options()) -> int:  # noqa: B008  (cyclopts reads the default)
        from nrf_ray.commands import run_or_plan

        return run_or_plan(build, options)

    sys.exit(_guarded(app))


def nrf_main() -> None:
    """Run the `nrf` command by sys.argv, and exit."""
    from nrf_ray.inspect_store import make_app

    sys.exit(_guarded(make_app()))


def _guarded(app: App) -> int:
    """Run `app`; turn every expected error into one line and an exit code."""
    try:
        code = app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _complain(" ".join(str(error).split()) + " See --help.", 2)
    except NrfError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain("stopped; run the same command again to go on where it stopped", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text.assemble(("error: ", "bold red"), message))
    return code


def _help(build: Callable[[Grid], Sweep]) -> str:
    module = sys.modules[build.__module__]
    return module.__doc__ or ""
