"""Running: each stage once, failures and damage kept to what they touch, and resuming is running again."""

import json
import shutil

import pytest

from nrf_ray.errors import ConfigError, CorruptArtifact, MissingArtifact
from nrf_ray.graph.execute import Context, execute, map_here, run_inline, summary_of, to_rebuild
from nrf_ray.graph.frontier import Frontier, Progress
from nrf_ray.graph.record import record_of
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import FAILURE, RECORD, Store, place_of
from tests.graph import toys
from tests.graph.toys import FILE, Toy, chain, content, flip, node, path_of, pieces, refuse


def forget(store: Store, *stages: Stage) -> None:
    """Remove whole artifacts."""
    for stage in stages:
        shutil.rmtree(path_of(store, stage).parent)


def states(frontier: Frontier) -> dict[str, str]:
    return {stage.label: frontier.state[stage.key].value for stage in frontier.stages.values()}


def test_a_diamond_runs_once_inputs_first(store: Store, ran: list[str]):
    a = node("a")
    d = node("d", node("b", a), node("c", a))
    assert run_inline([d], store).finished
    assert (ran[0], sorted(ran[1:3]), ran[3:]) == ("a", ["b", "c"], ["d"])
    assert content(store, d) == {
        "metrics": {"length": 13, "share": 1 / 3, "nothing": None},
        "files": {FILE: "d(b(a()),c(a()))"},
    }


