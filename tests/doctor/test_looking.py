"""`nrf doctor` on this machine as it is, and each of its looks where the answer is known."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import pytest

from nrf_ray import cli
from nrf_ray.doctor import places, start
from nrf_ray.doctor.machine import look_at_disks, look_at_numbers
from nrf_ray.doctor.network import look_at_authentication, look_at_listeners
from nrf_ray.doctor.places import look_at_data, look_at_store
from nrf_ray.doctor.start import START_SECONDS, look_at_start
from nrf_ray.doctor.versions import look_at_versions
from nrf_ray.graph.store import Store

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = {
    "versions",
    "threads",
    "memory",
    "precision",
    "disk /tmp",
    "store",
    "data",
    "authentication",
    "exposure",
    "ray",
}
AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*AUTHENTICATION, "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, list[str]]:
    monkeypatch.setattr(sys, "argv", ["nrf", "doctor", *flags])
    with pytest.raises(SystemExit) as exit_:
        cli.nrf_main()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, capsys.readouterr().out.splitlines()


def test_a_real_run_is_fast_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    command = [sys.executable, "-m", "nrf_ray", "doctor", "--no-start", "--store", str(tmp_path / "runs")]
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    before_run = os.times()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    after = os.times()
    seconds = after.children_user + after.children_system - before_run.children_user - before_run.children_system
    assert seconds < 10, "3 seconds are promised; this machine may be slow, or busy with other tests"
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert done.returncode == (1 if any(line.startswith("FAIL") for line in lines) else 0)
    assert {line[5:20].strip() for line in lines if re.match("OK|WARN|FAIL", line)} >= SUBJECTS
    assert re.fullmatch(r"\d+ OK, \d+ WARN, \d+ FAIL", lines[-1])
    assert {process.pid for process in psutil.Process().children(recursive=True)} == before
    assert list(tmp_path.iterdir()) == [], "no store is made, and no token"


@pytest.mark.slow
def test_a_start_of_ray_is_tried_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp(prefix="nrf", dir="/tmp"))  # the paths of sockets have to be short
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    try:
        seen = look_at_start(tried=True)
        assert (seen.known, seen.problem) == ((), None)
        assert seen.seconds is not None
        assert 1 < seen.seconds < START_SECONDS
        assert list(folder.glob("ray/session_2*")) == []
        assert list(tmp_path.iterdir()) == [], "no token"
    finally:
        shutil.rmtree(folder)


def test_a_start_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "CODE", "raise SystemExit('no Ray at this machine')")
    assert look_at_start(tried=True).problem == "no Ray at this machine"
    assert look_at_start(tried=False).problem is None


def test_what_is_wrong_is_a_line_with_its_remedy_and_exit_code_1(monkeypatch, capsys, tmp_path) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    code, lines = doctor(monkeypatch, capsys, "--store", str(tmp_path / "file"))
    assert code == 1
    (store,) = (index for index, line in enumerate(lines) if line.startswith("FAIL store"))
    assert "is a file" in lines[store]
    assert lines[store + 1].strip().startswith("-> choose another --store")
    assert any(line.startswith("FAIL cluster") and "ray job submit" in line for line in lines)


def test_a_cluster_that_does_not_answer_fails_with_its_address(monkeypatch, capsys, tmp_path) -> None:
    code, lines = doctor(monkeypatch, capsys, "--address", "127.0.0.1:1", "--store", str(tmp_path / "runs"))
    assert code == 1
    assert any(line.startswith("FAIL cluster") and "nothing answers at 127.0.0.1:1" in line for line in lines)


def test_versions_are_those_of_this_environment() -> None:
    seen = look_at_versions()
    assert seen.python == ".".join(map(str, sys.version_info[:3]))
    assert seen.installed["torch"].split("+")[0] == seen.measured["torch"]
    assert set(seen.required) >= {"ray", "torch", "pyarrow"}
    assert "pytest" not in seen.required, "extras are not needed"


def test_the_disk_of_a_store_that_is_yet_to_be_made_is_that_of_its_parent(tmp_path: Path) -> None:
    (store, *_) = look_at_disks(tmp_path / "not" / "yet")
    assert (store.subject, store.folder) == ("store", str(tmp_path / "not" / "yet"))
    assert 0 < store.free < store.total
    assert "store" not in {disk.subject for disk in look_at_disks(None)}


def test_looking_at_a_store_changes_nothing(tmp_path: Path) -> None:
    assert look_at_store(str(tmp_path / "new")).exists is False
    assert list(tmp_path.iterdir()) == []
    Store.open(str(tmp_path / "old"), create=True)
    before = sorted(path.name for path in (tmp_path / "old").iterdir())
    seen = look_at_store(str(tmp_path / "old"))
    assert (seen.exists, seen.problem, seen.first_wins) == (True, None, True)
    assert sorted(path.name for path in (tmp_path / "old").iterdir()) == before


def test_numbers_are_seen_as_stages_compute_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: TF32, which torch uses by itself and no stage does, was reported as used."""
    import torch

    from nrf_ray.engine import precision

    torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]  # where torch begins
    assert precision.in_tf32() == ("convolutions",)
    seen = look_at_numbers()
    assert seen.tf32 == ()
    assert bool(seen.cpu_bf16) == precision.has_bfloat16("cpu")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert (look_at_numbers().cpu_bf16, precision.has_bfloat16("cpu")) == (("amx",), True)


