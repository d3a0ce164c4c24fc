"""The pages that people read, and what they ask to be typed.

A fence marked `sh` or `python` is something to carry out, and `python FILE` a file to write; one without a mark is
text. So is `code` in a line, unless it begins like a command, perhaps with settings of variables in front.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("analysis/**/*.md"),
        ROOT / "sweeps" / "cluster" / "README.md",
        ROOT / "tests" / "benchmarks" / "README.md",
    ]
)
TUTORIAL = ROOT / "analysis" / "tutorial.md"
FENCE = re.compile(r"^```(\S*) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = (
    *("python ", "nrf ", "make ", "pip ", "pytest ", "ray "),
    *("apptainer ", "docker ", "kubectl ", "prometheus ", "sbatch ", "srun "),
)
"""How commands begin that a line shows; those of help texts too."""
SETTING = re.compile(r"[A-Z_][A-Z0-9_]*=\S*")


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str
    file: str = ""
    """Name of the file that it is the contents of; empty if it is not a file."""


class Command(NamedTuple):
    """One simple command of a page."""

    page: str
    words: tuple[str, ...]
    settings: tuple[str, ...] = ()
    """Variables that are set for it alone, as NAME=VALUE."""

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join((*self.settings, *self.words))}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    for language, file, text in FENCE.findall(page.read_text(encoding="utf-8")):
        yield Block(language, text, file)


def commands(page: Path) -> Iterator[Command]:
    """Yield every simple command of a page: those of its fences, then those in its lines."""
    name = str(page.relative_to(ROOT))
    for block in blocks(page):
        if block.language == "sh":
            for line in block.text.splitlines():
                yield from simple(name, line)
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    for code in re.findall(r"`([^`]+)`", prose):  # which may go on in the next line
        yield from shown(name, " ".join(code.split()))


def examples(name: str, text: str) -> Iterator[Command]:
    """Yield the commands in a help text, where they are indented as code; `name` is whose help it is."""
    for line in text.splitlines():
        if line.startswith("    "):
            yield from shown(name, line.strip())


def shown(name: str, code: str) -> Iterator[Command]:
    """Yield the commands in a piece of code of the page `name`, if it begins like one."""
    if re.sub(rf"^({SETTING.pattern} +)*", "", code).startswith(SHOWN):
        yield from simple(name, code)


def simple(name: str, line: str) -> Iterator[Command]:
    """Yield each simple command of a line of shell of the page `name`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&")
    lexer.whitespace_split = True
    words: list[str] = []
    settings: list[str] = []
    for word in (*lexer, "&&"):
        if word == "&&":
            if words or settings:
                yield Command(name, tuple(words), tuple(settings))
            words, settings = [], []
        elif words or not SETTING.fullmatch(word):
            words.append(word)
        else:
            settings.append(word)
