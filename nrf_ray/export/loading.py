"""Models and sets of a store, or models that were exported from one, as plain torch objects."""

from pathlib import Path
from typing import TYPE_CHECKING

from nrf_ray.errors import ConfigError
from nrf_ray.export.model import FILE
from nrf_ray.graph.find import committed, find_place, open_store
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.given_model import MODELS, about_weights

if TYPE_CHECKING:
    from nrf_ray.data.images import LabelledImages
    from nrf_ray.models.classifier import Classifier


def load_model(model: str | Path, *, store: str = "./runs") -> "Classifier":
    """Return a model in eval mode on the CPU: the one at a path, or the one of a key of the store.

    See `nrf_ray.load_model`.
    """
    from nrf_ray.stages.weights import load_model as of_artifact
    from nrf_ray.stages.weights import model_of

    path = Path(model).expanduser()
    if path.exists():
        file = path / FILE if path.is_dir() else path
        if not about_weights(file):
            raise ConfigError(f"{file} was not written by nrf_ray; `nrf import` reads weights of others")
        return model_of(file.read_bytes()).eval()
    return of_artifact(_artifact(str(model), store, MODELS, "model"), "cpu")


def load_set(key: str, *, store: str = "./runs") -> "LabelledImages":
    """Return the constructed set of a key of the store; see `nrf_ray.load_set`."""
    from nrf_ray.constructions.stored_set import constructed_set

    return constructed_set(_artifact(key, store, ("construct",), "constructed set"))


def _artifact(key: str, store: str, stages: tuple[str, ...], what: str) -> Artifact:
    if not key or set(key.lower()) - set("0123456789abcdef"):
        raise ConfigError(
            f"{key!r} is neither a path nor the beginning of a key; `nrf status` shows what is in a store"
        )
    opened = open_store(store)
    place = find_place(opened, key)
    if place.stage not in stages:
        raise ConfigError(f"{place.stage}/{place.key[:12]} is not a {what}; `nrf show` says what a key stands for")
    return Artifact(opened, committed(opened, place))
