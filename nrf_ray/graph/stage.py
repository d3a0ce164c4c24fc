"""Stages: pure functions of a frozen config and of the artifacts of other stages.

`@stage(version=1)` turns a function body into a `StageKind`. Calling the kind with a config and with other stages as
inputs builds a `Stage`, a handle with a key, and runs nothing. What the artifact *is* (kind, version, config, inputs)
makes the key; where it runs (resources) and what people call it (label) never do.

    @stage(version=1)
    def train(config: TrainSpec, context: Context, *, data: Artifact | None = None) -> Metrics: ...

    model = train(TrainSpec(...), data=construct(...)).named("resnet_s on d_det, seed 0")
"""

import dataclasses
import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import Key, key_of

SCHEMA = 1
"""Version of the store's layout and of how keys are made."""

Metrics = Mapping[str, float | int | str | list[int] | None]
"""What a stage measured: names and values, mostly numbers, the same on every run of the stage."""

SMALLEST_SHARE = 1e-4
"""Ray counts resources in ten-thousandths: three shares of 0.3333 fill a GPU."""

RESERVED_NAMES = {"attempts", "drivers", "logs", "quarantine", "sweeps"}


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one run of a stage holds while it works. Never part of a key."""

    cpus: float = 1.0
    """CPU cores; torch gets as many threads."""
    gpus: float = 0.0
    """GPUs: a whole number, or a share of which a whole number makes one GPU; above 0 the stage runs on CUDA."""

    def __post_init__(self) -> None:
        whole_or_share = 0 <= self.gpus <= 1 or (self.gpus < math.inf and self.gpus == int(self.gpus) > 0)
        if not (whole_or_share and 0 < self.cpus < math.inf):
            raise ConfigError(
                f"a stage cannot ask for {self.cpus:g} CPUs and {self.gpus:g} GPUs: CPUs must be above 0, GPUs a share "
                "of one (0 to 1) or a whole number"
            )
        if 0 < self.gpus < SMALLEST_SHARE:
            raise ConfigError(f"a stage cannot ask for {self.gpus:g} of a GPU: the smallest share is {SMALLEST_SHARE}")
        if 0 < self.gpus < 1 and self.sharers * (self.gpus + SMALLEST_SHARE) < 1:
            less, more = (
                math.floor(1 / (n * SMALLEST_SHARE)) * SMALLEST_SHARE for n in (self.sharers + 1, self.sharers)
            )
            raise ConfigError(
                f"stages that ask for {self.gpus:g} of a GPU leave a part of each GPU that none can use; ask for "
                f"{less:.4g} ({self.sharers + 1} share a GPU) or {more:.4g} ({self.sharers} share one)"
            )

    @property
    def sharers(self) -> int:
        """How many stages that ask for a share of a GPU fit on one."""
        return math.floor(1 / self.gpus + SMALLEST_SHARE)

    @property
    def device(self) -> str:
        """The torch device that the request implies."""
        return "cuda" if self.gpus > 0 else "cpu"


@dataclass(frozen=True)
class StageKind:
    """A stage function with its identity: call it to build a handle."""

    name: str
    version: int
    body: Callable[..., Metrics]
    config_type: type
    inputs: Mapping[str, bool]
    """Input names; True where the input may be left out."""
    cost: Callable[["Stage"], float]
    """Expected seconds of one run on one core, or on one GPU where it asks for one; from the handle alone."""
    on_gpu: bool = True
    """Whether it has any use for a GPU; a sweep that runs on GPUs gives it CPUs only where not."""
    gathers: bool = False
    """Whether it takes further inputs, as many as there are, under any names."""

    def __call__(self, config: Any, **inputs: "Stage | None") -> "Stage":
        """Return the handle of this stage for `config` and `inputs`; runs nothing."""
        if type(config) is not self.config_type:
            raise ConfigError(f"stage {self.name} takes a {self.config_type.__name__}, not a {type(config).__name__}")
        given = {name: handle for name, handle in inputs.items() if handle is not None}
        unknown = set() if self.gathers else set(given) - set(self.inputs)
        missing = {name for name, optional in self.inputs.items() if not optional} - set(given)
        if unknown or missing:
            raise ConfigError(
                f"stage {self.name} takes inputs {sorted(self.inputs)}; "
                f"unknown: {sorted(unknown)}, missing: {sorted(missing)}"
            )
        return Stage(kind=self, config=config, inputs=dict(sorted(given.items())))

    def __reduce__(self) -> tuple[Callable[..., "StageKind"], tuple[str, str]]:
        return _find_kind, (self.body.__module__, self.body.__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """A handle: one stage of one experiment, identified by its key."""

    kind: StageKind
    config: Any
    inputs: Mapping[str, "Stage"]
    label: str = ""
    """What people call it; in no key."""
    resources: Resources = field(default_factory=Resources)
    """What it holds while it works; in no key."""

    def __post_init__(self) -> None:
        # Made now, while the inputs have theirs: a bad config is refused where it is given, and no chain is too deep.
        _ = self.key

    @cached_property
    def key(self) -> Key:
        """sha256 over {schema, stage, version, config, input keys}."""
        return key_of(
            {
                "schema": SCHEMA,
                "stage": self.kind.name,
                "version": self.kind.version,
                "config": self.config,
                "inputs": {name: handle.key for name, handle in self.inputs.items()},
            }
        )

    @property
    def title(self) -> str:
        """The label, or else the kind and the start of the key."""
        return self.label or f"{self.kind.name} {self.key[:8]}"

    def named(self, label: str) -> "Stage":
        """Return the same stage under a name for people."""
        return dataclasses.replace(self, label=label)

    def cost(self) -> float:
        """Expected seconds of one run, on one CPU core or on one GPU where it asks for one."""
        return self.kind.cost(self)


def stage(
    *, version: int, cost: Callable[[Stage], float], on_gpu: bool = True
) -> Callable[[Callable[..., Metrics]], StageKind]:
    """Make a stage kind of a function `(config, context, *, input: Artifact, ...) -> Metrics`.

    `version` is part of every key: raise it when the same config would now give another result.
    `cost` returns the expected seconds of one run of a handle, on one core or on one GPU where it asks for one.
    `on_gpu` is False where the body has no use for a GPU. A body with `**inputs: Artifact` takes any number of stages.
    """

    def decorate(body: Callable[..., Metrics]) -> StageKind:
        name = body.__name__
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in RESERVED_NAMES:
            raise ConfigError(f"a stage cannot be called {name!r}")
        config, _context, *declared = inspect.signature(body).parameters.values()
        inputs = [p for p in declared if p.kind is not p.VAR_KEYWORD]
        optional = {p.name: p.default is not inspect.Parameter.empty for p in inputs}
        return StageKind(
            name=name,
            version=version,
            body=body,
            config_type=config.annotation,
            inputs=optional,
            cost=cost,
            on_gpu=on_gpu,
            gathers=len(inputs) < len(declared),
        )

    return decorate


def walk(goals: list[Stage]) -> Iterator[Stage]:
    """Yield every stage that `goals` need, each once, inputs before the stages that use them."""
    seen: set[Key] = set()
    path: list[tuple[Stage, Iterator[Stage]]] = []
    for goal in goals:
        path.append((goal, iter(goal.inputs.values())))
        while path:
            handle, inputs = path[-1]
            following = next((i for i in inputs if i.key not in seen), None)
            if following is not None:
                path.append((following, iter(following.inputs.values())))
                continue
            path.pop()
            if handle.key not in seen:
                seen.add(handle.key)
                yield handle


def is_sharded(stage: Stage) -> bool:
    """Return whether a stage is of a kind that makes its artifact in shards, be it a single one."""
    return hasattr(stage.config, "num_shards")


def shards_of(stage: Stage) -> int:
    """Return in how many files a stage makes its artifact, each of which may be made in another process."""
    return int(getattr(stage.config, "num_shards", 1))


def workers_of(stage: Stage) -> int:
    """Return how many processes work on a stage together, all at once."""
    return int(getattr(stage.config, "num_workers", 1))


def _find_kind(module: str, name: str) -> StageKind:
    kind = getattr(importlib.import_module(module), name)
    if not isinstance(kind, StageKind):
        raise ConfigError(f"{module}.{name} is no stage")
    return kind
