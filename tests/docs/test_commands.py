"""Every command that a page shows is one that its program takes; those of the tutorial are carried out (slow tier)."""

import importlib.util
import inspect
import re
import tomllib

import click
import pytest
from cyclopts import CycloptsError

from nrf_ray import cli
from tests import sweeps
from tests.docs.pages import PAGES, ROOT, Command, commands, examples, shown

COMMANDS = sorted({command for page in PAGES for command in commands(page)})

SWEEPS = {f"{name}.py --help": inspect.getdoc(sweeps.load(name)) or "" for name in sweeps.FILES}
NRF = {
    f"nrf {name} --help": inspect.cleandoc(cli.nrf_app()[name].help)
    for name in cli.nrf_app()
    if not name.startswith("-")
}
EXAMPLES = {name: list(examples(name, text)) for name, text in (SWEEPS | NRF).items()}
"""The commands in every help text."""

NOT_HERE = ("cifar10-jpeg.parquet", "rt-polarity.parquet", "reviews.csv", "reviews.parquet", "weights.pt")
"""Files of the reader's own that commands name."""

ELSEWHERE = {
    "apptainer": "needs Apptainer",
    "docker": "needs Docker",
    "kubectl": "needs a Kubernetes cluster",
    "prometheus": "a program of its own",
    "sbatch": "needs Slurm; tests/cluster/test_slurm.py runs the script with a stand-in",
    "srun": "needs Slurm",
}
"""Programs that no test can run, and why; the files of ours that they are given must be there."""

SETTINGS = {"RAY_AUTH_MODE=token"}
"""Of variables of other programs; a variable of ours, NRF_..., has to be in our code."""

CARRIED_OUT = {"mine.py": "a plug-in that the tutorial writes before; tests/docs/test_tutorial.py carries it out"}
"""Words of commands that make sense only after what stands before them, and where they are tested."""

SHELL = {(".", ".venv/bin/activate"), ("python", "-m", "venv", ".venv"), ("python", "-m", "venv", "bench"),
         (".", "bench/bin/activate")}  # fmt: skip
"""What makes an empty environment, as .ci/run does."""


