"""The one structure of every classifier: normalise, represent, classify.

A `Classifier` takes images in [0, 1] and normalises them itself, so that attacks and radii are in pixel units. Its
`representation` is the penultimate layer, the features F_C of the paper's section 2.

An embedded text is an image [1, length, width] whose rows are words, in the box [0, 1] as pixels are. A row near the
corner 0 is not a word. A `TextClassifier` ignores such rows, so they get no gradient and attacks do not change them.
Random starts leave them out with `rows_read`, because noise in these rows would be lost from the ball.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

WORD_FROM = 0.25
"""Least mean of a word's coordinates: a vector with a smaller mean is not a word. Words are placed in the box well
above this mean."""


class Classifier(nn.Module):
    """Network from images [b, c, h, w] in [0, 1] to logits [b, k]."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, body: nn.Module, *, width: int, num_classes: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        """`body` maps normalised images to representations [b, width]; `mean` and `std` have one value per channel."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.body = body
        self._affine: tuple[Tensor, Tensor] | None = None
        self.head = nn.Linear(width, num_classes)

    def representation(self, images: Tensor) -> Tensor:
        """Return the penultimate activations g(x), as [b, width]."""
        features: Tensor = self.body(self.normalise(images))
        return features

    def normalise(self, images: Tensor) -> Tensor:
        """Return (images - mean) / std."""
        if self._affine is None or self._affine[0].shape[1:] != images.shape[1:]:
            return (images - self.mean) / self.std
        scale, shift = self._affine
        return torch.addcmul(shift, images, scale)

    def fix_normalisation(self, images: Tensor) -> None:
        """Make `normalise` one multiply and add for images of the shape and layout of `images` [b, c, h, w].

        A factor for every pixel instead of every channel lets it pass over memory once, whatever the layout.
        """
        scale, shift = 1 / self.std, -self.mean / self.std
        like = images[:1]
        self._affine = torch.empty_like(like).copy_(scale), torch.empty_like(like).copy_(shift)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.head(self.representation(images))
        return logits


class Resized(nn.Module):
    """A body behind its own input size: images of another size are resized first, every pixel with a gradient."""

    def __init__(self, body: nn.Module, size: Sequence[int]) -> None:
        """`size` is the height and width of the images that `body` takes."""
        super().__init__()
        self.body, self.size = body, tuple(size)

    def forward(self, images: Tensor) -> Tensor:
        """Return the representations of normalised images of any size."""
        if tuple(images.shape[2:]) != self.size:
            images = functional.interpolate(images, size=self.size, mode="bilinear", antialias=True)
        features: Tensor = self.body(images)
        return features


class TextClassifier(Classifier):
    """Network from embedded texts [b, 1, length, width] in [0, 1] to logits [b, k]."""

    def __init__(
        self, body: nn.Module, *, width: int, num_classes: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        """`body` maps vectors [b, length, width] and a mask of the words [b, length] to representations.

        `mean` and `std` have one value per coordinate: normalised vectors are those of the embedding.
        """
        super().__init__(body, width=width, num_classes=num_classes, mean=mean, std=std)
        self.mean, self.std = self.mean.view(1, 1, 1, -1), self.std.view(1, 1, 1, -1)

    def representation(self, images: Tensor) -> Tensor:
        """Return the penultimate activations g(x), as [b, width]."""
        words = self.words(images)
        features: Tensor = self.body((self.normalise(images) * words).squeeze(1), words.flatten(1))
        return features

    def words(self, images: Tensor) -> Tensor:
        """Return which rows of `images` are words, as [b, 1, length, 1]."""
        return images.detach().mean(dim=3, keepdim=True) >= WORD_FROM


def rows_read(network: nn.Module, images: Tensor) -> Tensor | None:
    """Return which rows of `images` [b, c, h, w] the network reads, as [b, 1, h, 1]; None if it reads all."""
    return network.words(images) if isinstance(network, TextClassifier) else None


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters of `model`."""
    return sum(parameter.numel() for parameter in model.parameters())


def forward_macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return the multiply-adds of one forward pass of one image of `shape` (c, h, w) through `model`.

    The multiply-adds of convolutions and matrix products are counted, as torch's flop counter finds them in the calls
    that are made. Everything else (normalisation, activations, pooling) is left out, as is usual; so is an LSTM, which
    the counter does not support. The model's state is restored.
    """
    from torch.utils import flop_counter  # imports triton, where it is installed: half a second

    _keep_compiler_away(flop_counter._FlopCounterMode.__torch_dispatch__)
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    model.eval()
    with torch.no_grad(), flop_counter.FlopCounterMode(display=False) as counter:
        model(torch.full((1, *shape), 0.5, device=device))  # in a text, every position holds a word
    for module, training in modes.items():
        module.training = training
    return int(counter.get_total_flops()) // 2  # torch counts a multiply-add as two


def _keep_compiler_away(method: Callable[..., object]) -> None:
    """Let torch call `method` as it is.

    torch wraps such methods so that its compiler ignores them. The wrapper imports the compiler for that, which takes
    two seconds in every process, unless it finds what it made of the method before.
    """
    wrapped = getattr(method, "__wrapped__", None)
    if wrapped is not None:
        wrapped.__dynamo_disable = wrapped
