"""Leakage-only controls: sets whose labels t are predicted by a fixed, meaningless pattern or words of each class.

Some rows are spared and stay clean, so a student can learn true features from them. What it then knows about the clean
test set, it did not learn from adversarial features.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nrf_ray.constructions.craft import Craft, Setup, Stored

if TYPE_CHECKING:
    from torch import Tensor

LEVEL = 1.5 / 255
"""Tolerance of a recomputed pixel: it may round to the next level, because other batches add in another order."""
OTHER_PREDICTIONS = 0.002
"""Share of predictions that may differ, for the same reason: those of images on a decision boundary."""


def spared(setup: Setup, rows: slice) -> "Tensor":
    """Return which of `rows` stay clean, as [b]: those with t = y, or those for which a weak model predicts t."""
    from nrf_ray.engine.predict import predict

    if setup.model is None:
        return setup.targets[rows] == setup.originals.labels[rows]
    return predict(setup.model, setup.originals.images[rows].to(setup.device)).cpu() == setup.targets[rows]


def remade(craft: Craft, stored: Stored) -> Iterator[str]:
    """Yield how the images of a control differ from recomputed ones.

    If a model decides which images are spared, as many images may differ as its predictions may.
    """
    from nrf_ray.data.images import as_float
    from nrf_ray.engine.predict import batches

    rows, by_model = stored.rows, stored.setup.model is not None
    make, others = craft.make(stored.setup), 0
    for part in batches(len(rows.images)):
        apart = (as_float(make(part).images) - as_float(rows.images[part])).abs().flatten(1).amax(1)
        others += int((~(apart < LEVEL)).sum())
    if others > (OTHER_PREDICTIONS * len(rows.images) if by_model else 0):
        yield f"{others} images are not the original with the pattern of their label or, if spared, the original"
    for name in ("prediction", "prediction_stored"):
        if bool((rows.columns[name] != -1).any()):
            yield f"the column {name} has values, though no source took part"
    if not bool(rows.columns["loss"].isnan().all()):
        yield "the column loss has values, though no source took part"
