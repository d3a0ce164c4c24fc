"""Checks of the versions of Python and of the packages: declared, used for the measurements, known vulnerabilities."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from nrf_ray.doctor.findings import Finding, fail, ok, warn

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
"""File with the versions used for all measurements; a checkout has the file, an installed wheel does not."""

HOLES = (
    ("torch", "2.10", "CVE-2026-24747: reading a weights file can corrupt memory"),
    ("ray", "2.52", "CVE-2025-62593: a page in a browser on this machine can run code through Ray"),
    ("ray", "2.54", "CVE-2026-27482: a page in a browser on this machine can delete jobs"),
    ("pyarrow", "14.0.1", "CVE-2023-47248: reading a parquet file can run code"),
)
"""Packages with a known vulnerability, the first version without it, and its description."""

SHOWN = ("torch", "ray", "pyarrow", "numpy")


@dataclass(frozen=True, kw_only=True)
class Versions:
    """Installed and expected versions."""

    python: str
    """Version of Python."""
    installed: Mapping[str, str]
    """Version of each package that nrf_ray needs and that is installed."""
    required: Mapping[str, str]
    """Version specifier that nrf_ray declares for each package that it needs, such as `>=2.10`."""
    measured: Mapping[str, str]
    """The versions in constraints.txt; empty without that file."""


def look_at_versions() -> Versions:
    """Return the versions in this environment without importing the packages."""
    required = {}
    for text in metadata.requires("nrf_ray") or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            required[requirement.name] = str(requirement.specifier)
    lines = CONSTRAINTS.read_text().splitlines() if CONSTRAINTS.exists() else []
    measured = dict(line.split("==") for line in lines if "==" in line)
    installed = {name: version for name in required if (version := _version_of(name))}
    return Versions(python=platform.python_version(), installed=installed, required=required, measured=measured)


def _version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def judge_versions(seen: Versions) -> list[Finding]:
    """Return the problems with the versions, or one line that names the main versions."""
    found = []
    install = "pip install -c constraints.txt -e ."
    for name, wanted in seen.required.items():
        version = seen.installed.get(name)
        if version is None:
            found.append(fail("versions", f"{name} is not installed", install))
        elif not SpecifierSet(wanted).contains(version, prereleases=True):
            found.append(fail("versions", f"{name} {version}, but nrf_ray needs {name}{wanted}", install))
    for name, floor, hole in HOLES:
        version = seen.installed.get(name)
        if version and Version(version) < Version(floor):
            found.append(fail("versions", f"{name} {version} has {hole}", f"pip install '{name}>={floor}'"))
    others = {
        name: version
        for name, version in seen.installed.items()
        if name in seen.measured and Version(version).public != seen.measured[name]
    }
    if others:
        differences = ", ".join(f"{name} {version} (not {seen.measured[name]})" for name, version in others.items())
        found.append(
            warn(
                "versions",
                f"not the versions used for the measurements: {differences}",
                f"{install}, for the same numbers",
            )
        )
    if not found:
        shown = ", ".join(f"{name} {seen.installed[name]}" for name in SHOWN if name in seen.installed)
        where = "all as in constraints.txt" if seen.measured else "all as declared"
        found.append(ok("versions", f"python {seen.python}, {shown}; {where}"))
    return found
