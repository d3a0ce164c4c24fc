"""Odd surroundings: what cannot work is one line and exit code 2 before a store is made, and a FAIL of `nrf doctor`."""

import errno
import io
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nrf_ray import cli
from nrf_ray.cluster import local_start
from nrf_ray.cluster.local_start import check_can_start, hindrances, make_token
from nrf_ray.cluster.quiet import output_to
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.places import data_home
from nrf_ray.display.printing import make_console
from nrf_ray.doctor.places import judge_data, judge_store, look_at_data, look_at_store
from nrf_ray.doctor.start import look_at_start
from nrf_ray.errors import ClusterError, ConfigError, is_text, printable
from nrf_ray.stages import trial_build
from tests.data.files import labels_of, pixels, write_folder
from tests.sweeps import transfer_grid

VARIABLES = ("RAY_TMPDIR", "TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a Ray could start: a short temporary folder, and a home folder."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["transfer_grid.py", "--preset", "smoke", *flags])
    with pytest.raises(SystemExit) as exit_:
        cli.sweep_main(transfer_grid.transfer_grid, transfer_grid.FLAGS)
    out = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, out.out, out.err


# What Ray needs


def refuse_to_write(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make `folder` one in which nothing can be made."""

    def refused(path: str, *mode: int) -> None:
        if Path(path).parent == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        make(path, *mode)

    make = os.mkdir
    patch.setattr(os, "mkdir", refused)


def long_folder(patch: pytest.MonkeyPatch, folder: Path) -> str:
    patch.setenv("TMPDIR", "/tmp/" + "a" * 60)
    return r"its sockets below /tmp/a{60}/ray would have paths of 1\d\d bytes, more than the maximum of 107; export"


def folder_of_another(patch: pytest.MonkeyPatch, folder: Path) -> str:
    """Root may write everywhere, so what the system says to another user is said here."""
    (folder / "ray").mkdir()
    os.chown(folder / "ray", 54321, -1)
    patch.setattr(local_start, "SOCKET", "s")
    patch.setenv("RAY_TMPDIR", str(folder))
    refuse_to_write(patch, folder / "ray")
    return (
        r"its files would be in .*/ray \(it belongs to the user 54321\), which you may not write to; export RAY_TMPDIR="
    )


def folder_that_is_a_file(patch: pytest.MonkeyPatch, folder: Path) -> str:
    (folder / "ray").write_text("mine")
    patch.setattr(local_start, "SOCKET", "s")
    patch.setenv("TMPDIR", str(folder))
    return r"its folder would be in .*/ray, which is a file; export RAY_TMPDIR="


def folder_that_takes_nothing(patch: pytest.MonkeyPatch, folder: Path) -> str:
    patch.setattr(local_start, "SOCKET", "s")
    patch.setenv("TMPDIR", "/proc/nowhere")
    return r"its files would be in /proc, which you may not write to; export RAY_TMPDIR="


def relative_folder(patch: pytest.MonkeyPatch, folder: Path) -> str:
    patch.setenv("RAY_TMPDIR", "scratch")
    return r"its temporary folder is 'scratch', which is not an absolute path; export RAY_TMPDIR="


def nobody(patch: pytest.MonkeyPatch, folder: Path) -> str:
    """A user id without an entry in passwd, as in a container that was started with one."""
    patch.delenv("HOME")
    patch.setattr(os, "getuid", lambda: 54321)
    return "HOME is not set, and passwd has no entry; export HOME=/a/folder/that/you/may/write/to"


def home_of_another(patch: pytest.MonkeyPatch, folder: Path) -> str:
    refuse_to_write(patch, folder)
    return r"its token file would be .*/\.ray/auth_token; you may not write to .*; set HOME to a folder"


def home_that_is_missing(patch: pytest.MonkeyPatch, folder: Path) -> str:
    """Regression: root is said to have the right to write to /proc and to a disk that is read-only, and has not."""
    patch.setenv("HOME", "/proc/no/such/home")
    return r"you may not write to /proc; set HOME to a folder"


SURROUNDINGS = (
    long_folder, folder_of_another, folder_that_is_a_file, folder_that_takes_nothing, relative_folder, nobody,
    home_of_another, home_that_is_missing,
)  # fmt: skip


@pytest.mark.parametrize("surround", SURROUNDINGS, ids=lambda surround: surround.__name__)
def test_where_no_ray_would_start_a_run_is_refused_before_a_store_is_made(
    surround: Callable[[pytest.MonkeyPatch, Path], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = surround(monkeypatch, tmp_path)
    with pytest.raises(ClusterError, match=f"^Ray cannot start on this machine: .*{words}"):
        check_can_start()
    code, out, err = call(monkeypatch, capsys, "--store", str(tmp_path / "store"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "store").exists()
    ((message, remedy),) = look_at_start(tried=True).known
    assert f"{message}; {remedy}" in err, "the doctor says the same"


def test_a_token_in_a_variable_and_a_known_user_need_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    assert hindrances() == [], "the home folder is in passwd"
    monkeypatch.setenv("HOME", "/proc/no/such/home")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert hindrances() == []


def test_the_token_that_a_run_makes_is_its_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: Ray makes it with the rights of the umask, and `nrf doctor` then warned of it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = os.umask(0o022)
    try:
        make_token()
    finally:
        os.umask(before)
    token = tmp_path / "home" / ".ray" / "auth_token"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (token, token.parent)] == [0o600, 0o700]
    assert len(bytes.fromhex(token.read_text())) == 32
    made = token.read_text()
    make_token()
    assert token.read_text() == made, "what is there stays"


@pytest.mark.parametrize("named", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"])
def test_no_token_is_made_where_another_is_named_or_none_is_wanted(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(named, "disabled")
    make_token()
    assert list(tmp_path.iterdir()) == []


def test_a_home_folder_that_is_not_known_is_one_line_also_where_data_are_looked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NRF_DATA", raising=False)
    nobody(monkeypatch, Path())
    with pytest.raises(ConfigError, match="home folder of a user who is unknown here; set HOME to a folder"):
        data_home()
    assert judge_data(look_at_data()).level == "FAIL"
    code, _, err = call(monkeypatch, capsys, "--plan", "--dataset", "folder:~/pictures")
    assert (code, err.count("\n")) == (2, 1)
    assert "set HOME to a folder" in err


# File systems


@pytest.mark.parametrize(
    ("call_", "lacking", "error"),
    [
        ("link", "hard links", errno.EPERM),
        ("link", "hard links", errno.EOPNOTSUPP),
        ("link", "hard links", errno.ENOSYS),
        ("fsync", "fsync", errno.EINVAL),
    ],
)
def test_a_file_system_that_cannot_keep_a_store_is_refused_before_one_is_made(
    call_: str,
    lacking: str,
    error: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Regression: `you may not do that there` was said of exFAT and of some network file systems."""

    def refused(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, call_, refused)
    place = tmp_path / "disk"
    place.mkdir()
    code, out, err = call(monkeypatch, capsys, "--store", str(place / "runs"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"the file system of {place} has no {lacking} ({os.strerror(error)})" in err
    assert list(place.iterdir()) == []
    seen = judge_store(look_at_store(str(place / "runs")))
    assert (seen.level, f"has no {lacking}" in seen.message) == ("FAIL", True)
    assert list(place.iterdir()) == []


# Printing


def ascii_file() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)


def test_a_letter_that_the_output_lacks_is_written_as_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: a run whose output was not UTF-8 failed when it printed its last table."""
    out = ascii_file()
    make_console(out).print("größe ± 1")
    assert out.buffer.getvalue() == b"gr\\xf6\\xdfe \\xb1 1\n"  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdout", ascii_file())
    monkeypatch.setattr(sys, "stderr", ascii_file())
    monkeypatch.setattr(sys, "argv", ["transfer_grid.py", "--dataset", "größe"])
    with pytest.raises(SystemExit):
        cli.sweep_main(transfer_grid.transfer_grid, transfer_grid.FLAGS)
    assert b"unknown dataset 'gr\\xf6\\xdfe'" in sys.stderr.buffer.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("gone", ["full disk", "closed pipe"])
def test_a_steady_console_goes_on_when_its_file_is_gone(gone: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    descriptor = os.open("/dev/full", os.O_WRONLY) if gone == "full disk" else os.dup(writing)
    os.close(writing)
    with os.fdopen(descriptor, "w") as out:
        console = make_console(out, steady=True)
        for _ in range(3):
            console.print("a line")
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("w") as out:
        make_console(out).print("a line")


@pytest.mark.parametrize(
    ("shell", "code", "words"),
    [
        ('exec "$@" --plan > /dev/full', 1, "error: what was to be printed cannot be written: No space left on device"),
        ('exec "$@" --help > /dev/full', 1, "error: what was to be printed cannot be written: No space left on device"),
        ('exec "$@" --plan >&-', 0, ""),
        ('exec "$@" --plan --epsilon x >&- 2>&-', 2, ""),
        ('exec "$@" --plan --epsilon x <&- >&-', 2, "error: --epsilon 'x' is not a number"),
    ],
)
def test_an_output_that_is_closed_or_full_is_no_traceback(shell: str, code: int, words: str, tmp_path: Path) -> None:
    command = [sys.executable, transfer_grid.__file__, "--store", str(tmp_path / "runs")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["sh", "-c", shell, "sh", *command], env=environment, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1 if words else 0)
    assert done.stderr.startswith(words)


def test_rays_output_goes_to_the_log_and_the_terminal_may_be_gone(tmp_path: Path) -> None:
    saved, full = os.dup(1), os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    try:
        with output_to(tmp_path / "ray.log") as console:
            os.write(1, b"from Ray\n")
            console.print("größe")
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(full)
    assert (tmp_path / "ray.log").read_bytes() == b"from Ray\n"


# Names


BAD = os.fsdecode(b"caf\xe9")


def test_names_that_are_no_text_are_refused_where_they_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: each was a traceback about surrogates, some of them after the plan."""
    monkeypatch.setenv("NRF_DATA", str(tmp_path / "home"))
    assert (is_text(BAD), printable(BAD), is_text("café")) == (False, "caf\\xe9", True)
    for flags in (("--dataset", f"folder:/{BAD}"), ("--store", f"/tmp/{BAD}"), ("--arch", BAD)):
        code, out, err = call(monkeypatch, capsys, "--plan", *flags)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "caf\\xe9 is not UTF-8; give it another name" in err
    write_folder(tmp_path / "pictures", pixels(6), labels_of(6))
    (tmp_path / "pictures" / "ant" / f"{BAD}.png").write_bytes((tmp_path / "pictures" / "ant" / "000.png").read_bytes())
    code, _, err = call(monkeypatch, capsys, "--plan", "--dataset", f"folder:{tmp_path / 'pictures'}")
    assert (code, err.count("\n")) == (2, 1)
    assert "the name of the file caf\\xe9.png is not UTF-8" in err
    place = tmp_path / BAD
    write_folder(place / "pictures", pixels(6), labels_of(6))
    monkeypatch.chdir(place)
    for flags in (("--dataset", "folder:pictures", "--store", str(tmp_path / "s")), ("--store", "runs")):
        code, _, err = call(monkeypatch, capsys, "--plan", *flags)
        assert (code, "caf\\xe9" in err, "is not UTF-8" in err) == (2, True, True)


def test_a_number_sign_in_a_path_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: it was taken for the begin of an embedding, and the path for another."""
    monkeypatch.setenv("NRF_DATA", str(tmp_path / "home"))
    info = dataset_named(f"folder:{write_folder(tmp_path / 'run #3', pixels(12), labels_of(12))}")
    assert info.num_train + info.num_test == 12
    assert dataset_named(info.ref.location).ref == info.ref, "its location is its name on every machine"
    assert (info.ref.name, np.prod(info.shape)) == ("run-3", 192)
    write_folder(tmp_path / "a#hf:b", pixels(12), labels_of(12))
    with pytest.raises(
        ConfigError, match=r"the end of its path means a choice, .* or an encoder; give the path another"
    ):
        dataset_named(f"folder:{tmp_path / 'a#hf:b'}")
    with pytest.raises(
        ConfigError, match=r"there is nothing at .*/no#such, where .* \(an encoder is written #hf:NAME, and"
    ):
        dataset_named(f"folder:{tmp_path / 'no#such'}")


# Images that a network cannot take


@pytest.mark.parametrize(
    ("arch", "sides", "said"),
    [
        (
            "vgg_s",
            (1, 40),
            "vgg_s needs images of at least 4 x 4, but those of strips are 1 x 40; use resnet_s or resnet_m or",
        ),
        (
            "wrn_28_10_silu",
            (8, 10),
            "wrn_28_10_silu needs images whose sides are multiples of 4, but those of strips are 8 x 10; use another",
        ),
    ],
)
def test_images_of_a_size_that_an_architecture_does_not_take_are_refused_while_planning(
    arch: str,
    sides: tuple[int, int],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Regression: three stages failed after 55 seconds."""
    monkeypatch.setenv("NRF_DATA", str(tmp_path / "home"))
    folder = write_folder(tmp_path / "strips", pixels(180, (3, *sides)), labels_of(180))
    flags = ("--dataset", f"folder:{folder}", "--arch", arch, "--store", str(tmp_path / "store"), "--epsilon", "0.5")
    code, out, err = call(monkeypatch, capsys, *flags)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not (tmp_path / "store").exists()


def test_what_a_child_finds_of_a_network_of_timm_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    monkeypatch.setenv("NRF_DATA", str(tmp_path))
    tried: list[str] = []
    found = {"timm:good": None, "timm:bad": "timm:bad does not accept images of 3 x 8 x 8"}
    monkeypatch.setattr(trial_build, "_built_apart", lambda arch, shape: tried.append(arch) or found[arch])
    for _ in range(3):
        trial_build.check_builds.cache_clear()
        trial_build.check_builds("timm:good", (3, 8, 8))
        with pytest.raises(ConfigError, match="timm:bad does not accept images of 3 x 8 x 8"):
            trial_build.check_builds("timm:bad", (3, 8, 8))
    trial_build.check_builds("timm:good", (3, 8, 9))
    assert tried == ["timm:good", "timm:bad", "timm:good"], "each once, for images of one shape"
    trial_build.check_builds.cache_clear()


@pytest.mark.slow
def test_a_child_builds_a_network_of_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    monkeypatch.setenv("NRF_DATA", str(tmp_path))
    trial_build.check_builds("timm:resnet18", (3, 8, 8))
    for arch, shape, words in (
        ("timm:no_such_model", (3, 8, 8), "has no model 'no_such_model'; close: "),
        ("timm:vit_tiny_patch16_224", (3, 32, 64), "does not accept images of 3 x 32 x 64"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            trial_build.check_builds(arch, shape)
        assert "\n" not in str(caught.value)
