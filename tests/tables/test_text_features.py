"""The sweep over texts, run whole on a small language: its tables, its readable sets, and a second look at them."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import texts
from nrf_ray import cli
from nrf_ray.attacks.specs import Substitution
from nrf_ray.constructions.construct_spec import TEXTS, ConstructSpec
from nrf_ray.constructions.stored_set import shard_name
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.shards import read_shard, write_shard
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.inspection.verify_set import recompute
from nrf_ray.page import gallery, text_gallery
from nrf_ray.page.snapshot import Start
from nrf_ray.presets import PRESETS
from nrf_ray.results.write import write_tables
from nrf_ray.stages.import_weights import ImportSpec
from nrf_ray.tables.constructed_sets import DATASETS
from nrf_ray.tables.robustness import ROBUSTNESS
from nrf_ray.tables.trained_models import RESULTS
from tests.inspection.test_verify_set import with_lie
from tests.small import TEXT, grid_of, text_features, text_sweep
from tests.sweeps import nonrobust_features, robust_features
from tests.texts import corpus, write_texts
from tests.tiny_run import Run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("texts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NRF_DATA", str(folder / "home"))
        yield f"text-csv:{write_texts(folder / 'reviews.csv', *corpus(180))}"


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory) -> Run:
    sweep, store = text_sweep(dataset), Store.open(str(tmp_path_factory.mktemp("runs")), create=True)
    assert run_inline(sweep.goals, store).errors == {}
    return Run(sweep, store)


def test_a_set_is_made_in_the_space_of_vectors_and_with_whole_words(run):
    made = [(row["construction"], row["norm"], row["epsilon"]) for row in run.sweep.collect(run.store)[DATASETS]]
    assert made == [("d_det", "l2", 0.5), ("d_det", "words", 2.0), ("leak_det", "l2", 0.5),
                    ("leak_det", "words", 2.0), ("d_robust", None, None)]  # fmt: skip


def test_students_of_every_set_are_measured_clean_in_a_ball_and_under_replaced_words(run):
    tables = run.sweep.collect(run.store)
    assert len(tables[RESULTS]) == 9, "judge, two sources, victim, a student of each of five sets"
    attacks = {(row["attack"], row["norm"], row["epsilon"]) for row in tables[ROBUSTNESS]}
    assert attacks == {("pgd-3", "l2", 0.1), ("hotflip-2", "words", 2.0)}
    for row in tables[ROBUSTNESS]:
        assert 0 <= row["ci_low"] <= row["robust_accuracy"] <= row["clean_accuracy"] <= 1
        assert (row["checks"] is None) == (row["norm"] == "words")
        assert row["trust_level"] == "L0"


def test_a_standard_model_learns_the_language(run):
    source = next(row for row in run.sweep.collect(run.store)[RESULTS] if row["role"] == "source")
    assert source["clean_accuracy"] > 0.8


def discrete(run):
    """Return the stage that replaced words."""
    stages = [stage for stage in run.sweep.stages() if isinstance(stage.config, ConstructSpec)]
    return next(stage for stage in stages if isinstance(stage.config.craft, Substitution))


def test_a_person_can_read_what_was_replaced(run, dataset):
    artifact = run.store.artifact(discrete(run))
    table = pq.read_table(pa.BufferReader(artifact.read(shard_name(0))))
    assert table["original"].to_pylist() == [corpus(180)[0][row] for row in training_rows(dataset)]
    changed = [
        sum(one != other for one, other in zip(new.split(), old.split(), strict=True))
        for new, old in zip(table["text"].to_pylist(), table["original"].to_pylist(), strict=True)
    ]
    assert max(changed) == 2
    assert sum(changed) > len(changed), "most texts have words that help"
    moved = table["moved"].to_pylist()
    assert [count > 0 for count in changed] == moved
    assert [norm > 0 for norm in table["norm"].to_pylist()] == moved


def test_a_set_of_replaced_words_is_itself_a_set_of_texts(run, tmp_path, monkeypatch):
    """So a student with another embedding, or an encoder, can be trained on it."""
    monkeypatch.setenv("NRF_DATA", str(tmp_path / "home"))
    data = run.store.artifact(discrete(run)).read(shard_name(0))
    (tmp_path / "d_det.parquet").write_bytes(data)
    info = dataset_named(f"text-parquet:{tmp_path / 'd_det.parquet'}")
    assert (info.num_train + info.num_test, info.num_classes) == (150, 2)


def test_galleries_of_the_page_show_what_is_stored_and_name_what_is_nearest(run, monkeypatch):
    sets = gallery.chosen_sets(run.sweep.stages())
    shown = gallery.update_galleries(run.store, run.sweep.name, sets)
    assert [one.key for one in shown] == [stage.key for stage in sets]
    assert [one.nearest for one in shown] == [not stage.config.replaces_words for stage in sets]
    assert [one.start for one in shown] == [Start.ITSELF] * 4 + [Start.OTHER]
    stored = pq.read_table(pa.BufferReader(run.store.artifact(discrete(run)).read(shard_name(0))))
    pairs = list(zip(stored["original"].to_pylist(), stored["text"].to_pylist(), strict=True))
    for one in shown:
        assert len(one.passages) == 8
        assert {passage.label for passage in one.passages} <= {"0", "1", "0 → 1", "1 → 0"}
        assert {passage.original for passage in one.passages} <= {original for original, _ in pairs}
    words = next(one for one in shown if one.key == discrete(run).key)
    assert {(passage.original, passage.constructed) for passage in words.passages} <= set(pairs)
    assert all(passage.original != passage.constructed for passage in words.passages), "changed ones first"
    monkeypatch.setattr(gallery, "_gallery_of", None)
    assert gallery.update_galleries(run.store, run.sweep.name, sets) == shown, "read from what is kept"


def test_what_an_older_version_kept_of_texts_is_made_anew_with_the_words_loaded_once(run, monkeypatch):
    """It said of noise that it was another text; where it said that texts stand beside themselves, that was true."""
    name, sets = "older", gallery.chosen_sets(run.sweep.stages())
    shown, loaded, load = gallery.update_galleries(run.store, name, sets), [], text_gallery.words_of
    value = run.store.blobs.get_json(gallery.gallery_name(name))
    older = {key: {**kept, "matched": kept["start"] != "itself"} for key, kept in value.items()}
    for kept in older.values():
        del kept["start"]
    run.store.blobs.replace(gallery.gallery_name(name), json.dumps(older).encode())
    assert gallery.kept_galleries(run.store, name, older) == [one for one in shown if one.start == "itself"] != []
    monkeypatch.setattr(text_gallery, "words_of", lambda ref: (loaded.append(ref), load(ref))[1])
    assert gallery.update_galleries(run.store, name, sets) == shown
    assert gallery.kept_galleries(run.store, name, older) == shown
    assert len(loaded) == 1


def test_a_notebook_shows_the_same_texts(run, tmp_path, capsys):
    made = texts.one_each(write_tables(run.sweep, run.store).frames["datasets"])
    assert list(zip(made["construction"], made["norm"].fillna(""), strict=True)) == [
        ("d_det", "l2"), ("d_det", "words"), ("d_robust", ""), ("leak_det", "l2"),
        ("leak_det", "words"),
    ]  # fmt: skip
    kept = gallery.update_galleries(run.store, run.sweep.name, gallery.chosen_sets(run.sweep.stages()))
    passages_of_words = [passage for one in kept if not one.nearest for passage in one.passages]
    shown = texts.side_by_side(run.store, made).data
    assert len(passages_of_words) == 16
    assert all(f"<ins>{new}</ins>" in shown for passage in passages_of_words for new in replaced(passage))
    assert shown.count("This set has no readable text") == 3
    assert shown.count("<table>") == 5
    wordless = Store.open(str(shutil.copytree(run.store.uri, tmp_path / "wordless")), create=False)
    wordless.blobs.delete(gallery.gallery_name(run.sweep.name))
    assert texts.side_by_side(wordless, made).data.count("<table>") == 2
    assert (
        capsys.readouterr().out.count(
            "has vectors, not texts, and the words nearest to them are not stored; run its sweep again"
        )
        == 3
    )
    assert texts.EMPTY in texts.side_by_side(run.store, made[:0]).data
    texts.side_by_side(Store.open(str(tmp_path / "none"), create=False), made[:1])
    assert "no longer in the store" in capsys.readouterr().out


def replaced(passage):
    """Return the words that came."""
    pairs = zip(passage.original.split(), passage.constructed.split(), strict=True)
    return [new for old, new in pairs if old != new]


def training_rows(dataset):
    from nrf_ray.data.located import locate

    return locate(dataset).train.rows().tolist()


def test_the_texts_of_a_shard_survive_a_round_trip(run):
    data = run.store.artifact(discrete(run)).read(shard_name(0))
    shard = read_shard(data)
    assert tuple(shard.texts) == TEXTS
    assert write_shard(shard) == data


def test_shards_of_vectors_hold_no_texts(run):
    for stage in run.sweep.stages():
        if isinstance(stage.config, ConstructSpec) and not stage.config.replaces_words:
            assert read_shard(run.store.artifact(stage).read(shard_name(0))).texts == {}


def test_every_set_passes_a_second_look(run, dataset):
    ref = dataset_named(dataset).ref
    for stage in run.sweep.stages():
        if isinstance(stage.config, ConstructSpec):
            assert recompute(run.store, run.store.artifact(stage).record, {ref.digest: ref}).problems == ()


@pytest.mark.parametrize("column", TEXTS)
def test_a_second_look_reads_the_texts(run, dataset, tmp_path, column):
    store = Store.open(str(shutil.copytree(run.store.uri, tmp_path / "store")), create=False)
    ref = dataset_named(dataset).ref

    def reword(texts):
        return {**texts, column: ["another text", *texts[column][1:]]}

    record = with_lie(store, lambda images, columns: images, discrete(run), reword)
    assert recompute(store, record, {ref.digest: ref}).problems == (
        f"1 texts in the column {column} do not match their vectors",
    )


def test_a_second_look_counts_replaced_words(run, dataset, tmp_path):
    store = Store.open(str(shutil.copytree(run.store.uri, tmp_path / "store")), create=False)
    ref = dataset_named(dataset).ref

    def turn_round(images, columns):
        return images.flip(2)

    problems = recompute(store, with_lie(store, turn_round, discrete(run)), {ref.digest: ref}).problems
    assert any("texts have more than 2 replaced words" in problem for problem in problems), problems


def test_a_control_leaves_padding_alone(run):
    for stage in run.sweep.stages():
        if isinstance(stage.config, ConstructSpec) and stage.config.is_control:
            rows = read_shard(run.store.artifact(stage).read(shard_name(0)))
            words = rows.images.float().mean(dim=3) > 0
            originals = [len(text.split()) for text in read_shard(
                run.store.artifact(discrete(run)).read(shard_name(0))).texts["original"]]  # fmt: skip
            assert words.sum(dim=(1, 2)).tolist() == originals


def test_the_other_sweeps_take_texts_too(dataset):
    for build in (nonrobust_features.nonrobust_features, robust_features.robust_features):
        names = ("d_det",) if build is nonrobust_features.nonrobust_features else ("d_robust",)
        assert build(grid_of(TEXT, datasets=(dataset,), seeds=(0,), constructions=names)).goals


def test_weights_from_elsewhere_are_not_taken_for_texts(dataset):
    with pytest.raises(ConfigError, match="imported for images, but reviews holds texts; for a pretrained encoder"):
        ImportSpec(arch="text_cnn", dataset=dataset_named(dataset).ref, training="standard", sha256="0", location="x")


def test_pictures_are_refused():
    with pytest.raises(ConfigError, match="text_features needs texts, but digits holds images"):
        text_features.text_features(grid_of(TEXT, datasets=("digits",)))


def test_networks_for_pictures_are_refused_for_texts(dataset):
    with pytest.raises(ConfigError, match="resnet_s reads images, but reviews holds texts; use one of text_cnn"):
        nonrobust_features.nonrobust_features(grid_of(PRESETS["smoke"], datasets=(dataset,)))


def test_the_command_plans_with_its_own_preset(dataset, tmp_path, monkeypatch, capsys):
    words = ["text_features.py", "--dataset", dataset, "--seeds", "0", "--plan", "--store", str(tmp_path / "runs")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as exit_:
        cli.sweep_main(text_features.text_features, text_features.FLAGS)
    assert exit_.value.code == 0
    assert "d_det 2 words of reviews, seed 0" in capsys.readouterr().out
