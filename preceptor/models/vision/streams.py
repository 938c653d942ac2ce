"""Two streams, pictures and texts, that look at each other.

Legend: B pairs, P patches with the class token in front, T tokens, D width. `seen` (B, T) is False for padding of
texts; pictures have none. All blocks norm behind what they add, as BERT's do, and are without dropout.
"""

from typing import Any

import torch
from torch import Tensor, nn


class CoAttention(nn.Module):
    """A co-attentional layer (Lu et al. 2019, arXiv 1908.02265, figure 2b): each stream asks with its own queries and
    is answered with the keys and values of the other, both from the states before the layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.image, self.text = _Asking(width, heads), _Asking(width, heads)

    def forward(self, image_BPD: Tensor, text_BTD: Tensor, seen_BT: Tensor) -> tuple[Tensor, Tensor]:
        return self.image(image_BPD, text_BTD, ~seen_BT), self.text(text_BTD, image_BPD, None)


class _Asking(nn.Module):
    """One side of a co-attentional layer: attention to the other stream, then an MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, own: Tensor, other: Tensor, hidden: Tensor | None) -> Tensor:
        answer, _ = self.attention(own, other, other, key_padding_mask=hidden, need_weights=False)
        own = self.norms[0](own + answer)
        return self.norms[1](own + self.mlp(own))


class CoAttentionStreams(nn.Module):
    """ViLBERT's upper part: in turn a co-attentional layer, and a block of each stream by itself."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.crossings = nn.ModuleList(CoAttention(width, heads) for _ in range(layers))
        self.image = nn.ModuleList(bert_block(width, heads) for _ in range(layers))
        self.text = nn.ModuleList(bert_block(width, heads) for _ in range(layers))

    def forward(self, image_BPD: Tensor, text_BTD: Tensor, seen_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The states of both streams."""
        everything, words = all_seen(image_BPD), seen_BT[:, None, None]
        for crossing, image, text in zip(self.crossings, self.image, self.text):
            image_BPD, text_BTD = crossing(image_BPD, text_BTD, seen_BT)
            image_BPD, text_BTD = image(image_BPD, everything), text(text_BTD, words)
        return image_BPD, text_BTD


class CrossStreams(nn.Module):
    """MaskVLM's cross-modality encoders (Kwon et al. 2023, arXiv 2208.02131, figure 2): blocks of self-attention,
    attention to what the other modality's own encoder gave, and an MLP. Each stream may be asked without the other."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.image = nn.ModuleList(bert_block(width, heads, cross=True) for _ in range(layers))
        self.text = nn.ModuleList(bert_block(width, heads, cross=True) for _ in range(layers))

    def seen_image(self, image_BPD: Tensor, text_BTD: Tensor, seen_BT: Tensor) -> Tensor:
        """The picture's states (B, P, D), with the text in view."""
        for block in self.image:
            image_BPD = block(image_BPD, all_seen(image_BPD), text_BTD, seen_BT[:, None, None])
        return image_BPD

    def seen_text(self, image_BPD: Tensor, text_BTD: Tensor, seen_BT: Tensor) -> Tensor:
        """The text's states (B, T, D), with the picture in view."""
        for block in self.text:
            text_BTD = block(text_BTD, seen_BT[:, None, None], image_BPD, all_seen(image_BPD))
        return text_BTD


def all_seen(states_BND: Tensor) -> Tensor:
    """A mask (B, 1, 1, N) that hides nothing. It must be given: without a mask, a block that can look across takes
    itself for a decoder's and hides what stands behind."""
    return torch.ones(len(states_BND), 1, 1, states_BND.shape[1], dtype=torch.bool, device=states_BND.device)


def bert_block(width: int, heads: int, cross: bool = False) -> nn.Module:
    """A block of transformers' BERT; with `cross` it attends to other states between self-attention and MLP."""
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertLayer
    given: dict[str, Any] = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": 4 * width,
                             "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertLayer(BertConfig(**given, is_decoder=cross, add_cross_attention=cross, attn_implementation="sdpa"))
