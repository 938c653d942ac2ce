"""A density known up to its normaliser, p(x) = exp(-E(x)) / Z, and samples of it: the smallest energy-based model.

Legend: N points of D dimensions.
"""

import math

import torch
from torch import Tensor, nn

from preceptor.losses.energy import Energy


class EnergyNetwork(nn.Module):
    """E(x) of points; `log_normaliser` is log Z, a weight that noise-contrastive estimation alone fits.

    A weak bowl is added to the network, so that far from all data the energy rises and Z is finite.
    """

    def __init__(self, dimensions: int, width: int = 64, bowl: float = 0.05) -> None:
        super().__init__()
        # Smooth activations: the score is the energy's slope, and its loss needs the slope of that.
        self.network = nn.Sequential(nn.Linear(dimensions, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
                                     nn.Linear(width, 1))
        self.log_normaliser = nn.Parameter(torch.zeros(()))
        self.bowl = bowl

    def forward(self, points_ND: Tensor) -> Tensor:
        """Energies (N,)."""
        return self.network(points_ND)[:, 0] + self.bowl * (points_ND**2).sum(1)


def langevin(energy: Energy, points_ND: Tensor, steps: int, size: float,
             generator: torch.Generator | None = None) -> Tensor:
    """x <- x - size^2 / 2 dE/dx + size eps, `steps` times (Roberts and Tweedie 1996; Neal 2011, section 5.2).

    As the size goes to zero and the steps to infinity the points are samples of exp(-E) / Z; their gradient is cut.
    """
    for _ in range(steps):
        points_ND = points_ND.detach().requires_grad_()
        with torch.enable_grad():
            slope_ND = torch.autograd.grad(energy(points_ND).sum(), points_ND)[0]
        noise_ND = torch.randn(points_ND.shape, generator=generator, dtype=points_ND.dtype, device=points_ND.device)
        points_ND = points_ND.detach() - size**2 / 2 * slope_ND + size * noise_ND
    return points_ND


class Mixture:
    """A density with a known normaliser: round Gaussians in the plane, of unequal weights."""

    def __init__(self, blur: float = 0.0) -> None:
        """`blur` is the deviation of noise added to every point: the density that denoising learns."""
        self.centres_K2 = torch.tensor([[-2.0, -1.0], [0.5, 2.0], [2.0, -1.5]])
        self.weights_K = torch.tensor([0.5, 0.3, 0.2])
        self.deviation = (0.5**2 + blur**2) ** 0.5

    def log_prob(self, points_ND: Tensor) -> Tensor:
        """log p(x), (N,): its integral over the plane is one."""
        distances_NK = ((points_ND[:, None] - self.centres_K2.to(points_ND)) ** 2).sum(-1)
        logs_NK = -distances_NK / (2 * self.deviation**2) - math.log(2 * math.pi * self.deviation**2)
        return (logs_NK + self.weights_K.to(points_ND).log()).logsumexp(1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Points (count, 2)."""
        which = torch.multinomial(self.weights_K, count, replacement=True, generator=generator)
        return self.centres_K2[which] + self.deviation * torch.randn(count, 2, generator=generator)
