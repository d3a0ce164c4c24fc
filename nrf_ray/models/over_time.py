"""Convolutions over time and their largest values: what a text says at some position (Kim 2014).

Texts differ in length, and most of a padded batch is padding. So the words of all texts are packed into one sequence,
with gaps so wide that no window contains words of two texts. One matrix product applies every tap of every filter to
every word, a window is the sum of its words' products, and only the window that was the largest of its text gets a
gradient: half the work of convolutions over the padded batch. (On a GPU, reading the number of words would wait for the
device, so the whole padded batch is packed.)
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

NOWHERE = -1e4
"""Number added at positions without a word, before a maximum or a softmax; finite, so that a text without words gives
no NaN."""


def largest_over_time(vectors: Tensor, words: Tensor, convs: nn.ModuleList) -> Tensor:
    """Return the largest value over time of each filter of `convs`, [b, filters of all].

    `words` [b, length] marks the words; `vectors` [b, length, width] must be zero at all other positions. The gradient
    after the last word of a text means nothing. `convs` are Conv1d with a bias, equally many filters, and spans of two
    words and more; their padding is ignored. A window counts if it contains a word, even if it begins before the text
    or ends after it. If several windows are equally large, one of them has the gradient.
    """
    layers = [cast(nn.Conv1d, conv) for conv in convs]
    spans = tuple(layer.weight.shape[2] for layer in layers)
    if len(words) == 0:  # there is no longest text
        return vectors.flatten(1).sum(dim=1, keepdim=True).expand(0, sum(layer.out_channels for layer in layers))
    sequence = _sequence(words, gap=max(spans) - 1)
    packed: Tensor = _Packed.apply(vectors.flatten(0, 1), sequence)
    taps = torch.cat([layer.weight.permute(2, 0, 1).flatten(0, 1) for layer in layers])
    silent = torch.stack([_silent(words, sequence, span) for span in spans], dim=2)
    largest: Tensor = _Largest.apply(packed, taps, sequence, silent, spans)
    return largest + torch.cat([cast(Tensor, layer.bias) for layer in layers])


class _Sequence(NamedTuple):
    """Positions of a batch's words in one sequence."""

    sources: Tensor
    """For each position of the sequence, the index of its vector in the flattened batch; any index in a gap."""
    gaps: Tensor
    """Positions of the sequence that are gaps."""
    positions: Tensor
    """For each index of the flattened batch, its position in the sequence; 0, a gap, if it has none."""
    windows: Tensor
    """Positions at which the windows of each text begin, [b, windows]; the first is `gap` before the text."""
    gap: int
    """Number of positions before a text."""


def _sequence(words: Tensor, gap: int) -> _Sequence:
    """Return the sequence of texts with `words` [b, length], with `gap` positions before each text and at the end."""
    batch, length = words.shape
    here = words.device
    counted = torch.arange(length, device=here)
    lengths, longest, total = _lengths(words) if here.type == "cpu" else _whole(words)
    total += (batch + 1) * gap
    ends = (lengths + gap).cumsum(0).unsqueeze(1)
    first = ends - lengths.unsqueeze(1)
    within, position = counted < lengths.unsqueeze(1), first + counted
    target = torch.where(within, position, total)
    sources = torch.zeros(total + 1, dtype=torch.int64, device=here)
    sources.scatter_(0, target.flatten(), torch.arange(batch * length, device=here))
    before = torch.arange(-gap, 0, device=here)
    windows = first + torch.arange(-gap, longest, device=here)
    return _Sequence(
        sources=sources[:-1],
        gaps=torch.cat(((first + before).flatten(), total + before)),
        positions=torch.where(within, position, 0).flatten(),
        windows=torch.minimum(windows, ends - 1),
        gap=gap,
    )


def _lengths(words: Tensor) -> tuple[Tensor, int, int]:
    """Return the length of each text up to its last word, [b], the longest of them, and their sum."""
    lengths = torch.where(words, torch.arange(1, words.shape[1] + 1, device=words.device), 0).amax(dim=1)
    return lengths, int(lengths.amax()), int(lengths.sum())