def check_sweep(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Parse the flags and build the grid and the sweep, as for a plan; run and write nothing."""
    if any(made in word for made in CARRIED_OUT for word in words):
        return
    code, _ = sweeps.planned(monkeypatch, *words[1:])
    missing = [file for file in NOT_HERE if any(file in word for word in words)]
    if missing:
        assert code == 2
        assert missing[0] in capsys.readouterr().err
    else:
        assert code == 0, capsys.readouterr().err


def check_nrf(words: tuple[str, ...]) -> None:
    """Parse the words; cyclopts raises where a command, an argument or a flag is not known."""
    if len(words) == 2:  # a command that is only named, as `nrf why` is in a sentence
        assert words[1] in set(cli.nrf_app())
        return
    cli.nrf_app().parse_args(list(words[1:]), exit_on_error=False, print_error=False)


def check_pip(words: tuple[str, ...]) -> None:
    """Look whether files and extras that are named are there."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [name for word in words for found in re.findall(r"\.\[(.*)\]", word) for name in found.split(",")]
    assert set(named) <= set(extras)
    files = [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-c", "-r")]
    assert all((ROOT / file).is_file() for file in files)


def check_ray(words: tuple[str, ...], monkeypatch, capsys) -> None:
    """Let Ray's own parser read the words, which raises where a command or a flag is not known; start nothing."""
    from ray.scripts.scripts import cli as command

    left = list(words[1:])
    while isinstance(command, click.Group):
        assert left, "a group of commands does nothing by itself"
        assert left[0] in command.commands, f"ray has no command {left[0]}"
        command, *left = command.commands[left[0]], *left[1:]
    command.make_context(command.name, left)
    check_elsewhere(words, monkeypatch, capsys)


def check_elsewhere(words: tuple[str, ...], monkeypatch, capsys) -> None:
    """Look whether the files of ours are there, and check the command of ours that is handed over."""
    files = [word for word in words if word.startswith(("sweeps/", "tests/")) and not word.endswith(".py")]
    assert all((ROOT / file).exists() for file in files)
    if "--" in words:
        check(words[words.index("--") + 1 :], monkeypatch, capsys)


def check(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    match words:
        case ("python", script, *_) if script.startswith("sweeps/"):
            check_sweep(words, monkeypatch, capsys)
        case ("python", "analysis/picture.py", _, _):
            pass  # carried out by tests/docs/test_picture.py
        case ("python", "-m", module, *_) if module.startswith("tests."):
            assert importlib.util.find_spec(module) is not None
        case ("nrf", *_):
            check_nrf(words)
        case ("pip", "install", *_):
            check_pip(words)
        case ("make", target, *_):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ("pytest", *_):
            pass
        case ("ray", *_):
            check_ray(words, monkeypatch, capsys)
        case (program, *_) if program in ELSEWHERE:
            check_elsewhere(words, monkeypatch, capsys)
        case _:
            assert words in SHELL, "no test knows this command"


def check_setting(setting: str) -> None:
    """Look whether somebody reads the variable that is set."""
    name = setting.partition("=")[0]
    if name.startswith("NRF_"):
        code = [*(ROOT / "nrf_ray").rglob("*.py"), *(ROOT / "analysis").glob("*.py"), *(ROOT / "tests").rglob("*.py")]
        assert any(re.search(rf"\b{name}\b", file.read_text()) for file in code), f"nothing of ours reads {name}"
    else:
        assert setting in SETTINGS, "no test knows this variable, or this value of it"


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_is_one_that_its_program_takes(command: Command, monkeypatch, capsys) -> None:
    for setting in command.settings:
        check_setting(setting)
    if command.words:
        check(command.words, monkeypatch, capsys)


@pytest.mark.parametrize("command", [e for found in EXAMPLES.values() for e in found], ids=str)
def test_an_example_in_a_help_text_is_one_that_its_program_takes(command: Command, monkeypatch, capsys) -> None:
    check(command.words, monkeypatch, capsys)


def test_every_help_text_has_an_example() -> None:
    assert len(NRF) >= 11
    assert [name for name, found in EXAMPLES.items() if not found] == []


def test_a_command_with_a_mistake_would_be_noticed(monkeypatch, capsys) -> None:
    for words in (
        ("python", "sweeps/transfer_grid.py", "--preset", "huge"),
        ("python", "sweeps/transfer_grid.py", "--no-such-flag"),
        ("pip", "install", "-e", ".[nothing]"),
        ("make", "coffee"),
        ("nrf", "frobnicate"),
        ("frobnicate",),
        ("ray", "frobnicate"),
        ("ray", "job"),
        ("ray", "up", "--yes", "sweeps/cluster/no.yaml"),
        ("ray", "job", "submit", "--working-dir", ".", "--", "python", "sweeps/transfer_grid.py", "--no-such-flag"),
    ):
        with pytest.raises(AssertionError):
            check(words, monkeypatch, capsys)
    for words in (("ray", "start", "--haed"), ("ray", "start", "--metrics-export-port=x"), ("ray", "up")):
        with pytest.raises(click.UsageError):
            check(words, monkeypatch, capsys)
    for setting in ("NRF_NO_SUCH" + "_VARIABLE=1", "RAY_AUTH_MODE=tokens", "RAY_NOTHING=token"):
        with pytest.raises(AssertionError):
            check_setting(setting)
    check_setting("NRF_DATA=/data")
    for words in (("nrf", "frobnicate", "x"), ("nrf", "show", "KEY", "--no-such-flag")):
        with pytest.raises(CycloptsError):
            check(words, monkeypatch, capsys)


def test_commands_in_a_line_are_seen_with_what_is_set_for_them() -> None:
    (start,) = shown("a page", "RAY_AUTH_MODE=token ray start --head")
    assert (start.settings, start.words) == (("RAY_AUTH_MODE=token",), ("ray", "start", "--head"))
    for code in ("pip install -e .", "python -m tests.benchmarks.table", "nrf doctor"):
        assert [command.words for command in shown("a page", code)] == [tuple(code.split())]
    assert [command for code in ("python", "nrf_ray", "$NRF_DATA", "grafana.json") for command in shown("", code)] == []


def test_the_pages_show_commands() -> None:
    assert len(COMMANDS) > 50
    assert {command.words[0] for command in COMMANDS} >= {"python", "nrf", "pip", "make", "ray"}
