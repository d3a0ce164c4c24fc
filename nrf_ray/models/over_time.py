"""Convolutions over time and the largest value of each: what a text says in some place (Kim 2014).

Texts are of all lengths, and most of the box that holds a batch of them is padding. So one product takes every word,
and nothing else, through every tap of every filter. What came of them is put into one row, the texts so far apart that
no window sees two of them; a window is the sum of what its words gave, and only the window that was the largest of its
text is given a gradient: half the work of convolutions over the box.
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

NOWHERE = -1e4
"""The value of a window without a word; finite, so that a text without words gives no NaN."""


def largest_over_time(vectors: Tensor, words: Tensor, convs: nn.ModuleList) -> Tensor:
    """Return the largest value over time of each filter of `convs`, [b, filters of all].

    `vectors` [b, length, width] are zero where there is no word, which `words` [b, length] says; what stands behind the
    words of a text is not looked at, and its gradient means nothing. `convs` are Conv1d with equally many filters. A
    window counts where it holds a word, also one that begins before the text or ends behind it.
    """
    spans = tuple(cast(nn.Conv1d, conv).weight.shape[2] for conv in convs)
    row = _row(words, gap=max(spans) - 1)
    written: Tensor = _Written.apply(vectors.flatten(0, 1), row)
    taps = torch.cat([cast(nn.Conv1d, conv).weight.permute(2, 0, 1).flatten(0, 1) for conv in convs])
    silent = torch.stack([~_seen(words, row, span) for span in spans], dim=2)
    biases = [bias for conv in convs if (bias := cast(nn.Conv1d, conv).bias) is not None]
    largest: Tensor = _Largest.apply(F.linear(written, taps), row, silent, spans)
    return largest + torch.cat(biases)


class _Row(NamedTuple):
    """Where the words of a batch [b, length] are, in the list of all words and in the row.

    The list ends with a vector of zeros, which stands for all that is no word.
    """

    words: Tensor
    """Which place of the box each word of the list is at, text by text."""
    numbers: Tensor
    """Which one of the list is at each place of the box, text by text."""
    listed: Tensor
    """Which one of the list is at each place of the row."""
    windows: Tensor
    """Where in the row the windows of each text begin, [b, windows]; the first ends before it, were it the widest."""
    gap: int
    """How many places of the row are before each text, and at the end."""


def _row(words: Tensor, gap: int) -> _Row:
    """Return the row of the texts whose words are `words` [b, length], with `gap` places before each and at the end."""
    batch, length = words.shape
    counted = torch.arange(length, device=words.device)
    seen = _seen_here(words) if words.device.type == "cpu" else _whole(words)
    places = seen.together + (batch + 1) * gap
    ends = (seen.lengths + gap).cumsum(0).unsqueeze(1)
    begins = ends - seen.lengths.unsqueeze(1)
    place = torch.where(counted < seen.lengths.unsqueeze(1), begins + counted, places)
    listed = torch.full((places + 1,), len(seen.words), device=words.device)
    windows = begins + torch.arange(-gap, seen.longest, device=words.device)
    return _Row(
        words=seen.words,
        numbers=seen.numbers,
        listed=listed.scatter_(0, place.flatten(), seen.numbers)[:-1],
        windows=torch.minimum(windows, ends - 1),
        gap=gap,
    )


class _Seen(NamedTuple):
    """What is looked at of texts [b, length]."""

    words: Tensor
    """As in `_Row`."""
    numbers: Tensor
    """As in `_Row`."""
    lengths: Tensor
    """Up to where each text is looked at, [b]."""
    longest: int
    """The longest of these lengths."""
    together: int
    """Their sum."""


def _seen_here(words: Tensor) -> _Seen:
    """Return the words alone."""
    flat = words.flatten()
    lengths = torch.where(words, torch.arange(1, words.shape[1] + 1, device=words.device), 0).amax(dim=1)
    listed = flat.nonzero().squeeze(1)
    numbers = torch.where(flat, flat.cumsum(0) - 1, len(listed))
    return _Seen(listed, numbers, lengths, int(lengths.amax()), int(lengths.sum()))


def _whole(words: Tensor) -> _Seen:
    """Return all places of the box, for a device that would have to be waited for to say how many words there are."""
    batch, length = words.shape
    every = torch.arange(batch * length, device=words.device)
    lengths = torch.full((batch,), length, device=words.device)
    return _Seen(every, every, lengths, length, batch * length)


def _seen(words: Tensor, row: _Row, span: int) -> Tensor:
    """Return which windows of `span` words hold one, [b, windows]."""
    padded = F.pad(words.float(), (row.gap, span - 1))
    return F.max_pool1d(padded.unsqueeze(1), span, stride=1).squeeze(1)[:, : row.windows.shape[1]] > 0


class _Written(torch.autograd.Function):
    """The list of all words, [words + 1, width], of vectors [b * length, width]."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, row: _Row) -> Tensor:
        ctx.numbers = row.numbers
        written = vectors.new_zeros(len(row.words) + 1, vectors.shape[1])
        torch.index_select(vectors, 0, row.words, out=written[:-1])
        return written

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(0, ctx.numbers), None


class _Largest(torch.autograd.Function):
    """The largest window of each text by filter, from what each word of the list gives to each tap: [b, spans * filters].

    Taps stand side by side: the filters of the first tap of the first span, those of its second tap, and so on.
    """

    @staticmethod
    def forward(ctx: Any, products: Tensor, row: _Row, silent: Tensor, spans: tuple[int, ...]) -> Tensor:
        batch, count = row.windows.shape
        columns = products.shape[1]
        filters, begun = columns // sum(spans), len(row.listed) - row.gap
        given = products.index_select(0, row.listed)
        summed = products.new_empty(begun, len(spans), filters)
        for place, span in enumerate(spans):
            # What the words of a window gave to the taps of a filter lies on a diagonal of the row.
            shape, strides = (begun, span, filters), (columns, columns + filters, 1)
            first, *others = given.as_strided(shape, strides, sum(spans[:place]) * filters).unbind(1)
            summed[:, place] = first
            for more in others:
                summed[:, place] += more
        windows = summed.index_select(0, row.windows.flatten()).view(batch, count, len(spans), filters)
        windows += silent.unsqueeze(3).to(windows.dtype) * NOWHERE
        largest, which = windows.flatten(2).max(dim=1)
        ctx.begins, ctx.listed, ctx.spans, ctx.shape = row.windows.gather(1, which), row.listed, spans, products.shape
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        columns = ctx.shape[1]
        filters = columns // sum(ctx.spans)
        back = gradient.new_zeros(ctx.shape)
        of_filter = torch.arange(filters, device=gradient.device)
        for place, span in enumerate(ctx.spans):
            its = slice(place * filters, (place + 1) * filters)
            tap = torch.arange(span, device=gradient.device).view(1, span, 1)
            word = ctx.listed[ctx.begins[:, None, its] + tap]
            reached = word * columns + (sum(ctx.spans[:place]) + tap) * filters + of_filter
            back.view(-1).scatter_(0, reached.flatten(), gradient[:, None, its].expand(reached.shape).flatten())
        return back, None, None, None
