"""What a crash leaves is taken once, whatever other workers of the stage do meanwhile."""

from pathlib import Path

import pytest

from nrf_ray.cluster.crash import crash_trace, take_trace


def test_traces_of_all_parts_are_taken_once(tmp_path: Path) -> None:
    for part, text in (("", "first"), ("-shard-1", ""), ("-shard-2", "second")):
        (tmp_path / f"k{part}.txt").write_text(text)
    (tmp_path / "other.txt").write_text("of another stage")
    assert take_trace(str(tmp_path), "k") == "second\nfirst"
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]
    assert take_trace(str(tmp_path), "k") == take_trace(None, "k") == ""


@pytest.mark.parametrize("method", ["read_text", "unlink"])
def test_a_worker_that_ends_meanwhile_takes_its_file_away_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Regression: a set lost one node, a worker on another ended at that moment, and the whole run with it."""
    whole = getattr(Path, method)

    def after_the_worker_ended(path: Path, **given: object) -> object:
        monkeypatch.undo()
        worker.__exit__(None, None, None)
        return whole(path, **given)

    worker = crash_trace(str(tmp_path), "k", "-shard-1")
    worker.__enter__()
    (tmp_path / "k-shard-2.txt").write_text("crashed")
    monkeypatch.setattr(Path, method, after_the_worker_ended)
    assert take_trace(str(tmp_path), "k") == "crashed"
    assert list(tmp_path.iterdir()) == []
