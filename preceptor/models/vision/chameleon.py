"""Chameleon's network (Chameleon Team 2024, arXiv 2405.09818, section 2.3): Llama's, with normed queries and keys."""

from typing import Any

from torch import nn

from preceptor.models.causal import attention_for
from preceptor.models.vision.towers import Shape, blocks_of


def chameleon(shape: Shape, *, vocabulary: int, end: int, pad: int, swin_norm: bool) -> nn.Module:
    """transformers' Chameleon with fresh weights over `vocabulary` entries, for texts of `text_length` tokens.

    Without its image tokenizer, whose place is taken by one of ours, which can paint what it reads; and without a map
    of entries to codes, or it would not write pictures. `swin_norm` puts the norms behind attention and feed-forward
    part, in front of which Llama has them (Liu et al. 2022, arXiv 2111.09883): what the paper's 34B needed.
    """
    from transformers import ChameleonForConditionalGeneration
    config = chameleon_config(
        **blocks_of(shape), vocab_size=vocabulary, max_position_embeddings=shape.text_length, swin_norm=swin_norm,
        num_key_value_heads=shape.heads, eos_token_id=end, pad_token_id=pad, vocabulary_map={},
        vq_config={"base_channels": 32, "channel_multiplier": [1], "num_res_blocks": 1})
    network = ChameleonForConditionalGeneration(config)
    del network.model.vqmodel
    return network


def chameleon_config(**options: Any) -> Any:
    """The configuration, with the attention that is fastest here."""
    from transformers import ChameleonConfig, ChameleonForConditionalGeneration
    config = ChameleonConfig(**{"bos_token_id": None} | options)
    config._attn_implementation = attention_for(ChameleonForConditionalGeneration, config)
    return config
