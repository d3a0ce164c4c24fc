"""What an artifact is makes its key; where it runs and what people call it never do."""

import pickle
import runpy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import key_of
from nrf_ray.graph.execute import Context, run_inline
from nrf_ray.graph.stage import STAGES, Metrics, Resources, Stage, StageKind, stage, walk
from nrf_ray.graph.store import Artifact
from tests.graph import toys
from tests.graph.toys import FILE, Strict, Toy, chain, node, strict, toy_text


def test_key_known_answer():
    source = node("source")
    said = {"schema": 1, "stage": "toy_text", "version": 1}
    config = {"type": "Toy", "name": "user", "seconds": 1.0}
    assert node("user", source).key == key_of({**said, "config": config, "inputs": {"first": source.key}})


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda s: s.named("another name"), id="label"),
        pytest.param(lambda s: replace(s, resources=Resources(cpus=8, gpus=0.5)), id="resources"),
        pytest.param(lambda s: replace(s, inputs={"first": s.inputs["first"].named("x")}), id="label of an input"),
        pytest.param(lambda s: pickle.loads(pickle.dumps(s)), id="pickling"),
        pytest.param(lambda s: toy_text(s.config, second=None, first=s.inputs["first"]), id="an input given as None"),
    ],
)
def test_key_does_not_depend_on(other):
    made = node("user", node("source"))
    assert other(made).key == node("user", node("source")).key


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda s: replace(s, config=replace(s.config, name="x")), id="config"),
        pytest.param(lambda s: replace(s, kind=replace(s.kind, version=2)), id="version"),
        pytest.param(lambda s: replace(s, kind=replace(s.kind, name="tin")), id="stage name"),
        pytest.param(lambda s: toy_text(s.config, first=node("other")), id="input key"),
        pytest.param(lambda s: toy_text(s.config, second=s.inputs["first"]), id="input name"),
        pytest.param(lambda s: toy_text(s.config), id="input left out"),
        pytest.param(lambda s: toy_text(s.config, first=s.inputs["first"], second=node("x")), id="one more input"),
    ],
)
def test_key_depends_on(other):
    made = node("user", node("source"))
    assert other(made).key != made.key


def test_key_depends_on_ancestors_at_any_depth():
    assert chain("a", "b", "c", "d")[-1].key != chain("x", "b", "c", "d")[-1].key


@pytest.mark.parametrize(
    ("call", "words"),
    [
        pytest.param(lambda: strict(Strict()), ["strict", "missing: ['model']", "unknown: []"], id="missing"),
        pytest.param(lambda: strict(Strict(), model=None), ["missing: ['model']"], id="missing, given as None"),
        pytest.param(
            lambda: strict(Strict(), model=node("m"), modle=node("m")), ["unknown: ['modle']", "'data'"], id="unknown"
        ),
        pytest.param(lambda: strict(Toy(name="x"), model=node("m")), ["strict", "Strict", "Toy"], id="other config"),
        pytest.param(lambda: toy_text({"name": "x"}), ["toy_text", "Toy", "dict"], id="config is a dict"),
        pytest.param(lambda: toy_text(Toy), ["toy_text", "Toy", "type"], id="config is a class"),
    ],
)
def test_wrong_calls_are_refused(call, words):
    with pytest.raises(ConfigError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["sweeps", "drivers", "quarantine", "logs", "attempts", "Train", "_train", "tr-ain"])
def test_stage_names_that_would_clash_in_a_store_are_refused(name):
    def body(config: Toy, context: object) -> dict:
        return {}

    body.__name__ = name
    with pytest.raises(ConfigError, match="cannot be called"):
        stage(version=1, cost=lambda handle: 0.0)(body)


def test_two_stages_of_one_name_are_refused_since_their_keys_could_be_equal():
    def toy_text(config: Toy, context: object) -> Metrics:
        return {}

    with pytest.raises(ConfigError, match=r"two stages called 'toy_text', toy_text in .*toys\.py and .*test_stage\.py"):
        stage(version=1, cost=lambda handle: 0.0)(toy_text)
    assert STAGES["toy_text"].body.__module__ == "tests.graph.toys"


def test_a_file_that_is_loaded_again_brings_its_stages_again(monkeypatch):
    for name in ("toy_text", "pieces", "strict"):
        monkeypatch.setitem(STAGES, name, STAGES[name])  # what is there now comes back after the test
    again = runpy.run_path(toys.__file__)
    assert STAGES["toy_text"] is again["toy_text"] is not toys.toy_text
    assert again["toy_text"].name == "toy_text"


def test_a_cell_of_a_notebook_that_is_run_again_brings_its_stage_again(monkeypatch):
    monkeypatch.setitem(STAGES, "celled", None)
    del STAGES["celled"]
    cell = "@stage(version=1, cost=lambda handle: 0.0)\ndef celled(config: Toy, context: object) -> dict: return {}"
    for number in range(2):  # each run of an edited cell has another file name, and the same module
        exec(
            compile(cell, f"/tmp/ipykernel_1/{number}.py", "exec"), {"stage": stage, "Toy": Toy, "__name__": "__main__"}
        )
    assert STAGES["celled"].places[0].endswith("1.py")


def test_version_must_be_said():
    with pytest.raises(TypeError, match="version"):
        stage(cost=lambda handle: 0.0)


def test_pickling_keeps_label_resources_and_kind():
    made = replace(node("user", node("source")), resources=Resources(cpus=3, gpus=1))
    back = pickle.loads(pickle.dumps(made))
    assert back.kind is toy_text
    assert back.inputs["first"].kind is toy_text
    assert (back.label, back.resources, back.config) == (made.label, made.resources, made.config)


