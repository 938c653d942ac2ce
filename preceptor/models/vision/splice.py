"""Pictures among the words of a language model: vectors that it reads in the places of embeddings.

While `words_for` holds, entry V + k of a vocabulary of V is vector k. So whatever reads tokens reads pictures as well:
packed rows, one prompt with several answers, the decoding engine, which tells prompts apart by their tokens. None of it
has a line about pictures, and the model cannot write such an entry, as it has no logit for it.

    tokens       <|user|> <|image|> what is it
    spread       <|user|> <|image|> <|image|> what is it      a picture is N = 2 vectors
    numbered     <|user|> V+0 V+1 what is it

Legend: B rows, T positions, P pictures, N vectors of a picture, D width of the language model.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from preceptor.data.batches import IGNORE, Example


def spread(example: Example, mark: int, count: int) -> Example:
    """The example with `count` places for every picture, in the place of one mark; the last predicts what the mark did.
    """
    tokens: list[int] = []
    targets: list[int] = []
    for token, target in zip(example.tokens, example.targets, strict=True):
        more = count - 1 if token == mark else 0
        tokens += [token] * (more + 1)
        targets += [IGNORE] * more + [target]
    return Example(example.id, tokens, targets)


def numbered(tokens_BT: Tensor, mark: int, vocabulary: int) -> Tensor:
    """The tokens with entries V, V + 1, ... in the places of pictures, in the order of reading, row after row."""
    places_BT = tokens_BT == mark
    return tokens_BT.masked_scatter(places_BT, vocabulary + torch.arange(int(places_BT.sum()), device=tokens_BT.device))


def pictures_in(tokens_BT: Tensor, pixels_BPCHW: Tensor, mark: int, count: int) -> Tensor:
    """The pictures of all rows one after the other, (K, C, H, W), without the zeros behind those of a row: each has
    `count` marks among the row's tokens."""
    there_B = (tokens_BT == mark).sum(1) // count
    return pixels_BPCHW[torch.arange(pixels_BPCHW.shape[1], device=tokens_BT.device) < there_B[:, None]]


@contextmanager
def words_for(model: nn.Module, vectors_KD: Tensor) -> Iterator[None]:
    """Inside the block, entry V + k of the model's vocabulary is vector k, through which gradients flow."""
    hooks = hook_words(model, vectors_KD)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def hook_words(model: nn.Module, vectors_KD: "Tensor | Shelf") -> list[RemovableHandle]:
    """From now on until the hooks are removed, entry V + k of the model's vocabulary is vector k."""
    table = model.get_input_embeddings()
    size, read = table.num_embeddings, []

    def take_words(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        read.append(inputs[0])
        return (inputs[0].clamp(max=size - 1),)

    def put_vectors(_: nn.Module, __: Any, embedded_BTD: Tensor) -> Tensor:
        tokens_BT = read.pop()
        own_BT = tokens_BT >= size
        if not len(vectors_KD):  # no row shows a picture
            return embedded_BTD
        found_BTD = vectors_KD[(tokens_BT - size).clamp(min=0)].to(embedded_BTD.dtype)
        return torch.where(own_BT[..., None], found_BTD, embedded_BTD)

    return [table.register_forward_pre_hook(take_words), table.register_forward_hook(put_vectors)]


class Shelf:
    """Vectors of pictures that come and go while a model reads them, by numbers that are never given twice.

    Number 0 is nobody's and stands for zeros, as does one that was taken away: whoever still reads that is an answer
    that nobody waits for.
    """

    def __init__(self, nothing: Tensor) -> None:
        """`nothing` are zeros of the shape that each entry has."""
        self.nothing, self.device = nothing, nothing.device
        self._kept: dict[int, Tensor] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, vectors: Tensor) -> list[int]:
        """Keep these vectors (K, ...); returns the number of each."""
        numbers = list(range(self._last + 1, self._last + 1 + len(vectors)))
        self._kept |= dict(zip(numbers, vectors))
        self._last += len(vectors)
        return numbers

    def take_away(self, numbers: Sequence[int]) -> None:
        """Keep these no longer."""
        for number in numbers:
            del self._kept[number]

    def __getitem__(self, numbers: Tensor) -> Tensor:
        """The vectors of numbers of any shape, in that shape."""
        shape = (*numbers.shape, *self.nothing.shape)
        if not numbers.any():  # as with every token that is written
            return self.nothing.expand(shape)
        return torch.stack([self._kept.get(number, self.nothing) for number in numbers.flatten().tolist()]).view(shape)
