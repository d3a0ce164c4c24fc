"""Plug-ins on a cluster of two nodes: no node has the file, and every process gets it from the store."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ray.cluster_utils import Cluster
from rich.console import Console

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.cluster.run import run_sweep
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.plugin_files import keep
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from nrf_ray.stages.construct import construct
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Measure, Row
from nrf_ray.training.recipes import Recipe
from tests.cluster.toys import TOYS
from tests.docs.test_tutorial import plug_in
from tests.plugged import Load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
WHERE = '''
import time
from dataclasses import dataclass
from pathlib import Path

from nrf_ray.graph.stage import stage


@dataclass(frozen=True, kw_only=True)
class Meeting:
    name: str
    folder: str
    size: int


@stage(version=1, cost=lambda handle: 1.0)
def mine_where(config: Meeting, context):
    """Wait for the others, so that they run at the same time, and write on which node this is."""
    import ray

    folder = Path(config.folder)
    folder.mkdir(exist_ok=True)
    (folder / config.name).touch()
    until = time.monotonic() + 240
    while len(list(folder.iterdir())) < config.size:
        assert time.monotonic() < until
        time.sleep(0.05)
    context.write("node.txt", ray.get_runtime_context().get_node_id().encode())
    return {"value": 1}
'''


def sweep_of(**measured: tuple[Stage, str]) -> Sweep:
    rows = [
        Row(table=TOYS, facts={"name": name, "key": stage.key}, measures={"value": Measure(stage, metric)})
        for name, (stage, metric) in measured.items()
    ]
    return Sweep("toys", tuple(rows))


def test_every_process_of_every_node_gets_the_plug_ins_from_the_store(
    two_cpus: Cluster, store: Store, plug: Load, tmp_path: Path
) -> None:
    """Trials on both nodes, a pool of Ray Data for a set of six files, and a training on two workers of Ray Train."""
    two_cpus.add_node(num_cpus=2)
    mine, where = plug(plug_in().text), plug(WHERE, "where.py")
    meeting = vars(sys.modules[where.module])
    met = [
        meeting["mine_where"](meeting["Meeting"](name=f"m{i}", folder=str(tmp_path / "met"), size=4)) for i in range(4)
    ]
    digits = dataset_named("digits").ref
    source = train(TrainSpec(arch="flat", dataset=digits, recipe=Recipe(epochs=1, lr=0.05, workers=2), seed=0))
    spec = ConstructSpec(
        dataset=digits,
        construction="d_same",
        craft=pgd_attack("l2", 1.0, steps=2, targeted=True),
        seed=0,
        shard_rows=256,
    )
    made = construct(spec, source=source)
    keep(store.blobs)

    sweep = sweep_of(**{stage.config.name: (stage, "value") for stage in met}, made=(made, "share_unmoved"))
    plan, log = make_plan(sweep.goals, store), tmp_path / "logs" / "ray.log"
    console = Console(file=io.StringIO(), width=200)
    outcome = run_sweep(sweep, plan, store, address=two_cpus.address, log=log, console=console)

    assert outcome.frontier.errors == {}
    assert set(outcome.frontier.state.values()) == {Progress.DONE}
    assert len({store.artifact(stage).read("node.txt") for stage in met}) == 2
    assert len(store.artifact(made).names()) == 6
    assert store.artifact(source).record.provenance["plugins"] == [{"name": "mine.py", "digest": mine.digest}]


def command(folder: Path, address: str, *flags: str) -> subprocess.CompletedProcess[str]:
    words = ["sweeps/transfer_grid.py", "--preset", "smoke", "--arch", "flat", "--construction", "d_same"]
    words += ["--attack", "noise", "--store", str(folder / "store"), "--address", address, *flags]
    return subprocess.run(
        [sys.executable, str(ROOT / words[0]), *words[1:]],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_file_of_the_tutorial_runs_on_two_nodes_and_resumes_when_it_is_changed_or_deleted(
    two_cpus: Cluster, tmp_path: Path
) -> None:
    two_cpus.add_node(num_cpus=2)
    file = tmp_path / "mine.py"
    file.write_text(plug_in().text)

    first = command(tmp_path, two_cpus.address, "--plugin", "mine.py")
    assert (first.returncode, first.stderr) == (0, "")
    robustness = pd.read_parquet(tmp_path / "store" / "sweeps" / "transfer_grid" / "robustness.parquet")
    assert set(robustness["attack"]) == {"noise"}
    assert set(robustness["student_arch"]) == {"resnet_s", "flat"}
    results = pd.read_parquet(tmp_path / "store" / "sweeps" / "transfer_grid" / "results.parquet")
    assert set(results.loc[results["role"] == "student", "construction"]) == {"d_same"}

    again = command(tmp_path, two_cpus.address, "--plugin", "mine.py")
    assert "every stage was in the store" in again.stdout

    file.write_text(plug_in().text.replace("range(20)", "range(10)"))
    plan = command(tmp_path, two_cpus.address, "--plugin", "mine.py", "--plan").stdout.splitlines()
    changed = {line.split()[0] for line in plan if line.endswith("plug-in mine.py changed")}
    cached = {line.split()[0] for line in plan if " cached " in line}
    assert changed == {"train", "robustness", "construct"}, "its network, its attack, its construction"
    assert cached == {"train", "evaluate", "trust", "attack"}, "the rest, as far as it is needed"

    file.unlink()
    gone = command(tmp_path, two_cpus.address, "--plugin", "mine.py")
    assert (gone.returncode, gone.stderr.count("\n")) == (2, 1)
    (digest,) = (path.stem for path in (tmp_path / "store" / "plugins").glob("*.py"))
    assert f"--plugin {digest[:12]}" in gone.stderr
    back = command(tmp_path, two_cpus.address, "--plugin", digest[:12])
    assert "every stage was in the store" in back.stdout
    key = str(results.loc[results["student_arch"] == "flat", "key"].iloc[0])
    nrf = [sys.executable, "-m", "nrf_ray", "show", key[:12], "--store", str(tmp_path / "store")]
    shown = subprocess.run(nrf, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, "what is there reads without the plug-in"
    nrf[3:5] = ["trust", key[:12]]
    refused = subprocess.run(
        [*nrf, "--data", "digits", "--epsilon", "1", "--examples", "8"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "was made with the plug-in mine.py" in refused.stderr
