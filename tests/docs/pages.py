"""The pages that people read, and what they ask to be typed.

A fence marked `sh`, `python` or `diff` is something to carry out; one without a mark is text. So is `code` in a line,
unless it begins like a command of ours.
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
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OURS = ("python sweeps/", "nrf ", "make ")


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


class Command(NamedTuple):
    """One simple command of a page."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        yield Block(language, text)


def commands(page: Path) -> Iterator[Command]:
    """Yield every simple command of a page, in order; settings of variables in front of one are left out."""
    name = str(page.relative_to(ROOT))
    for block in blocks(page):
        if block.language == "sh":
            for line in block.text.splitlines():
                yield from (Command(name, words) for words in simple(line))
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    for code in re.findall(r"`([^`\n]+)`", prose):
        if code.startswith(OURS):
            yield from (Command(name, words) for words in simple(code))


def examples(name: str, text: str) -> Iterator[Command]:
    """Yield the commands in a help text, where they are indented as code; `name` is whose help it is."""
    for line in text.splitlines():
        if line.startswith("    ") and line.lstrip().startswith(OURS):
            yield from (Command(name, words) for words in simple(line.strip()))


def simple(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of each simple command of a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in (*lexer, "&&"):
        if word == "&&":
            if words:
                yield tuple(words)
            words = []
        elif words or not re.fullmatch(r"[A-Z_]+=\S*", word):
            words.append(word)
