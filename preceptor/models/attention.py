"""Attention masks for packed rows: a token sees the tokens of its own document that it may, and nothing else.

Legend: B rows, T positions, S positions of the encoder's row. Segment 0 is padding; documents are 1, 2, ... in a row.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from preceptor.models.recomputation import recomputes

SHORT = 256
"""Positions of a row up to which plain products were measured to be faster than SDPA in bf16 on a CPU, whose backward
is slow there (docs/performance.md). They keep a number for each pair of positions and head: rows of thousands of
tokens, as a prompt with all its answers can be, filled 23 GiB."""

KINDS = ("full_attention", "sliding_attention")
Mask = Tensor | dict[str, Tensor]


def packs(model: nn.Module) -> bool:
    """Whether the network can hold documents side by side in a row: attention takes a mask, positions can restart.

    A state-space model reads its row from left to right whatever mask it is given; BLOOM and Falcon's ALiBi refuse a
    mask by document; BART counts positions from the start of the row. Their documents are run apart (models/apart.py).
    """
    config = model.config
    unmasked = getattr(model, "_is_stateful", False) or getattr(config, "alibi", False)
    if unmasked or not set(_kinds(config)) <= set(KINDS):
        return False
    restarts = "position_ids" in inspect.signature(model.base_model.forward).parameters
    return restarts or config.model_type in ("mpt", "t5")  # by distance alone: where a document begins does not matter


def shares_prefix(model: nn.Module) -> bool:
    """Whether documents of a row can share what stands before the first of them: attention must go by positions, not
    by the distance in the row."""
    return packs(model) and model.config.model_type != "mpt" and _kinds(model.config) == [KINDS[0]]


def block_mask(segments_BT: Tensor, model: nn.Module) -> Mask:
    """The mask (rows, 1, time, time) of packed rows, in the form that the model's attention takes.

    Position i sees j when j ≤ i and both have the same segment number, and in a sliding layer when i - j < window.
    Padding is segment 0 and sees itself, so that no row of the softmax is empty (which would give not-a-number).
    """
    return _by_kind(segments_BT[:, :, None] == segments_BT[:, None, :], model, causal=True)


def shared_prompt_mask(segments_BT: Tensor, model: nn.Module) -> Mask:
    """The mask of rows that hold one prompt (segment 1) and several answers to it (segments 2, 3, ...).

    An answer sees the prompt and itself, never another answer. With the positions of each answer going on from the
    prompt's last, every token has the state that it has when its prompt and answer stand alone.
    """
    same = segments_BT[:, :, None] == segments_BT[:, None, :]
    prompt = (segments_BT[:, None, :] == 1) & (segments_BT[:, :, None] > 0)
    return _by_kind(same | prompt, model, causal=True)


def two_way_mask(segments_BT: Tensor, model: nn.Module) -> Mask:
    """The mask of an encoder over packed rows: the whole document, or |i - j| ≤ window in a sliding layer."""
    return _by_kind(segments_BT[:, :, None] == segments_BT[:, None, :], model, causal=False)


def cross_mask(segments_BT: Tensor, encoder_segments_BS: Tensor, model: nn.Module) -> Tensor:
    """The mask (rows, 1, T, S) by which a decoder sees the encoder's states of its own document."""
    seen_BTS = segments_BT[:, :, None] == encoder_segments_BS[:, None, :]
    # A padding position of the decoder sees everything where the encoder's row has no padding: nothing reads it.
    return _formed(seen_BTS | ~seen_BTS.any(-1, keepdim=True), model)


def _kinds(config: object) -> list[str]:
    """The kinds of attention of the layers, each once."""
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [KINDS[1] if getattr(config, "sliding_window", None) else KINDS[0]]
    return list(dict.fromkeys(kinds))


def _by_kind(seen_BTT: Tensor, model: nn.Module, *, causal: bool) -> Mask:
    """One mask where all layers attend alike, else one for each kind, as transformers takes them."""
    places = torch.arange(seen_BTT.shape[-1], device=seen_BTT.device)
    back_TT = places[:, None] - places[None, :]  # within a document the distance in the row is the distance in it
    if causal:
        seen_BTT = seen_BTT & (back_TT >= 0)
    masks = {}
    for kind in _kinds(model.config):
        seen = seen_BTT
        if kind == KINDS[1]:
            window = model.config.sliding_window
            seen = seen & (back_TT < window if causal else back_TT.abs() <= window)
        masks[kind] = _formed(seen, model)
    return next(iter(masks.values())) if len(masks) == 1 else masks


def _formed(seen_BTT: Tensor, model: nn.Module) -> Tensor:
    """The form that the attention takes: SDPA booleans, plain attention an addend."""
    seen = seen_BTT[:, None]
    if model.config._attn_implementation == "eager":
        return torch.zeros_like(seen, dtype=torch.float32).masked_fill(~seen, torch.finfo(torch.float32).min)
    return seen


@contextmanager
def attention_for_rows(model: nn.Module, width: int) -> Iterator[None]:
    """What a network computes inside here in bf16 on a CPU goes by plain products if its rows are short.

    A block that is computed again in the backward pass (models/recomputation.py) would then go by another kind.
    """
    config = model.config
    plain = (config._attn_implementation == "sdpa" and width <= SHORT and torch.is_autocast_enabled("cpu")
             and torch.get_autocast_dtype("cpu") == torch.bfloat16 and model.device.type == "cpu"
             and not recomputes(model))
    if not plain:
        yield
        return
    config._attn_implementation = "eager"
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"
