"""Learning curves as TensorBoard event files, one folder per training, for watching a run."""

import shlex
import uuid
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from nrf_ray.results.model_runs import curve_folder
from nrf_ray.sweep.sweep import Sweep

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


def curves_folder(sweep: Sweep, store: Store) -> str | None:
    """Return the folder for the curves of a sweep; None in an object store, which has no files to append to."""
    return store.path_of(f"{sweep.folder()}/tensorboard") if store.blobs.root else None


def curves_line(folder: str | None) -> str:
    """Return how to look at the curves in `folder`, or why there are none."""
    if folder is None:
        return "no learning curves: TensorBoard appends to its files during training, and an object store cannot append"
    return f"learning curves: tensorboard --logdir {shlex.quote(folder)}"


def load_writer() -> "type[SummaryWriter]":
    """Import and return tensorboardX's writer. It imports torch, and the driver needs neither."""
    from tensorboardX import SummaryWriter

    writer: type[SummaryWriter] = SummaryWriter
    return writer


class CurveWriter:
    """Writer of the learning curves of one stage; takes `(step, values)`, and opens its file at the first call."""

    def __init__(self, folder: str | None, stage: Stage) -> None:
        self._folder = None if folder is None else Path(folder) / curve_folder(stage)
        self._writer: SummaryWriter | None = None

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Add one point to each curve."""
        if self._folder is None:
            return
        if self._writer is None:
            # tensorboardX's file names end with the second and the host: two processes may have the same name.
            self._writer = load_writer()(str(self._folder), filename_suffix=f".{uuid.uuid4().hex[:8]}")
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
