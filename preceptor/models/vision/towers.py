"""Transformer towers for pictures and texts: those of transformers, built from our options.

Their activations, initial weights and masks are those of the papers, so that a tower takes a published checkpoint.
"""

from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn import functional

from preceptor.run.errors import UserError

IMAGE_TOWERS = {"clip_vision_model": "CLIPVisionModelWithProjection", "siglip_vision_model": "SiglipVisionModel"}
"""Configurations of image towers, and the networks of transformers that they describe."""


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


def image_tower_of(folder: Path) -> nn.Module:
    """An image tower with fresh weights, of the shape that a saved system says.

    Raises:
        UserError: it is neither CLIP's nor SigLIP's.
    """
    import transformers
    config = transformers.AutoConfig.from_pretrained(folder)
    if config.model_type not in IMAGE_TOWERS:
        raise UserError(f"A picture cannot be read by the network '{config.model_type}' in '{folder}'.",
                        "Start from a row whose image tower is CLIP's or SigLIP's.")
    return getattr(transformers, IMAGE_TOWERS[config.model_type])(config)


def patch_states(tower: nn.Module, pixels_BCHW: Tensor) -> Tensor:
    """What a tower sees in each patch, row by row, (B, T, width).

    Of CLIP's last block only the class token is read by its loss, so that its patches are taken before it, as BLIP-2
    takes them (Li et al. 2023, arXiv 2301.12597, section 3.4); SigLIP's pool reads them behind it.
    """
    if tower.config.model_type == "clip_vision_model":
        return tower(pixels_BCHW, output_hidden_states=True).hidden_states[-2][:, 1:]
    return tower(pixels_BCHW).last_hidden_state


def whole_picture(tower: nn.Module, pixels_BCHW: Tensor) -> Tensor:
    """What a tower sees in all, one vector a picture: that of its dot products before it is made a unit vector."""
    out = tower(pixels_BCHW)
    return out.image_embeds if tower.config.model_type == "clip_vision_model" else out.pooler_output


def whole_width(tower: nn.Module) -> int:
    """The size of that vector.

    Raises:
        UserError: the tower has none.
    """
    config = tower.config
    if not getattr(config, "vision_use_head", True):
        raise UserError("This tower sees patches alone, and nothing in it sums them up.",
                        "Start from a row that has one vector for a picture, such as siglip.")
    return config.projection_dim if config.model_type == "clip_vision_model" else config.hidden_size