def test_a_record_says_whether_its_stage_was_the_first_of_its_process(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nrf_ray.graph.execute._WORKED", set())
    told = [execute(stage, store).provenance["first_of_process"] for stage in chain("a", "b", "c")]
    assert told == [True, False, False]


def test_the_second_run_executes_nothing(store: Store, ran: list[str]):
    goals = [*chain("a", "b", "c"), node("d")]
    run_inline(goals, store)
    assert sorted(ran) == ["a", "b", "c", "d"]
    ran.clear()
    again = Store.open(store.uri, create=True)
    assert run_inline(goals, again).stages == {}
    assert ran == []


def test_a_larger_grid_runs_only_what_is_new(store: Store, ran: list[str]):
    a, b = chain("a", "b")
    run_inline([b], store)
    ran.clear()
    run_inline([b, node("c", a)], store)
    assert ran == ["c"]


def test_execute_returns_what_is_committed_without_work(store: Store, ran: list[str]):
    a = node("a")
    first = execute(a, store)
    assert execute(a.named("other label"), store) == first
    assert ran == ["a"]


def test_a_failure_blocks_descendants_only_and_leaves_its_reason(store: Store, ran: list[str]):
    a, b, c = chain("a", "b", "c")
    goals = [c, node("beside", a), node("apart")]
    toys.HOOKS["b"] = refuse
    frontier = run_inline(goals, store)
    assert states(frontier) == {"a": "done", "b": "failed", "c": "blocked", "beside": "done", "apart": "done"}
    assert frontier.errors[b.key] == "ValueError: b was told to fail"
    failure = json.loads(path_of(store, b, FAILURE).read_text())
    assert failure["error"] == "ValueError: b was told to fail"
    assert "in refuse" in failure["traceback"]
    assert "and says so in two lines" in failure["traceback"]
    assert not path_of(store, c, FAILURE).exists()


def test_a_failed_stage_is_tried_again_by_the_next_run(store: Store, ran: list[str]):
    a, b, c = chain("a", "b", "c")
    toys.HOOKS["b"] = refuse
    run_inline([c], store)
    ran.clear()
    run_inline([c], store)
    assert ran == ["b"]
    toys.HOOKS.clear()
    ran.clear()
    assert states(run_inline([c], store)) == {"b": "done", "c": "done"}
    assert ran == ["b", "c"]
    assert store.failure(b) is None
    assert store.has(a)


def test_a_body_that_fails_after_writing_leaves_no_artifact(store: Store, ran: list[str]):
    a = node("a")

    def write_and_fail(context: Context) -> None:
        context.write("half.bin", b"half")
        raise MemoryError

    toys.HOOKS["a"] = write_and_fail
    run_inline([a], store)
    assert not store.has(a)
    assert store.failure(a) == "MemoryError"
    toys.HOOKS.clear()
    assert list(content(store, _run(a, store))["files"]) == [FILE], "the half file is in no record"


def _run(stage: Stage, store: Store) -> Stage:
    execute(stage, store)
    return stage


DAMAGES = [
    pytest.param(lambda store, s: flip(path_of(store, s)), id="data flipped"),
    pytest.param(lambda store, s: path_of(store, s).unlink(), id="data gone"),
    pytest.param(lambda store, s: flip(path_of(store, s, RECORD), at=200), id="record flipped"),
    pytest.param(lambda store, s: path_of(store, s, RECORD).write_bytes(b""), id="record emptied"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_input_is_rebuilt_during_the_run(store: Store, ran: list[str], damage):
    _, b, c = chain("a", "b", "c")
    run_inline([c], store)
    good = content(store, c), content(store, b)
    forget(store, c)
    damage(store, b)
    ran.clear()
    frontier = run_inline([c], store)
    assert set(states(frontier).values()) == {"done"}
    assert [name for name in ran if name != "c"] == ["b"], "a is whole and does not run"
    assert ran[-1] == "c"
    assert (content(store, c), content(store, b)) == good


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_all_the_way_down_is_rebuilt_during_the_run(store: Store, ran: list[str], damage):
    made = chain("a", "b", "c", "d")
    run_inline(made[-1:], store)
    good = [content(store, stage) for stage in made]
    forget(store, made[-1])
    for stage in made[:-1]:
        damage(store, stage)
    ran.clear()
    assert run_inline(made[-1:], store).finished
    assert [content(store, stage) for stage in made] == good
    assert ran[-4:].index("d") == 3


def test_an_input_that_goes_while_the_run_is_on_is_rebuilt(store: Store, ran: list[str]):
    a, b = chain("a", "b")
    toys.HOOKS["b"] = lambda context: path_of(store, a).unlink() if ran.count("b") == 1 else None
    run_inline([b], store)
    assert ran == ["a", "b", "a", "b"]
    assert store.has(b)


def test_an_input_that_is_damaged_every_time_fails_its_user(store: Store, ran: list[str]):
    a, b = chain("a", "b")
    toys.HOOKS["b"] = lambda context: flip(path_of(store, a, store.artifact(a).record.files[0].blob))
    frontier = run_inline([b], store)
    assert "found damaged inputs" in frontier.errors[b.key]
    assert frontier.state[b.key] is Progress.FAILED
    assert not store.has(b)


def test_a_committed_goal_is_not_rebuilt_for_a_deleted_ancestor(store: Store, ran: list[str]):
    a, b, c = chain("a", "b", "c")
    run_inline([c], store)
    forget(store, a, b)
    ran.clear()
    run_inline([c], store)
    assert ran == []
    assert not store.has(a)


def test_one_run_is_enough_for_a_goal_whose_record_is_damaged(store: Store, ran: list[str]):
    # Regression: the plan called the goal cached, and it took a second run of the same command to build it.
    _, b = chain("a", "b")
    run_inline([b], store)
    flip(path_of(store, b, RECORD), at=200)
    ran.clear()
    run_inline([b], store)
    assert store.has(b)
    assert ran == ["b"]


def test_a_run_that_comes_second_does_not_damage_what_the_first_has_committed(store: Store, ran: list[str]):
    # Regression: where two hosts round differently, the slower one replaced files that a record named already.
    a = node("a")

    def another_run_commits_first(context: Context) -> None:
        entry = store.write(a, FILE, b"rounded otherwise")
        assert store.commit(record_of(a, [entry], {}, 0, ""))

    toys.HOOKS["a"] = another_run_commits_first
    record = execute(a, store)
    assert record.files[0].size == len(b"rounded otherwise"), "the first commit stands"
    assert store.artifact(a).read(FILE) == b"rounded otherwise"


def test_execute_alone_says_which_input_is_missing(store: Store, ran: list[str]):
    a, b = chain("a", "b")
    with pytest.raises(MissingArtifact, match=f"a .toy_text/{a.key}. is not in the store"):
        execute(b, store)
    assert ran == []


def test_to_rebuild_lists_what_is_missing_inputs_first(store: Store):
    a, b, c = chain("a", "b", "c")
    assert [stage.label for stage in to_rebuild(c, store)] == ["a", "b"]
    run_inline([b], store)
    assert to_rebuild(c, store) == []
    forget(store, a)
    assert to_rebuild(c, store) == [], "nobody looks behind b"
    forget(store, b)
    assert [stage.label for stage in to_rebuild(c, store)] == ["a", "b"]


def test_whole_files_of_a_run_that_was_cut_off_are_kept(store: Store, ran: list[str]):
    first = _run(node("a"), store)
    stage = pieces(Toy(name="p"), first=first)
    store.write(stage, "part 1.txt", b"of other bytes")
    store.write(stage, "part 2.txt", b"))")
    kept = path_of(store, stage, "part 2.txt").stat().st_ino
    execute(stage, store)
    assert path_of(store, stage, "part 2.txt").stat().st_ino == kept
    assert content(store, stage)["files"] == {FILE: "p(a())", "part 1.txt": "p(a(", "part 2.txt": "))"}


def test_a_config_that_no_record_can_hold_fails_its_stage_only(store: Store, ran: list[str]):
    a, other = node("a"), node("other")

    def measure_nan(context: Context) -> None:
        raise ConfigError("metrics.loss is nan")

    toys.HOOKS["a"] = measure_nan
    frontier = run_inline([a, other], store)
    assert states(frontier) == {"a": "failed", "other": "done"}


def test_reports_go_to_whoever_watches(store: Store, ran: list[str]):
    seen: list[tuple[int, dict[str, float]]] = []
    toys.HOOKS["a"] = lambda context: context.report(3, {"loss": 0.5})
    execute(node("a"), store, report=lambda step, values: seen.append((step, values)))
    toys.HOOKS["b"] = lambda context: context.report(1, {})
    execute(node("b"), store)
    assert seen == [(3, {"loss": 0.5})]


def test_map_here_makes_one_worker_for_all_shards():
    made: list[list[int]] = []

    def worker() -> object:
        made.append([])
        return made[-1].append

    map_here(worker, [3, 1, 2])
    assert made == [[3, 1, 2]]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (ValueError("\n  padded\n"), "ValueError: padded"),
        (KeyError("x"), "KeyError: 'x'"),
        (MemoryError(), "MemoryError"),
        (CorruptArtifact("train", "k", "gone"), "CorruptArtifact: train/k is damaged: gone. Run the same sweep again"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_in_one_line(error: Exception, line: str):
    assert summary_of(error).startswith(line)
    assert "\n" not in summary_of(error)


def test_a_place_names_stage_and_key():
    stage = node("a")
    assert place_of(stage).file("x") == f"toy_text/{stage.key}/x"
