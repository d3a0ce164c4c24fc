"""The rows of files that make one split of a dataset."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nrf_ray.data.naming import Files
from nrf_ray.data.outline import Split
from nrf_ray.data.splitting import mixed, split_rows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Portion:
    """The rows of one split of a dataset."""

    files: Files
    """Files that hold the rows."""
    split: Split
    """Split of the files that holds the rows."""
    part: Split | None
    """Part of that split: one row in six is "test", the others "train"; None for all of it."""
    available: int
    """Number of rows of that split of the files."""
    count: int
    """Number of selected rows."""
    relabel: tuple[int, ...] = ()
    """The training split's label for each label of these files; empty if they are the same."""

    @property
    def is_whole(self) -> bool:
        """Whether every row of that split of the files is selected."""
        return self.part is None and self.count == self.available

    def rows(self) -> "npt.NDArray[np.int64]":
        """Return the indices of the selected rows within the split of the files, ascending."""
        import numpy as np

        rows = np.arange(self.available)
        if self.part:
            train, test = split_rows(self.available)
            rows = test if self.part == "test" else train
        return rows if self.count == len(rows) else np.sort(rows[mixed(len(rows), "keep")[: self.count]])
