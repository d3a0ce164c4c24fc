"""What a craft is: one way of making the images of a construction, as everything else needs to know it.

A craft is one file of this room, or of a user: a frozen spec, which enters the keys of stages; a `Craft`, which says
what bounds it, what it costs, what people call it and how its images are made; and a function that verifies what is
stored, registered by `verifies`. `registry` names those of this package, a line each. Nothing here imports torch before
images are made.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nrf_ray.attacks.threat import Norm, ThreatModel
from nrf_ray.constructions.spec import Features
from nrf_ray.engine.mode import Mode

if TYPE_CHECKING:
    from torch import Tensor

    from nrf_ray.constructions.construct_spec import ConstructSpec
    from nrf_ray.constructions.crafted import Crafted
    from nrf_ray.data.images import LabelledImages
    from nrf_ray.data.shards import Shard
    from nrf_ray.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the images of one set are made with, on one device."""

    config: "ConstructSpec"
    """The set."""
    originals: "LabelledImages"
    """The images that are changed, n of them, with their labels y."""
    targets: "Tensor"
    """[n], the labels t."""
    starts: "Tensor"
    """[n], the index of the image that each starts from; -1 for none."""
    model: "Classifier | None"
    """The source, on `device`; None where none takes part."""
    device: str
    """Where the images are made."""


Maker = Callable[[slice], "Crafted"]
"""From a range of rows to what is stored of them, on the CPU. A row depends on nothing but its own number."""


class Craft:
    """One way of making images. What a craft does not say itself is as for images that only the box bounds."""

    spec: ClassVar[type]
    """Its spec: a frozen dataclass, whose name and fields are in keys."""
    features: ClassVar[Features]
    """What it makes predict the label t."""
    replaces_words: ClassVar[bool] = False
    """Whether its texts are whole words again, which people can read."""

    def threat(self, spec: Any) -> ThreatModel | None:
        """Return the ball that bounds every perturbation; None where only the box does."""
        return None

    def bound(self, spec: Any) -> tuple[str | None, float | None]:
        """Return what bounds its changes, for tables: a norm and a radius, or "words" and how many; else nothing."""
        threat = self.threat(spec)
        return (threat.norm, threat.eps) if threat else (None, None)

    def mode(self, spec: Any) -> Mode | None:
        """Return how its gradients are computed; None where there are none."""
        mode: Mode | None = getattr(spec, "mode", None)
        return mode

    def start(self, spec: Any) -> str | None:
        """Return what it starts from, for tables, where that is a choice of its spec."""
        return None

    def gradients(self, spec: Any) -> int:
        """Return how many gradients of the source an image takes; 0 where no source takes part."""
        return 0

    def passes(self, spec: Any) -> int:
        """Return how many forward and backward passes of the source an image takes, for estimates of its cost."""
        return self.gradients(spec)

    def details(self, spec: Any) -> tuple[str, ...]:
        """Return what goes with the name of a set, as in "l2 0.5" or "2 words"."""
        threat = self.threat(spec)
        return (f"{threat.norm} {threat.eps:g}",) if threat else ()

    def draw_starts(self, spec: Any, n: int, seed: int) -> "Tensor":
        """Return the index of the image that each of n rows starts from, as [n]: itself. -1 is for none."""
        import torch

        return torch.arange(n)

    def begun(self, setup: Setup, rows: slice) -> "Tensor":
        """Return the images that `rows` start from, as the dataset keeps them or as float32 in [0, 1]."""
        return setup.originals.images[setup.starts[rows]]

    def loss(self, model: "Classifier", stored: "Tensor", own: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the column `loss` of stored images [b, c, h, w], made for the images `own` and the labels `targets`.

        That is the source's cross-entropy towards the targets.
        """
        import torch

        from nrf_ray.attacks.pgd import per_example_cross_entropy

        with torch.no_grad():
            return per_example_cross_entropy(model(stored), targets)

    def make(self, setup: Setup) -> Maker:
        """Return what makes the rows of one set."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its images are made")

    def measured_in(self, spec: Any) -> Norm:
        """Return the norm of the columns `norm` and `distance`."""
        threat = self.threat(spec)
        return threat.norm if threat else "l2"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A constructed set as it was read back, with all that it was made with."""

    rows: "Shard"
    """All of its rows."""
    setup: Setup
    """On the CPU."""


Verifier = Callable[[Stored], Iterator[str]]
"""From a stored set to what is wrong with it, a line each."""

VERIFIERS: dict[type, Verifier] = {}
"""By spec: what a craft verifies beyond bounds, labels, starts, norms and the source's answers."""


def verifies(spec: type) -> Callable[[Verifier], Verifier]:
    """Register the decorated function as what verifies sets made by the craft of `spec`."""

    def register(verifier: Verifier) -> Verifier:
        VERIFIERS[spec] = verifier
        return verifier

    return register
