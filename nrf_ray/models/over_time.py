"""Convolutions over time and the largest value of each: what a text says in some place (Kim 2014).

Texts are of all lengths, and most of the box that holds a batch of them is padding. So the words of all texts are put
into one row, so far apart that no window sees words of two. One product takes every word through every tap of every
filter, a window is the sum of what its words gave, and only the window that was the largest of its text is given a
gradient: half the work of convolutions over the box. (A device that would have to be waited for, to say how many words
there are, puts the whole box into the row.)
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

NOWHERE = -1e4
"""Added where no word is, before a maximum or a softmax; finite, so that a text without words gives no NaN."""


def largest_over_time(vectors: Tensor, words: Tensor, convs: nn.ModuleList) -> Tensor:
    """Return the largest value over time of each filter of `convs`, [b, filters of all].

    `vectors` [b, length, width] must be zero where there is no word, which `words` [b, length] says; the gradient
    behind the words of a text means nothing. `convs` are Conv1d with a bias, equally many filters, and spans of two
    words and more; their padding is not looked at. A window counts where it holds a word, also one that begins before
    the text or ends behind it. Of windows that are equally large, one has the gradient.
    """
    layers = [cast(nn.Conv1d, conv) for conv in convs]
    spans = tuple(layer.weight.shape[2] for layer in layers)
    if len(words) == 0:  # there is no longest text
        return vectors.flatten(1).sum(dim=1, keepdim=True).expand(0, sum(layer.out_channels for layer in layers))
    row = _row(words, gap=max(spans) - 1)
    packed: Tensor = _Packed.apply(vectors.flatten(0, 1), row)
    taps = torch.cat([layer.weight.permute(2, 0, 1).flatten(0, 1) for layer in layers])
    silent = torch.stack([_silent(words, row, span) for span in spans], dim=2)
    largest: Tensor = _Largest.apply(packed, taps, row, silent, spans)
    return largest + torch.cat([cast(Tensor, layer.bias) for layer in layers])


class _Row(NamedTuple):
    """Where the words of a batch stand in one row."""

    sources: Tensor
    """Which place of the box, length by length, comes to each place of the row; any, where there is a gap."""
    gaps: Tensor
    """The places of the row where there is none."""
    places: Tensor
    """Which place of the row each place of the box goes to; 0, a gap, where it goes nowhere."""
    windows: Tensor
    """Where the windows of each text begin, [b, windows]; the first is `gap` places before the text."""
    gap: int
    """The places before a text."""


def _row(words: Tensor, gap: int) -> _Row:
    """Return the row of the texts whose words are `words` [b, length], with `gap` places before each and at the end."""
    batch, length = words.shape
    here = words.device
    counted = torch.arange(length, device=here)
    lengths, longest, places_in_all = _lengths(words) if here.type == "cpu" else _whole(words)
    places_in_all += (batch + 1) * gap
    ends = (lengths + gap).cumsum(0).unsqueeze(1)
    first = ends - lengths.unsqueeze(1)
    within, place = counted < lengths.unsqueeze(1), first + counted
    target = torch.where(within, place, places_in_all)
    sources = torch.zeros(places_in_all + 1, dtype=torch.int64, device=here)
    sources.scatter_(0, target.flatten(), torch.arange(batch * length, device=here))
    before = torch.arange(-gap, 0, device=here)
    windows = first + torch.arange(-gap, longest, device=here)
    return _Row(
        sources=sources[:-1],
        gaps=torch.cat(((first + before).flatten(), places_in_all + before)),
        places=torch.where(within, place, 0).flatten(),
        windows=torch.minimum(windows, ends - 1),
        gap=gap,
    )


def _lengths(words: Tensor) -> tuple[Tensor, int, int]:
    """Return up to where each text is looked at, [b]: its last word; the longest, and all together."""
    lengths = torch.where(words, torch.arange(1, words.shape[1] + 1, device=words.device), 0).amax(dim=1)
    return lengths, int(lengths.amax()), int(lengths.sum())


def _whole(words: Tensor) -> tuple[Tensor, int, int]:
    """Return what `_lengths` does, of a device that would have to be waited for: texts as long as the box."""
    batch, length = words.shape
    return torch.full((batch,), length, device=words.device), length, batch * length


def _silent(words: Tensor, row: _Row, span: int) -> Tensor:
    """Return which windows of `span` words hold none, [b, windows]."""
    padded = F.pad(words.float(), (row.gap, span - 1))
    return F.max_pool1d(padded.unsqueeze(1), span, stride=1).squeeze(1)[:, : row.windows.shape[1]] == 0


class _Packed(torch.autograd.Function):
    """Puts vectors [b * length, width] into a row."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, row: _Row) -> Tensor:
        ctx.places = row.places
        return vectors.index_select(0, row.sources).index_fill_(0, row.gaps, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(0, ctx.places), None


class _Largest(torch.autograd.Function):
    """The largest window of each text by filter, [b, spans * filters], of the words in a row.

    `taps` [taps * filters, width] are those of the first span, place by place, then those of the second, and so on.
    """

    @staticmethod
    def forward(ctx: Any, packed: Tensor, taps: Tensor, row: _Row, silent: Tensor, spans: tuple[int, ...]) -> Tensor:
        columns = len(taps)
        filters, begun = columns // sum(spans), len(packed) - row.gap
        given = F.linear(packed, taps)
        summed = packed.new_empty(begun, len(spans), filters)  # not in bfloat16, where `given` may be
        for place, span in enumerate(spans):
            # What the words of a window gave to the taps of a filter lies on a diagonal of the row.
            shape, strides = (begun, span, filters), (columns, columns + filters, 1)
            first, *others = given.as_strided(shape, strides, sum(spans[:place]) * filters).unbind(1)
            summed[:, place] = first
            for more in others:
                summed[:, place] += more
        windows = summed.index_select(0, row.windows.flatten()).view(*row.windows.shape, len(spans), filters)
        windows += silent.unsqueeze(3).to(windows.dtype) * NOWHERE
        if not any(ctx.needs_input_grad):  # which one it was takes ten times as long to say
            return windows.flatten(2).amax(dim=1)
        largest, which = windows.flatten(2).max(dim=1)
        ctx.save_for_backward(packed, taps, row.windows.gather(1, which))
        ctx.spans = spans
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        packed, taps, begins = ctx.saved_tensors
        by_span = zip(*(each.chunk(len(ctx.spans), dim=1) for each in (begins, gradient)), ctx.spans, strict=True)
        places, weights = [], []  # of each text and tap: what it read in the largest window, and the gradient of that
        for begin, part, span in by_span:
            read = begin.unsqueeze(1) + torch.arange(span, device=begin.device).unsqueeze(1)
            places.append(read.flatten(1))
            weights.append(part.unsqueeze(1).expand(read.shape).flatten(1))
        place, weight = torch.cat(places, dim=1), torch.cat(weights, dim=1).to(taps.dtype)
        of_words, of_taps = ctx.needs_input_grad[:2]
        return (
            _given_to_places(place, weight, taps, len(packed)) if of_words else None,
            F.embedding_bag(place.t(), packed, mode="sum", per_sample_weights=weight.t()) if of_taps else None,
            None,
            None,
            None,
        )


def _given_to_places(place: Tensor, weight: Tensor, taps: Tensor, count: int) -> Tensor:
    """Return what each of `count` places of the row gets of `taps` [t, width], as [count, width].

    Of each text, tap t goes to the place `place[:, t]`, times `weight[:, t]`; both are [b, t].
    """
    got, order = place.flatten().sort(stable=True)
    first = torch.searchsorted(got, torch.arange(count + 1, device=got.device))
    which = order % len(taps)
    weights = weight.flatten()[order]
    return F.embedding_bag(which, taps, first, mode="sum", per_sample_weights=weights, include_last_offset=True)
