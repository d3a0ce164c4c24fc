"""Small networks for embedded texts, trained from scratch.

Each function takes the length and the width of a text, and returns a body and the width of its representation. A body
takes word vectors [b, length, width], zero at positions without a word, and a mask of the words, [b, length]. Padding
after a text, of any length, does not change what a body returns.
"""

import math

import torch
from torch import Tensor, nn

from nrf_ray.models.over_time import NOWHERE, largest_over_time

DROPOUT = 0.5
"""Dropout rate of representations, in training (Kim 2014)."""
LOWEST = -1.0
"""Number below every state of an LSTM."""


class ConvolutionOverTime(nn.Module):
    """Convolutions over three, four and five words, and the largest value of each over time (Kim 2014)."""

    def __init__(self, width: int, filters: int, spans: tuple[int, ...] = (3, 4, 5)) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(width, filters, span) for span in spans)
        self.rest = nn.Sequential(nn.ReLU(), nn.Dropout(DROPOUT))

    def forward(self, vectors: Tensor, words: Tensor) -> Tensor:
        """Return representations [b, 3 * filters]."""
        represented: Tensor = self.rest(largest_over_time(vectors, words, self.convs))
        return represented


class BiLSTM(nn.Module):
    """An LSTM read in both directions, and the largest value of each unit over the words.

    Backwards it begins at a word too: only the words are reversed, and the padding stays after them.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(width, hidden, batch_first=True)
        self.back = nn.LSTM(width, hidden, batch_first=True)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, vectors: Tensor, words: Tensor) -> Tensor:
        """Return representations [b, 2 * hidden]."""
        indices = torch.arange(words.shape[1], device=words.device)
        turned = torch.where(words, -indices, 1).argsort(dim=1, stable=True)
        # cuDNN gives gradients of a recurrent network in training mode only; without dropout, this changes no number.
        ahead, _ = self.ahead.train()(vectors)
        back, _ = self.back.train()(vectors.take_along_dim(turned.unsqueeze(2), dim=1))
        largest = [
            states.masked_fill(~written.unsqueeze(2), LOWEST).amax(dim=1)
            for states, written in ((ahead, words), (back, words.gather(1, turned)))
        ]
        represented: Tensor = self.dropout(torch.cat(largest, dim=1))
        return represented


class Block(nn.Module):
    """Self-attention among the words and a feed-forward layer, normalised before each (Xiong et al. 2020)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(0.1)

    def forward(self, states: Tensor, bias: Tensor) -> Tensor:
        """Return states [b, length, width]; `bias` [b, 1, 1, length] restricts attention to the words."""
        batch, length, width = states.shape
        split = self.queries_keys_values(self.before(states)).view(batch, length, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        weights = (queries @ keys.transpose(2, 3) / math.sqrt(width // self.heads) + bias).softmax(dim=3)
        attended = (weights @ values).transpose(1, 2).reshape(batch, length, width)
        states = states + self.dropout(self.out(attended))
        result: Tensor = states + self.dropout(self.feed(self.between(states)))
        return result


class Transformer(nn.Module):
    """Blocks of self-attention over vectors with learnt positions, averaged over the words."""

    def __init__(self, length: int, width: int, hidden: int, heads: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, hidden)
        self.positions = nn.Parameter(0.02 * torch.randn(length, hidden))
        self.blocks = nn.ModuleList(Block(hidden, heads) for _ in range(depth))
        self.leave = nn.LayerNorm(hidden)

    def forward(self, vectors: Tensor, words: Tensor) -> Tensor:
        """Return representations [b, hidden]."""
        states, bias = self.enter(vectors) + self.positions, _nowhere(words)[:, None, None]
        for block in self.blocks:
            states = block(states, bias)
        return average(self.leave(states), words)


def average(states: Tensor, words: Tensor) -> Tensor:
    """Return the mean of `states` [b, length, width] over the words, as [b, width]; zero for a text without words."""
    weights = words.to(states.dtype).unsqueeze(2)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1.0)


def text_cnn(length: int, width: int) -> tuple[nn.Module, int]:
    """Return Kim's network: spans of three, four and five words, 64 filters each."""
    del length
    return ConvolutionOverTime(width, 64), 192


def text_bilstm(length: int, width: int) -> tuple[nn.Module, int]:
    """Return a bidirectional LSTM: one layer of 64 units per direction."""
    del length
    return BiLSTM(width, 64), 128


def text_transformer(length: int, width: int) -> tuple[nn.Module, int]:
    """Return a transformer: two blocks of four heads and 64 units."""
    return Transformer(length, width, 64, heads=4, depth=2), 64


def _nowhere(words: Tensor) -> Tensor:
    return (~words).float() * NOWHERE
