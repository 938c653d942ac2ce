"""A trunk in two parts: the blocks that do not learn, read once, and those above them, read again and again.

    tokens -> embedding -> block 0 .. k-1 -> states -> block k .. n-1 -> norm -> head
              |---- lower part, frozen ----|          |------ upper part ------|

Policy, value network and reference share the lower part, so that one reading of it serves all three, in every
minibatch of an iteration. The upper part is the model's own trunk without its lower blocks, given states in the place
of embedded tokens. That this is the same computation is checked on each model (`share_trunk`).
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.models.attention import block_mask
from preceptor.run.errors import UserError


def blocks(model: nn.Module) -> nn.ModuleList:
    """The blocks of a model's trunk, in order.

    Raises:
        UserError: they are not where the families of Llama and GPT-2 have them.
    """
    found = next((child for name, child in model.base_model.named_children() if name in ("layers", "h")), None)
    if not isinstance(found, nn.ModuleList):
        raise UserError(f"The blocks of a '{model.config.model_type}' model cannot be found.",
                        "Set adapter to none and frozen_layers to 0, or take a model of the Llama, Qwen or GPT-2 "
                        "family.")
    return found


@torch.no_grad()
def lower_states(model: nn.Module, batch: Batch) -> Tensor:
    """What comes out of the frozen blocks, (rows, time, width), over a packed batch; for `upper_trunk`."""
    frozen = blocks(model)[:model.frozen_layers]
    found: list[Tensor] = []
    hook = frozen[-1].register_forward_hook(
        lambda block, inputs, output: found.append(output[0] if isinstance(output, tuple) else output))
    try:
        _with_blocks(model.base_model, frozen)(
            input_ids=batch["tokens"], position_ids=batch["positions"], use_cache=False,
            attention_mask=block_mask(batch["segments"], model))
    finally:
        hook.remove()
    return found[0]


def upper_trunk(model: nn.Module) -> nn.Module:
    """The trunk above the frozen blocks: called with `inputs_embeds`, the states that come out of these."""
    trunk = _with_blocks(model.base_model, blocks(model)[model.frozen_layers:])
    if "wpe" in trunk._modules:  # GPT-2 adds learned positions to whatever it is given; these states have them already
        del trunk._modules["wpe"]
        trunk.__dict__["wpe"] = lambda positions: torch.zeros((), device=positions.device)
    return trunk


def _with_blocks(trunk: nn.Module, chosen: nn.ModuleList) -> nn.Module:
    """The same trunk, the same weights, with these blocks only."""
    view = copy.copy(trunk)
    view._modules = {name: chosen if name in ("layers", "h") else child for name, child in trunk._modules.items()}
    view.config = copy.copy(trunk.config)
    view.config.num_hidden_layers = len(chosen)
    return view


def freeze_lower(model: nn.Module, layers: int) -> None:
    """From now on the embeddings and the lowest `layers` blocks do not learn.

    Raises:
        UserError: there is no block left to learn, or the family does more between its parts than we know.
    """
    count = len(blocks(model))
    if not 0 < layers < count:
        raise UserError(f"{layers} of {count} blocks cannot be frozen and shared.",
                        f"Set frozen_layers between 1 and {count - 1}, or to 0 to share nothing.")
    model.frozen_layers = layers
    for parameter in _lower_weights(model, layers).values():
        parameter.requires_grad_(False)
    _check_parts(model)


def has_lower_part_of(model: nn.Module, other: nn.Module) -> bool:
    """Whether a whole model has the lower part of `other`, weight by weight."""
    mine, theirs = (_lower_weights(one, other.frozen_layers) for one in (model, other))
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def share_trunk(model: nn.Module, owner: nn.Module) -> nn.Module:
    """Drop the lower part of a whole model that equals `owner`'s: from now on it reads the owner's states only."""
    head = model.get_output_embeddings() if hasattr(model, "lm_head") else None
    if head is not None and head.weight is model.get_input_embeddings().weight:
        head.weight = owner.get_input_embeddings().weight
    trunk, kept = model.base_model, blocks(model)[owner.frozen_layers:]
    name = "layers" if "layers" in trunk._modules else "h"
    setattr(trunk, name, nn.ModuleList(kept))
    trunk.config.num_hidden_layers = len(kept)
    trunk.set_input_embeddings(None)  # reading tokens from here on would skip the lower blocks: it must fail
    model.frozen_layers = 0
    return model


def _lower_weights(model: nn.Module, layers: int) -> dict[str, nn.Parameter]:
    """Everything below the cut: embeddings of tokens and positions, and the lowest blocks."""
    found: dict[str, nn.Parameter] = {}
    for name, child in model.base_model.named_children():
        parts: Any = ({str(n): block for n, block in enumerate(blocks(model)[:layers])}
                      if name in ("layers", "h") else {"": child} if isinstance(child, nn.Embedding) else {})
        found |= {f"{name}.{number}.{weight}": parameter for number, part in parts.items()
                  for weight, parameter in part.named_parameters()}
    return found


@torch.no_grad()
def _check_parts(model: nn.Module) -> None:
    """Both parts, one after the other, must give what the whole model gives."""
    shape = (1, 4)
    tokens, ones = torch.arange(4, device=model.device)[None], torch.ones(shape, dtype=torch.long, device=model.device)
    batch = Batch({"tokens": tokens, "positions": tokens, "segments": ones}, [0], [[]])
    mask = block_mask(ones, model)
    whole = model.base_model(input_ids=tokens, position_ids=tokens, attention_mask=mask, use_cache=False)
    parts = upper_trunk(model)(inputs_embeds=lower_states(model, batch), position_ids=tokens, attention_mask=mask,
                               use_cache=False)
    if not torch.allclose(whole.last_hidden_state, parts.last_hidden_state, atol=1e-4):
        raise UserError(f"A '{model.config.model_type}' model cannot be cut between two of its blocks.",
                        "Set frozen_layers to 0.")
