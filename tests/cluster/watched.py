"""Run a small sweep on a cluster of its own, and print as JSON what its dashboard and its metrics endpoint showed.

Ray takes its settings when it is imported, so this is a process of its own: `python -m tests.cluster.watched FOLDER`.
"""

import io
import json
import os
import re
import socket
import sys
import threading
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

FOLDER = Path(sys.argv[1])
os.environ |= {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN_PATH": str(FOLDER / "token"),
    "RAY_metrics_report_interval_ms": "300",
}
(FOLDER / "token").write_text("watched" * 8)

import psutil  # noqa: E402
from rich.console import Console  # noqa: E402

from nrf_ray.cluster.leave import leave_with  # noqa: E402
from nrf_ray.cluster.run import run_sweep  # noqa: E402  (sets Ray's other variables, so before ray)
from nrf_ray.cluster.survey import survey  # noqa: E402

import ray.cluster_utils  # noqa: E402  # isort: skip
from ray.util.state import list_actors  # noqa: E402  # isort: skip
from ray.util.state.exception import RayStateApiException  # noqa: E402  # isort: skip

from nrf_ray.graph.execute import execute  # noqa: E402
from nrf_ray.graph.plan import make_plan  # noqa: E402
from nrf_ray.graph.store import Store  # noqa: E402
from tests.cluster.counting import Counting, counting  # noqa: E402
from tests.cluster.toys import Toy, sweep_of, toy, wide  # noqa: E402

SHOWN = {
    "wide": ("ray::wide: ", "ray::MapWorker(", "ray_nrf_stages sweep=toys kind=wide state=running"),
    "counting": (
        "ray::counting: ",
        "ray_nrf_stages sweep=toys kind=counting state=running",
        "ray_nrf_stages sweep=toys kind=wide state=done",
        "ray_nrf_shards_total sweep=toys",
        "ray_nrf_images_total sweep=toys work=trained",
        "ray_nrf_images_total sweep=toys work=attacked",
        "ray_nrf_pgd_steps_total sweep=toys",
    ),
}
"""How titles of processes and names of series begin that are there while a stage is at work, by its kind."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Watch:
    """Looks at the dashboard and the metrics endpoint again and again, and keeps what it saw.

    A stage stays until all that `SHOWN` says of it has been seen. Then its file in `folder` is made.
    """

    def __init__(self, dashboard: int, metrics: int, folder: Path) -> None:
        self.dashboard, self.metrics = f"http://127.0.0.1:{dashboard}", f"http://127.0.0.1:{metrics}/metrics"
        self.folder = folder
        self.classes: set[str] = set()
        self.titles: set[str] = set()
        self.samples: dict[str, float] = {}
        self.totals: set[float] = set()
        self.types: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.3):
            # On a busy machine either may not answer in time, and a process may end while it is looked at.
            with suppress(OSError, RayStateApiException, psutil.Error):
                self._look()

    def _look(self) -> None:
        for actor in list_actors(self.dashboard, filters=[("state", "=", "ALIVE")]):
            self.classes.add(actor.class_name)
            if psutil.pid_exists(actor.pid):
                self.titles.add(psutil.Process(actor.pid).cmdline()[0])
        self._scrape(urllib.request.urlopen(self.metrics).read().decode())
        seen = [*self.titles, *(series for series, value in self.samples.items() if value)]
        for kind, starts in SHOWN.items():
            if all(any(one.startswith(start) for one in seen) for start in starts):
                (self.folder / kind).touch()

    def _scrape(self, page: str) -> None:
        """Keep the largest value that each of our series had, and the sums over all states of the stages."""
        self.types.update(re.findall(r"^# TYPE (ray_nrf_\w+ \w+)$", page, re.MULTILINE))
        values: dict[str, float] = {}
        for name, text, value in re.findall(r"^(ray_nrf_\w+)\{(.*)\} (\S+)$", page, re.MULTILINE):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', text))
            ours = [f"{label}={labels[label]}" for label in ("sweep", "kind", "state", "work") if label in labels]
            series = " ".join([name, *ours])
            values[series] = values.get(series, 0.0) + float(value)
        self.totals.add(sum(value for series, value in values.items() if series.startswith("ray_nrf_stages")))
        for series, value in values.items():
            self.samples[series] = max(value, self.samples.get(series, 0.0))


def main() -> int:
    """Run a stage on a pool and one that needs it, which stay until they were seen; find a third in the store."""
    store = Store.open(str(FOLDER / "store"), create=True)
    cached = toy(Toy(name="cached"))
    execute(cached, store)
    shown = FOLDER / "shown"
    shown.mkdir()
    to_be_seen = Toy(name="crafted", num_shards=2, gate=str(shown / "wide"), before_gate=0)
    crafted = wide(to_be_seen).named("d_other l2 1.0 of Zürich")
    until = str(shown / "counting")
    counted = counting(Counting(name="counted", until=until), first=crafted).named("resnet_s on digits, seed 0")
    sweep = sweep_of(cached, counted, crafted)
    dashboard, metrics = free_port(), free_port()
    head = {"num_cpus": 3, "include_dashboard": True, "dashboard_port": dashboard, "metrics_export_port": metrics}
    cluster = ray.cluster_utils.Cluster(
        initialize_head=True, head_node_args=head | {"object_store_memory": 100 * 2**20}
    )
    try:
        with Watch(dashboard, metrics, shown) as watch:
            outcome = run_sweep(
                sweep,
                make_plan(sweep.goals, store),
                store,
                address=cluster.address,
                log=FOLDER / "logs" / "ray.log",
                console=Console(file=io.StringIO()),
            )
        assert outcome.frontier.errors == {}
        # In a process of its own: one that has left Ray twice keeps a thread of Ray's, which exports metrics, and may
        # end by a segmentation fault.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
            seen_by_doctor = asdict(apart.submit(survey, cluster.address).result())
    finally:
        cluster.shutdown()
    seen = {"classes": watch.classes, "titles": watch.titles, "types": watch.types, "totals": watch.totals}
    (FOLDER / "seen.json").write_text(
        json.dumps({n: sorted(v) for n, v in seen.items()} | {"samples": watch.samples, "survey": seen_by_doctor})
    )
    return 0


if __name__ == "__main__":
    leave_with(main)
