"""The table that every benchmark writes: one row a contender of a case, raw samples included.

python -m tests.benchmarks.table [folder]          # prints the cases of all tables in a folder
"""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one contender of one case showed."""

    benchmark: str
    """Module of `tests/benchmarks` that measured it."""
    case: str
    """Which comparison."""
    contender: str
    """Who did the work."""
    threads: int
    """CPUs and threads of the process."""
    unit: str
    """Of the samples, such as images/s or MiB."""
    n: int
    """Samples."""
    median: float
    """Of the samples."""
    q1: float
    """Lower quartile of the samples."""
    q3: float
    """Upper quartile."""
    iqr: float
    """Their difference."""
    ratio: float
    """Median, over the rounds, of the first contender's sample by this one's: how many times as fast the first is."""
    ratio_q1: float
    """Lower quartile of these ratios."""
    ratio_q3: float
    """Upper quartile."""
    samples: Sequence[float]
    """One a round, in the order in which they were taken."""
    warm_up_seconds: float
    """Time of the unreported runs before."""
    load: float
    """Load average of the last minute, before the case began."""
    others: float
    """Cores that other processes kept busy during the rounds."""
    checks: Mapping[str, float]
    """What an independent look at the result said, by name."""
    machine: Mapping[str, str]
    """Where it was measured; no host name and no path."""


QUIET = 0.1
"""Cores that other processes may keep busy before a case is called not quiet."""

_TEXT, _NUMBER = pa.string(), pa.float64()
SCHEMA = pa.schema(
    [
        *(pa.field(name, _TEXT) for name in ("benchmark", "case", "contender")),
        pa.field("threads", pa.int64()),
        pa.field("unit", _TEXT),
        pa.field("n", pa.int64()),
        *(pa.field(name, _NUMBER) for name in ("median", "q1", "q3", "iqr", "ratio", "ratio_q1", "ratio_q3")),
        pa.field("samples", pa.list_(_NUMBER)),
        *(pa.field(name, _NUMBER) for name in ("warm_up_seconds", "load", "others")),
        pa.field("checks", pa.map_(_TEXT, _NUMBER)),
        pa.field("machine", pa.map_(_TEXT, _TEXT)),
    ]
)


def merge_table(path: Path, results: Sequence[Result]) -> None:
    """Put `results` into the table at `path`; former rows of their cases on such a machine go, all others stay."""
    replaced = set(map(identity, results))
    kept = [row for row in read_table(path) if identity(row) not in replaced] if path.exists() else []
    rows = [asdict(row) for row in (*kept, *results)]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), new, compression="zstd")
    os.replace(new, path)


def identity(row: Result) -> tuple[str, ...]:
    """Return the case of a row and the machine that it was measured on; what is installed there may differ."""
    return (row.case, *(row.machine[name] for name in ("cpu", "isa", "cores")))


def read_table(path: Path) -> list[Result]:
    """Return the rows of a table."""
    rows = pq.read_table(path, schema=SCHEMA).to_pylist()
    return [Result(**{**row, "checks": dict(row["checks"]), "machine": dict(row["machine"])}) for row in rows]


def show(results: Sequence[Result]) -> None:
    """Print the results of one case."""
    first = results[0]
    print(
        f"\n{first.benchmark} {first.case}: n = {first.n}, {first.threads} threads, load before {first.load:.2f}, "
        f"others {first.others:.2f} cores{', NOT QUIET' if first.others > QUIET else ''}; {first.machine['cpu']}, "
        f"{first.machine['cores']} cores, {first.machine['isa']}"
    )
    for row in results:
        checks = "  ".join(f"{name} {value:.4g}" for name, value in row.checks.items())
        print(
            f"  {row.contender:<28} {row.median:>10.4g} {row.unit:<14} [{row.q1:.4g}, {row.q3:.4g}]"
            f"  first is x{row.ratio:.3f} [{row.ratio_q1:.3f}, {row.ratio_q3:.3f}]  {checks}",
            flush=True,
        )


@cache
def machine() -> dict[str, str]:
    """Say what this machine is and what is installed on it, without its name or any path."""
    described = Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in reversed(described) if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    flags = facts.get("flags", "").split()
    return {
        "cpu": facts.get("model name", platform.machine()),
        "cores": str(os.cpu_count()),
        "isa": " ".join(flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags),
        "memory_gib": str(round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "ray", "numpy")},
    }


def main() -> None:
    """Print every case of the tables in a folder: by default, of those that the README quotes."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "results"
    for path in sorted(folder.glob("*.parquet")):
        for _, rows in groupby(read_table(path), key=identity):
            show(list(rows))


if __name__ == "__main__":
    main()
