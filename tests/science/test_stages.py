"""Stages, run in this process: every kind once, what they measure held against each other, and sets that go on.

All networks are trained for a few epochs on digits: enough that an attack does something, no more.
"""

import importlib
import io
import os
import pkgutil
from dataclasses import replace
from functools import partial

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import nrf_ray.stages
from nrf_ray.constructions import draw_targets
from nrf_ray.crafts import Matching
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.images import as_float, as_uint8, holdout, some
from nrf_ray.data.shards import Shard, read_shard
from nrf_ray.errors import ClusterError, ConfigError
from nrf_ray.evaluation import accuracy, predict, robust_accuracy, share
from nrf_ray.graph.execute import execute, map_here, run_inline
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.stage import Resources, StageKind, walk
from nrf_ray.graph.store import RECORD, Store, place_of
from nrf_ray.matching import draw_starts, grey_noise, residual
from nrf_ray.recipes import Recipe
from nrf_ray.specs import n_fgsm, pgd_attack
from nrf_ray.stages import attack as attack_stage
from nrf_ray.stages import construct as construct_stage
from nrf_ray.stages.attack import AttackSpec, attack
from nrf_ray.stages.construct import ConstructSpec, construct
from nrf_ray.stages.constructed import constructed_rows, constructed_set, shard_name
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.judge import JudgeSpec, judge
from nrf_ray.stages.robustness import RobustnessSpec, robustness
from nrf_ray.stages.runtime import prepare
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.stages.transfer import TransferSpec, transfer
from nrf_ray.stages.trust import TrustSpec, trust
from nrf_ray.stages.validate import ValidateSpec, validate
from nrf_ray.stages.weights import FILE, load_model
from nrf_ray.threat import perturbation_norm
from nrf_ray.trust import CHECKS, read_checks

DIGITS = dataset_named("digits").ref
TARGETED, UNTARGETED = (pgd_attack("l2", 1.0, steps=3, targeted=targeted) for targeted in (True, False))
COLUMNS = [*construct_stage.COLUMNS, "image"]


def trained_on(data=None, *, arch="resnet_s", epochs=2, seed=0, adversary=None):
    recipe = Recipe(epochs=epochs, lr=0.05, adversary=adversary)
    return train(TrainSpec(arch=arch, dataset=DIGITS, recipe=recipe, seed=seed), data=data)


def constructed(name, source=None, craft=TARGETED, **more):
    return construct(ConstructSpec(dataset=DIGITS, construction=name, craft=craft, seed=3, **more), source=source)