def test_a_folder_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    problem = look_at_store(str(tmp_path)).problem
    assert problem is not None
    assert "is not an nrf_ray store" in problem


def test_an_object_store_is_written_to_twice_and_left_as_it_was(
    in_memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    original = Store.open

    def watched(uri: str, *, create: bool) -> Store:
        opened.append(original(uri, create=create))
        return opened[-1]

    monkeypatch.setattr(Store, "open", watched)
    seen = look_at_store(in_memory)
    assert (seen.exists, seen.problem, seen.first_wins) == (False, None, True)
    assert opened[0].blobs.under() == []
    monkeypatch.setattr("nrf_ray.graph.blobs.Blobs.put_new", lambda blobs, name, data: True)
    assert look_at_store(in_memory).first_wins is False


def test_a_store_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "STORE_SECONDS", 0.05)
    answer = threading.Event()
    monkeypatch.setattr(places, "_try", lambda uri: answer.wait())
    try:
        assert "did not answer" in str(look_at_store("s3://far/away").problem)
    finally:
        answer.set()


def test_data_are_looked_for_in_their_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NRF_DATA", str(tmp_path))
    seen = look_at_data()
    assert seen.here[0] == "digits"
    assert "cifar10: run `nrf fetch cifar10`" in seen.remedies
    assert not any("cifar10-c" in remedy for remedy in seen.remedies)
    assert (seen.problem, list(tmp_path.iterdir())) == ("", [])
    for nowhere, place in (("/proc/data", "/proc"), ("/etc/passwd", "/etc/passwd")):
        monkeypatch.setenv("NRF_DATA", nowhere)
        assert look_at_data().problem == f"you may not write to {place}", "not even root may"


def test_a_token_is_found_where_ray_looks_and_never_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert look_at_authentication().source is None
    (tmp_path / "home" / ".ray").mkdir(parents=True)
    (tmp_path / "home" / ".ray" / "auth_token").write_text("secret")
    (tmp_path / "home" / ".ray" / "auth_token").chmod(stat.S_IRUSR)
    assert look_at_authentication().source == str(tmp_path / "home" / ".ray" / "auth_token")
    assert look_at_authentication().readable is False
    (tmp_path / "shared").write_text("secret")
    (tmp_path / "shared").chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "shared"))
    assert look_at_authentication().source == str(tmp_path / "shared")
    assert look_at_authentication().readable is True
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    seen = look_at_authentication()
    assert (seen.mode, seen.source, seen.readable) == ("token", "RAY_AUTH_TOKEN", False)
    assert "secret" not in repr(seen)


LISTEN = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("token", [True, False], ids=["with a token", "without"])
def test_ports_belong_to_processes_and_those_know_their_authentication(token: bool) -> None:
    environment = {"PATH": os.environ["PATH"], **({"RAY_AUTH_MODE": "token"} if token else {})}
    commands = {"head": "gcs_server", "client server": "ray.util.client.server", "": "something-else"}
    processes = {
        role: subprocess.Popen([sys.executable, "-c", LISTEN, name], env=environment, stdout=subprocess.PIPE, text=True)
        for role, name in commands.items()
    }
    try:
        ports = {role: int((process.stdout or sys.stdin).readline()) for role, process in processes.items()}
        found = {listener.port: listener for listener in look_at_listeners()}
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    for role in ("head", "client server"):
        assert (found[ports[role]].role, found[ports[role]].token) == (role, token)
        assert not found[ports[role]].exposed
    assert ports[""] not in found
