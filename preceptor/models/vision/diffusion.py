"""The diffusion transformer: which noise is in a picture, given how much there is and a text about the picture.

Legend: B images, T patches, L text tokens, D width. Blocks are DiT's (Peebles and Xie 2023, arXiv 2212.09748, figure 3:
shift, scale and gate of each part come from the step and the whole text, and gates start at zero), with attention to
the words of the text between the two parts, as in PixArt-alpha (arXiv 2310.00426, section 2.3).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from preceptor.models.vision.autoencoders import unpatched


class DiffusionTransformer(nn.Module):
    """Predicts the noise (B, 3, H, W) in noisy pictures."""

    def __init__(self, size: int, patch: int, width: int, layers: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.patch = patch
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn((size // patch) ** 2, width))
        self.step = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.words, self.whole = nn.Linear(text_width, width), nn.Linear(text_width, width)
        self.blocks = nn.ModuleList(DiffusionBlock(width, heads) for _ in range(layers))
        self.norm, self.shift = nn.LayerNorm(width, elementwise_affine=False), _zero(nn.Linear(width, 2 * width))
        self.last = _zero(nn.Linear(width, 3 * patch**2))

    def forward(self, noisy_BCHW: Tensor, level_B: Tensor, words_BLD: Tensor, whole_BD: Tensor,
                seen_BL: Tensor) -> Tensor:
        """Args:
            level_B: how noisy the pictures are, from 0 to 1.
            words_BLD: states of the text's tokens; seen_BL is False for padding.
            whole_BD: one vector for the whole text.
        """
        condition_BD = self.step(sinusoids(level_B, self.positions.shape[1])) + self.whole(whole_BD)
        words_BLD = self.words(words_BLD)
        states_BTD = self.patches(noisy_BCHW).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            states_BTD = block(states_BTD, condition_BD, words_BLD, seen_BL)
        shift, scale = self.shift(F.silu(condition_BD))[:, None].chunk(2, -1)
        return unpatched(self.last(self.norm(states_BTD) * (1 + scale) + shift), self.patch)


class DiffusionBlock(nn.Module):
    """Self-attention, attention to the words, and an MLP; each starts as nothing added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.condition = _zero(nn.Linear(width, 6 * width))
        self.own, self.own_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query, self.words, self.words_out = (nn.Linear(width, width), nn.Linear(width, 2 * width),
                                                  _zero(nn.Linear(width, width)))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, states_BTD: Tensor, condition_BD: Tensor, words_BLD: Tensor, seen_BL: Tensor) -> Tensor:
        shift, scale, gate, shift_2, scale_2, gate_2 = self.condition(F.silu(condition_BD))[:, None].chunk(6, -1)
        own = self.own(self.norm(states_BTD) * (1 + scale) + shift).chunk(3, -1)
        states_BTD = states_BTD + gate * self.own_out(self._attend(*own))
        words = self._attend(self.query(self.norm(states_BTD)), *self.words(words_BLD).chunk(2, -1),
                             mask=seen_BL[:, None, None])
        states_BTD = states_BTD + self.words_out(words)
        return states_BTD + gate_2 * self.mlp(self.norm(states_BTD) * (1 + scale_2) + shift_2)

    def _attend(self, *projected: Tensor, mask: Tensor | None = None) -> Tensor:
        query, key, value = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in projected)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)


def sinusoids(level_B: Tensor, width: int) -> Tensor:
    """cos and sin of 1000 levels in frequencies from 1 down to 1/10000, (B, width) (Ho et al. 2020, appendix B)."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=level_B.device) / (width // 2))
    angles = 1000 * level_B[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)


def _zero(linear: nn.Linear) -> nn.Linear:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
