"""Stages: pure functions of a frozen config and of the artifacts of other stages.

`@stage(version=1)` turns a function into a `StageKind`. Calling the kind with a config and with other stages as inputs
builds a `Stage`, a handle with a key, and runs nothing. The key depends on what the artifact *is* (kind, version,
config, inputs), never on where it runs (resources) or what it is called (label).

    @stage(version=1)
    def train(config: TrainSpec, context: Context, *, data: Artifact | None = None) -> Metrics: ...

    model = train(TrainSpec(...), data=construct(...)).named("resnet_s on d_det, seed 0")
"""

import copy
import importlib
import inspect
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nrf_ray.errors import ConfigError, Registry
from nrf_ray.graph.canonical import Key, key_of
from nrf_ray.graph.plugin_files import Carried, carried
from nrf_ray.plugins import Plugin, plugin_of, used_by

SCHEMA = 1
"""Version of the store's layout and of how keys are computed."""

Metrics = Mapping[str, float | int | str | list[int] | None]
"""Metrics of a stage: names and values, mostly numbers, the same on every run of the stage."""

SMALLEST_SHARE = 1e-4
"""Smallest share of a GPU: Ray counts resources in ten-thousandths, so three shares of 0.3333 fill a GPU."""

RESERVED_NAMES = {"attempts", "datasets", "drivers", "logs", "plugins", "quarantine", "sweeps"}


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Resources that one run of a stage holds while it works. Never part of a key."""

    cpus: float = 1.0
    """CPU cores; torch uses as many threads."""
    gpus: float = 0.0
    """GPUs: a whole number, or a share such that a whole number of shares fills a GPU; above 0, the stage uses CUDA."""

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
                f"{self.gpus:g} GPUs per stage would leave part of every GPU unused; ask for "
                f"{less:.4g} ({self.sharers + 1} stages per GPU) or {more:.4g} ({self.sharers} per GPU)"
            )

    @property
    def sharers(self) -> int:
        """Number of stages with this share of a GPU that fit on one GPU."""
        return math.floor(1 / self.gpus + SMALLEST_SHARE)

    @property
    def device(self) -> str:
        """Torch device that the request implies."""
        return "cuda" if self.gpus > 0 else "cpu"


@dataclass(frozen=True)
class StageKind:
    """A stage function with its identity: call it to build a handle."""

    name: str
    version: int
    body: Callable[..., Metrics]
    config_type: type
    inputs: Mapping[str, bool]
    """Input names; True if the input is optional."""
    cost: Callable[["Stage"], float]
    """Function from a handle to the expected seconds of one run on one core, or on one GPU if it asks for one."""
    on_gpu: bool = True
    """Whether it can use a GPU; if not, a sweep that runs on GPUs gives it only CPUs."""
    gathers: bool = False
    """Whether it takes any number of further inputs, under any names."""

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

    @property
    def places(self) -> tuple[str, str]:
        """The function's name in its file, and in its module; one of them stays if the file or a cell is run again."""
        name = self.body.__qualname__
        return f"{name} in {os.path.realpath(self.body.__code__.co_filename)}", f"{name} in {self.body.__module__}"

    def __reduce__(self) -> tuple[Callable[..., "StageKind"], tuple[str, str]]:
        return _find_kind, (self.body.__module__, self.body.__name__)


