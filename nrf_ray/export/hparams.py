"""The models of a sweep in TensorBoard's tab HParams: a row for each, with its axes, accuracies and robust accuracies.

A model's file is in the folder of its learning curve, so curve and row are one run of TensorBoard. TensorBoard takes
the columns from the first run that names any, so every file names all of them. A value that a model does not have is
written as NONE, but for the radius, which is a number and left out.
"""

import io
from collections.abc import Sequence
from typing import Any

from nrf_ray.graph.store import Store
from nrf_ray.results.model_runs import AXES, ModelRun, curve_folder
from nrf_ray.sweep.sweep import Sweep

FILE = "events.out.tfevents.0.hparams"
"""Name of the file of a model, which is replaced as a whole."""
NONE = "-"
"""Text for a value that a model does not have."""


def write_hparams(sweep: Sweep, store: Store, runs: Sequence[ModelRun]) -> None:
    """Write the files of all `runs`; those that stay the same are kept."""
    names = sorted({name for run in runs for name in run.summary})
    for run in runs:
        store.blobs.update(f"{sweep.folder()}/tensorboard/{curve_folder(run.stage)}/{FILE}", _file(run, names))


def _file(run: ModelRun, names: Sequence[str]) -> bytes:
    """Return the event file of one model; `names` are the measurements of all models."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    values = [Summary.Value(tag=tag, metadata=metadata) for tag, metadata in _about(run, names)]
    values += [Summary.Value(tag=name, simple_value=value) for name, value in run.summary.items()]
    written = io.BytesIO()
    records = RecordWriter(written)
    # No time of day, so that the same results make the same file.
    records.write(Event(file_version="brain.Event:2").SerializeToString())
    for value in values:
        records.write(Event(step=0, summary=Summary(value=[value])).SerializeToString())
    return written.getvalue()


def _about(run: ModelRun, names: Sequence[str]) -> list[tuple[str, Any]]:
    """Return the tags of the tab with their metadata: the columns, the model's axes, and that the model is finished."""
    from tensorboard.compat.proto.summary_pb2 import SummaryMetadata
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    session = plugin_data_pb2.SessionStartInfo(group_name=run.key)
    columns = []
    for name in AXES:
        value = run.axes[name]
        kind = api_pb2.DATA_TYPE_FLOAT64 if name == "epsilon" else api_pb2.DATA_TYPE_STRING
        columns.append(api_pb2.HParamInfo(name=name, type=kind))
        if name != "epsilon":
            session.hparams[name].string_value = NONE if value is None else str(value)
        elif value is not None:
            session.hparams[name].number_value = float(value)
    experiment = api_pb2.Experiment(
        hparam_infos=columns, metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=name)) for name in names]
    )
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS)
    told = {
        metadata.EXPERIMENT_TAG: plugin_data_pb2.HParamsPluginData(experiment=experiment),
        metadata.SESSION_START_INFO_TAG: plugin_data_pb2.HParamsPluginData(session_start_info=session),
        metadata.SESSION_END_INFO_TAG: plugin_data_pb2.HParamsPluginData(session_end_info=end),
    }
    named = SummaryMetadata.PluginData
    return [
        (tag, SummaryMetadata(plugin_data=named(plugin_name="hparams", content=data.SerializeToString())))
        for tag, data in told.items()
    ]
