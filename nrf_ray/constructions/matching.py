"""Representation matching: D_R and D_NR (Ilyas et al. 2019, section 3.1, Figure 5, C.4).

    x_r = argmin over z in [0, 1]^d of ||g(z) - g(x)|| / ||g(x)||,   g = the source's penultimate layer

z starts from an image or noise that has nothing to do with x. What x_r shares with x is what the source represents:
robust features if it was trained adversarially (D_R), any features if it was not (D_NR). The loop is PGD's, with
another loss, a representation as the target, and no ball but the box.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.craft import Craft, Maker, Setup
from nrf_ray.constructions.spec import Features, Storage
from nrf_ray.engine.mode import Mode, check_mode
from nrf_ray.errors import ConfigError
from nrf_ray.seeding import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

    from nrf_ray.constructions.crafted import Crafted
    from nrf_ray.models.classifier import Classifier

ALONG_L2 = ThreatModel(norm="l2", eps=1.0)
"""Threat model that decides how steps are normalised; its radius bounds nothing here."""


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Representation matching: an image moves until a source represents it like another image (paper 3.1, C.4).

    Steps go along the l2-normalised gradient of ||g(z) - g(x)|| / ||g(x)||, bounded by the box alone.
    """

    steps: int
    """Number of gradient steps; all are taken. Too many steps invert small images, and D_R becomes D again."""
    step_size: float
    """l2 length of the (first) step, pixel units."""
    start: Literal["image", "noise"] = "image"
    """Start: another image, drawn independently of the label, or grey noise (0.5 + normal / 20)."""
    decay: bool = False
    """Whether the step length falls linearly towards zero; in the paper all steps are equal."""
    mode: Mode = "faithful"
    """How its gradients are computed; its results are evaluated in float32 either way."""

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.step_size < math.inf:
            raise ConfigError(
                f"matching needs steps >= 1 and a finite step_size > 0, not {self.steps} and {self.step_size:g}"
            )
        if self.start not in ("image", "noise"):
            raise ConfigError(f"matching starts from 'image' or 'noise', not {self.start!r}")
        check_mode(self.mode)

    def lengths(self) -> list[float]:
        """Return the length of every step."""
        left = [(self.steps - step) / self.steps if self.decay else 1.0 for step in range(self.steps)]
        return [self.step_size * share for share in left]


class RepresentationMatching(Craft):
    """Crafting method whose images the source represents like the originals. Norms are l2: no ball bounds them."""

    spec = Matching
    features: ClassVar[Features] = "matched"

    def start(self, spec: Matching) -> str:
        """Return image or noise."""
        return spec.start

    def gradients(self, spec: Matching) -> int:
        """Return its number of steps."""
        return spec.steps

    def details(self, spec: Matching) -> tuple[str, ...]:
        """Return its start, as in "from noise"."""
        return (f"from {spec.start}",)

    def draw_starts(self, spec: Matching, n: int, seed: int) -> "Tensor":
        """Return the index of another image for each of n rows, or -1 for noise."""
        import torch

        return draw_starts(n, seed) if spec.start == "image" else torch.full((n,), -1)

    def begun(self, setup: Setup, rows: slice) -> "Tensor":
        """Return other images, or grey noise."""
        if setup.config.craft.start == "noise":
            return grey_noise(range(rows.start, rows.stop), setup.config.shape, setup.config.seed)
        return super().begun(setup, rows)

    def loss(self, model: "Classifier", stored: "Tensor", own: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the relative distance of the representations of stored images from those of their own images."""
        return residual(model, stored, own)

    def make(self, setup: Setup) -> Maker:
        """Return the function that makes rows of one set."""
        from nrf_ray.constructions.crafted import on_cpu

        config, device, model = setup.config, setup.device, setup.model
        assert model is not None, "matching has a source"

        def make(rows: slice) -> "Crafted":
            images, starts = setup.originals.images[rows].to(device), self.begun(setup, rows).to(device)
            return on_cpu(craft_matched(model, images, starts, config.craft, config.storage))

        return make


def match_representation(model: "Classifier", images: "Tensor", starts: "Tensor", matching: Matching) -> "Tensor":
    """Return `starts` [b, c, h, w] moved until `model` represents them like `images` [b, c, h, w].

    Both are float32 in [0, 1]. The last iterate is returned, as in the released code.
    """
    import torch

    from nrf_ray.attacks.pgd import attack_mode, pgd
    from nrf_ray.engine.representation import Representation

    represent = Representation(model)
    with attack_mode(model), torch.no_grad():
        wanted = model.representation(images)
    return pgd(
        represent,
        starts,
        wanted,
        threat=ALONG_L2,
        steps=matching.steps,
        step_size=matching.lengths(),
        targeted=True,
        loss=relative_distance,
        bounds="box",
        mode=matching.mode,
    )


def craft_matched(
    model: "Classifier", images: "Tensor", starts: "Tensor", matching: Matching, storage: Storage = "uint8"
) -> "Crafted":
    """Return `starts` [b, c, h, w] moved until the source `model` represents them like `images` [b, c, h, w].

    Norm and distance are l2 whatever the sweep's threat model, because no ball bounds them.
    """
    import torch

    from nrf_ray.attacks.pgd import attack_mode
    from nrf_ray.attacks.threat import l2_norm
    from nrf_ray.constructions.crafted import Crafted, differ
    from nrf_ray.data.images import as_float, as_uint8, stored_as
    from nrf_ray.engine.predict import classes_of

    originals, origins = as_float(images), as_float(starts)
    matched = match_representation(model, originals, origins, matching)
    stored = stored_as(matched, storage)
    with attack_mode(model), torch.no_grad():
        prediction, prediction_stored = classes_of(model(matched)), classes_of(model(as_float(stored)))
    return Crafted(
        images=stored,
        norm=l2_norm(as_float(stored) - origins),
        distance=l2_norm(as_float(stored) - originals),
        moved=differ(as_uint8(matched), as_uint8(origins)),
        loss=residual(model, as_float(stored), originals),
        prediction=prediction,
        prediction_stored=prediction_stored,
    )


def relative_distance(found: "Tensor", wanted: "Tensor") -> "Tensor":
    """Return ||found - wanted|| / ||wanted|| of each row of two batches of representations [b, w], as [b]."""
    from nrf_ray.attacks.threat import l2_norm

    return l2_norm(found.float() - wanted) / l2_norm(wanted).clamp_min(1e-12)


def residual(model: "Classifier", matched: "Tensor", images: "Tensor") -> "Tensor":
    """Return the relative distance of the representation of each of `matched` from that of its image, as [b]."""
    import torch

    from nrf_ray.attacks.pgd import attack_mode

    with attack_mode(model), torch.no_grad():
        return relative_distance(model.representation(matched), model.representation(images))


def draw_starts(n: int, seed: int) -> "Tensor":
    """Return the index of another example for each of n examples, drawn independently of all labels, as [n]."""
    import torch

    generator = torch.Generator().manual_seed(derive_seed(seed, "starts"))
    return (torch.arange(n) + torch.randint(1, n, (n,), generator=generator)) % n


def grey_noise(indices: Sequence[int], shape: tuple[int, int, int], seed: int) -> "Tensor":
    """Return grey noise (0.5 + normal / 20, in the box) for each index; it depends on the seed and the index alone."""
    import torch

    rows = [
        torch.randn(shape, generator=torch.Generator().manual_seed(derive_seed(seed, "noise", str(index))))
        for index in indices
    ]
    return (0.5 + torch.stack(rows) / 20).clamp(0.0, 1.0)
