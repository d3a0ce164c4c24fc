"""The record of an artifact: the one file that makes it exist.

It contains what the artifact is (stage, version, config, input keys), its files (size and sha256 of each), the metrics,
and how it was made (provenance). Everything but the provenance is the same on every run of the stage. The text includes
its own checksum, so a damaged record is noticed like any other damaged file.
"""

import dataclasses
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from nrf_ray.errors import CorruptArtifact, PluginMissing
from nrf_ray.graph.canonical import Json, Key, digest, encode, json_text
from nrf_ray.graph.plugin_files import lacking, told
from nrf_ray.graph.source import FORM, source_digest
from nrf_ray.graph.stage import SCHEMA, Metrics, Stage, shards_of
from nrf_ray.graph.uri import without_secrets
from nrf_ray.graph.wellformed import is_well_formed

COST_FORM = 2
"""Form of the costs that stages state. Estimates of another form cannot be compared; raise it if formulas change."""
VERSIONED_PACKAGES = ("nrf_ray", "torch", "torchvision", "ray", "numpy", "pyarrow", "scikit-learn", "safetensors")


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One data file of an artifact."""

    name: str
    """Name that the stage gives the file; not a path."""
    size: int
    """Size in bytes."""
    sha256: str
    """sha256 of the file's contents."""
    copy: int = field(default=0, compare=False)
    """Number of its stored name: 0 is `name`; above 0 if files with other bytes were there first (`Store.write`)."""

    @property
    def blob(self) -> str:
        """Name of the file in the artifact's folder."""
        return blob_name(self.name, self.copy)

    def to_json(self) -> dict[str, Json]:
        """Return the entry as it is stored in a record."""
        found: dict[str, Json] = {"name": self.name, "size": self.size, "sha256": self.sha256}
        return found | ({"copy": self.copy} if self.copy else {})


def blob_name(name: str, copy: int) -> str:
    """Return the name in its artifact's folder of the data file `name` if `copy` files with other bytes came before."""
    stem, dot, ending = name.rpartition(".")
    return (f"{stem}~{copy}.{ending}" if dot else f"{name}~{copy}") if copy else name


def is_file_name(name: str) -> bool:
    """Return whether a data file of an artifact may be called `name`."""
    return bool(re.fullmatch(r"[^/\\~\0.][^/\\~\0]*", name)) and not name.endswith(".json")


@dataclass(frozen=True, kw_only=True)
class Record:
    """Description of one committed artifact: identity, files, metrics, provenance."""

    stage: str
    version: int
    key: Key
    config: Json
    inputs: Mapping[str, Key]
    files: tuple[FileEntry, ...]
    metrics: Metrics
    provenance: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """Return the record as JSON text with a checksum over its canonical form."""
        body = {"schema": SCHEMA, **{f.name: encode(getattr(self, f.name), f.name) for f in dataclasses.fields(self)}}
        body["files"] = [entry.to_json() for entry in self.files]
        return json.dumps({**body, "checksum": _checksum(body)}, indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, stage: str, key: str) -> "Record":
        """Return the record in `data`; raise CorruptArtifact if it is not the record that was written."""
        try:
            body = json.loads(data)
            checksum = body.pop("checksum")
            found = _checksum(body)
            body.pop("schema")
            well_formed = is_well_formed(body)
            record = cls(**{**body, "files": tuple(FileEntry(**entry) for entry in body["files"])})
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise CorruptArtifact(stage, key, "its record is not readable") from error
        if checksum != found or (record.stage, record.key) != (stage, key):
            raise CorruptArtifact(stage, key, "its record does not match its own checksum or place")
        if not well_formed:
            raise CorruptArtifact(stage, key, "its record lacks a field, or has one of the wrong type")
        if not all(is_file_name(entry.name) for entry in record.files):
            raise CorruptArtifact(stage, key, "its record has file names that no stage can write")
        return record

    @property
    def seconds(self) -> float:
        """Seconds that the work took."""
        return float(self.provenance["seconds"])


def record_of(
    stage: Stage, files: list[FileEntry], metrics: Metrics, seconds: float, started: str, *, first: bool = False
) -> Record:
    """Return the record of a finished run of `stage`, with provenance of this process; `first` if it was its first."""
    return Record(
        stage=stage.kind.name,
        version=stage.kind.version,
        key=stage.key,
        config=encode(stage.config),
        inputs={name: handle.key for name, handle in stage.inputs.items()},
        files=tuple(sorted(files, key=lambda entry: entry.name)),
        metrics=dict(metrics),
        provenance={
            "label": stage.label,
            "seconds": round(seconds, 4),
            # The time that a set of several shards takes means nothing without the size of its pool.
            "expected_seconds": round(stage.cost(), 3) if shards_of(stage) == 1 else None,
            "expected_form": COST_FORM,
            "first_of_process": first,
            "arch": arch_of(stage),
            "started": started,
            "device": stage.resources.device,
            "gpus": stage.resources.gpus,
            "threads": max(1, int(stage.resources.cpus)),
            "source_digest": source_digest(stage.kind.body),
            "source_form": FORM,
            **({"plugins": told(stage.plugins)} if stage.plugins else {}),
            **launch_provenance(),
        },
    )


def check_loaded(record: Record) -> None:
    """Raise PluginMissing if a plug-in that the stage of `record` used itself is not loaded in this process."""
    if missing := lacking(record.provenance.get("plugins", ())):
        raise PluginMissing(f"{record.stage}/{record.key[:12]} was made with {missing}")


def arch_of(stage: Stage) -> str | None:
    """Return the network that a stage works with: `arch` of its config, or else of the config of an input, or None."""
    named = (getattr(handle.config, "arch", None) for handle in (stage, *stage.inputs.values()))
    return next((str(arch) for arch in named if arch), None)


@lru_cache
def launch_provenance() -> dict[str, Any]:
    """Return the machine, versions and code revision of this process. Computed once; contains no secrets."""
    return {
        "host": platform.node(),
        "machine": platform.machine(),
        "processor": processor(),
        "accelerators": accelerators(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in VERSIONED_PACKAGES},
        "argv": [Path(sys.argv[0]).name, *map(without_secrets, sys.argv[1:])],
        "pid": os.getpid(),
        **_revision(),
    }


def _checksum(body: dict[str, Json]) -> str:
    return digest(json_text(body).encode())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cpuinfo() -> list[str]:
    """Return the lines of /proc/cpuinfo, which describe the processors; empty on systems other than Linux."""
    told = Path("/proc/cpuinfo")
    return told.read_text().splitlines() if told.is_file() else []


def processor() -> str:
    """Return the CPU's model name, or "unknown" if the system does not give it."""
    return next((line.partition(":")[2].strip() for line in cpuinfo() if line.startswith("model name")), "unknown")


def accelerators() -> list[str]:
    """Return the models of this machine's NVIDIA GPUs from their driver's files, without loading a library."""
    texts = (path.read_text() for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")))
    lines = (line.partition(":") for text in texts for line in text.splitlines())
    return [value.strip() for name, _, value in lines if name.strip() == "Model"]


def _revision() -> dict[str, Any]:
    """Return the commit of the code and whether tracked files differ from it; both None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout.strip()
