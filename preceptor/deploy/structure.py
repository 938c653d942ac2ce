"""Blocks, heads and channels of the Llama and GPT-2 families: silenced in place, or taken out so that shapes shrink.

A head or a channel reaches the rest of the model only through the inputs that it has in one linear map, `o_proj` or
`down_proj` in Llama's terms. Setting those weights to 0 silences it; removing it gives the same function with
less work.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.models.trunk import blocks
from preceptor.run.errors import UserError

GATED = ("llama", "mistral", "qwen2")
FAMILIES = (*GATED, "gpt2")


def check_family(model: nn.Module) -> None:
    """Raises:
        UserError: the model is of a family whose parts are not known here.
    """
    if model.config.model_type not in FAMILIES:
        raise UserError(f"A '{model.config.model_type}' model cannot be pruned.",
                        f"Prune a model of one of the families {', '.join(FAMILIES)}.")


def linear_maps(block: nn.Module) -> list[nn.Module]:
    """Every linear map of a block, in order; those of GPT-2 are `Conv1D`, whose weight is [inputs, outputs]."""
    return [module for module in block.modules() if isinstance(module, nn.Linear) or _transposed(module)]


def weight_of(linear: nn.Module) -> Tensor:
    """The weight as [outputs, inputs], a view that writes through."""
    return linear.weight.data.T if _transposed(linear) else linear.weight.data


def _transposed(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv1D"


def head_output(block: nn.Module) -> nn.Module:
    """The linear map whose inputs are the heads' results, head after head."""
    return block.self_attn.o_proj if hasattr(block, "self_attn") else block.attn.c_proj


def channel_output(block: nn.Module) -> nn.Module:
    """The linear map whose inputs are the feed-forward channels."""
    return block.mlp.down_proj if hasattr(block.mlp, "down_proj") else block.mlp.c_proj


def head_width(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def sharing(config: Any) -> int:
    """How many heads share one key and value."""
    return config.num_attention_heads // (getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def channels(config: Any) -> int:
    """Feed-forward channels of a block."""
    return config.intermediate_size if config.model_type in GATED else config.n_inner or 4 * config.hidden_size


def spread(units: Tensor, width: int) -> Tensor:
    """The indices of all inputs that units of `width` neighbouring inputs have."""
    return (units[:, None] * width + torch.arange(width, device=units.device)).flatten()


def silence(linear: nn.Module, kept: Tensor) -> None:
    """Set the weights of every input but the `kept` ones to 0."""
    gone = torch.ones(weight_of(linear).shape[1], dtype=torch.bool)
    gone[kept.cpu()] = False
    weight_of(linear)[:, gone.to(linear.weight.device)] = 0.0


def check_shape(config: Any, layers: int, heads: int, feed_forward: int) -> None:
    """Raises:
        UserError: the model has fewer parts than it is to keep, or its family cannot hold that many heads.
    """
    for asked, there, what in ((layers, config.num_hidden_layers, "layers"),
                               (heads, config.num_attention_heads, "heads"), (feed_forward, channels(config),
                                                                               "feed_forward")):
        if not 0 <= asked <= there:
            raise UserError(f"A model with {there} of its '{what}' cannot keep {asked}.",
                            f"Give a number from 1 to {there}, or 0 to keep all.")
    if heads in (0, config.num_attention_heads):
        return
    if config.model_type not in GATED:
        raise UserError("GPT-2's format fixes the width of a head to width / heads, so no head can be taken out.",
                        "Leave out 'heads', and prune layers, feed-forward channels or single weights.")
    fitting = [number for number in range(1, config.num_attention_heads + 1)
               if number % sharing(config) == 0 and config.hidden_size % number == 0]
    if heads not in fitting:
        raise UserError(f"{heads} heads do not fit: heads that share a key stay together, and their number must divide "
                        f"the width of {config.hidden_size}.", f"Choose one of: {', '.join(map(str, fitting))}.")


def remove(model: nn.Module, layers: Sequence[int], groups: Sequence[Tensor] | None,
           feed_forward: Sequence[Tensor] | None) -> nn.Module:
    """A model of the `layers` alone, which keep of each block the groups of heads and the channels named (in the
    order of the layers kept; None keeps all). `model` is used up."""
    from transformers import AutoModelForCausalLM
    config, width = model.config, head_width(model.config)
    together = sharing(config)
    kept = [blocks(model)[index] for index in layers]
    for number, block in enumerate(kept):
        if groups is not None:
            _keep_groups(block.self_attn, groups[number], width, together)
        if feed_forward is not None:
            _keep_channels(block.mlp, feed_forward[number])
    trunk = model.base_model
    setattr(trunk, "layers" if hasattr(trunk, "layers") else "h", nn.ModuleList(kept))
    _describe(config, layers, groups, feed_forward, width, together)
    smaller = AutoModelForCausalLM.from_config(config, dtype=model.dtype,
                                               attn_implementation=config._attn_implementation)
    smaller.load_state_dict(model.state_dict())
    return smaller.to(model.device).train(model.training)


def _describe(config: Any, layers: Sequence[int], groups: Sequence[Tensor] | None,
              feed_forward: Sequence[Tensor] | None, width: int, together: int) -> None:
    """Write the new shape into the configuration."""
    config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[index] for index in layers]
    if groups is not None:
        config.head_dim = width  # it would be width / heads otherwise
        config.num_key_value_heads = len(groups[0])
        config.num_attention_heads = len(groups[0]) * together
    if feed_forward is not None:
        setattr(config, "intermediate_size" if config.model_type in GATED else "n_inner", len(feed_forward[0]))


def _keep_groups(attention: nn.Module, groups: Tensor, width: int, together: int) -> None:
    queries, keys = spread(groups, width * together), spread(groups, width)
    _keep_outputs(attention.q_proj, queries)
    _keep_outputs(attention.k_proj, keys)
    _keep_outputs(attention.v_proj, keys)
    _keep_inputs(attention.o_proj, queries)


def _keep_channels(mlp: nn.Module, kept: Tensor) -> None:
    into, out = (([mlp.gate_proj, mlp.up_proj], mlp.down_proj) if hasattr(mlp, "down_proj") else
                 ([mlp.c_fc], mlp.c_proj))
    for linear in into:
        _keep_outputs(linear, kept)
    _keep_inputs(out, kept)


def _keep_outputs(linear: nn.Module, kept: Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight.data.index_select(1 if _transposed(linear) else 0, kept))
    if linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias.data[kept])


def _keep_inputs(linear: nn.Module, kept: Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight.data.index_select(0 if _transposed(linear) else 1, kept))
