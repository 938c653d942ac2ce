"""What passes through a model over a text: the norm of every linear map's inputs, and how far each block moves it."""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch, collate
from preceptor.data.packing import pack
from preceptor.data.records import Document
from preceptor.deploy.weight_scores import block_influence
from preceptor.models.causal import context_length, hidden_states
from preceptor.models.trunk import blocks
from preceptor.tokenizer.chat import encode_document

LONGEST = 2048  # tokens in a row, as in Sun et al. 2023, §4.1
ROWS = 8  # rows in a forward pass


def calibration_batches(model: nn.Module, tokenizer: Any, documents: Sequence[Document], rows: int,
                        seed: int) -> list[Batch]:
    """At most `rows` packed rows of documents in an order drawn from the seed."""
    length = min(context_length(model), LONGEST)
    order = random.Random(seed).sample(range(len(documents)), len(documents))
    pieces, tokens = [], 0
    for index in order:
        if tokens >= rows * length:
            break
        pieces += encode_document(tokenizer, documents[index]).pieces(length)
        tokens = sum(len(piece.tokens) for piece in pieces)
    packed = [[pieces[index] for index in row] for row in pack([len(one.tokens) for one in pieces], length)][:rows]
    return [collate(packed[first:first + ROWS], tokenizer.pad_token_id).to(str(model.device))
            for first in range(0, len(packed), ROWS)]


@torch.no_grad()
def input_norms(model: nn.Module, batches: Iterable[Batch], linears: Sequence[nn.Module]) -> dict[nn.Module, Tensor]:
    """The 2-norm of each input of each linear map over all tokens that are no padding, in one pass."""
    squares = {linear: torch.zeros((), dtype=torch.float64) for linear in linears}

    def add(linear: nn.Module, inputs: tuple[Tensor, ...], real: Tensor) -> None:
        squares[linear] = squares[linear].to(real.device) + inputs[0][real].double().square().sum(0)

    _watch(model, batches, linears, lambda linear, inputs, output, real: add(linear, inputs, real))
    return {linear: total.sqrt().float() for linear, total in squares.items()}


@torch.no_grad()
def influences(model: nn.Module, batches: Iterable[Batch]) -> list[float]:
    """The mean influence of each block over all tokens that are no padding."""
    sums = {block: [0.0, 0] for block in blocks(model)}

    def add(block: nn.Module, inputs: tuple[Tensor, ...], output: Any, real: Tensor) -> None:
        after = output[0] if isinstance(output, tuple) else output
        found = block_influence(inputs[0][real], after[real])
        sums[block][0] += float(found.sum())
        sums[block][1] += len(found)

    _watch(model, batches, list(sums), add)
    return [total / count for total, count in sums.values()]


def _watch(model: nn.Module, batches: Iterable[Batch], modules: Sequence[nn.Module],
           see: Callable[[nn.Module, tuple[Tensor, ...], Any, Tensor], None]) -> None:
    """Run the trunk over the batches, and call `see` with each module, its inputs, its output and what is no padding.
    """
    real: list[Tensor] = []
    hooks = [module.register_forward_hook(lambda module, inputs, output: see(module, inputs, output, real[-1]))
             for module in modules]
    try:
        for batch in batches:
            real.append(batch["segments"] != 0)
            hidden_states(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
