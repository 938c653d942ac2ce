"""A task that every row must learn in a moment: four plain pictures and what they are called."""

import torch
from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.vision.system import System

COLOURS = ["red", "green", "blue", "yellow"]
PLAIN = torch.tensor([[1., -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]])[:, :, None, None]


class KnownClasses:
    """Stands for an image tokenizer: every patch of a picture has the class of its colour."""

    def __init__(self, codes: int) -> None:
        self.count = codes

    def codes(self, pixels: Tensor) -> Tensor:
        nearest = ((pixels.mean((2, 3))[:, None] - PLAIN[None, :, :, 0, 0]) ** 2).sum(2).argmin(1)
        return nearest[:, None].expand(-1, (pixels.shape[2] // 8) ** 2).contiguous()

    def logits(self, pixels: Tensor) -> Tensor:
        return 8 * torch.nn.functional.one_hot(self.codes(pixels), self.count).float()


def colours_of(system: System, copies: int = 1) -> Batch:
    """Each colour `copies` times, with its name."""
    told = system.text_batch(COLOURS * copies)
    pixels = PLAIN.expand(4, 3, system.size, system.size).repeat(copies, 1, 1, 1).contiguous()
    concepts = torch.arange(4).repeat(copies)
    return Batch(told.tensors | {"pixels": pixels, "concepts": concepts, "wordings": concepts}, [1] * 4 * copies,
                 [[]] * 4 * copies)


def learn(system: System, steps: int, copies: int = 1, rate: float = 0.01, seed: int = 0) -> None:
    """Adam on the weighted loss of the colours."""
    torch.manual_seed(seed)
    descend(system, colours_of(system.train(), copies), steps, rate)


def descend(system: System, batch: Batch, steps: int, rate: float = 0.01) -> None:
    """Adam on the weighted loss of a batch, of the weights that learn."""
    optimiser = torch.optim.Adam([one for one in system.parameters() if one.requires_grad], lr=rate, fused=True)
    for _ in range(steps):
        loss = sum(system.weights.get(name, 1.0) * total / count
                   for name, (total, count) in system.losses(batch).items())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    system.eval()


def knows(system: System) -> list[int]:
    """Of each colour the number of the name that scores best."""
    return system.score(colours_of(system)["pixels"], COLOURS).argmax(1).tolist()
