"""TensorBoard's own reader of the tab HParams finds one row a model, with its axes and its numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nrf_ray.export.hparams import FILE, write_hparams
from nrf_ray.graph.store import Store
from nrf_ray.page.curves import CurveReader
from nrf_ray.results.model_runs import AXES, ModelRun, curve_folder, model_runs
from nrf_ray.results.write import write_tables
from tests.page.known import FACTS


@pytest.fixture(scope="module")
def runs(tiny) -> list[ModelRun]:
    return model_runs(tiny.sweep, write_tables(tiny.sweep, tiny.store).frames)


def rows_in(folder: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns and the rows of the tab HParams of TensorBoard at `folder`."""
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

    found = plugin_event_multiplexer.EventMultiplexer()
    found.AddRunsFromDirectory(str(folder))
    found.Reload()
    provider = data_provider.MultiplexerDataProvider(found, str(folder))
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked = RequestContext()
    experiment = get_experiment.Handler(asked, context, "", api_pb2.GetExperimentRequest()).run()
    columns = [info.name for info in experiment.hparam_infos] + [info.name.tag for info in experiment.metric_infos]
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=1000,
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
        aggregation_type=api_pb2.AGGREGATION_AVG,
        col_params=[api_pb2.ColParams(hparam=info.name) for info in experiment.hparam_infos],
    )
    groups = list_session_groups.Handler(asked, context, "", request).run().session_groups
    rows = []
    for group in groups:
        row: dict[str, Any] = {"name": group.name}
        for name, value in group.hparams.items():
            row[name] = value.string_value or value.number_value
        row |= {metric.name.tag: metric.value for metric in group.metric_values}
        rows.append(row)
    return columns, rows


def test_a_run_is_a_model_and_has_its_rows_of_every_table(tiny, runs) -> None:
    frames = write_tables(tiny.sweep, tiny.store).frames
    trained = {stage.key for stage in tiny.sweep.stages() if stage.kind.name == "train"}
    assert {run.key for run in runs} <= trained
    assert {run.key for run in runs} >= set(frames["results"]["key"])
    results = frames["results"].set_index("key")
    for run in runs:
        assert tuple(run.axes) == AXES
        if run.key in results.index and results.loc[[run.key]].shape[0] == 1:
            assert run.summary["results/clean_accuracy"] == results.loc[run.key, "clean_accuracy"]
    measured = {name for run in runs for name in run.summary}
    assert any(name.startswith("robustness/robust_accuracy") for name in measured)
    assert any(name.startswith("transfer/") for name in measured)
    count = sum(name.startswith("robustness/robust_accuracy") for run in runs for name in run.summary)
    assert count == len(frames["robustness"]), "no row is lost, as each has a name of its own"


def test_tensorboard_reads_a_row_for_each_model(tiny, runs, tmp_path) -> None:
    store = Store.open(str(tmp_path / "store"), create=True)
    write_hparams(tiny.sweep, store, runs)
    columns, rows = rows_in(store.blobs.root / tiny.sweep.folder() / "tensorboard")
    measured = {name for run in runs for name in run.summary}
    assert set(columns) == {*AXES, *measured}
    by_key = {row["name"]: row for row in rows}
    assert by_key.keys() == {run.key for run in runs}
    for run in runs:
        row = by_key[run.key]
        assert row["arch"] == run.axes["arch"]
        assert row["role"] == (run.axes["role"] or "-")
        assert row.get("epsilon", None) in (run.axes["epsilon"], 0.0)
        assert {name: row[name] for name in run.summary} == pytest.approx(dict(run.summary), rel=1e-6)


def test_the_same_results_make_the_same_file_and_it_is_no_curve(tiny, runs, tmp_path) -> None:
    stores = [Store.open(str(tmp_path / name), create=True) for name in "ab"]
    for store in stores:
        write_hparams(tiny.sweep, store, runs)
    name = f"{tiny.sweep.folder()}/tensorboard/{curve_folder(runs[0].stage)}/{FILE}"
    assert stores[0].blobs.get(name) == stores[1].blobs.get(name) is not None
    reader = CurveReader(str(stores[0].blobs.root / tiny.sweep.folder() / "tensorboard"))
    facts = [replace(FACTS[0], kind="train", key=run.key) for run in runs]
    assert reader.read(facts) == ()
