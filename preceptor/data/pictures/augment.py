"""Pictures changed at random in ways that leave what they show: moved, turned, resized, other colours, no colours.

What is random comes from the generator alone, so that a batch is the same however often it is made.
"""

import math
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far: `move` shares of the picture, `turn` degrees, `resize` and `colour` factors up to 1 ± the number, and
    `grey` the share of pictures that lose their colours."""

    move: float = 0.1
    turn: float = 10.0
    resize: float = 0.15
    colour: float = 0.3
    grey: float = 0.15

    @classmethod
    def of(cls, strength: float) -> Self:
        """The defaults, multiplied."""
        return cls(*(strength * field.default for field in fields(cls)))


def augmented(pixels_BCHW: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """The same pictures, each changed by its own draw; values stay in [-1, 1], edges go on outwards."""
    rows = len(pixels_BCHW)

    def draw(*shape: int) -> Tensor:
        return torch.rand(rows, *shape, generator=generator) * 2 - 1

    angle, scale = draw() * math.radians(how.turn), 1 + draw() * how.resize
    turned = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1)
    matrix = torch.cat([turned * scale[:, None, None], (draw(2) * how.move * 2)[:, :, None]], 2)
    grid = affine_grid(matrix, list(pixels_BCHW.shape), align_corners=False)
    moved = grid_sample(pixels_BCHW, grid, padding_mode="border", align_corners=False)
    coloured = (moved * (1 + draw(3, 1, 1) * how.colour) + draw(3, 1, 1) * how.colour / 2).clamp(-1, 1)
    grey = torch.rand(rows, 1, 1, 1, generator=generator) < how.grey
    return torch.where(grey, coloured.mean(1, keepdim=True), coloured)
