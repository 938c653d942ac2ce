"""A density known up to its normaliser, p(x) = exp(-E(x)) / Z, and samples of it: the smallest energy-based model.

Legend: N points of D dimensions.
"""

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
