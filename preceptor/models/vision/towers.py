"""Transformer towers for pictures and texts: those of transformers, built from our options.

Their activations, initial weights and masks are those of the papers, so that a tower takes a published checkpoint.
"""

from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn import functional


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
        **blocks_of(shape), image_size=size, patch_size=shape.patch, projection_dim=vector))


def clip_text_tower(shape: Shape, tokenizer: Any, vector: int) -> nn.Module:
    """CLIP's causal text network, seen from its first end token; `text_embeds` are (B, vector), not of unit length."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection
    return CLIPTextModelWithProjection(CLIPTextConfig(
        **blocks_of(shape), vocab_size=len(tokenizer), max_position_embeddings=shape.text_length, projection_dim=vector,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id))


def siglip_image_tower(shape: Shape, size: int, pool: bool = True) -> nn.Module:
    """SigLIP's ViT with its attention pool; `pooler_output` are (B, width). Without the `pool`, its patches' states
    `last_hidden_state` (B, P, width)."""
    from transformers import SiglipVisionConfig, SiglipVisionModel
    return SiglipVisionModel(SiglipVisionConfig(**blocks_of(shape), image_size=size, patch_size=shape.patch,
                                                vision_use_head=pool))


def siglip_text_tower(shape: Shape, tokenizer: Any) -> nn.Module:
    """SigLIP's text network, which sees both ways and is read at its last position; `pooler_output` are (B, width)."""
    from transformers import SiglipTextConfig, SiglipTextModel
    return SiglipTextModel(SiglipTextConfig(
        **blocks_of(shape), vocab_size=len(tokenizer), max_position_embeddings=shape.text_length,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id))


def to_length(tokens_BT: Tensor, length: int, pad: int) -> Tensor:
    """Texts with padding up to one length: SigLIP is read at the last position, which must be the same for all."""
    return functional.pad(tokens_BT, (0, length - tokens_BT.shape[1]), value=pad)


def blocks_of(shape: Shape) -> dict[str, Any]:
    """The shape by the names of transformers."""
    return {"hidden_size": shape.width, "intermediate_size": 4 * shape.width, "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads}
