"""The second look: true sets pass, and every column that lies is found."""

import shutil
from dataclasses import replace

import pytest
import torch

from nrf_ray import cli
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.constructions.matching import Matching
from nrf_ray.constructions.stored_set import shard_name
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.shards import read_shard, write_shard
from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import digest
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.record import FileEntry
from nrf_ray.graph.store import RECORD, Store, place_of
from nrf_ray.inspection.verify_set import recompute
from nrf_ray.stages.construct import construct
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.training.recipes import Recipe

DIGITS = dataset_named("digits").ref
KNOWN = {DIGITS.digest: DIGITS}
SOURCE = train(TrainSpec(arch="resnet_s", dataset=DIGITS, recipe=Recipe(epochs=2, lr=0.05), seed=0))
TARGETED = pgd_attack("l2", 1.0, steps=3, targeted=True)
QUICK = Matching(steps=3, step_size=0.1)


def built(name, craft, source=SOURCE, **more):
    return construct(ConstructSpec(dataset=DIGITS, construction=name, craft=craft, seed=1, **more), source=source)


D_DET = built("d_det", TARGETED)
L2_CONTROLS = {name: built(name, ThreatModel(norm="l2", eps=1.0), None) for name in ("leak_rand", "leak_other")}
SETS = {
    "d_det": D_DET,
    "kept as float32": built("d_other", TARGETED, storage="float32", shard_rows=512),
    "linf": built("d_rand", pgd_attack("linf", 0.1, steps=3, targeted=True)),
    "matched": built("d_nonrobust", QUICK),
    "from noise": built("d_nonrobust", replace(QUICK, start="noise")),
    "of test images": built("d_nonrobust", QUICK, split="test"),
    "control": L2_CONTROLS["leak_other"],
    "weak control": built("leak_weak", ThreatModel(norm="l2", eps=1.0)),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store.open(str(tmp_path_factory.mktemp("recompute")), create=True)
    assert run_inline(list(SETS.values()), made).errors == {}
    return made


@pytest.fixture
def other(store, tmp_path):
    """Return a copy of the store, in which a test may lie."""
    shutil.copytree(store.blobs.root, tmp_path / "other")
    return Store.open(str(tmp_path / "other"), create=False)


@pytest.mark.parametrize("name", SETS)
def test_a_true_set_passes(store, name):
    found = recompute(store, store.artifact(SETS[name]).record, KNOWN)
    assert found.problems == ()
    assert found.rows == (360 if name == "of test images" else 1437)
    assert max(found.differences.values()) < 1e-4
    assert {"norm", "distance"} <= set(found.differences)
    assert ("loss" in found.differences) == ("control" not in name)


def with_lie(store, lie, made=D_DET, reword=dict):
    """Return the record of a set whose file, size and digest agree, and whose rows `lie` and `reword` changed."""
    record = store.artifact(made).record
    shard = read_shard(store.artifact(made).read(shard_name(0)))
    columns = {name: values.clone() for name, values in shard.columns.items()}
    images = lie(shard.images.clone(), columns)
    data = write_shard(shard._replace(images=images, columns=columns, texts=reword(shard.texts)))
    path = store.blobs.root / place_of(made).file(shard_name(0))
    path.write_bytes(data)
    (store.blobs.root / place_of(made).file(RECORD)).unlink()
    entry = FileEntry(name=shard_name(0), size=len(data), sha256=digest(data))
    store.commit(replace(record, files=(entry,)))
    return store.artifact(made).record


def brighter(images, columns):
    images[3] = 255 - images[3]
    return images


def lie_about(name, change):
    def lie(images, columns):
        columns[name][5] = change(columns[name][5])
        return images

    return lie


LIES = {
    "an image": (brighter, "norm differs"),
    "norm": (lie_about("norm", lambda x: x * 0.9), "norm differs"),
    "distance": (lie_about("distance", lambda x: x + 0.1), "distance differs"),
    "loss": (lie_about("loss", lambda x: x + 0.5), "loss differs"),
    "label": (lie_about("label", lambda x: (x + 1) % 10), "1 labels t differ from those drawn with the seed"),
    "true label": (lie_about("true_label", lambda x: (x + 1) % 10), "true labels differ"),
    "index": (lie_about("index", lambda x: x + 1), "not those of the dataset"),
    "moved": (lie_about("moved", lambda x: ~x), "moved differs"),
    "seed": (lie_about("seed", lambda x: x + 1), "1 rows have another seed than 1"),
    "start": (lie_about("start", lambda x: x + 1), "1 starts differ from those drawn with the seed 1"),
    "metrics": (lie_about("prediction", lambda x: (x + 1) % 10), "the record says that fooling_rate_crafted is"),
    "a loss that is no number": (lie_about("loss", lambda x: x * torch.nan), "loss differs by up to inf"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_set_that_lies_is_found_out(other, lie):
    change, said = LIES[lie]
    problems = recompute(other, with_lie(other, change), KNOWN).problems
    assert any(said in problem for problem in problems), problems


def test_many_other_predictions_are_found_out(other):
    def lie(images, columns):
        columns["prediction_stored"][:5] = (columns["prediction_stored"][:5] + 1) % 10
        return images

    first, second = recompute(other, with_lie(other, lie), KNOWN).problems
    assert first.startswith("prediction_stored differs by up to 0.0035")
    assert second.startswith("the record says that fooling_rate is")


def unspared(images, columns):
    clean = int((~columns["moved"]).nonzero()[0])
    images[clean] = 255 - images[clean]
    return images


def other_pattern(images, columns):
    images[7] = images[7].flip(1)
    return images


@pytest.mark.parametrize(
    ("name", "lie"), [("leak_rand", unspared), ("leak_rand", other_pattern), ("leak_other", other_pattern)]
)
def test_a_control_whose_images_are_not_what_its_patterns_make_is_found_out(other, name, lie):
    made = L2_CONTROLS[name]
    run_inline([made], other)
    problems = recompute(other, with_lie(other, lie, made), KNOWN).problems
    assert any("1 images are not the original with the pattern" in problem for problem in problems), problems


def test_one_damaged_set_does_not_hide_another_that_lies(other, monkeypatch, capsys):
    control = SETS["control"]
    with_lie(other, brighter)
    (other.blobs.root / place_of(control).file(shard_name(0))).write_bytes(b"damaged")
    monkeypatch.setattr("sys.argv", ["nrf", "verify", "--recompute", "--store", str(other.blobs.root)])
    with pytest.raises(SystemExit) as ended:
        cli.nrf_main()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert f"{len(SETS)} constructed sets recomputed, 2 wrong" in said.out
    assert D_DET.key[:12] in said.err
    assert control.key[:12] in said.err


def test_a_dataset_whose_files_are_unknown_is_asked_for(store):
    with pytest.raises(ConfigError, match=r"the files of dataset digits .* are needed; give their path"):
        recompute(store, store.artifact(D_DET).record, {})


def test_the_command_says_what_was_computed_again(store, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["nrf", "verify", "--recompute", "--store", str(store.blobs.root)])
    with pytest.raises(SystemExit) as ended:
        cli.nrf_main()
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.count("rows recomputed") == len(SETS)
    assert f"{len(SETS)} constructed sets recomputed, 0 wrong" in out
