"""Digests of code are kept until a file of the package changes; what cannot be kept is computed."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nrf_ray.graph import kept_digests, source
from nrf_ray.graph.kept_digests import kept


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of the digests, of a package that has one module."""
    (tmp_path / "pack" / "inner").mkdir(parents=True)
    (tmp_path / "pack" / "inner" / "one.py").write_text("ONE = 1")
    monkeypatch.setattr(kept_digests, "FOLDER", tmp_path / "pack")
    monkeypatch.setattr(kept_digests, "file", lambda: tmp_path / "cache" / "kept.json")
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    kept_digests._state.cache_clear()
    yield tmp_path / "cache" / "kept.json"
    kept_digests._state.cache_clear()


def in_a_new_process(digest: str) -> str:
    """Return what a process gets that would compute `digest`."""
    kept_digests._state.cache_clear()
    return kept(lambda: digest, "one")


def test_a_digest_is_computed_once_and_again_after_every_change(place: Path) -> None:
    assert [in_a_new_process(digest) for digest in ("first", "not computed")] == ["first", "first"]
    module = kept_digests.FOLDER / "inner" / "one.py"
    changes: dict[str, Callable[[], object]] = {
        "in its time": lambda: os.utime(module, ns=(0, module.stat().st_mtime_ns + 1)),
        "in its size": lambda: (module.write_text("ONE = 11"), os.utime(module, ns=(0, 0))),
        "it came": lambda: (kept_digests.FOLDER / "new.py").touch(),
        "it went": lambda: (kept_digests.FOLDER / "new.py").unlink(),
    }
    for name, change in changes.items():
        change()
        assert [in_a_new_process(digest) for digest in (name, "not computed")] == [name, name]
    (kept_digests.FOLDER / "notes.txt").touch()
    assert in_a_new_process("not computed") == "it went"


def test_where_python_keeps_no_bytecode_nothing_is_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert [in_a_new_process(digest) for digest in ("one", "two")] == ["one", "two"]
    assert not place.parent.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": 1}', "\x00"])
def test_a_damaged_file_is_computed_and_written_anew(content: str, place: Path) -> None:
    place.parent.mkdir()
    place.write_text(content)
    assert kept(lambda: "ab", "one") == "ab"
    assert kept(lambda: "cd", "two") == "cd"
    assert [kept(lambda: "other", name) for name in ("one", "two")] == ["ab", "cd"]
    assert list(place.parent.iterdir()) == [place]


def test_a_digest_that_is_not_a_text_is_computed_anew(place: Path) -> None:
    in_a_new_process("ab")
    place.write_text(place.read_text().replace('"ab"', "7"))
    assert in_a_new_process("cd") == "cd"


def test_a_folder_that_cannot_be_written_costs_only_time(place: Path) -> None:
    place.parent.write_text("")
    assert [in_a_new_process(digest) for digest in ("one", "two")] == ["one", "two"]


def test_what_is_kept_is_what_is_computed_and_lies_beside_the_bytecode() -> None:
    from nrf_ray.stages.evaluate import evaluate

    body = evaluate.body
    assert source.source_digest(body) == source._computed(source._Place(body.__module__, body.__name__))
    assert kept_digests.file().name == f"kept_digests.{sys.implementation.cache_tag}.json"
    assert sys.pycache_prefix or kept_digests.file().parent == Path(kept_digests.__file__).parent / "__pycache__"
