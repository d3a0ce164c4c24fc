"""The command line: names, refusals, plan. A mistake is one line and exit code 2, and changes nothing."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nrf_ray import cli
from nrf_ray.attacks.specs import Attack
from nrf_ray.sweep.sweep import Sweep
from tests.sweeps import heavy_imports_of_plan, planned, transfer_grid

ROOT = Path(__file__).resolve().parents[1]


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["transfer_grid.py", *flags])
    with pytest.raises(SystemExit) as exit_:
        cli.sweep_main(transfer_grid.transfer_grid, transfer_grid.FLAGS)
    out = capsys.readouterr()
    code = exit_.value.code
    assert isinstance(code, int)
    return code, out.out, out.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(("--dataset", "mnist"), r"unknown dataset 'mnist'; known: digits", id="dataset"),
        pytest.param(("--arch", "resnet_s,alexnet"), r"unknown architecture 'alexnet'; known: vgg_s, ", id="arch"),
        pytest.param(
            ("--construction", "d_best"), r"unknown construction 'd_best'; known: d_robust, ", id="construction"
        ),
        pytest.param(("--norm", "l1"), r"unknown norm 'l1'; known: l2, linf", id="norm"),
        pytest.param(("--preset", "huge"), r"unknown preset 'huge'; known: laptop, smoke", id="preset"),
        pytest.param(("--epsilon", "0"), r"epsilon must be a finite number above 0, not 0", id="eps 0"),
        pytest.param(
            ("--epsilon", "0.0019"),
            r"less than half of one of the 256 levels.*--storage float32",
            id="eps below 8 bits",
        ),
        pytest.param(("--epsilon", "-1"), r"epsilon must be a finite number above 0, not -1", id="eps below 0"),
        pytest.param(("--epsilon", "nan"), r"epsilon must be a finite number above 0, not nan", id="eps nan"),
        pytest.param(
            ("--epsilon", "8.1"), r"l2 epsilon 8.1 is beyond the box.*at most 8 apart", id="eps beyond l2 box"
        ),
        pytest.param(("--norm", "linf", "--epsilon", "1.1"), r"linf epsilon 1.1 is beyond", id="eps beyond linf box"),
        pytest.param(("--epsilon", "big"), r"--epsilon 'big' is not a number", id="eps text"),
        pytest.param(("--epsilon", "1/0"), r"--epsilon '1/0' is not a number", id="eps over 0"),
        pytest.param(("--seeds", "1.5"), r"--seeds '1.5' is not a whole number", id="seed fraction"),
        pytest.param(("--seeds", "-1"), r"seeds must be from 0", id="seed below 0"),
        pytest.param(("--seeds", "1,1"), r"seeds names a value twice", id="seed twice"),
        pytest.param(("--seeds", ""), r"seeds is empty", id="no seeds"),
        pytest.param(("--seeds", "9223372036854775808"), r"seeds must be from 0", id="seed beyond int64"),
        pytest.param(("--gpus-per-trial", "-1"), r"cannot ask for 1 CPUs and -1 GPUs", id="gpus below 0"),
        pytest.param(("--gpus-per-trial", "nan"), r"cannot ask for 1 CPUs and nan GPUs", id="gpus nan"),
        pytest.param(("--gpus-per-trial", "inf"), r"cannot ask for 1 CPUs and inf GPUs", id="gpus inf"),
        pytest.param(("--gpus-per-trial", "1.5"), r"a share of one .* or a whole number", id="one and a half gpus"),
        pytest.param(("--plan-on", "nonsense"), r"--plan-on 'nonsense' is not a machine", id="machine"),
        pytest.param(
            ("--plan", "--gpus-per-trial", "1e9"),
            r"a stage asks for 1e\+09 GPUs, but the plan is for .*, so no stage could run; lower --gpus-per-trial",
            id="a plan for more gpus than there are",
        ),
        pytest.param(
            ("--plan", "--gpus-per-trial", "16", "--plan-on", "8xa100"),
            r"asks for 16 GPUs, but the plan is for 8 x a100, so no stage could run",
            id="a plan for more gpus than are named",
        ),
        pytest.param(
            ("--address", "ray://head:10001"),
            r"ray://head:10001 is the address of a Ray client server.*with --address auto, or .*`ray job submit",
            id="ray client",
        ),
        pytest.param(
            ("--address", "head"), r"'head' is not an address of a cluster; give auto .*, or HOST:6379", id="host"
        ),
        pytest.param(("--address", "127.0.0.1:1"), r"nothing answers at 127.0.0.1:1 ", id="nobody there"),
        pytest.param(("--no-such-flag",), r"[Uu]nknown option.*--no-such-flag", id="unknown flag"),
        pytest.param(("stray",), r"stray", id="stray word"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    flags: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = call(monkeypatch, capsys, *flags, "--store", str(tmp_path / "store"))
    assert code == 2
    assert out == ""
    assert re.search(message, err), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_a_store_that_is_a_file_is_refused_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").write_text("mine")
    code, _, err = call(monkeypatch, capsys, "--store", str(tmp_path / "notes"))
    assert (code, err.count("\n")) == (2, 1)
    assert "is a file; choose a folder" in err
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_folder_of_other_things_is_refused_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    code, _, err = call(monkeypatch, capsys, "--store", str(tmp_path))
    assert (code, err.count("\n")) == (2, 1)
    assert "not an nrf_ray store" in err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_store_of_a_newer_version_is_refused_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "nrf-store.json"
    marker.write_text(json.dumps({"schema": 99}))
    code, _, err = call(monkeypatch, capsys, "--store", str(tmp_path))
    assert (code, err.count("\n")) == (2, 1)
    assert "schema 99" in err
    assert json.loads(marker.read_text()) == {"schema": 99}


@pytest.mark.parametrize("text", ["1.0", "1", " 1.0 ", "2/2"], ids=["float", "whole", "spaces", "fraction"])
def test_the_same_number_written_otherwise_is_the_same_plan(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--plan", "--preset", "smoke", "--store", str(tmp_path / "store"))
    assert call(monkeypatch, capsys, *flags, "--epsilon", text)[1] == call(monkeypatch, capsys, *flags)[1]


def test_the_plan_names_every_stage_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(monkeypatch, capsys, "--plan", "--store", str(tmp_path / "store"))
    assert (code, err) == (0, "")
    lines = out.strip().splitlines()
    stages = re.match(r"transfer_grid: (\d+) stages", lines[-1])
    assert stages is not None
    forecast = [line for line in lines if line.startswith(("expected ", "no schedule takes less"))]
    assert lines[0] == (
        "dataset digits: files of an installed package; 1437 training and 360 test rows; "
        "10 classes of 136 (7) to 156 (9) training rows; images of 1 x 8 x 8"
    )
    assert len(lines) == int(stages[1]) + len(forecast) + 3
    assert any(
        re.match(r"expected on \d+ cores of .*: [\d.]+ (s|min|h)( \d+ (s|min))? from start to end", line)
        for line in forecast
    )
    assert any("ready" in line and "not in the store" in line for line in lines)
    assert any("waiting" in line and "for d_det l2 1.5 of digits, seed 2" in line for line in lines)
    assert not (tmp_path / "store").exists()


def test_the_plan_is_for_another_machine_where_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--preset", "smoke", "--store", str(tmp_path / "store"), "--plan-on", "8xa100")
    code, out, _ = call(monkeypatch, capsys, "--plan", *flags)
    assert code == 0
    assert "expected on 8 x a100: " in out
    assert "GPU-hours of a100, to a factor of two or three by the data sheet of an NVIDIA A100 SXM" in out
    code, _, err = call(monkeypatch, capsys, *flags)
    assert (code, "give --plan too" in err) == (2, True)


def test_the_plan_on_gpus_says_gpu_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nrf_ray.stages.costs.check_builds", lambda arch, shape: None)
    flags = ("--plan", "--preset", "smoke", "--arch", "resnet50,timm:resnet18", "--store", str(tmp_path / "store"))
    assert re.search(r"expected work \d+ core-seconds$", call(monkeypatch, capsys, *flags)[1].strip())
    on_gpus = call(monkeypatch, capsys, *flags, "--gpus-per-trial", "1")[1]
    said = r"expected work 0\.\d+ GPU-hours of .*, to a factor of two or three by the data sheet of an NVIDIA \S+ SXM$"
    assert re.search(said, on_gpus.strip())


def test_the_plan_imports_neither_torch_nor_ray(tmp_path: Path) -> None:
    assert heavy_imports_of_plan(tmp_path / "store", "transfer_grid.py") == []


def test_help_lists_every_flag(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(monkeypatch, capsys, "--help")
    flags = set(re.findall(r"--[a-z-]+", out)) - {"--help"}
    assert flags >= {
        "--preset", "--dataset", "--arch", "--construction", "--norm", "--epsilon", "--seeds", "--store", "--address",
        "--gpus-per-trial", "--plan",
    }  # fmt: skip


def test_the_readme_shows_the_commands_that_ci_runs() -> None:
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    assert "pip install -c constraints.txt -e . && python sweeps/transfer_grid.py" in readme
    assert "pip install -c constraints.txt -e '.[test]' && pytest" in readme
    install, test = r"^    pip install --quiet -c constraints.txt -e '.\[test\]'$", r'^part "pytest" pytest$'
    assert re.search(f"{install}.*{test}", script, re.MULTILINE | re.DOTALL)


def test_constraints_pin_every_direct_dependency_and_name_no_registry() -> None:
    text = (ROOT / "constraints.txt").read_text()
    pinned = {line.split("==")[0] for line in text.splitlines() if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    assert {re.split(r"[\[<>=]", requirement)[0] for requirement in declared} == pinned
    assert "://" not in text


def test_nothing_of_the_real_home_or_environment_is_needed(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "sweeps/transfer_grid.py", "--plan", "--preset", "smoke"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_working_folder_that_was_deleted_is_said_in_one_line(tmp_path: Path) -> None:
    """Regression: FileNotFoundError with its traceback."""
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.executable, [sys.executable, '-m', 'nrf_ray', 'status'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=gone, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the working folder was deleted" in done.stderr


def test_an_argument_that_the_locale_cannot_read_blames_the_locale() -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "nrf_ray", "show", "sch\u00f6n".encode()],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"cannot be read in the locale's ascii; set LC_ALL=C.UTF-8" in done.stderr


LENGTHS = [
    pytest.param(
        "transfer_grid", ("--norm", "linf"), "--norm linf needs --epsilon: the radii of the preset laptop (1, 1.5) are",
        id="another norm, the preset's radii",
    ),
    pytest.param(
        "robust_features", ("--norm", "linf"), "--norm linf needs --epsilon: the radii of the preset laptop", id="D_R",
    ),
    pytest.param(
        "text_features", ("--norm", "l2_token"), "--norm l2_token needs --epsilon: the radii of the preset text (0.2)",
        id="each token, the radii of whole texts",
    ),
    pytest.param(
        "transfer_grid", ("--norm", "l2,linf", "--epsilon", "0.1"), "robust models are trained within one norm, and",
        id="two norms, one judge",
    ),
    pytest.param(
        "transfer_grid", ("--preset", "cifar10", "--epsilon", "0.05"),
        "sets are crafted within l2 0.05, and the preset cifar10 uses steps of 0.1, which are longer",
        id="a ball smaller than the step of crafting",
    ),
    pytest.param(
        "recipe_search", ("--adversary", "n-fgsm"), "recipe_search does not accept --adversary, because it trains no",
        id="an adversary of nobody",
    ),
    pytest.param(
        "planted_features", ("--norm", "linf"), "--norm linf needs --epsilon: the default radius, 0.25, is",
        id="planted sets",
    ),
]  # fmt: skip
"""Pairs of flags, or of a flag and a preset, whose lengths cannot mean what they say."""


@pytest.mark.parametrize(("sweep", "flags", "message"), LENGTHS)
def test_a_length_of_one_norm_is_never_taken_in_another(
    sweep: str,
    flags: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Regression: linf 8/255 on a preset for l2 ran steps of three times the ball, and a judge of l2 .5."""
    code, _ = planned(monkeypatch, f"sweeps/{sweep}.py", *flags)
    out = capsys.readouterr()
    assert (code, out.out, out.err.count("\n")) == (2, "", 1)
    assert message in out.err


