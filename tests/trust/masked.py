"""Defences whose logits are scaled, rounded or saturated, so that a loss of them has no gradient worth following."""

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn

from tests.trust.defence import Behind, Build, Defence, Map, base_alone, behind, put
from tests.trust.networks import PLAIN, mlp, train


def scaled(factor: float) -> Map:
    """Return multiplication by `factor`."""
    return lambda logits: factor * logits


def one_hot(logits: Tensor) -> Tensor:
    """Return ten times the one-hot answer."""
    return 10 * nn.functional.one_hot(logits.argmax(1), logits.shape[1]).float()


def in_half(logits: Tensor) -> Tensor:
    """Return the logarithm of the probabilities, which are computed in bfloat16: those of sure answers are 0 and 1."""
    return logits.mul(3).bfloat16().softmax(1).clamp_min(1e-30).log().float()


def up_and_down(logits: Tensor) -> Tensor:
    """Return the logits, whose gradient has been so small on its way that float32 keeps few of its bits, or none."""
    return logits.mul(6.0).sub(logits.amax(1, keepdim=True).detach().mul(6.0)).mul(1e36).mul(1e-36)


def ladder(logits: Tensor) -> Tensor:
    """Return logits whose margin is a staircase that slopes down where it should go up (Chen et al. 2022, AAA)."""
    top, order = logits.topk(2, dim=1)
    margin = (top[:, 0] - top[:, 1]).unsqueeze(1)
    wave = 0.9 * torch.sin(2 * torch.pi * margin) / 2  # the slope is 1 - .9 pi at the top of each stair
    lead = torch.zeros_like(logits).scatter(1, order[:, :1], 1.0)
    return logits + lead * wave.clamp_min(-0.9 * margin.detach())


def decoy(logits: Tensor) -> Tensor:
    """Return the logits and an eleventh class, always just behind the first, that has no gradient."""
    return torch.cat([logits, logits.amax(1, keepdim=True).detach() - 0.01], dim=1)


def without_decoy(logits: Tensor) -> Tensor:
    """Return the logits and an eleventh class that is never the answer."""
    return torch.cat([logits, logits.amin(1, keepdim=True).detach() - 50], dim=1)


class Refusing(nn.Module):
    """An eleventh class without a gradient, the refusal, that is the answer if two networks disagree about an image."""

    def __init__(self, network: nn.Module, witness: nn.Module) -> None:
        super().__init__()
        self.network, self.witness = network, witness

    def forward(self, images: Tensor) -> Tensor:
        """Return eleven logits."""
        logits = self.network(images)
        disagree = (logits.argmax(1) != self.witness(images).argmax(1)).unsqueeze(1)
        top = logits.amax(1, keepdim=True).detach()
        return torch.cat([logits, torch.where(disagree, top + 1, top - 30)], dim=1)


class Voting(nn.Module):
    """The answer of most of three networks, as votes, which have no gradient."""

    def __init__(self, networks: tuple[nn.Module, ...], *, smooth: bool) -> None:
        super().__init__()
        self.networks, self.smooth = nn.ModuleList(networks), smooth

    def forward(self, images: Tensor) -> Tensor:
        """Return ten times the votes; a millionth of the mean probability decides between equal votes."""
        logits = [network(images) for network in self.networks]
        mean = sum(one.softmax(1) for one in logits) / len(logits)
        votes = sum(one_hot(one) for one in logits) + 1e-3 * mean.detach()
        return put(votes, sum(logits)) if self.smooth else votes + 0 * mean


def distilled(temperature: float, *, seen: float) -> nn.Module:
    """Return a network trained at `temperature` (Papernot et al. 2016), whose logits are multiplied by `seen`."""
    return Behind(_at_temperature(temperature), after=scaled(seen))


@cache
def _at_temperature(temperature: float) -> nn.Module:
    return train(lambda: Behind(mlp(), after=scaled(1 / temperature)), replace(PLAIN, lr=0.5), seed=4)


def _same(name: str, after: Map, why: str, truth: Build = base_alone, before: Map = lambda images: images) -> Defence:
    return Defence(name=name, family="masked", build=behind(before, after), truth=truth, why=why)


MASKED = (
    _same("logits-x1000", scaled(1000), "softmax is saturated and cross-entropy has no gradient (Carlini 2017)"),
    _same("logits-x100", scaled(100), "softmax is saturated for most images"),
    _same("logits-x30", scaled(30), "softmax is saturated for some images"),
    _same("logits-x8", scaled(8), "a mask that a check must tell from an honest network with large logits"),
    _same("logits-x1e-6", scaled(1e-6), "tiny gradients, which an attack that does not normalise steps over"),
    _same("logits-x1e-30", scaled(1e-30), "gradients smaller than float32 keeps in squares"),
    _same("up-and-down", up_and_down, "the gradient underflows between two factors that undo one another"),
    _same("bf16-underflow", in_half, "probabilities of sure answers are 1 in bfloat16, and their gradient is 0"),
    _same("softmax", lambda logits: logits.mul(10).softmax(1), "probabilities in place of logits"),
    _same("log-clamped", lambda logits: logits.softmax(1).clamp_min(1e-2).log(), "unlikely classes have no gradient"),
    _same("tanh-logits", lambda logits: 10 * torch.tanh(logits / 3), "saturated logits: sure answers have no gradient"),
    _same("capped-logits", lambda logits: logits - (logits - logits.amax(1, keepdim=True) + 2).clamp_max(0),
          "classes far behind the first are constants"),
    _same("rounded-logits", torch.round, "logits are whole numbers: no gradient",
          truth=behind(after=lambda logits: put(logits.round(), logits))),
    _same("rounded-kept", lambda logits: put(logits.round(), logits.tanh()), "whole numbers, gradient of a tanh",
          truth=behind(after=lambda logits: put(logits.round(), logits))),
    _same("labels-only", one_hot, "one-hot answers: no gradient (decision-based black boxes)"),
    _same("margin-ladder", ladder, "the margin lies to attacks that climb it (AAA, Chen et al. 2022)"),
    _same("decoy-class", decoy, "a class without a gradient is always second: the margin's other logit is constant",
          truth=behind(after=without_decoy)),
    Defence(
        name="refusal-class",
        family="masked",
        build=lambda base, other, robust: Refusing(base, other),
        truth=lambda base, other, robust: Refusing(base, other),
        why="a class for refused images that has no gradient: fooled or refused, an image counts as lost",
    ),
    Defence(
        name="vote",
        family="masked",
        build=lambda base, other, robust: Voting((base, other, robust), smooth=False),
        truth=lambda base, other, robust: Voting((base, other, robust), smooth=True),
        why="votes of three networks have no gradient (EMPIR, Sen et al. 2020; Tramer et al. 2020)",
    ),
    Defence(
        name="distilled",
        family="masked",
        build=lambda base, other, robust: distilled(10.0, seen=10.0),
        truth=lambda base, other, robust: distilled(10.0, seen=1.0),
        why="trained at temperature 10, used at 1 (Papernot et al. 2016; Carlini and Wagner 2017)",
    ),
)  # fmt: skip
"""Defences of this kind."""