def _whole(words: Tensor) -> tuple[Tensor, int, int]:
    """Return what `_lengths` does, but with texts as long as the batch, so that the device is not waited for."""
    batch, length = words.shape
    return torch.full((batch,), length, device=words.device), length, batch * length


def _silent(words: Tensor, sequence: _Sequence, span: int) -> Tensor:
    """Return which windows of `span` positions contain no word, [b, windows]."""
    padded = F.pad(words.float(), (sequence.gap, span - 1))
    return F.max_pool1d(padded.unsqueeze(1), span, stride=1).squeeze(1)[:, : sequence.windows.shape[1]] == 0


class _Packed(torch.autograd.Function):
    """Packing of vectors [b * length, width] into a sequence."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, sequence: _Sequence) -> Tensor:
        ctx.positions = sequence.positions
        return vectors.index_select(0, sequence.sources).index_fill_(0, sequence.gaps, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(0, ctx.positions), None


class _Largest(torch.autograd.Function):
    """The largest window of each text by filter, [b, spans * filters], of the words in a sequence.

    `taps` [taps * filters, width] are those of the first span, position by position, then those of the second, ...
    """

    @staticmethod
    def forward(
        ctx: Any, packed: Tensor, taps: Tensor, sequence: _Sequence, silent: Tensor, spans: tuple[int, ...]
    ) -> Tensor:
        columns = len(taps)
        filters, begun = columns // sum(spans), len(packed) - sequence.gap
        given = F.linear(packed, taps)
        summed = packed.new_empty(begun, len(spans), filters)  # not in bfloat16, which `given` may be
        for number, span in enumerate(spans):
            # The products of a window's words with the taps of a filter are on a diagonal of `given`.
            shape, strides = (begun, span, filters), (columns, columns + filters, 1)
            first, *others = given.as_strided(shape, strides, sum(spans[:number]) * filters).unbind(1)
            summed[:, number] = first
            for more in others:
                summed[:, number] += more
        windows = summed.index_select(0, sequence.windows.flatten()).view(*sequence.windows.shape, len(spans), filters)
        windows += silent.unsqueeze(3).to(windows.dtype) * NOWHERE
        if not any(ctx.needs_input_grad):  # to find which one it was takes ten times as long
            return windows.flatten(2).amax(dim=1)
        largest, which = windows.flatten(2).max(dim=1)
        ctx.save_for_backward(packed, taps, sequence.windows.gather(1, which))
        ctx.spans = spans
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        packed, taps, begins = ctx.saved_tensors
        by_span = zip(*(each.chunk(len(ctx.spans), dim=1) for each in (begins, gradient)), ctx.spans, strict=True)
        positions, weights = [], []  # per text and tap: the position read in the largest window, and its gradient
        for begin, part, span in by_span:
            read = begin.unsqueeze(1) + torch.arange(span, device=begin.device).unsqueeze(1)
            positions.append(read.flatten(1))
            weights.append(part.unsqueeze(1).expand(read.shape).flatten(1))
        position, weight = torch.cat(positions, dim=1), torch.cat(weights, dim=1).to(taps.dtype)
        of_words, of_taps = ctx.needs_input_grad[:2]
        return (
            _given_to_positions(position, weight, taps, len(packed)) if of_words else None,
            F.embedding_bag(position.t(), packed, mode="sum", per_sample_weights=weight.t()) if of_taps else None,
            None,
            None,
            None,
        )


def _given_to_positions(position: Tensor, weight: Tensor, taps: Tensor, count: int) -> Tensor:
    """Return the weighted sum of `taps` [t, width] at each of `count` positions of the sequence, as [count, width].

    For each text, tap t goes to the position `position[:, t]`, times `weight[:, t]`; both are [b, t].
    """
    got, order = position.flatten().sort(stable=True)
    first = torch.searchsorted(got, torch.arange(count + 1, device=got.device))
    which = order % len(taps)
    weights = weight.flatten()[order]
    return F.embedding_bag(which, taps, first, mode="sum", per_sample_weights=weights, include_last_offset=True)
