"""Learning curves as TensorBoard event files, one folder a training, for people who watch."""

import re
from pathlib import Path
from types import TracebackType
from typing import Self

from tensorboardX import SummaryWriter

from nrf_ray.graph.stage import Stage


class CurveWriter:
    """Takes `(step, values)` of one stage; opens its file with the first of them."""

    def __init__(self, folder: str | None, stage: Stage) -> None:
        slug = re.sub(r"[^A-Za-z0-9._-]+", "_", stage.title)
        self._folder = None if folder is None else Path(folder) / f"{slug}-{stage.key[:8]}"
        self._writer: SummaryWriter | None = None

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Add one point to each curve."""
        if self._folder is None:
            return
        if self._writer is None:
            self._writer = SummaryWriter(str(self._folder))
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