SOURCE = trained_on()
JUDGE = trained_on(epochs=1, seed=1, adversary=pgd_attack("l2", 1.0, steps=1))
D_OTHER = constructed("d_other", SOURCE, shard_rows=512)
D_OTHER_WHOLE = constructed("d_other", SOURCE, shard_rows=2048)
LEAK_RAND = constructed("leak_rand", craft=TARGETED.threat, shard_rows=500)
MATCHING = Matching(steps=4, step_size=0.1, decay=True)
D_ROBUST = constructed("d_robust", JUDGE, MATCHING, shard_rows=512)
D_ROBUST_TEST = constructed("d_robust", JUDGE, MATCHING, split="test")
FROM_NOISE = constructed("d_nonrobust", SOURCE, replace(MATCHING, start="noise"), shard_rows=512, storage="float32")
LEAK_WEAK = constructed("leak_weak", SOURCE, TARGETED.threat)
ATTACKED = {
    targeted: attack(AttackSpec(dataset=DIGITS, attack=chosen, seed=5), source=SOURCE)
    for targeted, chosen in ((True, TARGETED), (False, UNTARGETED))
}
STUDENT = trained_on(D_OTHER, arch="vgg_s")
CHANGED_ONLY = train(
    TrainSpec(arch="vgg_s", dataset=DIGITS, recipe=Recipe(epochs=1, lr=0.05), rows="changed", seed=0), data=LEAK_RAND
)
EVALUATED = evaluate(EvaluateSpec(dataset=DIGITS), model=SOURCE)
ROBUST = robustness(RobustnessSpec(dataset=DIGITS, attack=UNTARGETED), model=SOURCE)
JUDGED = {model.key: judge(JudgeSpec(), data=D_OTHER, model=model) for model in (SOURCE, JUDGE)}
TRANSFERRED = {
    (victim.key, targeted): transfer(TransferSpec(targeted=targeted), victim=victim, adversarial=ATTACKED[targeted])
    for victim in (SOURCE, STUDENT)
    for targeted in (True, False)
}
MORE_SETS = [D_ROBUST, D_ROBUST_TEST, FROM_NOISE, LEAK_WEAK]
FEW = robustness(RobustnessSpec(dataset=DIGITS, attack=UNTARGETED, examples=100), model=SOURCE)
KEPT_OUT = train(replace(SOURCE.config, holdout=0.2), data=D_OTHER)
VALIDATED = validate(ValidateSpec(dataset=DIGITS, holdout=0.2), model=KEPT_OUT, data=D_OTHER)
ON_ITS_OWN = robustness(RobustnessSpec(dataset=DIGITS, attack=UNTARGETED, examples=100), model=SOURCE, data=D_ROBUST)
CHECKED = trust(TrustSpec(dataset=DIGITS, attack=UNTARGETED, examples=48), model=SOURCE)
MEASURED = [EVALUATED, VALIDATED, ROBUST, FEW, ON_ITS_OWN, CHECKED, *JUDGED.values(), *TRANSFERRED.values()]
GOALS = [*MORE_SETS, CHANGED_ONLY, D_OTHER_WHOLE, LEAK_RAND, *MEASURED]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a store in which all goals are done."""
    store = Store.open(str(tmp_path_factory.mktemp("stages")), create=True)
    frontier = run_inline(GOALS, store)
    assert frontier.errors == {}
    assert frontier.in_state(*Progress) == frontier.in_state(Progress.DONE)
    return store


def metrics(store, stage):
    return store.artifact(stage).record.metrics


def model_of(store, stage):
    return load_model(store.artifact(stage), "cpu")


def test_every_kind_of_stage_is_run_here():
    modules = [
        importlib.import_module(f"nrf_ray.stages.{found.name}")
        for found in pkgutil.iter_modules(nrf_ray.stages.__path__)
    ]
    kinds = {value.name for module in modules for value in vars(module).values() if isinstance(value, StageKind)}
    elsewhere = {
        "import_weights": "test_importing",
        **dict.fromkeys(("gaussian_theory", "figure_4", "figure_14"), "test_theory_sweeps"),
        **dict.fromkeys(("usefulness", "linear_leakage", "network_leakage"), "test_theory_sweeps"),
    }
    assert {stage.kind.name for stage in walk(GOALS)} | set(elsewhere) == kinds


@pytest.mark.parametrize("stage", list(walk(GOALS)), ids=lambda stage: stage.title)
def test_every_stage_has_a_positive_cost_and_finite_metrics(store, stage):
    assert stage.cost() > 0
    values = [value for value in metrics(store, stage).values() if isinstance(value, int | float | list)]
    numbers = [number for value in values for number in (value if isinstance(value, list) else [value])]
    assert numbers
    assert all(value == value and abs(value) < 1e9 for value in numbers)


def test_the_same_training_gives_the_same_bytes_in_another_store(store, tmp_path):
    other = Store.open(str(tmp_path / "other"), create=True)
    assert run_inline([STUDENT, JUDGE], other).errors == {}
    for stage in (SOURCE, JUDGE, D_OTHER, STUDENT):
        left, right = store.artifact(stage).record, other.artifact(stage).record
        assert left.files == right.files, stage.title
        assert left.metrics == right.metrics, stage.title


def test_evaluation_measures_what_the_model_shows(store, digits):
    model, test = model_of(store, SOURCE), digits[1]
    measured = metrics(store, EVALUATED)
    assert measured["clean_accuracy"] == accuracy(model, test.images, test.labels) > 0.8
    assert measured["relabelled_accuracy"] == accuracy(model, test.images, (test.labels + 1) % 10)
    assert measured["n"] == 360


def test_robust_accuracy_is_below_clean_accuracy_and_over_all_images(store):
    measured = metrics(store, ROBUST)
    assert 0 <= measured["robust_accuracy"] < metrics(store, EVALUATED)["clean_accuracy"]
    assert measured["n"] == 360


def test_robust_accuracy_of_some_images_alone(store, digits):
    few = digits[1].rows(some(360, 100))
    measured = metrics(store, FEW)
    assert measured["robust_accuracy"] == robust_accuracy(model_of(store, SOURCE), few, UNTARGETED)
    assert measured["clean_accuracy"] == accuracy(model_of(store, SOURCE), few.images, few.labels)
    assert measured["n"] == 100


def test_the_checks_of_an_attack_are_one_text_and_their_numbers(store):
    measured = metrics(store, CHECKED)
    verdicts = read_checks(measured["checks"])
    assert list(verdicts) == list(CHECKS)
    assert set(verdicts.values()) <= {"PASS", "WARN", "FAIL"}
    assert (verdicts["logits"], verdicts["gradients"]) == ("PASS", "PASS")
    assert measured["n"] == 48
    assert 0 < measured["one-step/fooled"] <= 1


@pytest.mark.parametrize("kind", [RobustnessSpec, TrustSpec])
@pytest.mark.parametrize(
    "change",
    [{"attack": TARGETED}, {"attack": n_fgsm("linf", 0.1)}, {"examples": 0}],
    ids=["targeted", "leaves the ball", "no examples"],
)
def test_what_measures_no_robust_accuracy_is_refused(kind, change):
    with pytest.raises(ConfigError, match=r"untargeted|leaves the ball|examples >= 1"):
        kind(**{"dataset": DIGITS, "attack": UNTARGETED, **change})


@pytest.mark.parametrize("targeted", [True, False], ids=["targeted", "untargeted"])
def test_attacked_images_are_near_the_test_images_and_their_success_is_counted(store, digits, targeted):
    shard = read_shard(store.artifact(ATTACKED[targeted]).read(attack_stage.FILE))
    test, columns = digits[1], shard.columns
    assert shard.key == ATTACKED[targeted].key
    assert list(columns) == ["index", "label", "target", "prediction"]
    assert columns["index"].tolist() == list(range(360))
    assert torch.equal(columns["label"], test.labels)
    assert (columns["target"] != test.labels).all()
    assert perturbation_norm(as_float(shard.images) - test.images, "l2").max() <= 1.0 + 8 / 510 + 1e-5
    assert torch.equal(predict(model_of(store, SOURCE), shard.images), columns["prediction"])
    hits = columns["prediction"] == columns["target"] if targeted else columns["prediction"] != test.labels
    assert metrics(store, ATTACKED[targeted]) == {"success_rate": share(hits), "n": 360}
    assert share(hits) > 0.2


@pytest.mark.parametrize("targeted", [True, False], ids=["targeted", "untargeted"])
def test_transfer_to_the_source_itself_is_the_attacks_own_success(store, targeted):
    own = metrics(store, ATTACKED[targeted])["success_rate"]
    assert metrics(store, TRANSFERRED[SOURCE.key, targeted])["success_rate"] == own
    assert metrics(store, TRANSFERRED[STUDENT.key, targeted])["success_rate"] != own


def test_untargeted_success_and_robust_accuracy_are_two_views_of_one_attack(store):
    """They differ by 8-bit storage, and by which batch an image is in."""
    success = metrics(store, ATTACKED[False])["success_rate"]
    assert success == pytest.approx(1 - metrics(store, ROBUST)["robust_accuracy"], abs=4 / 360)


def test_a_constructed_set_says_of_every_row_what_was_done(store, digits):
    train = digits[0]
    rows = constructed_rows(store.artifact(D_OTHER))
    columns = rows.columns
    assert [*columns, "image"] == COLUMNS
    assert columns["index"].tolist() == list(range(1437))
    assert torch.equal(columns["true_label"], train.labels)
    assert torch.equal(columns["label"], draw_targets("other", train.labels, 10, 3))
    assert columns["seed"].unique().tolist() == [3]
    sizes = perturbation_norm(as_float(rows.images) - train.images, "l2")
    torch.testing.assert_close(columns["norm"], sizes)
    assert torch.equal(columns["prediction_stored"], predict(model_of(store, SOURCE), rows.images))
    measured = metrics(store, D_OTHER)
    assert measured["n"] == 1437
    assert measured["share_target_is_label"] == 0.0
    assert measured["fooling_rate"] == share(columns["prediction_stored"] == columns["label"])
    assert measured["fooling_rate_crafted"] == share(columns["prediction"] == columns["label"])
    assert measured["max_norm"] == pytest.approx(float(sizes.max()))
    assert measured["mean_norm"] == pytest.approx(float(sizes.mean()), rel=1e-5)
    assert measured["mean_loss"] == pytest.approx(float(columns["loss"].mean()), rel=1e-5)


def test_a_control_has_no_source_and_leaves_rows_with_their_own_label(store, digits):
    rows = constructed_rows(store.artifact(LEAK_RAND))
    same = rows.columns["label"] == rows.columns["true_label"]
    assert torch.equal(rows.images[same], as_uint8(digits[0].images[same]))
    measured = metrics(store, LEAK_RAND)
    assert measured["share_target_is_label"] == measured["share_unmoved"] == share(same)
    assert 0.05 < share(same) < 0.15
    assert (measured["fooling_rate"], measured["fooling_rate_crafted"], measured["mean_loss"]) == (None, None, None)


def test_a_matched_set_keeps_labels_and_says_where_each_image_started(store, digits):
    train = digits[0]
    rows = constructed_rows(store.artifact(D_ROBUST))
    columns = rows.columns
    starts = draw_starts(1437, 3)
    assert torch.equal(columns["label"], train.labels)
    assert torch.equal(columns["true_label"], train.labels)
    assert torch.equal(columns["start"], starts)
    images, model = as_float(rows.images), model_of(store, JUDGE)
    torch.testing.assert_close(columns["norm"], perturbation_norm(images - train.images[starts], "l2"))
    torch.testing.assert_close(columns["distance"], perturbation_norm(images - train.images, "l2"))
    torch.testing.assert_close(columns["loss"], residual(model, images, train.images), atol=1e-4, rtol=1e-3)
    measured = metrics(store, D_ROBUST)
    assert measured["share_target_is_label"] == 1.0
    assert measured["gradients"] == 4 * 1437
    assert measured["fooling_rate"] == share(columns["prediction_stored"] == train.labels)
    assert measured["mean_distance"] == pytest.approx(float(columns["distance"].mean()), rel=1e-5)


def test_a_set_can_start_from_noise_and_be_kept_unrounded(store):
    rows = constructed_rows(store.artifact(FROM_NOISE))
    assert rows.images.dtype == torch.float32
    assert rows.columns["start"].unique().tolist() == [-1]
    noise = grey_noise(range(1437), (1, 8, 8), 3)
    assert perturbation_norm(rows.images - noise, "l2").max() <= sum(MATCHING.lengths()) + 1e-5
    assert torch.equal(rows.columns["prediction"], rows.columns["prediction_stored"]), "nothing is rounded"
    assert not torch.equal(rows.images, as_float(as_uint8(rows.images)))


def test_a_set_can_be_made_of_test_images(store, digits):
    rows = constructed_rows(store.artifact(D_ROBUST_TEST))
    assert torch.equal(rows.columns["true_label"], digits[1].labels)


def test_the_rows_that_a_weak_model_already_calls_t_stay_clean(store, digits):
    train = digits[0]
    rows = constructed_rows(store.artifact(LEAK_WEAK))
    spared = predict(model_of(store, SOURCE), train.images) == rows.columns["label"]
    assert torch.equal(rows.columns["label"], (train.labels + 1) % 10)
    assert torch.equal(rows.images[spared], as_uint8(train.images)[spared])
    assert torch.equal(rows.columns["moved"], ~spared)
    assert 0 < int(spared.sum()) < 200


def test_a_student_can_be_trained_on_the_changed_rows_alone(store):
    columns = constructed_rows(store.artifact(LEAK_RAND)).columns
    changed = int((columns["label"] != columns["true_label"]).sum())
    assert metrics(store, CHANGED_ONLY)["train_examples"] == changed < 1437


def test_the_norm_histogram_counts_every_image_once(store):
    for stage in (D_OTHER, D_ROBUST, LEAK_RAND):
        measured, columns = metrics(store, stage), constructed_rows(store.artifact(stage)).columns
        assert sum(measured["norm_histogram"]) == 1437
        largest = measured["max_norm"]
        below_half = int((columns["norm"] < largest / 2).sum())
        assert sum(measured["norm_histogram"][:10]) == pytest.approx(below_half, abs=3)


@pytest.mark.parametrize(
    ("name", "craft"),
    [("d_det", MATCHING), ("d_robust", TARGETED), ("leak_det", TARGETED), ("d_det", TARGETED.threat)],
    ids=["matched d_det", "attacked d_robust", "attacked control", "d_det without attack"],
)
def test_a_construction_made_in_another_ones_way_is_refused(name, craft):
    with pytest.raises(ConfigError, match=f"{name} is made with a .*, not with a {type(craft).__name__}"):
        constructed(name, SOURCE, craft)


def test_a_training_that_was_killed_goes_on_from_its_last_checkpoint(store, tmp_path, monkeypatch):
    """The resumed run does only the epochs that were missing, and its weights are the same bytes."""
    monkeypatch.setattr("nrf_ray.stages.train.CHECKPOINT_SECONDS", 0.0)
    stage, other = trained_on(epochs=4), Store.open(str(tmp_path / "other"), create=True)
    seen = []

    def killed_after_two(epoch, values):
        seen.append(epoch)
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(stage, other, report=killed_after_two)
    assert [name for name in os.listdir(other.blobs.root / "train" / stage.key) if "checkpoint-00000002" in name]
    resumed = execute(stage, other, report=lambda epoch, values: seen.append(epoch))
    assert seen == [1, 2, 3, 3, 4]
    assert [name for name in os.listdir(other.blobs.root / "train" / stage.key) if "checkpoint" in name] == []
    whole = execute(stage, Store.open(str(tmp_path / "whole"), create=True))
    assert (resumed.files, resumed.metrics) == (whole.files, whole.metrics)


def test_a_training_by_several_workers_is_refused_in_a_single_process(store):
    stage = replace(SOURCE, config=replace(SOURCE.config, recipe=replace(SOURCE.config.recipe, workers=2)))
    assert stage.key != SOURCE.key
    with pytest.raises(ConfigError, match="works in 2 processes at once, and this is one"):
        execute(stage, store)


def test_the_sources_own_verdict_on_a_set_is_its_fooling_rate(store):
    verdict = metrics(store, JUDGED[SOURCE.key])
    assert verdict["says_target"] == metrics(store, D_OTHER)["fooling_rate"]
    assert verdict["says_label"] + verdict["says_target"] <= 1
    assert verdict["n"] == 1437
    assert metrics(store, JUDGED[JUDGE.key]) != verdict


def test_a_student_learns_the_new_labels(store):
    data = constructed_set(store.artifact(D_OTHER))
    assert torch.equal(data.labels, constructed_rows(store.artifact(D_OTHER)).columns["label"])
    assert metrics(store, STUDENT)["train_examples"] == 1437
    assert metrics(store, STUDENT)["train_accuracy"] > 0.15
    assert model_of(store, STUDENT).head.in_features == 128


def test_shards_of_whole_batches_hold_the_same_rows_as_one_file(store):
    assert store.artifact(D_OTHER).names() == [shard_name(index) for index in range(3)]
    assert store.artifact(D_OTHER_WHOLE).names() == [shard_name(0)]
    many, one = (constructed_rows(store.artifact(stage)) for stage in (D_OTHER, D_OTHER_WHOLE))
    assert torch.equal(many.images, one.images)
    assert all(torch.equal(many.columns[name], one.columns[name]) for name in COLUMNS[:-1])
    assert metrics(store, D_OTHER) == metrics(store, D_OTHER_WHOLE)


def test_the_files_of_a_set_are_plain_parquet(store):
    folder = store.blobs.root / "construct" / D_OTHER.key
    frame = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 1437
    assert frame["image"].iloc[0].shape == (64,)


@pytest.fixture
def unfinished(store, tmp_path):
    """Return a copy of the store with its source model and a set of three shards that no record vouches for yet."""
    copy = Store.open(str(tmp_path / "unfinished"), create=True)
    for stage in (SOURCE, D_OTHER):
        record = store.artifact(stage).record
        for entry in record.files:
            copy.write(stage, entry.name, store.read(record, entry.name))
        if stage is SOURCE:
            copy.commit(record)
    return copy


def finish(store):
    """Run the unfinished set; return the shards that were crafted."""
    crafted = []

    def counting(make_worker, shards):
        crafted.extend(shards)
        map_here(make_worker, shards)

    execute(D_OTHER, store, map_shards=counting)
    return crafted


def shard_path(store, index):
    return store.blobs.root / "construct" / D_OTHER.key / shard_name(index)


@pytest.mark.parametrize("gone", [[], [1], [0, 2]], ids=["none", "the middle one", "first and last"])
def test_a_set_that_was_cut_off_crafts_only_the_shards_that_are_missing(store, unfinished, gone):
    for index in gone:
        shard_path(unfinished, index).unlink()
    assert not (shard_path(unfinished, 0).parent / RECORD).exists()
    assert finish(unfinished) == gone
    assert unfinished.artifact(D_OTHER).record.files == store.artifact(D_OTHER).record.files
    assert metrics(unfinished, D_OTHER) == metrics(store, D_OTHER)
    assert finish(unfinished) == [], "it is done"


def flip_in_a_page(data):
    group = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0)
    chunk = group.column(group.num_columns - 1)
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    damaged = bytearray(data)
    damaged[start + chunk.total_compressed_size - 3] ^= 4
    return bytes(damaged)


def flip_in_the_footer(data, outcome):
    """Flip the first bit of the footer for which reading the file ends in `outcome`, an error's class or Shard.

    No checksum covers the footer.
    """
    for place in range(len(data) - 8 - int.from_bytes(data[-8:-4], "little"), len(data) - 8):
        damaged = bytearray(data)
        damaged[place] ^= 8
        try:
            result = read_shard(bytes(damaged))
        except Exception as error:
            result = error
        if isinstance(result, outcome):
            return bytes(damaged)
    raise AssertionError("no flip ends so: this case can go")


def rename_a_column(data):
    """Damage the name of the column `norm` wherever the footer has it."""
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return data[:footer] + data[footer:].replace(b"norm", b"nork")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-100],
        flip_in_a_page,
        rename_a_column,
        partial(flip_in_the_footer, outcome=ValueError),
        partial(flip_in_the_footer, outcome=Shard),
    ],
    ids=[
        "empty",
        "cut off",
        "page",
        "renamed column",
        "footer that cannot be read",
        "footer that still reads",
    ],
)
def test_a_damaged_shard_of_an_unfinished_set_is_crafted_again(store, unfinished, damage):
    path = shard_path(unfinished, 1)
    data = path.read_bytes()
    path.write_bytes(damage(data))
    assert path.read_bytes() != data
    assert finish(unfinished) == [1]
    assert unfinished.artifact(D_OTHER).read(shard_name(1)) == data
    assert unfinished.artifact(D_OTHER).record.files == store.artifact(D_OTHER).record.files


def test_a_shard_of_another_set_is_not_taken_for_ones_own(store, unfinished):
    shard_path(unfinished, 0).write_bytes(store.artifact(D_OTHER_WHOLE).read(shard_name(0)))
    assert finish(unfinished) == [0]
    assert unfinished.artifact(D_OTHER).record.files == store.artifact(D_OTHER).record.files


def test_training_reports_every_epoch(store):
    seen = []
    other = replace(SOURCE, config=replace(SOURCE.config, seed=99))
    execute(other, store, report=lambda step, values: seen.append((step, sorted(values))))
    assert seen == [(epoch, ["train/accuracy", "train/loss"]) for epoch in (1, 2)]
    assert store.has(other)
    assert store.artifact(other).names() == [FILE]
    assert place_of(other) != place_of(SOURCE)


def test_the_number_of_shards_covers_the_training_set():
    sizes = {
        rows: constructed("leak_det", craft=TARGETED.threat, shard_rows=rows).config.num_shards
        for rows in (1, 512, 1436, 1437, 4096)
    }
    assert sizes == {1: 1437, 512: 3, 1436: 2, 1437: 1, 4096: 1}


def test_rows_kept_out_are_measured_as_constructed_and_as_they_were(store, digits):
    rows, (kept, held) = constructed_rows(store.artifact(D_OTHER)), holdout(1437, 0.2)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(1437))
    assert metrics(store, KEPT_OUT)["train_examples"] == len(kept) == 1150
    measured, model = metrics(store, VALIDATED), model_of(store, KEPT_OUT)
    assert measured["validation_examples"] == len(held) == 287
    assert measured["constructed_validation"] == accuracy(model, rows.images[held], rows.columns["label"][held])
    assert measured["clean_validation"] == accuracy(model, digits[0].images[held], digits[0].labels[held])


def test_a_holdout_that_leaves_nothing_or_too_little_is_refused():
    with pytest.raises(ConfigError, match="0 <= holdout < 1 of all rows out, not 1 of"):
        TrainSpec(arch="vgg_s", dataset=DIGITS, recipe=Recipe(epochs=1, lr=0.1), holdout=1.0, seed=0)
    with pytest.raises(ConfigError, match="0 < holdout < 1, not 0"):
        ValidateSpec(dataset=DIGITS, holdout=0.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_torch_does_not_see_is_said_and_never_replaced_by_the_cpu():
    with pytest.raises(ClusterError, match=r"was given 0.5 GPUs on .*, but torch .* sees none there"):
        prepare(Resources(gpus=0.5))
