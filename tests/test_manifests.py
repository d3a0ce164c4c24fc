"""sweeps/cluster/: what can be checked of a cloud's files without the cloud, and every command that READMEs tell."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import click
import promql_parser
import pytest

from nrf_ray import cli
from nrf_ray.cluster.metrics import METRICS, exported
from nrf_ray.graph.stage import Resources
from tests.manifests import FOLDER, ROOT, commands, load, pins
from tests.sweeps import load as load_sweep

AWS, RAYJOB = load("aws.yaml"), load("rayjob.yaml")
GRAFANA = json.loads((FOLDER / "grafana.json").read_text())
READMES = {
    ROOT / "README.md": {"ray start", "a sweep"},
    ROOT / "analysis" / "guide.md": {"ray job", "a sweep"},
    FOLDER / "README.md": {"ray job", "ray start", "a sweep"},
}
"""Pages that tell commands of Ray, and which."""
RAY_IMAGE = re.compile(r"rayproject/ray:(?P<ray>[\d.]+)-py(?P<python>\d+)-gpu")


def parsed_by_ray(words: list[str]) -> dict[str, Any]:
    """Return the options of a command of Ray, parsed by Ray itself; nothing runs."""
    from ray.scripts.scripts import cli as ray_cli

    command: click.Command = ray_cli
    context: click.Context | None = None
    words = words[1:]
    while isinstance(command, click.Group):
        found = command.get_command(context or click.Context(command), words[0])
        assert found is not None, f"ray knows no {words[0]}"
        command, words = found, words[1:]
    return command.make_context("ray", list(words)).params


def planned(words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    """Return the exit code of a sweep's command with --plan and a store on this machine in place of its own."""
    assert words[0] == "python"
    words = [*words[1:], "--plan"]
    if "--store" in words:
        words[words.index("--store") + 1] = str(tmp_path / "runs")
    module = load_sweep(Path(words[0]).stem)
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(SystemExit) as exit_:
        cli.sweep_main(getattr(module, Path(words[0]).stem), module.FLAGS)
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def gpus_per_trial(words: list[str]) -> float:
    return float(words[words.index("--gpus-per-trial") + 1])


def stages_that_fit(cpus: float, gpus: float, share: float) -> tuple[float, float]:
    """Return how many stages the CPUs and the GPUs of a node can take."""
    request = Resources(gpus=share)
    return cpus / request.cpus, gpus / request.gpus


def test_rays_launcher_accepts_the_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(load("aws.yaml")))


@pytest.mark.parametrize("group", ["head", "worker"])
def test_the_launchers_start_commands_are_ray_commands_with_a_token(group: str) -> None:
    stop, start = AWS[f"{group}_start_ray_commands"]
    assert stop == "ray stop"
    variable, *words = shlex.split(start)
    assert variable == "RAY_AUTH_MODE=token"
    options = parsed_by_ray(words)
    assert options["head"] == (group == "head")
    assert options["dashboard_host"] == "127.0.0.1"
    assert options["metrics_export_port"] == 8080
    assert options["disable_usage_stats"] is True


