"""Plug-ins in a store: what is run, how a pickled stage brings them, and what a plan says when one was changed."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from nrf_ray import plugins
from nrf_ray.attacks.named import attack_named
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.data.catalogue import DatasetRef, dataset_named
from nrf_ray.errors import ConfigError
from nrf_ray.graph import plugin_files
from nrf_ray.graph.plan import State, make_plan
from nrf_ray.graph.plugin_files import keep, load_named, versions
from nrf_ray.graph.record import check_loaded
from nrf_ray.graph.stage import Stage, walk
from nrf_ray.graph.store import Store, place_of
from nrf_ray.plugins import load_file, loaded, plugin_with, unload
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.robustness import RobustnessSpec, robustness
from nrf_ray.stages.train import TrainSpec, train
from tests.graph.stages_of_plugins import CHANGED, DIGITS, DIRECT, SHORT, TOY, models
from tests.graph.toys import node
from tests.plugged import MINE, Load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), create=True)


def test_a_file_is_in_the_store_by_its_digest_and_is_run_only_if_it_is_named(plug: Load, store: Store) -> None:
    mine = plug()
    keep(store.blobs)
    assert store.blobs.get(f"plugins/{mine.digest}.py") == MINE.encode()
    assert versions(store.blobs) == {"mine.py": [mine.digest]}
    assert list(store.places()) == []
    unload(mine)
    load_named((), store.uri)
    assert loaded() == ()
    load_named((mine.digest[:12],), store.uri)
    assert loaded() == (mine,)


def test_a_deleted_file_is_refused_with_what_the_store_has(plug: Load, store: Store) -> None:
    mine = plug()
    keep(store.blobs)
    unload(mine)
    with pytest.raises(
        ConfigError, match=rf"no plug-in gone/mine.py, but the store .*: give --plugin {mine.digest[:12]}"
    ):
        load_named(("gone/mine.py",), store.uri)
    with pytest.raises(ConfigError, match=r"there is no plug-in other.py; give the path"):
        load_named(("other.py",), store.uri)
    with pytest.raises(
        ConfigError, match=rf"0 plug-ins of the store .* begin with ffffff; it has: {mine.digest[:12]} \(mine"
    ):
        load_named(("ffffff",), store.uri)


def test_a_file_that_was_changed_in_the_store_is_not_run(plug: Load, store: Store) -> None:
    mine = plug()
    keep(store.blobs)
    unload(mine)
    store.blobs.replace(f"plugins/{mine.digest}.py", b"raise SystemExit('run')")
    with pytest.raises(ConfigError, match=r"mine.py in .* was changed, so it is not run"):
        load_named((mine.digest[:12],), store.uri)


def test_a_pickled_stage_brings_its_plug_ins_from_the_store(plug: Load, store: Store, tmp_path: Path) -> None:
    toy, mine = plug(TOY, "toy.py"), plug()
    keep(store.blobs)
    module = vars(sys.modules[toy.module])
    stages = [module["mine_text"](module["Mine"](name="x")), *models().values()]
    (tmp_path / "stages.pickle").write_bytes(pickle.dumps([stages, stages]))
    code = (
        "import pickle, sys\n"
        f"found, again = pickle.load(open({str(tmp_path / 'stages.pickle')!r}, 'rb'))\n"
        "print(*(stage.key for stage in found))\n"
        "from nrf_ray.plugins import loaded\n"
        "print(*(plugin.digest for plugin in loaded()))\n"
        "from nrf_ray.graph.plugin_files import carried\n"
        "print(*{one.home for one in carried(loaded())})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    keys, digests, home = done.stdout.splitlines()
    assert home == store.uri, "a worker passes them on in turn, to its own workers"
    assert keys.split() == [stage.key for stage in stages]
    assert digests.split() == sorted([toy.digest, mine.digest])
    store.blobs.delete(f"plugins/{mine.digest}.py")
    gone = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "the plug-in mine.py was removed from" in gone.stderr


def test_stages_without_plug_ins_are_pickled_as_before(plug: Load) -> None:
    plug()
    stage = node("a", node("b"))
    assert b"plugin_files" not in pickle.dumps(stage)
    assert pickle.loads(pickle.dumps(stage)).key == stage.key


def test_another_version_of_an_installed_package_on_a_node_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"installed plug-in others of this machine is not that of the run \(abcabc"):
        plugin_files._arrived("others", "abc" * 21 + "a", "")


def reasons(stages: dict[str, Stage], store: Store) -> dict[str, tuple[State, str]]:
    plan = make_plan(list(stages.values()), store)
    found = {step.stage.key: (step.state, step.reason) for step in plan.steps}
    return {name: found[stage.key] for name, stage in stages.items() if stage.key in found}


def commit_all(stages: dict[str, Stage], store: Store) -> None:
    """Put a record of every stage into the store, as if it had run."""
    from nrf_ray.graph.record import record_of

    for stage in walk(list(stages.values())):
        store.commit(record_of(stage, [], {}, 1.0, "now"))


def test_a_plan_says_that_a_plug_in_changed(plug: Load, store: Store) -> None:
    mine = plug()
    assert "not in the store" in reasons(models(), store)["its network"][1]
    keep(store.blobs)
    commit_all(models(), store)
    assert {state for state, _ in reasons(models(), store).values()} == {State.CACHED}
    unload(mine)
    plug(CHANGED)
    found = reasons(models(), store)
    assert found["its network"] == (State.READY, "plug-in mine.py changed")
    assert found["its attack"] == (State.READY, "plug-in mine.py changed")
    assert found["a network"][0] == State.CACHED
    assert found["a test of its network"][0] == State.WAITING
    assert "changed" not in found["a test of its network"][1], "its input says so"
    waiting = evaluate(EvaluateSpec(dataset=DIGITS), model=models()["its network"])
    assert waiting.key == models()["a test of its network"].key


def test_a_plan_says_so_of_a_stage_that_waits_and_of_two_plug_ins(plug: Load, store: Store) -> None:
    def made() -> dict[str, Stage]:
        source = train(TrainSpec(arch="flat", dataset=DIGITS, recipe=SHORT, seed=0))
        spec = RobustnessSpec(dataset=DIGITS, attack=attack_named("still", pgd_attack("l2", 1.0)))
        return {"source": source, "attack": robustness(spec, model=source)}

    still = (
        "from nrf_ray.attacks.named import attack_function\n"
        "attack_function('still')(lambda model, images, *rest: images)\n"
    )
    both = plug(), plug(still, "still.py")
    keep(store.blobs)
    commit_all(made(), store)
    for one in both:
        unload(one)
    plug(CHANGED), plug(still + "# more\n", "still.py")
    found = reasons(made(), store)
    assert found["source"] == (State.READY, "plug-in mine.py changed")
    state, reason = found["attack"]
    assert state is State.WAITING
    assert reason.endswith("; plug-in mine.py changed and plug-in still.py changed")


def test_two_stores_have_the_same_keys_and_each_its_own_file(plug: Load, store: Store, tmp_path: Path) -> None:
    mine = plug()
    other = Store.open(str(tmp_path / "other"), create=True)
    for one in (store, other):
        keep(one.blobs)
        commit_all(models(), one)
    assert sorted(map(place_of, walk(list(models().values())))) == sorted(store.places()) == sorted(other.places())
    assert {blob.name for blob in other.blobs.under("plugins")} == {
        f"plugins/{mine.digest}.json",
        f"plugins/{mine.digest}.py",
    }


def test_what_was_made_with_a_plug_in_reads_without_it_and_says_what_it_needs_to_be_used(
    plug: Load, store: Store
) -> None:
    mine = plug()
    stages = models()
    commit_all(stages, store)
    places = {name: place_of(stage) for name, stage in stages.items()}
    unload(mine)
    for name, place in places.items():
        record = store.peek(place)
        assert record is not None
        if name in DIRECT:
            with pytest.raises(ConfigError, match=rf"was made with the plug-in mine.py \({mine.digest[:12]}\), which"):
                check_loaded(record)
        else:
            check_loaded(record)


def test_loading_by_path_says_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the plug-in .* cannot be read: Is a directory"):
        load_file(tmp_path)
    assert plugin_with("0" * 64) is None
    assert plugins.loaded() == ()


def test_a_dataset_of_a_format_of_a_plug_in_is_another_for_each_version(plug: Load, tmp_path: Path) -> None:
    text = (
        "from nrf_ray.data.formats import FORMATS\n"
        "from dataclasses import replace\n"
        "FORMATS.register('mine')(replace(FORMATS['parquet'], remedy='{}'))\n"
    )
    folder = tmp_path / "set"
    folder.mkdir()
    write_set(folder)

    def found() -> tuple[DatasetRef, Stage]:
        ref = dataset_named(f"mine:{folder}").ref
        return ref, train(TrainSpec(arch="vgg_s", dataset=ref, recipe=SHORT, seed=0))

    first = plug(text.format("one"))
    (ref, stage), local = found(), located(folder)
    assert stage.plugins == {first}
    unload(first)
    plug(text.format("two"))
    (other_ref, other), other_local = found(), located(folder)
    assert ref == other_ref, "the files are the same"
    assert stage.key != other.key
    assert local != other_local, "what this machine decoded by the former is not used"


def located(folder: Path) -> str:
    from nrf_ray.data.located import locate

    return locate(f"mine:{folder}").digest


def write_set(folder: Path) -> None:
    import io

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    def picture(level: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(np.full((8, 8), level, np.uint8)).save(file, "png")
        return file.getvalue()

    rows = [{"image": {"bytes": picture(10 * row), "path": None}, "label": row % 2} for row in range(12)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
