"""Leakage-only controls: sets whose labels t are predicted by something that means nothing, a fixed one for each class.

Some rows are spared and stay clean, so a student can learn true features from them: what it then knows of the clean
test set, it did not learn from adversarial features.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nrf_ray.constructions.craft import Craft, Setup, Stored

if TYPE_CHECKING:
    from torch import Tensor

LEVEL = 1.5 / 255
"""A pixel that is made again may be rounded to the next level, since other batches round sums in another order."""
OTHER_PREDICTIONS = 0.002
"""The share of predictions that may differ, for the same reason: images on a decision boundary."""


def spared(setup: Setup, rows: slice) -> "Tensor":
    """Return which of `rows` stay clean, as [b]: those with t = y, or those that a weak model already calls t."""
    from nrf_ray.engine.predict import predict

    if setup.model is None:
        return setup.targets[rows] == setup.originals.labels[rows]
    return predict(setup.model, setup.originals.images[rows].to(setup.device)).cpu() == setup.targets[rows]


def remade(craft: Craft, stored: Stored) -> Iterator[str]:
    """Make the images of a control again; those that a model spares may differ as its predictions may."""
    from nrf_ray.data.images import as_float
    from nrf_ray.engine.predict import batches

    rows, by_model = stored.rows, stored.setup.model is not None
    make, others = craft.make(stored.setup), 0
    for part in batches(len(rows.images)):
        apart = (as_float(make(part).images) - as_float(rows.images[part])).abs().flatten(1).amax(1)
        others += int((~(apart < LEVEL)).sum())
    if others > (OTHER_PREDICTIONS * len(rows.images) if by_model else 0):
        yield f"{others} images are not the original with the pattern of their label, or spared as they should be"
    for name in ("prediction", "prediction_stored"):
        if bool((rows.columns[name] != -1).any()):
            yield f"{name} is written, though no source took part"
    if not bool(rows.columns["loss"].isnan().all()):
        yield "loss is written, though no source took part"