def adversaries(sweep: Sweep) -> set[tuple[str, float, float]]:
    """Return norm, radius and step size of every attack of a sweep: of trainings, sets and measurements."""
    configs = [stage.config for stage in sweep.stages()]
    found = [config.recipe.adversary for config in configs if hasattr(config, "recipe")]
    found += [getattr(config, name, None) for config in configs for name in ("craft", "attack")]
    return {(a.threat.norm, a.threat.eps, round(a.step_size / a.threat.eps, 6)) for a in found if isinstance(a, Attack)}


def test_every_length_of_a_sweep_in_another_norm_is_of_that_norm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--preset", "cifar10", "--norm", "linf", "--epsilon", "8/255,4/255", "--seeds", "0")
    for script in ("sweeps/transfer_grid.py", "sweeps/nonrobust_features.py", "sweeps/robust_features.py"):
        code, (sweep,) = planned(monkeypatch, script, *flags)
        attacks = adversaries(sweep)
        assert (code, {norm for norm, *_ in attacks}) == (0, {"linf"})
        assert {eps for _, eps, _ in attacks} == {8 / 255, 4 / 255}
        assert ("linf", 8 / 255, 0.2) in attacks, "robust training, 7 steps of eps / 5"
        assert max(share for *_, share in attacks) <= 0.2
    _, (named,) = planned(monkeypatch, script, "--preset", "cifar10", "--norm", "l2", "--seeds", "0")
    _, (own,) = planned(monkeypatch, script, "--preset", "cifar10", "--seeds", "0")
    assert (named.note, [stage.key for stage in named.stages()]) == ("", [stage.key for stage in own.stages()])
    assert sweep.note == (
        "the radii of the preset cifar10 are in l2: robust models are trained within linf 0.0313725, and step "
        "sizes of attacks are in proportion to their radii"
    )


def test_what_flags_change_in_a_preset_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--plan", "--preset", "smoke", "--norm", "linf", "--epsilon", "8/255", "--store", str(tmp_path / "store"))
    assert call(monkeypatch, capsys, *flags)[1].startswith("the radii of the preset smoke are in l2: robust models")
