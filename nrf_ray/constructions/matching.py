"""Representation matching: D_R and D_NR (Ilyas et al. 2019, section 3.1, Figure 5, C.4).

    x_r = argmin over z in [0, 1]^d of ||g(z) - g(x)|| / ||g(x)||,   g = the source's penultimate layer

started from something that has nothing to do with x. What x_r shares with x is what the source represents: robust
features where it was trained adversarially (D_R), any features where it was not (D_NR). It is the PGD loop with another
loss, a target that is a representation, and no ball but the box.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nrf_ray.attacks.pgd import attack_mode, pgd
from nrf_ray.attacks.threat import ThreatModel, l2_norm
from nrf_ray.constructions.crafted import Crafted, differ
from nrf_ray.constructions.spec import Matching, Storage
from nrf_ray.data.images import as_float, as_uint8, stored_as
from nrf_ray.models.classifier import Classifier
from nrf_ray.seeding import derive_seed

ALONG_L2 = ThreatModel(norm="l2", eps=1.0)
"""Says how steps are normalised; its radius bounds nothing here."""

RELUS = (F.relu, torch.relu, Tensor.relu)


def match_representation(model: Classifier, images: Tensor, starts: Tensor, matching: Matching) -> Tensor:
    """Return `starts` [b, c, h, w] moved until `model` represents them as it does `images` [b, c, h, w].

    Both are float32 in [0, 1]. The last iterate is returned, as in the released code.
    """
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
    model: Classifier, images: Tensor, starts: Tensor, matching: Matching, storage: Storage = "uint8"
) -> Crafted:
    """Return `starts` [b, c, h, w] moved until the source `model` represents them as it does `images` [b, c, h, w].

    Norm and distance are l2 whatever the sweep's threat model, because no ball bounds them.
    """
    originals, origins = as_float(images), as_float(starts)
    matched = match_representation(model, originals, origins, matching)
    stored = stored_as(matched, storage)
    with attack_mode(model), torch.no_grad():
        prediction, prediction_stored = model(matched).argmax(1), model(as_float(stored)).argmax(1)
    return Crafted(
        images=stored,
        norm=l2_norm(as_float(stored) - origins),
        distance=l2_norm(as_float(stored) - originals),
        moved=differ(as_uint8(matched), as_uint8(origins)),
        loss=residual(model, as_float(stored), originals),
        prediction=prediction,
        prediction_stored=prediction_stored,
    )


def relative_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Return ||found - wanted|| / ||wanted|| of each row of two batches of representations [b, w], as [b]."""
    return l2_norm(found.float() - wanted) / l2_norm(wanted).clamp_min(1e-12)


def residual(model: Classifier, matched: Tensor, images: Tensor) -> Tensor:
    """Return how far the representation of each of `matched` still is from that of its image, relatively, as [b]."""
    with attack_mode(model), torch.no_grad():
        return relative_distance(model.representation(matched), model.representation(images))


def draw_starts(n: int, seed: int) -> Tensor:
    """Return for each of n examples the index of another one, drawn independently of all labels, as [n]."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "starts"))
    return (torch.arange(n) + torch.randint(1, n, (n,), generator=generator)) % n


def grey_noise(indices: Sequence[int], shape: tuple[int, int, int], seed: int) -> Tensor:
    """Return grey noise (0.5 + normal / 20, in the box) for each index; it depends on the seed and the index alone."""
    rows = [
        torch.randn(shape, generator=torch.Generator().manual_seed(derive_seed(seed, "noise", str(index))))
        for index in indices
    ]
    return (0.5 + torch.stack(rows) / 20).clamp(0.0, 1.0)


class Representation(nn.Module):
    """A classifier up to its representation, whose last ReLU lets the gradient through as it is.

    Units that are off would otherwise give no gradient and stay off (`fake_relu` of the released code). The last ReLU
    is found by counting, so a network that calls the function instead of the module is served too. Values are those
    of the classifier; a network without ReLU is left alone.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model
        self.relus: int | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return the representations [b, width]."""
        if self.relus is None:
            with torch.no_grad(), _Relus(replaced=0) as counted:
                self.model.representation(images[:1])
            self.relus = counted.seen
        with _Relus(replaced=self.relus):
            return self.model.representation(images)


class _Relus(TorchFunctionMode):
    """Counts the calls of ReLU from 1, and replaces the one numbered `replaced`."""

    def __init__(self, replaced: int) -> None:
        super().__init__()
        self.replaced = replaced
        self.seen = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `function`, or in place of that ReLU one with the gradient of the identity."""
        if function in RELUS:
            self.seen += 1
            if self.seen == self.replaced:
                return _IdentityGradientReLU.apply(args[0])
        return function(*args, **(kwargs or {}))


class _IdentityGradientReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clamp_min(0.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient
