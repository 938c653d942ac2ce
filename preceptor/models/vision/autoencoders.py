"""From pictures to a grid of states and back: a convolutional pair and a pair of vision transformers.

Legend: B images of 3 channels, H by W pixels; T = places of the grid, row by row; W width of a state. Blocks are those
of transformers: Chameleon's VQ encoder (which is VQ-GAN's) and ViT, so that their weights fit.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvEncoder(nn.Module):
    """Residual convolutions, halving the picture `halvings` times (Esser et al. 2021, arXiv 2012.09841, table 7)."""

    def __init__(self, channels: int, halvings: int, blocks: int, width: int) -> None:
        from transformers.models.chameleon.modeling_chameleon import ChameleonVQVAEEncoder
        super().__init__()
        self.network = ChameleonVQVAEEncoder(conv_config(channels, halvings, blocks, width))

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """States (B, T, W)."""
        return self.network(pixels_BCHW).flatten(2).transpose(1, 2)


class ConvDecoder(nn.Module):
    """The encoder in mirror: convolutions, one more block in each resolution, nearest-neighbour doublings."""

    def __init__(self, channels: int, halvings: int, blocks: int, width: int) -> None:
        from transformers.models.chameleon import modeling_chameleon as chameleon
        super().__init__()
        config = conv_config(channels, halvings, blocks, width)
        sizes = [channels * factor for factor in reversed(config.channel_multiplier)]

        def block(inner: int, outer: int) -> nn.Module:
            return chameleon.ChameleonVQVAEEncoderResnetBlock(config, inner, outer)

        self.first = nn.Conv2d(width, sizes[0], 3, padding=1)
        self.middle = nn.Sequential(block(sizes[0], sizes[0]), chameleon.ChameleonVQVAEEncoderAttnBlock(sizes[0]),
                                    block(sizes[0], sizes[0]))
        self.levels = nn.ModuleList(
            nn.Sequential(block(before, size), *[block(size, size) for _ in range(blocks)])
            for before, size in zip([sizes[0], *sizes], sizes))
        self.doublings = nn.ModuleList(nn.Conv2d(size, size, 3, padding=1) for size in sizes[:-1])
        self.norm = nn.GroupNorm(32, sizes[-1], eps=1e-6)
        self.last = nn.Conv2d(sizes[-1], 3, 3, padding=1)

    def forward(self, states_BTW: Tensor) -> Tensor:
        """Pixels (B, 3, H, W)."""
        side = round(states_BTW.shape[1] ** 0.5)
        grid = self.middle(self.first(states_BTW.transpose(1, 2).unflatten(2, (side, side))))
        for number, level in enumerate(self.levels):
            grid = level(grid)
            if number < len(self.doublings):
                grid = self.doublings[number](F.interpolate(grid, scale_factor=2.0, mode="nearest"))
        return self.last(F.silu(self.norm(grid)))


def conv_config(channels: int, halvings: int, blocks: int, width: int) -> object:
    """Chameleon's configuration: `channels` at full size, twice as many after the first halving, and so on.

    Every number of channels must be a multiple of 32, the groups of its norms.
    """
    from transformers.models.chameleon.configuration_chameleon import ChameleonVQVAEConfig
    return ChameleonVQVAEConfig(base_channels=channels, channel_multiplier=[1, *[2] * halvings], num_res_blocks=blocks,
                                latent_channels=width, embed_dim=width, double_latent=False, attn_resolutions=None)


class VitEncoder(nn.Module):
    """Patches through a vision transformer without a class token (Yu et al. 2022, arXiv 2110.04627, section 3.1)."""

    def __init__(self, size: int, patch: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.blocks = VitBlocks((size // patch) ** 2, width, layers, heads)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """States (B, T, W)."""
        return self.blocks(self.patches(pixels_BCHW).flatten(2).transpose(1, 2))


class VitDecoder(nn.Module):
    """States through a vision transformer to the pixels of their patches."""

    def __init__(self, size: int, patch: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.patch = patch
        self.blocks = VitBlocks((size // patch) ** 2, width, layers, heads)
        self.last = nn.Linear(width, 3 * patch**2)

    def forward(self, states_BTW: Tensor) -> Tensor:
        """Pixels (B, 3, H, W)."""
        return unpatched(self.last(self.blocks(states_BTW)), self.patch)


def unpatched(values_BTN: Tensor, patch: int) -> Tensor:
    """The pictures (B, 3, H, W) whose square patches, row by row, have these 3 * patch * patch numbers."""
    side = round(values_BTN.shape[1] ** 0.5)
    grid = values_BTN.unflatten(1, (side, side)).unflatten(3, (3, patch, patch))
    return grid.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


class VitBlocks(nn.Module):
    """Learned positions and the blocks of transformers' ViT."""

    def __init__(self, places: int, width: int, layers: int, heads: int) -> None:
        from transformers import ViTConfig
        from transformers.models.vit.modeling_vit import ViTLayer
        super().__init__()
        config = ViTConfig(hidden_size=width, num_attention_heads=heads, intermediate_size=4 * width,
                           attn_implementation="sdpa")
        self.positions = nn.Parameter(0.02 * torch.randn(places, width))
        self.layers = nn.ModuleList(ViTLayer(config) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, states_BTW: Tensor) -> Tensor:
        """States (B, T, W) of the same places."""
        states_BTW = states_BTW + self.positions
        for layer in self.layers:
            states_BTW = layer(states_BTW)
        return self.norm(states_BTW)
