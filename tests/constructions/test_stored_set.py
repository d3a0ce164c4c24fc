"""Constructed sets, made by their stages on digits: what every row says, and what their files are."""

import pandas as pd
import pytest
import torch

from nrf_ray.attacks.threat import perturbation_norm
from nrf_ray.constructions.crafted import draw_targets
from nrf_ray.constructions.matching import draw_starts, grey_noise, residual
from nrf_ray.constructions.stored_set import constructed_rows, shard_name
from nrf_ray.data.images import as_float, as_uint8
from nrf_ray.data.shards import RowsDigest
from nrf_ray.engine.predict import predict, share
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import execute
from tests.goals import (
    COLUMNS,
    D_OTHER,
    D_OTHER_WHOLE,
    D_ROBUST,
    D_ROBUST_TEST,
    FROM_NOISE,
    JUDGE,
    JUDGED,
    LEAK_RAND,
    LEAK_WEAK,
    MATCHING,
    SOURCE,
    TARGETED,
    constructed,
    metrics,
    model_of,
)


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


def test_the_sources_own_verdict_on_a_set_is_its_fooling_rate(store):
    verdict = metrics(store, JUDGED[SOURCE.key])
    assert verdict["says_target"] == metrics(store, D_OTHER)["fooling_rate"]
    assert verdict["says_label"] + verdict["says_target"] <= 1
    assert verdict["n"] == 1437
    assert metrics(store, JUDGED[JUDGE.key]) != verdict


def test_files_of_whole_batches_hold_the_same_rows_as_one_file(store, only_source):
    assert D_OTHER_WHOLE.key == D_OTHER.key
    execute(D_OTHER_WHOLE, only_source)
    assert store.artifact(D_OTHER).names() == [shard_name(index) for index in range(3)]
    assert only_source.artifact(D_OTHER).names() == [shard_name(0)]
    many, one = (constructed_rows(where.artifact(D_OTHER)) for where in (store, only_source))
    assert torch.equal(many.images, one.images)
    assert all(torch.equal(many.columns[name], one.columns[name]) for name in COLUMNS[:-1])
    assert metrics(store, D_OTHER) == metrics(only_source, D_OTHER)


def test_the_digest_of_the_rows_depends_on_every_value(store):
    rows = constructed_rows(store.artifact(D_OTHER))
    said = metrics(store, D_OTHER)["rows_sha256"]

    def digest(shard):
        found = RowsDigest()
        found.add(shard)
        return found.hexdigest()

    assert digest(rows) == said
    pixel = rows.images.clone()
    pixel[-1, 0, 0, 0] ^= 1
    assert digest(rows._replace(images=pixel)) != said
    for name, values in rows.columns.items():
        changed = values.clone()
        changed[7] = ~values[7] if values.dtype == torch.bool else values[7] + 1
        assert digest(rows._replace(columns={**rows.columns, name: changed})) != said, name
    assert len({digest(rows._replace(texts={"text": texts})) for texts in (["ab", "c"], ["a", "bc"])}) == 2


def test_the_files_of_a_set_are_plain_parquet(store):
    folder = store.blobs.root / "construct" / D_OTHER.key
    frame = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 1437
    assert frame["image"].iloc[0].shape == (64,)


def test_the_number_of_shards_covers_the_training_set():
    sizes = {
        rows: constructed("leak_det", craft=TARGETED.threat, shard_rows=rows).config.num_shards
        for rows in (256, 512, 1280, 1437, 4096)
    }
    assert sizes == {256: 6, 512: 3, 1280: 2, 1437: 1, 4096: 1}


@pytest.mark.parametrize(("rows", "batch"), [(500, 256), (128, 256), (0, 256), (256, 0)])
def test_files_that_would_cut_a_batch_are_refused(rows, batch):
    with pytest.raises(ConfigError, match=f"{rows} rows per file, crafted {batch} at a time: .* whole batches"):
        constructed("leak_det", craft=TARGETED.threat, shard_rows=rows, batch_rows=batch)
