"""Transformer towers for pictures and texts: those of transformers, built from our options.

Their activations, initial weights and masks are those of the papers, so that a tower takes a published checkpoint.
"""

from typing import Any, Protocol

from torch import nn


class Shape(Protocol):
    """The size of towers, as options give it."""

    width: int
    layers: int
    heads: int
    patch: int
    text_length: int


def clip_image_tower(shape: Shape, size: int, vector: int) -> nn.Module:
    """CLIP's ViT with a class token; `image_embeds` of its output are (B, vector), not yet of unit length."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    return CLIPVisionModelWithProjection(CLIPVisionConfig(
        **_blocks(shape), image_size=size, patch_size=shape.patch, projection_dim=vector))


def clip_text_tower(shape: Shape, tokenizer: Any, vector: int) -> nn.Module:
    """CLIP's causal text network, seen from its first end token; `text_embeds` are (B, vector), not of unit length."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection
    return CLIPTextModelWithProjection(CLIPTextConfig(
        **_blocks(shape), vocab_size=len(tokenizer), max_position_embeddings=shape.text_length, projection_dim=vector,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id))


def _blocks(shape: Shape) -> dict[str, Any]:
    return {"hidden_size": shape.width, "intermediate_size": 4 * shape.width, "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads}
