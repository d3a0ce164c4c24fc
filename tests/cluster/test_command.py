"""The sweep file as a person runs it: real processes, real Ray, killed, stopped, damaged, and run again.

The smallest preset is run once, uninterrupted, into a reference store; every other way to the end has to give the same
bytes in every table but `stages`.
"""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from nrf_ray import cli
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.store import Store
from nrf_ray.results.write import write_tables
from nrf_ray.run.overheads import learnt
from nrf_ray.sweep.flags import Options
from tests.signals import ctrl_c_is_minded
from tests.sweeps import transfer_grid

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(900)
TABLES = ("results", "datasets", "robustness", "transfer")
NOISE = ("ray::", "raylet", "WARNING", "Traceback", "tune_controller", "core_worker")


def command(store: Path, *flags: str) -> list[str]:
    return [sys.executable, "sweeps/transfer_grid.py", "--preset", "smoke", "--store", str(store), *flags]


def run(store: Path, *flags: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(store, *flags), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout
    )
    return done


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "PYTHONWARNINGS")}


def tables(store: Path) -> dict[str, bytes]:
    return {name: (store / "sweeps" / "transfer_grid" / f"{name}.parquet").read_bytes() for name in TABLES}


def records(store: Path) -> dict[str, int]:
    return {str(path.relative_to(store)): path.stat().st_mtime_ns for path in store.glob("*/*/record.json")}


