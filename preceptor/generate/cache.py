"""The keys and values of the tokens so far, in one block of memory per layer that is written in place.

The library's own `DynamicCache` copies everything it holds at every token. Here a token writes one column; rows are
copied only when others leave or come.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


class BlockLayer(CacheLayerMixin):
    """Keys and values of one layer, (rows, heads, columns, width), of which the first `length` columns are filled."""

    is_sliding = False

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns, self.length = columns, 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = (states.new_empty(*states.shape[:2], self.columns, states.shape[3])
                                  for states in (key_states, value_states))
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self.length = self.length, self.length + key_states.shape[2]
        self.keys[:, :, start:self.length] = key_states
        self.values[:, :, start:self.length] = value_states
        return self.keys[:, :, :self.length], self.values[:, :, :self.length]

    def crop(self, length: int) -> None:
        """Forget all but the first `length` columns."""
        self.length = min(self.length, length)

    def keep_one(self, first: int, choice_N: Tensor) -> None:
        """Of the columns from `first` on, keep one a row: that of number `choice`."""
        row_N = torch.arange(len(choice_N), device=choice_N.device)
        self.keys[:, :, first] = self.keys[row_N, :, first + choice_N]
        self.values[:, :, first] = self.values[row_N, :, first + choice_N]
        self.length = first + 1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return self.columns


class BlockCache(Cache):
    """A cache for `columns` tokens a row; all rows end at the same column."""

    def __init__(self, columns: int) -> None:
        super().__init__(layer_class_to_replicate=partial(BlockLayer, columns))
        self.columns = columns


def joined(parts: Sequence[tuple[BlockCache, Tensor, int]], room: int) -> BlockCache:
    """Chosen rows of several caches as one cache, with room for `room` more columns.

    A part is (cache, indices of its rows, how many of its last columns to keep). Rows are aligned at their last column;
    what is left of a shorter part is zeros, which the caller's mask hides (uninitialised memory may hold not-a-number,
    and even a weight of zero does not hide that).
    """
    length = max(width for _, _, width in parts)
    result = BlockCache(length + room)
    for layers in zip(*(cache.layers for cache, _, _ in parts)):
        layer = BlockLayer(length + room)
        chosen = [(source, rows, slice(source.length - width, source.length))
                  for source, (_, rows, width) in zip(layers, parts)]
        layer.keys = _aligned([source.keys[:, :, last][rows] for source, rows, last in chosen], length, room)
        layer.values = _aligned([source.values[:, :, last][rows] for source, rows, last in chosen], length, room)
        layer.length, layer.is_initialized = length, True
        result.layers.append(layer)
    return result


def _aligned(parts: Sequence[Tensor], length: int, room: int) -> Tensor:
    """Stack (rows, heads, columns, width) tensors along the rows so that all end at column `length`."""
    heads, width = parts[0].shape[1], parts[0].shape[3]
    result = parts[0].new_zeros(sum(map(len, parts)), heads, length + room, width)
    first = 0
    for part in parts:
        result[first:first + len(part), :, length - part.shape[2]:length] = part
        first += len(part)
    return result
