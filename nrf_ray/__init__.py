"""nrf_ray: build, train and measure the constructed datasets of "Adversarial Examples Are Not Bugs, They Are Features".

Importing the package imports neither torch nor ray; see README for the tour and `sweeps/` for what to run.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nrf_ray.data.images import LabelledImages
    from nrf_ray.models.classifier import Classifier


def load_model(model: str | Path, *, store: str = "./runs") -> "Classifier":
    """Return a model as a torch module, in eval mode on the CPU.

    It takes images [b, c, h, w] in [0, 1], which it normalises itself, and returns logits [b, k]. Its `representation`
    is the penultimate layer.

    Args:
        model: a folder of `nrf export --format model`, a file of weights of nrf_ray, or the beginning of a key of
            `store`.
        store: a folder, or the URI of a bucket.

    Raises:
        ConfigError: there is no such model.
    """
    from nrf_ray.export import loading

    return loading.load_model(model, store=store)


def load_set(key: str, *, store: str = "./runs") -> "LabelledImages":
    """Return a constructed set: `images` [n, c, h, w], uint8 or float32 in [0, 1], and `labels` [n], the labels t.

    Its `floats()` are the images in [0, 1]. `key` is the beginning of the key of a construct stage in `store`, a folder
    or the URI of a bucket. Raises ConfigError if there is no such set.
    """
    from nrf_ray.export import loading

    return loading.load_set(key, store=store)
