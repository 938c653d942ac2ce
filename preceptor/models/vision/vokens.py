"""Vokens: words that a language model learns to write where a picture is due, and what a painter is told by them.

(Zheng et al. 2023, MiniGPT-5, arXiv 2310.02239, section 3.) Legend: K pictures, N vokens of a picture, D width of the
language model, L words of the painter's condition, W their width.
"""

from typing import Any

import torch
from torch import Tensor, nn


class Vokens(nn.Module):
    """N further entries of a frozen vocabulary: the vectors that are read, and those by which they are predicted.

    Both begin at the mean of the vocabulary's own, as in the authors' code, and a little apart.
    """

    def __init__(self, count: int, read: Tensor, predicted: Tensor) -> None:
        """Args:
            read, predicted: (V, D), the embeddings of the vocabulary and its output projection.
        """
        super().__init__()
        self.read, self.predicted = (nn.Parameter(own.detach().mean(0) + 0.02 * torch.randn(count, own.shape[1]))
                                     for own in (read, predicted))

    def __len__(self) -> int:
        return len(self.read)


class Mapper(nn.Module):
    """From the states in which a language model predicts the vokens to what a painter sees of a text.

    A small network, then a transformer whose decoder asks with a learned query for each word of the condition, and with
    one for the whole text.
    """

    def __init__(self, seen: int, width: int, words: int, layers: int, heads: int) -> None:
        super().__init__()
        self.inward = nn.Sequential(nn.Linear(seen, width), nn.GELU(), nn.Linear(width, width))
        self.queries = nn.Parameter(torch.randn(words + 1, width))
        shape: dict[str, Any] = {"d_model": width, "nhead": heads, "dim_feedforward": 4 * width, "dropout": 0.0,
                                 "batch_first": True, "norm_first": True}
        self.reading = nn.TransformerEncoder(nn.TransformerEncoderLayer(**shape), layers, nn.LayerNorm(width),
                                             enable_nested_tensor=False)
        self.asking = nn.TransformerDecoder(nn.TransformerDecoderLayer(**shape), layers, nn.LayerNorm(width))

    def forward(self, states_KND: Tensor) -> Tensor:
        """(K, L + 1, W), the whole text last."""
        read_KNW = self.reading(self.inward(states_KND))
        return self.asking(self.queries.expand(len(states_KND), -1, -1), read_KNW)
