"""Interface of a crafting method: one way to make the images of a construction.

A crafting method is one file of this package, or of a user. It has a frozen spec, which enters the keys of stages; a
`Craft`, which gives its bound, its cost, its wording in names and the function that makes its images; and a function
that verifies stored sets, registered by `verifies`. `registry` lists the crafting methods of this package, one a line.
Nothing here imports torch before images are made.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nrf_ray.attacks.threat import Norm, ThreatModel
from nrf_ray.constructions.spec import Features
from nrf_ray.engine.mode import Mode
from nrf_ray.errors import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from nrf_ray.constructions.construct_spec import ConstructSpec
    from nrf_ray.constructions.crafted import Crafted
    from nrf_ray.data.images import LabelledImages
    from nrf_ray.data.shards import Shard
    from nrf_ray.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Inputs of making the images of one set, on one device."""

    config: "ConstructSpec"
    """Spec of the set."""
    originals: "LabelledImages"
    """The n images that are changed, with their labels y."""
    targets: "Tensor"
    """[n], the labels t."""
    starts: "Tensor"
    """[n], the index of the image that each row starts from; -1 for none."""
    model: "Classifier | None"
    """Source model, on `device`; None if no source takes part."""
    device: str
    """Device on which the images are made."""


Maker = Callable[[slice], "Crafted"]
"""Function from a range of rows to their stored values, on the CPU. The values of a row depend on its index alone."""


class Craft(ABC):
    """A crafting method. The defaults of its methods are those of images that only the box bounds."""

    spec: ClassVar[type]
    """Class of its spec: a frozen dataclass, whose name and fields are in keys."""
    features: ClassVar[Features]
    """Features that predict the label t."""
    replaces_words: ClassVar[bool] = False
    """Whether its texts consist of whole words, so that people can read them."""

    @property
    def name(self) -> str:
        """Name of the class of its spec, by which it is registered."""
        return self.spec.__name__

    def threat(self, spec: Any) -> ThreatModel | None:
        """Return the ball that bounds every perturbation, or None if only the box bounds it."""
        return None

    def bound(self, spec: Any) -> tuple[str | None, float | None]:
        """Return the bound of its changes, for tables: norm and radius, "words" and their number, or None twice."""
        threat = self.threat(spec)
        return (threat.norm, threat.eps) if threat else (None, None)

    def mode(self, spec: Any) -> Mode | None:
        """Return how its gradients are computed, or None if it takes no gradients."""
        mode: Mode | None = getattr(spec, "mode", None)
        return mode

    def start(self, spec: Any) -> str | None:
        """Return what it starts from, for tables, or None if its spec offers no choice."""
        return None

    def gradients(self, spec: Any) -> int:
        """Return the number of source gradients per image; 0 if no source takes part."""
        return 0

    def passes(self, spec: Any) -> int:
        """Return the number of forward and backward passes of the source per image, for cost estimates."""
        return self.gradients(spec)

    def details(self, spec: Any) -> tuple[str, ...]:
        """Return what is added to the name of a set, as in "l2 0.5" or "2 words"."""
        threat = self.threat(spec)
        return (f"{threat.norm} {threat.eps:g}",) if threat else ()

    def draw_starts(self, spec: Any, n: int, seed: int) -> "Tensor":
        """Return the index of the image that each of n rows starts from, as [n]: by default its own; -1 for none."""
        import torch

        return torch.arange(n)

    def begun(self, setup: Setup, rows: slice) -> "Tensor":
        """Return the images that `rows` start from, in the dataset's own format or as float32 in [0, 1]."""
        return setup.originals.images[setup.starts[rows]]

    def loss(self, model: "Classifier", stored: "Tensor", own: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the column `loss` of stored images [b, c, h, w], made for the images `own` and the labels `targets`.

        By default it is the source's cross-entropy towards the targets.
        """
        import torch

        from nrf_ray.attacks.losses import per_example_cross_entropy

        with torch.no_grad():
            return per_example_cross_entropy(model(stored), targets)

    @abstractmethod
    def make(self, setup: Setup) -> Maker:
        """Return the function that makes rows of one set."""

    def measured_in(self, spec: Any) -> Norm:
        """Return the norm of the columns `norm` and `distance`."""
        threat = self.threat(spec)
        return threat.norm if threat else "l2"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A constructed set read back from the store, with its inputs."""

    rows: "Shard"
    """All of its rows."""
    setup: Setup
    """Inputs that the set was made with, on the CPU."""


Verifier = Callable[[Stored], Iterator[str]]
"""Function from a stored set to its errors, one line each."""

VERIFIERS: Registry[Verifier] = Registry("verifier of the crafting method")
"""Verifiers by the name of the spec class: checks beyond bounds, labels, starts, norms and the source's predictions."""


def verifies(spec: type) -> Callable[[Verifier], Verifier]:
    """Register the decorated function as the verifier of sets whose crafting method has this spec class."""
    return VERIFIERS.register(spec.__name__)
