"""Towers, heads and encoders of systems that join picture and text early, most of them those of transformers.

Legend: B pictures, P patches, N masked places, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from preceptor.models.vision.towers import Shape, blocks_of

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class PatchStem(nn.Module):
    """Patches as VisualBERT takes regions: (B, P, D), each with a learned position, since a detector that would say
    where a region lies is not there."""

    def __init__(self, size: int, patch: int, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn((size // patch) ** 2, width))

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        return self.patches(pixels_BCHW).flatten(2).transpose(1, 2) + self.positions


def visual_bert(shape: Shape, tokenizer: Any, patches: int) -> nn.Module:
    """VisualBERT with its two heads; `visual_embeds` are (B, P, width)."""
    from transformers import VisualBertConfig, VisualBertForPreTraining
    return VisualBertForPreTraining(VisualBertConfig(
        **blocks_of(shape), **NO_DROPOUT, vocab_size=len(tokenizer), visual_embedding_dim=shape.width,
        max_position_embeddings=max(shape.text_length, patches), pad_token_id=tokenizer.pad_token_id))


def masked_image_tower(shape: Shape, size: int) -> nn.Module:
    """A ViT with a class token; patches named by `bool_masked_pos` are replaced by a learned one, which starts at 0."""
    from transformers import ViTConfig, ViTModel
    return ViTModel(ViTConfig(**blocks_of(shape), image_size=size, patch_size=shape.patch), add_pooling_layer=False,
                    use_mask_token=True)


def bert_text_tower(shape: Shape, tokenizer: Any) -> nn.Module:
    """BERT's trunk: `last_hidden_state` (B, T, width); the first state stands for the text."""
    from transformers import BertConfig, BertModel
    return BertModel(BertConfig(
        **blocks_of(shape), **NO_DROPOUT, vocab_size=len(tokenizer), max_position_embeddings=shape.text_length,
        pad_token_id=tokenizer.pad_token_id), add_pooling_layer=False)


class MaskedHead(nn.Module):
    """From the states (N, D) of masked places to logits (N, V): BERT's head, with an output layer of its own."""

    def __init__(self, width: int, entries: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, entries))

    def forward(self, states_ND: Tensor) -> Tensor:
        return self.layers(states_ND)


class MatchingHead(nn.Module):
    """From the class tokens of two streams to one logit (B,), above 0 where they belong together: their product,
    number by number, of what a layer makes of each (Lu et al. 2019, arXiv 1908.02265, section 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image, self.text = (nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(2))
        self.last = nn.Linear(width, 1)

    def forward(self, image_BD: Tensor, text_BD: Tensor) -> Tensor:
        return self.last(self.image(image_BD) * self.text(text_BD))[:, 0]


def patches_of(pixels_BCHW: Tensor, patch: int) -> Tensor:
    """The numbers of each square patch, row by row, (B, P, 3 * patch * patch); `unpatched` puts them together again."""
    return unfold(pixels_BCHW, patch, stride=patch).transpose(1, 2)


def flava_towers(shape: Shape, tokenizer: Any, size: int, codes: int, fusion_layers: int) -> tuple[nn.Module, ...]:
    """FLAVA's encoders of pictures, of texts, and of both behind a class token of its own."""
    from transformers import FlavaImageConfig, FlavaMultimodalConfig, FlavaTextConfig
    from transformers.models.flava.modeling_flava import FlavaImageModel, FlavaMultimodalModel, FlavaTextModel
    image = FlavaImageConfig(**blocks_of(shape), image_size=size, patch_size=shape.patch, vocab_size=codes)
    text = FlavaTextConfig(**blocks_of(shape), vocab_size=len(tokenizer), max_position_embeddings=shape.text_length,
                           pad_token_id=tokenizer.pad_token_id)
    both = FlavaMultimodalConfig(**blocks_of(shape) | {"num_hidden_layers": fusion_layers})
    return (FlavaImageModel(image, add_pooling_layer=False), FlavaTextModel(text, add_pooling_layer=False),
            FlavaMultimodalModel(both, add_pooling_layer=False))


def flava_masked_head(config: Any) -> nn.Module:
    """FLAVA's head of masked places: logits over the `vocab_size` of the tower's configuration."""
    from transformers.models.flava.modeling_flava import FlavaMaskedPredictionHead
    head = FlavaMaskedPredictionHead(config)
    head.bias = head.decoder.bias   # one weight under two names, as transformers ties them
    return head


def flava_matching_head(config: Any) -> nn.Module:
    """FLAVA's head of matching: from the fused states to two logits, of "no" and "yes"."""
    from transformers.models.flava.modeling_flava import FlavaITMHead
    return FlavaITMHead(config)