def test_pickle_refuses_a_name_that_is_no_stage():
    fake = StageKind(name="node", version=1, body=node, config_type=Toy, inputs={}, cost=lambda handle: 0.0)
    with pytest.raises(ConfigError, match=r"tests\.graph\.toys\.node is not a stage"):
        pickle.loads(pickle.dumps(fake))


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (0.25, "cuda"), (1, "cuda")])
def test_device_follows_from_the_request(gpus, device):
    assert Resources(gpus=gpus).device == device


@pytest.mark.parametrize(
    ("gpus", "remedy"),
    [
        pytest.param(0.3, r"ask for 0\.25 \(4 stages per GPU\) or 0\.3333 \(3 per GPU\)", id="0.1 of each GPU is lost"),
        pytest.param(0.33, r"ask for 0\.25 \(4 stages per GPU\) or 0\.3333 \(3 per GPU\)", id="a third, cut short"),
        pytest.param(0.1667, r"ask for 0\.1666 \(6 stages per GPU\) or 0\.2 \(5 per GPU\)", id="six are too many"),
        pytest.param(0.6, r"ask for 0\.5 \(2 stages per GPU\) or 1 \(1 per GPU\)", id="more than half"),
        pytest.param(1.5, "a share of one", id="one and a half"),
        pytest.param(0.00001, "smallest share", id="next to nothing"),
        pytest.param(-0.5, "a share of one", id="negative"),
    ],
)
def test_shares_of_a_gpu_that_leave_a_part_unused_are_refused(gpus, remedy):
    with pytest.raises(ConfigError, match=remedy):
        Resources(gpus=gpus)


@pytest.mark.parametrize(
    ("gpus", "sharers"), [(0.5, 2), (0.3333, 3), (1 / 3, 3), (0.25, 4), (0.2, 5), (0.1666, 6), (0.1, 10)]
)
def test_shares_that_fill_a_gpu(gpus, sharers):
    assert Resources(gpus=gpus).sharers == sharers


def test_title_is_the_label_or_kind_and_key():
    bare = toy_text(Toy(name="x"))
    assert (bare.title, bare.named("mine").title) == (f"toy_text {bare.key[:8]}", "mine")


def test_cost_comes_from_the_kind():
    assert (node("x", seconds=2.5).cost(), strict(Strict(), model=node("m")).cost()) == (2.5, 2.0)


def test_walk_visits_a_diamond_once_inputs_first():
    a = node("a")
    b, c = node("b", a), node("c", node("a"))
    assert [s.label for s in walk([node("d", b, c), b, a])] == ["a", "b", "c", "d"]


def test_walk_of_nothing_is_empty():
    assert list(walk([])) == []


def test_walk_does_not_recurse_into_a_chain_of_3000():
    # Regression: `Stage.key` asked its inputs for their keys in turn, beyond the recursion limit.
    deep = chain(*(str(n) for n in range(3000)))
    assert [s.label for s in walk([deep[-1]])] == [str(n) for n in range(3000)]


def test_walk_does_not_take_exponential_time_on_stacked_diamonds():
    top = node("0")
    for n in range(1, 60):
        top = node(f"{n} join", node(f"{n} left", top), node(f"{n} right", top))
    assert len(list(walk([top]))) == 1 + 3 * 59


@st.composite
def graphs(draw: st.DrawFn) -> list[Stage]:
    """Random acyclic graphs of toys."""
    made: list[Stage] = []
    for n in range(draw(st.integers(1, 12))):
        inputs = draw(st.lists(st.sampled_from(made), max_size=3)) if made else []
        made.append(node(str(n), *inputs))
    return made


@given(graphs(), st.data())
def test_walk_yields_every_needed_stage_once_and_inputs_first(made: list[Stage], data: st.DataObject):
    goals = data.draw(st.lists(st.sampled_from(made), max_size=4))
    needed, todo = set(), list(goals)
    while todo:
        handle = todo.pop()
        needed.add(handle.key)
        todo.extend(handle.inputs.values())
    seen: list[str] = []
    for handle in walk(goals):
        assert all(i.key in seen for i in handle.inputs.values())
        seen.append(handle.key)
    assert len(seen) == len(set(seen))
    assert set(seen) == needed


@stage(version=1, cost=lambda handle: 0.0)
def gathered(config: Toy, context: Context, *, first: Artifact, **others: Artifact) -> Metrics:
    """Measure how many further inputs there are."""
    return {"length": len(others), "texts": first.read(FILE).decode() + "".join(sorted(others))}


def test_a_stage_may_gather_any_number_of_others(store):
    first, *others = chain("a"), *(node(name) for name in "bcd")
    made = gathered(Toy(name="all"), first=first[0], **{f"input_{i}": other for i, other in enumerate(others)})
    renamed = gathered(Toy(name="all"), first=first[0], **{f"other_{i}": other for i, other in enumerate(others)})
    assert len({made.key, renamed.key, gathered(Toy(name="all"), first=first[0]).key}) == 3
    assert set(walk([made])) == {made, *made.inputs.values()}
    assert run_inline([made], store).errors == {}
    metrics = store.artifact(made).record.metrics
    assert metrics == {"length": 3, "texts": "a()input_0input_1input_2"}
    with pytest.raises(ConfigError, match=r"missing: \['first'\]"):
        gathered(Toy(name="all"), other=first[0])
