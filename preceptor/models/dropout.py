"""Residual dropout by forward hooks, for networks that were not built with any (Llama, Qwen) or whose own is off.

What is dropped is what a block's attention and its feed-forward part *add* to the residual stream, as GPT-2 and GPT-3
do (Srivastava et al. 2014; p = 0.2 in Ouyang et al. 2022, C.1). The stream itself is never dropped. Hooks hold no
weights, so that nothing of them is in a saved model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.run.errors import UserError

# `self_attention` (BLOOM) is left out on purpose: there the parts add the residual stream themselves, and dropping
# their output would drop the stream.
ATTENTION = ("self_attn", "attn", "attention")
FEED_FORWARD = "mlp"


@contextmanager
def residual_dropout(model: nn.Module, share: float) -> Iterator[None]:
    """Inside the block, a model in training mode drops each number that a part adds with probability `share`.

    What is kept is scaled by 1/(1 - share), so that its expectation is unchanged; in eval mode nothing happens.
    `share` 0 asks nothing of the model's family.

    Raises:
        UserError: `share` is not in [0, 1), or the parts cannot be found in this family of models.
    """
    if not 0 <= share < 1:
        raise UserError(f"A dropout of {share} is not a share.", "Give a number from 0 up to, but not including, 1.")

    def drop(part: nn.Module, _: Any, output: Tensor | tuple[Any, ...]) -> Tensor | tuple[Any, ...]:
        if isinstance(output, tuple):  # attention hands back its weights too
            return (torch.dropout(output[0], share, part.training), *output[1:])
        return torch.dropout(output, share, part.training)

    hooks = [part.register_forward_hook(drop) for part in residual_parts(model)] if share else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def residual_parts(model: nn.Module) -> list[nn.Module]:
    """The attention and the feed-forward part of every block, in order: what writes to the residual stream.

    Raises:
        UserError: not every block has one of each under the names of the Llama and GPT-2 families.
    """
    parts: list[nn.Module] = []
    for block in model.base_model.modules():
        children = dict(block.named_children())
        attention = next((children[name] for name in ATTENTION if name in children), None)
        if attention is not None and FEED_FORWARD in children:
            parts += [attention, children[FEED_FORWARD]]
    if not parts or len(parts) != 2 * model.config.num_hidden_layers:
        raise UserError(f"Dropout does not know where the blocks of a '{model.config.model_type}' model write to.",
                        "Set dropout to 0, or start from a model of the Llama, Qwen or GPT-2 family.")
    return parts
