"""Defences that notice that they are attacked, or remember what they were asked."""

import torch
from torch import Tensor, nn

from tests.trust.defence import Build, Defence, base_alone, put

MOST = 1000
"""Images that a memory holds at most."""


class Remembering(nn.Module):
    """Answers as it did to the first image that was this near (stateful detection, Chen et al. 2020)."""

    def __init__(self, network: nn.Module, radius: float, *, quiet: bool) -> None:
        """`quiet` means that it remembers, and answers from memory, only if no gradient is asked for."""
        super().__init__()
        self.network, self.radius, self.quiet = network, radius, quiet
        self.asked: Tensor | None = None
        self.answered: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return remembered logits for images near one that was asked about before, and new ones for the others."""
        logits = self.network(images)
        if self.quiet and torch.is_grad_enabled():
            return logits
        with torch.no_grad():
            flat, given = images.flatten(1), logits.detach()
            if self.asked is not None and self.answered is not None:
                distance, index = torch.cdist(flat, self.asked).min(dim=1)
                known = distance < self.radius
                given = torch.where(known.unsqueeze(1), self.answered[index], given)
                flat, new = flat[~known], given[~known]
            else:
                new = given
            asked = flat if self.asked is None else torch.cat([self.asked, flat])
            answered = new if self.answered is None else torch.cat([self.answered, new])
            self.asked, self.answered = asked[:MOST].clone(), answered[:MOST].clone()
        return put(given, logits)


class Aware(nn.Module):
    """Answers by another network whenever a gradient could be asked for."""

    def __init__(self, network: nn.Module, shown: nn.Module) -> None:
        super().__init__()
        self.network, self.shown = network, shown

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of `shown` under attack, and those of `network` otherwise."""
        logits: Tensor = (self.shown if torch.is_grad_enabled() else self.network)(images)
        return logits


class Tiring(nn.Module):
    """Gives its own gradient a few times, and another network's from then on."""

    def __init__(self, network: nn.Module, gradient: nn.Module, passes: int) -> None:
        super().__init__()
        self.network, self.gradient, self.passes, self.done = network, gradient, passes, 0

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of `network`."""
        logits: Tensor = self.network(images)
        self.done += torch.is_grad_enabled()
        return logits if self.done <= self.passes else put(logits, self.gradient(images))


class Crowded(nn.Module):
    """Gives its own gradient for few images at once, and another network's for a batch of many."""

    def __init__(self, network: nn.Module, gradient: nn.Module, most: int) -> None:
        super().__init__()
        self.network, self.gradient, self.most = network, gradient, most

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of `network`."""
        logits: Tensor = self.network(images)
        return logits if len(images) <= self.most else put(logits, self.gradient(images))


def _entry(name: str, build: Build, why: str, *, expected: bool = False) -> Defence:
    return Defence(name=name, family="stateful", build=build, truth=base_alone, why=why, expected=expected)


STATEFUL = (
    _entry(
        "remembered",
        lambda base, other, robust: Remembering(base, 1.5, quiet=False),
        "answers of the first image this near are given again (Chen et al. 2020; Feng et al. 2023)",
        expected=True,
    ),
    _entry(
        "remembered-quietly",
        lambda base, other, robust: Remembering(base, 1.5, quiet=True),
        "clean images are remembered; attacks that ask for gradients see the bare network",
        expected=True,
    ),
    _entry(
        "aware",
        lambda base, other, robust: Aware(base, robust),
        "another network answers whenever gradients are enabled",
    ),
    _entry("tiring", lambda base, other, robust: Tiring(base, other, 5), "five true gradients, then another network's"),
    _entry(
        "crowded",
        lambda base, other, robust: Crowded(base, other, 32),
        "another network's gradient for batches of more than 32 images",
    ),
)
"""Defences of this kind."""