STAGES: Registry[StageKind] = Registry("stage")
"""The kinds of stages that have been imported, by name. A name is in keys, so no two functions may have the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """A handle: one stage of one experiment, identified by its key."""

    kind: StageKind
    config: Any
    inputs: Mapping[str, "Stage"]
    label: str = ""
    """Name for people; in no key."""
    resources: Resources = field(default_factory=Resources)
    """Resources that it holds while it works; in no key."""

    def __post_init__(self) -> None:
        # Computed now, as the inputs have keys: a bad config is refused where it is given, and recursion stays shallow.
        _ = self.key, self.needs

    @cached_property
    def key(self) -> Key:
        """sha256 over {schema, stage, version, config, input keys}, and digests of plug-ins if it uses any."""
        return self.key_from({name: handle.key for name, handle in self.inputs.items()}, {})

    def key_from(self, inputs: Mapping[str, Key], other: Mapping[str, str]) -> Key:
        """Return the key if its inputs had the keys `inputs` and plug-ins the digests that `other` maps theirs to."""
        digests = sorted(other.get(plugin.digest, plugin.digest) for plugin in self.plugins)
        return key_of(
            {
                "schema": SCHEMA,
                "stage": self.kind.name,
                "version": self.kind.version,
                "config": self.config,
                "inputs": inputs,
                **({"plugins": digests} if digests else {}),
            }
        )

    @cached_property
    def plugins(self) -> frozenset[Plugin]:
        """Plug-ins whose things the stage itself uses; not those that only its inputs use."""
        own = plugin_of(self.kind.body.__module__)
        return used_by(self.config) | ({own} if own else set())

    @cached_property
    def needs(self) -> frozenset[Plugin]:
        """Plug-ins that the stage and everything that it is made from use: its process must have loaded them."""
        return self.plugins.union(*(handle.needs for handle in self.inputs.values()))

    def __reduce_ex__(self, protocol: Any) -> Any:
        if not self.needs:
            return super().__reduce_ex__(protocol)
        state = {name: value for name, value in self.__dict__.items() if name not in ("plugins", "needs")}
        # The plug-ins come first: what follows may be of a class that only they define.
        return _restored, (carried(self.needs), state)

    @property
    def title(self) -> str:
        """The label, or else the kind and the first digits of the key."""
        return self.label or f"{self.kind.name} {self.key[:8]}"

    def named(self, label: str) -> "Stage":
        """Return the same stage with `label` as its name for people."""
        return self._with(label=label)

    def on(self, resources: Resources, inputs: Mapping[str, "Stage"]) -> "Stage":
        """Return the same stage with the request `resources`; `inputs` are its own inputs, with requests of theirs."""
        return self._with(resources=resources, inputs=inputs)

    def _with(self, **changes: Any) -> "Stage":
        """Return a copy with changes that are in no key; it keeps the key, which takes time to compute."""
        made = copy.copy(self)
        made.__dict__.update(changes)
        return made

    def cost(self) -> float:
        """Return the expected seconds of one run, on one CPU core or, if it asks for one, on one GPU."""
        return self.kind.cost(self)


def stage(
    *, version: int, cost: Callable[[Stage], float], on_gpu: bool = True
) -> Callable[[Callable[..., Metrics]], StageKind]:
    """Make a stage kind from a function `(config, context, *, input: Artifact, ...) -> Metrics`.

    `version` is part of every key: raise it when the same config would now give another result.
    `cost` returns the expected seconds of one run of a handle, on one core or, if it asks for one, on one GPU.
    `on_gpu` is False if the function cannot use a GPU. A function with `**inputs: Artifact` takes any number of stages.
    """

    def decorate(body: Callable[..., Metrics]) -> StageKind:
        name = body.__name__
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in RESERVED_NAMES:
            raise ConfigError(
                f"a stage cannot be called {name!r}; use lower-case letters, digits and _, and not the name of another "
                "folder of the store"
            )
        config, _context, *declared = inspect.signature(body).parameters.values()
        inputs = [p for p in declared if p.kind is not p.VAR_KEYWORD]
        optional = {p.name: p.default is not inspect.Parameter.empty for p in inputs}
        kind = StageKind(
            name=name,
            version=version,
            body=body,
            config_type=_class_of(config, body),
            inputs=optional,
            cost=cost,
            on_gpu=on_gpu,
            gathers=len(inputs) < len(declared),
        )
        other = STAGES.get(name, kind)
        if not {*other.places} & {*kind.places}:
            raise ConfigError(
                f"there are two stages called {name!r}, {other.places[0]} and {kind.places[0]}: their artifacts could "
                "have equal keys; give one of them another name"
            )
        STAGES[name] = kind
        return kind

    return decorate


def _class_of(config: inspect.Parameter, body: Callable[..., Metrics]) -> type:
    """Return the class that a stage function says its config has, also if annotations are text in its file."""
    said = config.annotation
    found = inspect.signature(body, eval_str=True).parameters[config.name].annotation if isinstance(said, str) else said
    if not isinstance(found, type) or found is inspect.Parameter.empty:
        raise ConfigError(f"stage {body.__name__} does not say the class of its config; annotate its first parameter")
    return found


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
    """Return whether a stage is of a kind that makes its artifact in shards, even if only in one."""
    return hasattr(stage.config, "num_shards")


def shards_of(stage: Stage) -> int:
    """Return the number of files that a stage makes; each may be made in another process."""
    return int(getattr(stage.config, "num_shards", 1))


def workers_of(stage: Stage) -> int:
    """Return the number of processes that work on a stage together, at the same time."""
    return int(getattr(stage.config, "num_workers", 1))


def _restored(plugins: tuple[Carried, ...], state: dict[str, Any]) -> Stage:
    """Return the stage with this state; its plug-ins were loaded when `plugins` were unpickled."""
    del plugins
    made = object.__new__(Stage)
    made.__dict__.update(state)
    return made


def _find_kind(module: str, name: str) -> StageKind:
    kind = getattr(importlib.import_module(module), name)
    if not isinstance(kind, StageKind):
        raise ConfigError(f"{module}.{name} is not a stage")
    return kind