def test_every_container_of_the_launcher_gets_mode_and_token() -> None:
    assert "--env=RAY_AUTH_MODE=token" in AWS["docker"]["run_options"]
    assert AWS["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in AWS["setup_commands"]


def test_aws_nodes_are_in_a_group_of_the_users_own() -> None:
    """Ray adds a rule to every group that it makes: port 22 from anywhere; rules in the file do not replace it."""
    assert "security_group" not in AWS["provider"]
    groups = [kind["node_config"]["SecurityGroupIds"] for kind in AWS["available_node_types"].values()]
    assert groups[0]
    assert groups.count(groups[0]) == len(groups)


def test_aws_workers_are_spot_and_the_head_does_no_stages() -> None:
    types = AWS["available_node_types"]
    assert AWS["head_node_type"] == "head"
    assert types["head"]["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in types["head"]["node_config"], "the driver must not be taken away"
    assert types["worker"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert types["worker"]["min_workers"] == types["worker"]["max_workers"] == AWS["max_workers"]


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_nothing_is_open_to_everybody_and_no_secret_and_no_registry_stands_there(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert "0.0.0.0" not in text
    assert "RAY_AUTH_MODE=disabled" not in text
    assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|[0-9a-f]{64}", text)
    images = re.findall(r"^\s*(?:image: |FROM )(\S+)", text, re.MULTILINE)
    assert all(RAY_IMAGE.fullmatch(image) or image == "nrf_ray:0.1.0" for image in images), images


def test_images_are_of_the_pinned_ray_and_of_a_python_that_is_supported() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text()
    images = [AWS["docker"]["image"], re.findall(r"^FROM (\S+)$", dockerfile, re.MULTILINE)[0]]
    for image in images:
        found = RAY_IMAGE.fullmatch(image)
        assert found is not None
        assert found["ray"] == pins()["ray"]
        assert int(found["python"]) >= 311
    assert RAYJOB["spec"]["rayClusterSpec"]["rayVersion"] == pins()["ray"]
    assert "-c /home/ray/nrf_ray/constraints.txt" in dockerfile
    assert any("-c ~/nrf_ray/constraints.txt" in command for command in AWS["setup_commands"])


JOB_FIELDS = {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
CLUSTER_FIELDS = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
WORKER_FIELDS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
CONTAINER_FIELDS = {"name", "image", "securityContext", "env", "resources", "volumeMounts"}


def test_the_rayjob_has_the_fields_of_kuberays_api_and_no_others() -> None:
    assert set(RAYJOB) == {"apiVersion", "kind", "metadata", "spec"}
    assert (RAYJOB["apiVersion"], RAYJOB["kind"]) == ("ray.io/v1", "RayJob")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,45}[a-z0-9])?", RAYJOB["metadata"]["name"])
    spec = RAYJOB["spec"]
    assert set(spec) == JOB_FIELDS
    assert isinstance(spec["backoffLimit"], int)
    assert spec["shutdownAfterJobFinishes"] is True
    cluster = spec["rayClusterSpec"]
    assert set(cluster) == CLUSTER_FIELDS
    assert cluster["authOptions"] == {"mode": "token"}
    assert set(cluster["headGroupSpec"]) == {"rayStartParams", "template"}
    assert all(set(group) == WORKER_FIELDS for group in cluster["workerGroupSpecs"])
    assert all(
        group["minReplicas"] <= group["replicas"] <= group["maxReplicas"] for group in cluster["workerGroupSpecs"]
    )
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values()), "KubeRay takes strings only"


def pods() -> list[dict[str, Any]]:
    cluster = RAYJOB["spec"]["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


@pytest.mark.parametrize("pod", pods(), ids=["head", "worker"])
def test_a_pod_is_complete_confined_and_gets_its_secrets_by_reference(pod: dict[str, Any]) -> None:
    assert set(pod) == {"securityContext", "containers", "volumes"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert set(container) == CONTAINER_FIELDS
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    for variable in container["env"]:
        secret = "KEY" in variable["name"]
        assert set(variable) == {"name", "valueFrom" if secret else "value"}
        if secret:
            assert set(variable["valueFrom"]["secretKeyRef"]) == {"name", "key"}


def test_the_secret_that_the_rayjob_wants_is_the_one_that_the_how_to_makes() -> None:
    wanted = {
        (reference["name"], reference["key"])
        for pod in pods()
        for variable in pod["containers"][0]["env"]
        if (reference := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    (made,) = (words for words in commands(FOLDER / "README.md") if words[:3] == ["kubectl", "create", "secret"])
    name, *files = made[4:]
    assert wanted == {(name, file.removeprefix("--from-file=")) for file in files}


def test_workers_take_whole_numbers_of_stages_and_waste_neither_cpus_nor_gpus() -> None:
    worker = AWS["available_node_types"]["worker"]["resources"]
    (submitted,) = (words for words in commands(FOLDER / "README.md") if words[:3] == ["ray", "job", "submit"])
    by_cpu, by_gpu = stages_that_fit(worker["CPU"], worker["GPU"], gpus_per_trial(submitted))
    assert by_cpu == by_gpu == int(by_gpu)
    limits = pods()[1]["containers"][0]["resources"]["limits"]
    share = gpus_per_trial(shlex.split(RAYJOB["spec"]["entrypoint"]))
    by_cpu, by_gpu = stages_that_fit(float(limits["cpu"]), float(limits["nvidia.com/gpu"]), share)
    assert by_cpu == by_gpu == int(by_gpu)


def test_the_rayjob_runs_a_sweep_that_plans(monkeypatch, tmp_path, capsys) -> None:
    words = shlex.split(RAYJOB["spec"]["entrypoint"])
    assert words[words.index("--store") + 1].startswith("s3://")
    assert planned(words, monkeypatch, tmp_path) == 0


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: str(readme.relative_to(ROOT)))
def test_every_command_of_ray_and_of_ours_in_a_readme_is_accepted(
    readme: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = set()
    for words in commands(readme):
        if not words:
            continue
        if words[0] == "ray":
            options = parsed_by_ray(words)
            seen.add(" ".join(words[:2]))
            words = list(options.get("entrypoint") or ())
        if words[:1] == ["python"] and words[1].startswith("sweeps/"):
            assert planned(words, monkeypatch, tmp_path) == 0, words
            seen.add("a sweep")
    assert READMES[readme] <= seen


def panels() -> list[Any]:
    return [pytest.param(panel, id=panel["title"]) for panel in GRAFANA["panels"]]


def selectors(expression: Any) -> list[promql_parser.VectorSelector]:
    """Return every selection of a metric within a parsed expression."""
    if isinstance(expression, promql_parser.VectorSelector):
        return [expression]
    if isinstance(expression, promql_parser.MatrixSelector):
        return [expression.vector_selector]
    parts = [getattr(expression, name, None) for name in ("expr", "lhs", "rhs", "args")]
    flat = [inner for part in parts for inner in (part if isinstance(part, list) else [part])]
    return [selector for part in flat if part is not None for selector in selectors(part)]


@pytest.mark.parametrize("panel", panels())
def test_a_panel_asks_for_metrics_and_labels_that_exist(panel: dict[str, Any]) -> None:
    labels = {exported(name): set(labels) for name, (_, _, labels) in METRICS.items()}
    for target in panel["targets"]:
        found = selectors(promql_parser.parse(target["expr"]))
        assert found
        for selector in found:
            assert selector.name in labels
            asked = {matcher.name for matcher in selector.matchers.matchers}
            assert asked <= labels[selector.name]
            grouped = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert grouped <= labels[selector.name] | {"NodeAddress"}
            assert all(f"by ({label})" in target["expr"] for label in grouped)
        assert target["datasource"]["uid"] == "${datasource}"
    assert panel["description"]


def test_counters_are_shown_as_rates_or_as_totals_of_all_workers() -> None:
    for panel in GRAFANA["panels"]:
        for target in panel["targets"]:
            if "_total" in target["expr"]:
                assert "rate(" in target["expr"] or target["expr"].startswith("sum(")


def test_every_metric_is_shown_and_panels_do_not_overlap() -> None:
    text = json.dumps(GRAFANA)
    assert [name for name in METRICS if exported(name) not in text] == []
    squares = [
        (x, y)
        for panel in GRAFANA["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(squares) == len(set(squares))
    assert max(x for x, _ in squares) < 24
    assert len({panel["id"] for panel in GRAFANA["panels"]}) == len(GRAFANA["panels"])
