"""Toy stages: they cost nothing, write a line of text, and can be told to misbehave."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nrf_ray.graph.execute import Context
from nrf_ray.graph.garbage import find
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact, Store, place_of

FILE = "value.txt"
INPUTS = ("first", "second", "third")
RAN: list[str] = []
"""Names of the toys whose bodies have started, in order."""
HOOKS: dict[str, Callable[[Context], None]] = {}
"""What the body of the toy of a name does before it writes; an exception makes it fail."""


@dataclass(frozen=True, kw_only=True)
class Toy:
    """One toy."""

    name: str
    seconds: float = 1.0
    """Its cost; it takes no time in truth."""


@stage(version=1, cost=lambda handle: handle.config.seconds)
def toy_text(
    config: Toy,
    context: Context,
    *,
    first: Artifact | None = None,
    second: Artifact | None = None,
    third: Artifact | None = None,
) -> Metrics:
    """Write the toy's name around the texts of its inputs; measure the length of that."""
    RAN.append(config.name)
    HOOKS.get(config.name, lambda context: None)(context)
    text = ",".join(artifact.read(FILE).decode() for artifact in (first, second, third) if artifact is not None)
    context.write(FILE, f"{config.name}({text})".encode())
    return {"length": len(text), "share": 1 / 3, "nothing": None}


@stage(version=1, cost=lambda handle: handle.config.seconds)
def pieces(config: Toy, context: Context, *, first: Artifact) -> Metrics:
    """Write three files, of which those that an earlier run left whole are kept; the whole text is in the first."""
    RAN.append(config.name)
    text = f"{config.name}({first.read(FILE).decode()})".encode()
    for name, data in ((FILE, text), ("part 1.txt", text[:4]), ("part 2.txt", text[4:])):
        left = next((leftover for leftover in context.unfinished(name) if leftover.data == data), None)
        if left is None:
            context.write(name, data)
        else:
            context.adopt(left)
    return {"length": len(text)}


@dataclass(frozen=True, kw_only=True)
class Strict:
    """Nothing to choose."""


@stage(version=3, cost=lambda handle: 2.0)
def strict(config: Strict, context: Context, *, model: Artifact, data: Artifact | None = None) -> Metrics:
    """Need an input."""
    del config, context, model, data
    return {}


def node(name: str, *inputs: Stage, seconds: float = 1.0) -> Stage:
    """Return the toy `name` with up to three inputs, labelled with its name."""
    return toy_text(Toy(name=name, seconds=seconds), **dict(zip(INPUTS, inputs, strict=False))).named(name)


def chain(*names: str) -> list[Stage]:
    """Return toys of which each is the input of the next."""
    made: list[Stage] = []
    for name in names:
        made.append(node(name, *made[-1:]))
    return made


def refuse(context: Context) -> None:
    """Fail: a hook."""
    raise ValueError(f"{context.stage.title} was told to fail\nand says so in two lines")


def path_of(store: Store, stage_: Stage, name: str = FILE) -> Path:
    """Return where a file of an artifact lies on the disk."""
    assert store.blobs.root is not None
    return store.blobs.root / place_of(stage_).file(name)


def flip(path: Path, at: int = 0) -> None:
    """Change one byte of a file and not its size."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def tree(root: Path) -> dict[str, bytes]:
    """Return all files below `root` with their bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def garbage_names(store: Store) -> list[str]:
    """Return the names of all garbage."""
    return [blob.name for blob in find(store)]


def content(store: Store, stage_: Stage) -> dict[str, Any]:
    """Return what a stage measured and wrote, after verifying it."""
    artifact = store.artifact(stage_)
    files = {name: artifact.read(name).decode() for name in artifact.names()}
    return {"metrics": dict(artifact.record.metrics), "files": files}
