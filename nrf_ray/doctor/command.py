"""The command `nrf doctor`: check everything, print a line for each finding, and exit with 1 if a sweep cannot run."""

from collections import Counter

from rich.console import Console
from rich.text import Text

from nrf_ray.display.printing import make_console
from nrf_ray.doctor.clusters import is_local, judge_cluster, look_at_cluster
from nrf_ray.doctor.findings import Finding, Level
from nrf_ray.doctor.machine import (
    judge_cores,
    judge_disk,
    judge_numbers,
    look_at_cores,
    look_at_disks,
    look_at_numbers,
)
from nrf_ray.doctor.network import judge_authentication, judge_listeners, look_at_authentication, look_at_listeners
from nrf_ray.doctor.places import judge_data, judge_store, look_at_data, look_at_store
from nrf_ray.doctor.start import judge_start, look_at_start
from nrf_ray.doctor.versions import judge_versions, look_at_versions
from nrf_ray.graph.blobs import local_root
from nrf_ray.results.stored_sweep import StoreUri

STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def doctor(*, store: StoreUri = "./runs", address: str | None = None, start: bool = True) -> int:
    """Check whether a sweep can run here and on the cluster at --address (or RAY_ADDRESS), and who else can reach it.

    Every line is OK, WARN or FAIL, with a remedy; the exit code is 1 if any line is FAIL. If no cluster is named,
    doctor starts its own Ray, which takes a few seconds, and removes that Ray's files; --no-start skips this.

        nrf doctor
        nrf doctor --store /shared/runs --address auto
    """
    listeners = look_at_listeners()
    found = [
        *judge_versions(look_at_versions()),
        *judge_cores(look_at_cores()),
        *judge_numbers(look_at_numbers()),
        *map(judge_disk, look_at_disks(local_root(store))),
        judge_store(look_at_store(store)),
        judge_data(look_at_data()),
        *judge_authentication(look_at_authentication()),
        *judge_listeners(listeners),
        *(judge_start(look_at_start(tried=start)) if is_local(address) else []),
        *judge_cluster(look_at_cluster(address, store), store, listeners),
    ]
    console = make_console()
    for finding in found:
        _print(console, finding)
    counts = Counter(finding.level for finding in found)
    console.print(", ".join(f"{counts[level]} {level}" for level in Level))
    return 1 if counts[Level.FAIL] else 0


def _print(console: Console, finding: Finding) -> None:
    """Print one finding without wrapping lines, so that they can be copied and searched."""
    line = Text.assemble((f"{finding.level:5}", STYLES[finding.level]), f"{finding.subject:15}", finding.message)
    console.print(line, soft_wrap=True)
    if finding.remedy:
        console.print(Text(f"{'':20}-> {finding.remedy}"), soft_wrap=True)