def wait_for_records(store: Path, count: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 300
    while len(records(store)) < count:
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline, f"no {count} records after 300 s"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A store that an uninterrupted run filled, and that run."""
    store = tmp_path_factory.mktemp("finished") / "a store"
    return store, run(store)


def test_a_run_ends_well_and_shows_no_noise_of_ray(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    store, done = finished
    assert (done.returncode, done.stderr) == (0, "")
    assert "start-up and orchestration" in done.stdout
    assert "accuracy on the untouched test set" in done.stdout
    assert [word for word in NOISE if word in done.stdout] == []
    assert len(list((store / "logs").glob("*/ray.log"))) == 1
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("learning curves: "))
    program, flag, folder = shlex.split(line.removeprefix("learning curves: "))
    assert (program, flag, Path(folder)) == (
        "tensorboard",
        "--logdir",
        store / "sweeps" / "transfer_grid" / "tensorboard",
    )
    assert list(Path(folder).glob("*/events.*"))


def test_a_run_stores_the_time_that_it_took_besides_its_stages(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    store, done = finished
    about = json.loads((store / "sweeps" / "transfer_grid" / "run.json").read_text())
    wall = re.search(r"transfer_grid: (\d+) s wall", done.stdout)
    assert wall is not None
    overheads = about["overheads"]
    assert overheads.keys() == {"start", "first", "end"}
    assert overheads["start"] > 0 < overheads["end"]
    assert overheads["first"] >= 0
    assert overheads["start"] + overheads["end"] < int(wall[1]) + 1
    firsts = [json.loads(path.read_text())["provenance"]["first_of_process"] for path in store.glob("*/*/record.json")]
    assert 1 <= sum(firsts) < len(firsts)
    assert learnt(Store.open(str(store), create=False)).start == overheads["start"]


def page(store: Path) -> str:
    return (store / "sweeps" / "transfer_grid" / "report.html").read_text(encoding="utf-8")


def test_a_run_leaves_a_page_of_all_that_it_did(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    store, done = finished
    assert f"report       {store}/sweeps/transfer_grid/report.html" in done.stdout
    text = page(store)
    assert 'class="state">Finished<' in text
    assert "In the store: 27 of 27 stages. Complete: 12 of 12 rows" in text
    assert "python sweeps/transfer_grid.py --preset smoke" in text
    for part in ("results", "curves", "images", "progress", "provenance", "commands"):
        assert f'<h2 id="{part}">' in text
    assert "student on d_other" in text
    assert text.count("data:image/png") == 2 * 3 * 8, "two sets, eight images each, before, after and the change"


def test_the_same_command_again_starts_no_ray(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    store, _ = finished
    before, folder = tables(store), store / "sweeps" / "transfer_grid"
    whole = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = run(store)
    assert again.returncode == 0
    assert "Ray was not started" in again.stdout
    assert tables(store) == before
    changed = [path.name for path in whole if path.stat().st_mtime_ns != whole[path]]
    assert changed == ["run.json"], "its page is that of the run that made it"
    assert len(list((store / "logs").iterdir())) == 1


@pytest.mark.parametrize("damage", ["page", "table", "interrupted"])
def test_the_same_command_again_mends_tables_and_page(
    damage: str, finished: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    store, _ = finished
    before, folder = tables(store), store / "sweeps" / "transfer_grid"
    about = json.loads((folder / "run.json").read_text())
    if damage == "page":
        (folder / "report.html").unlink()
    elif damage == "table":
        (folder / "results.parquet").write_bytes(b"")
    else:
        (folder / "run.json").write_text(json.dumps(about | {"state": "interrupted"}))
    written = (folder / "report.html").stat().st_mtime_ns if damage != "page" else 0
    assert run(store).returncode == 0
    assert tables(store) == before
    assert (folder / "report.html").stat().st_mtime_ns > written
    assert 'class="state">Finished<' in page(store)
    again = json.loads((folder / "run.json").read_text())
    assert (again["state"], again["began"] > about["began"]) == ("finished", damage == "interrupted")


@pytest.mark.parametrize("output", ["ascii", "full disk"])
def test_printing_never_decides_about_a_run(
    output: str, finished: tuple[Path, subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: where the output could not show a letter, the page of a finished run said that it had failed."""
    store, _ = finished
    before = tables(store)
    place = io.BytesIO() if output == "ascii" else io.FileIO("/dev/full", "w")
    out = io.TextIOWrapper(place, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "argv", command(store)[1:])
    with pytest.raises(SystemExit) as end:
        cli.sweep_main(transfer_grid.transfer_grid, transfer_grid.FLAGS)
    assert (end.value.code, tables(store)) == (0, before)
    assert 'class="state">Finished<' in page(store)
    assert not isinstance(place, io.BytesIO) or b"\\xb1 95%" in place.getvalue()
    out.close()


def test_ray_and_one_process_give_the_same_bytes(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    sweep = replace(transfer_grid.transfer_grid(Options(preset="smoke").grid()), preset="smoke")
    store = Store.open(str(tmp_path / "inline"), create=True)
    frontier = run_inline(sweep.goals, store)
    assert set(frontier.state.values()) == {Progress.DONE}
    write_tables(sweep, store)
    assert tables(tmp_path / "inline") == tables(finished[0])


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_finished(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    store = tmp_path / "killed"
    process = subprocess.Popen(command(store), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, text=True)
    wait_for_records(store, 3, process)
    started = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert len(started) >= 6
    assert psutil.wait_procs(started, timeout=60)[1] == [], "no process outlives the driver"
    kept = records(store)
    done = run(store)
    assert done.returncode == 0, done.stderr
    assert {name: records(store)[name] for name in kept} == kept, "a finished stage was run again"
    assert tables(store) == tables(finished[0])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_run_ends_in_time_and_says_how_to_go_on(number: signal.Signals, tmp_path: Path) -> None:
    store = tmp_path / "stopped"
    with ctrl_c_is_minded():
        process = subprocess.Popen(
            command(store), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
    wait_for_records(store, 1, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)  # seconds are promised, and test_interrupt sees to them
    assert (process.returncode, errors.count("\n")) == (130, 1), errors
    assert "run the same command again" in errors
    assert "stopped at once" in errors or not list(store.glob("*/*/lease.json"))
    assert "stopped at once" in errors or 'class="state">Interrupted<' in page(store)


@pytest.mark.slow
def test_a_damaged_model_is_found_rebuilt_and_said(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    store = tmp_path / "damaged"
    shutil.copytree(finished[0], store)
    for name in ("attack", "transfer"):
        shutil.rmtree(store / name)
    for weights in store.glob("train/*/weights.safetensors"):
        damaged = bytearray(weights.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        weights.write_bytes(bytes(damaged))
    done = run(store)
    assert done.returncode == 0, done.stderr
    assert tables(store) == tables(finished[0])
    assert list((store / "quarantine").iterdir())


@pytest.mark.slow
def test_more_gpus_than_there_are_is_refused_before_anything_runs(tmp_path: Path) -> None:
    done = run(tmp_path / "store", "--gpus-per-trial", "64")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "asks for 1 CPUs and 64 GPUs" in done.stderr
    assert not records(tmp_path / "store")
