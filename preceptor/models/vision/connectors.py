"""Connectors: from what a tower sees to vectors that a language model reads as words.

Legend: B pictures, T patches row by row, S the width of the tower, N vectors of a picture, D width of the language
model, Q width of the Q-Former.
"""

import torch
from torch import Tensor, nn

from preceptor.run.errors import UserError


class Prefix(nn.Module):
    """One linear map of the whole picture to N vectors (Frozen, Tsimpoukelli et al. 2021, arXiv 2106.13884, 3.1)."""

    def __init__(self, seen: int, vectors: int, width: int) -> None:
        super().__init__()
        self.vectors, self.map = vectors, nn.Linear(seen, vectors * width)

    def forward(self, whole_BS: Tensor) -> Tensor:
        """Vectors (B, N, D)."""
        return self.map(whole_BS).unflatten(1, (self.vectors, -1))


class Squares(nn.Module):
    """Four neighbouring patches become one vector (MiniGPT-v2, Chen et al. 2023, arXiv 2310.09478, section 2.1).

    The four are a square of two by two; the authors' code takes four in a line.
    """

    def __init__(self, seen: int, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(4 * seen, width)

    def forward(self, patches_BTS: Tensor) -> Tensor:
        """Vectors (B, T/4, D)."""
        side = round(patches_BTS.shape[1] ** 0.5)
        squares = patches_BTS.unflatten(1, (side // 2, 2, side // 2, 2)).transpose(2, 3)  # (B, rows, columns, 2, 2, S)
        return self.map(squares.flatten(3).flatten(1, 2))


def check_squares(patches: int) -> int:
    """How many vectors `Squares` makes of them.

    Raises:
        UserError: they do not divide into squares.
    """
    side = round(patches ** 0.5)
    if side * side != patches or side % 2:
        raise UserError(f"{patches} patches do not divide into squares of two by two.",
                        "Choose the size of pictures and patches so that a side has an even number of patches.")
    return patches // 4


class Resampler(nn.Module):
    """N learned queries look at the patches once (Qwen-VL, Bai et al. 2023, arXiv 2308.12966, section 2.1).

    Queries and patches each have the position of their place in a grid over the picture, in sines and cosines: those of
    the queries in a grid of their own, so that each begins with a region of the picture. Values have none.
    """

    def __init__(self, patches: int, seen: int, vectors: int, width: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(0.02 * torch.randn(vectors, width))
        self.inward = nn.Linear(seen, width, bias=False)
        self.norm_queries, self.norm_patches = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm, self.outward = nn.LayerNorm(width), nn.Linear(width, width, bias=False)
        own = side_of(vectors)
        self.register_buffer("of_queries", grid_positions(own, own, width), persistent=False)
        self.register_buffer("of_patches", grid_positions(side_of(patches), own, width), persistent=False)

    def forward(self, patches_BTS: Tensor) -> Tensor:
        """Vectors (B, N, D)."""
        patches_BTD = self.norm_patches(self.inward(patches_BTS))
        queries_BND = (self.norm_queries(self.queries) + self.of_queries).expand(len(patches_BTD), -1, -1)
        seen_BND = self.attend(queries_BND, patches_BTD + self.of_patches, patches_BTD, need_weights=False)[0]
        return self.outward(self.norm(seen_BND))


def side_of(places: int) -> int:
    """The side of the square grid that so many places make.

    Raises:
        UserError: they make none.
    """
    side = round(places ** 0.5)
    if side * side != places:
        raise UserError(f"{places} places make no square grid.", "Give a square number: 4, 9, 16, 64, 256.")
    return side


def grid_positions(side: int, units: int, width: int) -> Tensor:
    """Sines and cosines of the places of a square grid, row by row, (side², width), in steps of a grid of `units`².

    One half of the width is the row, the other the column; each half is sines, then cosines, of frequencies from 1
    down to 1/10000 (Vaswani et al. 2017, arXiv 1706.03762, section 3.5, in two dimensions).

    Raises:
        UserError: the width cannot be divided by four.
    """
    if width % 4:
        raise UserError(f"Positions in a plane need a width that four divides, and {width} is none.",
                        "Take a language model of another width, or another connector.")
    at = (torch.arange(side) + 0.5) * units / side - 0.5
    angles = at[:, None] / 10_000 ** (torch.arange(width // 4) / (width // 4))
    line = torch.cat([angles.sin(), angles.cos()], 1)
    return torch.cat([line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)], 2).flatten(0, 1)


class QueryFormer(nn.Module):
    """N learned queries that ask the patches in every second block (BLIP-2, Li et al. 2023, arXiv 2301.12597, 3.1).

    The network is transformers' own. With texts beside the queries, the two share self-attention, in which `seen_BLL`
    says who sees whom, and have a feed-forward part each; only queries look at the picture.
    """

    def __init__(self, seen: int, queries: int, width: int, layers: int, heads: int) -> None:
        from transformers import Blip2QFormerConfig, Blip2QFormerModel
        super().__init__()
        self.queries = nn.Parameter(0.02 * torch.randn(queries, width))
        self.network = Blip2QFormerModel(Blip2QFormerConfig(
            hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * width,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, encoder_hidden_size=seen,
            use_qformer_text_input=True))

    def forward(self, patches_BTS: Tensor, words_BLQ: Tensor | None = None, seen_BLL: Tensor | None = None) -> Tensor:
        """States (B, N, Q) of the queries, or (B, N + L, Q) with those of L words behind them.

        Args:
            words_BLQ: embeddings of words.
            seen_BLL: booleans (B, N + L, N + L): who sees whom.
        """
        queries_BNQ = self.queries.expand(len(patches_BTS), -1, -1)
        inputs = queries_BNQ if words_BLQ is None else torch.cat([queries_BNQ, words_BLQ], 1)
        return self.network(query_embeds=inputs, query_length=len(self.queries), encoder_hidden_states=patches_BTS,
                            attention_mask=None if seen_BLL is None else seen_BLL[:, None]).last_hidden_state
