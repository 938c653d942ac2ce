"""Vector quantization: each state becomes the nearest of V learned codes, so that a picture becomes words.

Legend: B images, T places, W width of the network, D dimensions of a code, V codes.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from preceptor.losses.quantisation import straight_through

DECAY = 0.99    # of the moving averages (van den Oord et al. 2017, appendix A.1)
DEAD = 0.03     # share of its fair part of the states below which a code starts anew
CREDIT = 0.06   # share that it starts with: without any state it has 70 steps, ln(0.03 / 0.06) / ln(0.99)


class Quantised(NamedTuple):
    """`indices` (B, T) in [0, V); `vectors` (B, T, W) for the decoder, with the gradient of the states; and what the
    codebook's loss compares: `states` and `codes`, (B, T, D)."""

    indices: Tensor
    vectors: Tensor
    states: Tensor
    codes: Tensor


class Quantizer(nn.Module):
    """A codebook that learns by its gradient, or as a moving average of the states that chose each code.

    With `cosine`, states and codes have unit length (Yu et al. 2022, arXiv 2110.04627, section 3.2). Codes that hardly
    any state chooses start anew at states of the batch (Dhariwal et al. 2020, arXiv 2005.00341, appendix B.1), drawn in
    proportion to their squared distance from the nearest code; so does a fresh codebook. All this happens only in
    training, and only while the codebook may learn, so that freezing it by its name stops the averages too.
    """

    def __init__(self, codes: int, width: int, dimensions: int, *, learn: Literal["average", "gradient"],
                 cosine: bool = False) -> None:
        super().__init__()
        self.learn, self.cosine = learn, cosine
        self.inward, self.outward = nn.Linear(width, dimensions), nn.Linear(dimensions, width)
        self.codebook = nn.Embedding(codes, dimensions)
        # How many states of a batch choose each code, on average. A weight that no gradient moves, because a buffer
        # could not be told apart from what is frozen.
        self.sizes = nn.Parameter(torch.zeros(codes))

    def forward(self, states_BTW: Tensor) -> Quantised:
        states_BTD = self.measured(self.inward(states_BTW))
        learning = self.training and self.codebook.weight.requires_grad
        if learning:
            self._start_anew(states_BTD.detach().flatten(0, 1))
        indices_BT = self._nearest(states_BTD.detach())
        codes_BTD = self.look_up(indices_BT)
        if learning:
            self._average(states_BTD.detach().flatten(0, 1), indices_BT.flatten())
        return Quantised(indices_BT, self.outward(straight_through(states_BTD, codes_BTD)), states_BTD, codes_BTD)

    def encode(self, states_BTW: Tensor) -> Tensor:
        """Indices (B, T) of the nearest codes; changes nothing."""
        return self._nearest(self.measured(self.inward(states_BTW)))

    def decode(self, indices_BT: Tensor) -> Tensor:
        """What the decoder reads, (B, T, W)."""
        return self.outward(self.look_up(indices_BT))

    def look_up(self, indices_BT: Tensor) -> Tensor:
        """The codes themselves, (B, T, D)."""
        return self.measured(self.codebook(indices_BT))

    def measured(self, vectors: Tensor) -> Tensor:
        """Vectors as distances are taken of them: of unit length where the cosine counts."""
        return normalize(vectors, dim=-1) if self.cosine else vectors

    @torch.no_grad()
    def _nearest(self, states_BTD: Tensor) -> Tensor:
        """argmin_v ||z - e_v||^2, without the part that all codes share."""
        codes_VD = self.measured(self.codebook.weight).to(states_BTD.dtype)
        return ((codes_VD**2).sum(1) - 2 * states_BTD @ codes_VD.T).argmin(-1)

    @torch.no_grad()
    def _start_anew(self, states_ND: Tensor) -> None:
        fair = len(states_ND) / len(self.sizes)
        dead = (self.sizes < DEAD * fair).nonzero()[:, 0]
        if len(dead):
            # Where the codes fit worst (as k-means++ begins), or most would start on the plain ground of the pictures.
            away_N = ((self.look_up(self._nearest(states_ND)) - states_ND) ** 2).sum(1).float()
            drawn = torch.multinomial(away_N + 1e-20, len(dead), replacement=True)
            self.codebook.weight[dead] = states_ND[drawn].to(self.codebook.weight.dtype)
            self.sizes[dead] = CREDIT * fair

    @torch.no_grad()
    def _average(self, states_ND: Tensor, indices_N: Tensor) -> None:
        """N <- decay N + (1 - decay) n,  e <- (decay N e + (1 - decay) sum z) / N (equations 6 to 8)."""
        count_V = torch.zeros_like(self.sizes).index_add_(0, indices_N, torch.ones_like(indices_N, dtype=torch.float))
        before_V = self.sizes.clone()
        self.sizes.lerp_(count_V, 1 - DECAY)
        if self.learn == "average":
            sums_VD = torch.zeros_like(self.codebook.weight).index_add_(0, indices_N, states_ND.float())
            moved_VD = DECAY * before_V[:, None] * self.codebook.weight + (1 - DECAY) * sums_VD
            self.codebook.weight.copy_(self.measured(moved_VD / self.sizes.clamp(min=1e-9)[:, None]))
