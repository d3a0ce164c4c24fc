"""The run file, `run.json`: data that the page of a run needs and no record has.

It is stored beside the tables, written when a run begins and again when it ends. It has the stages of the sweep and
their inputs, which stages were there already, the driver process, the command and the sweep file. With it and the
records the page can be made again at any time, even for a run that was killed.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.drivers import Driver, live_drivers
from nrf_ray.graph.plan import Plan
from nrf_ray.graph.process import identity
from nrf_ray.graph.record import arch_of
from nrf_ray.graph.store import Place, Store
from nrf_ray.page.snapshot import RunState
from nrf_ray.sweep.sweep import Sweep

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Stage of the sweep."""

    kind: str
    key: Key
    title: str
    arch: str | None
    """Architecture of the network that the stage works with; None if there is none."""
    inputs: tuple[int, ...]
    """Indices of its inputs in the list of all stages."""
    kept: bool
    """Whether the run did not have to run this stage."""

    @property
    def place(self) -> Place:
        """Address of its artifact in the store."""
        return Place(self.kind, self.key)


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Contents of the run file of one run."""

    sweep: str
    command: str
    """Command line of the run, without secrets."""
    began: str
    """Start of the run, UTC."""
    ended: str | None = None
    """End of the run, UTC; None while it runs, and also after it was killed."""
    checked: str | None = None
    """Time, UTC, when the same command last found every stage in the store; None if it was not given again."""
    state: RunState = RunState.RUNNING
    why: str = ""
    """Reason for its state, if there is something to add."""
    preset: str = ""
    """Name of the preset that the grid was made from; empty if there is none, and in older run files."""
    script_sha256: str = ""
    """sha256 of the sweep file that was run; empty if there was none, and in older run files."""
    expected: float | None
    """Estimated duration of the run in seconds."""
    process: Mapping[str, str | int]
    """Identity of the driver process: host, machine, pid and start."""
    stages: tuple[Listed, ...]
    """All stages, inputs first."""
    rows: tuple[tuple[int, ...], ...]
    """For each table row, the indices of the stages that it measures."""
    overheads: Mapping[str, float] = field(default_factory=dict)
    """Measured seconds of the run in addition to its stages, see `run.overheads`; empty until it ends, if it was killed
    or ran on another cluster, and in older run files."""

    def to_bytes(self) -> bytes:
        """Return the run file as JSON."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}).encode() + b"\n"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Outline":
        """Return the run file in `value`, or raise ConfigError if it is not one that this version can have written."""
        try:
            fields = {name: part for name, part in value.items() if name != "format"}
            stages = tuple(
                Listed(**{**part, "key": Key(part["key"]), "inputs": tuple(part["inputs"])})
                for part in fields["stages"]
            )
            rows = tuple(map(tuple, fields.pop("cells") if "cells" in fields else fields["rows"]))  # older: cells
            state = RunState(fields["state"])
            found = cls(**{**fields, "stages": stages, "rows": rows, "state": state})
            for at, positions in (*enumerate(stage.inputs for stage in stages), *((len(stages), row) for row in rows)):
                assert all(0 <= position < at for position in positions)
            named = (found.sweep, found.command, found.preset, found.script_sha256)
            assert all(isinstance(text, str) for text in named)
            assert dict(found.process)
            assert all(isinstance(part, float | int) for part in dict(found.overheads).values())
            for moment in filter(None, (found.began, found.ended, found.checked)):
                assert datetime.fromisoformat(moment).tzinfo
        except (KeyError, TypeError, ValueError, AssertionError) as error:
            raise ConfigError(
                "the run.json of the sweep is damaged; run the sweep's command again, which rewrites it"
            ) from error
        return found


def outline_of(
    sweep: Sweep, plan: Plan, *, command: str, script_sha256: str = "", expected: float | None, began: datetime
) -> Outline:
    """Return the run file of a run of `plan` that this process begins with `command`."""
    stages = list(sweep.stages())
    at = {stage.key: position for position, stage in enumerate(stages)}
    todo = {stage.key for stage in plan.todo()}
    return Outline(
        sweep=sweep.name,
        command=command,
        began=began.isoformat(),
        preset=sweep.preset,
        script_sha256=script_sha256,
        expected=expected,
        process=identity(),
        stages=tuple(
            Listed(
                kind=stage.kind.name,
                key=stage.key,
                title=stage.title,
                arch=arch_of(stage),
                inputs=tuple(dict.fromkeys(at[handle.key] for handle in stage.inputs.values())),
                kept=stage.key not in todo,
            )
            for stage in stages
        ),
        rows=tuple(tuple(dict.fromkeys(at[stage.key] for stage in row.stages())) for row in sweep.rows),
    )


def finished_before(outline: Outline, store: Store) -> Outline | None:
    """Return the run file in `store` of an earlier run of the same grid that finished; None if there is none."""
    value = store.blobs.get_json(outline_name(outline.sweep))
    try:
        earlier = None if value is None else Outline.from_json(value)
    except ConfigError:
        return None  # a damaged run file is rewritten
    if earlier is None or earlier.ended is None or earlier.state is not RunState.FINISHED:
        return None
    same = [stage.key for stage in earlier.stages] == [stage.key for stage in outline.stages]
    return earlier if same and earlier.rows == outline.rows else None


def checked(outline: Outline) -> Outline:
    """Return the run file of a finished run after the same command found every stage in the store."""
    return dataclasses.replace(outline, checked=datetime.now(UTC).isoformat())


def note_check(sweep: Sweep, plan: Plan, store: Store) -> bool:
    """Note in the run file that the command found every stage of `plan`; return False if there is no page to keep."""
    new = outline_of(sweep, plan, command="", expected=None, began=datetime.now(UTC))
    earlier = finished_before(new, store)
    if earlier is None or not store.blobs.exists(page_name(sweep.name)):
        return False
    store.blobs.replace(outline_name(sweep.name), checked(earlier).to_bytes())
    return True


def ended(outline: Outline, state: RunState, why: str, overheads: Mapping[str, float] | None = None) -> Outline:
    """Return the run file of the same run after its end."""
    now = datetime.now(UTC).isoformat()
    return dataclasses.replace(outline, ended=now, state=state, why=why, overheads=overheads or {})


def outline_name(sweep: str) -> str:
    """Return the blob name of the run file of a sweep."""
    return f"sweeps/{sweep}/run.json"


def page_name(sweep: str) -> str:
    """Return the blob name of the page of a sweep."""
    return f"sweeps/{sweep}/report.html"


def read_outline(store: Store, sweep: str) -> Outline:
    """Return the run file of the last run of `sweep`, or raise ConfigError if the store has none."""
    known = store.blobs.folders("sweeps")
    if sweep not in known:
        raise ConfigError(f"no sweep {sweep!r} in {store.uri}; it has: {', '.join(known) or 'none'}")
    value = store.blobs.get_json(outline_name(sweep))
    if value is None:
        raise ConfigError(
            f"sweep {sweep} has no {outline_name(sweep)} in {store.uri}, because an older nrf_ray ran it; run its "
            "command again, which takes seconds if everything is in the store"
        )
    return Outline.from_json(value)


def driver_of(outline: Outline, store: Store) -> Driver | None:
    """Return the driver that runs the sweep now; None if the run has ended or was killed."""
    if outline.ended is not None:
        return None
    same = (driver for driver in live_drivers(store.blobs) if driver.process == dict(outline.process))
    return next(same, None)
