"""What a Q-Former has beside its trunk while it learns to see (BLIP-2's first stage): words, and a head that writes.

One trunk, three masks over N queries and L words behind them (figure 2 of Li et al. 2023, arXiv 2301.12597):

    contrast   queries see queries, words see words: neither knows of the other
    match      all see all
    write      queries see queries, a word sees the queries and the words up to itself
"""

from typing import Literal

import torch
from torch import Tensor, nn

Mask = Literal["contrast", "match", "write"]


def who_sees_whom(kind: Mask, queries: int, words_BL: Tensor) -> Tensor:
    """Booleans (B, N + L, N + L), rows see columns; `words_BL` is False for padding, which nobody sees but itself."""
    count, length = words_BL.shape
    seen = torch.ones(queries + length, queries + length, dtype=torch.bool, device=words_BL.device)
    if kind != "match":
        seen[:queries, queries:] = False
    if kind == "contrast":
        seen[queries:, :queries] = False
    if kind == "write":
        seen[queries:, queries:] = seen[queries:, queries:].tril()
    there_BL = torch.cat([words_BL.new_ones(count, queries), words_BL], 1)
    return seen & there_BL[:, None, :] | torch.eye(queries + length, dtype=torch.bool, device=words_BL.device)


class Words(nn.Module):
    """Embeddings of words and of their places. Entry `vocabulary` is the token that a text to be written begins with.
    """

    def __init__(self, vocabulary: int, length: int, width: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary + 1, width), nn.Embedding(length, width)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Embeddings (B, L, Q)."""
        return self.words(tokens_BL) + self.places.weight[:tokens_BL.shape[1]]


class Writer(nn.Module):
    """BERT's head of masked words, which writes here: a layer, and the embeddings of words as output projection."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=1e-12))
        self.bias = nn.Parameter(torch.zeros(vocabulary + 1))

    def forward(self, states_ND: Tensor, words: nn.Embedding) -> Tensor:
        """Logits (N, V + 1)."""
        return self.layer(states_ND) @ words.weight.T + self.bias
