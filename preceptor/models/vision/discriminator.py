"""The discriminator of patches: for each region of a picture, whether it looks real."""

import torch
from torch import Tensor, nn
from torch.func import functional_call


class PatchDiscriminator(nn.Module):
    """Strided convolutions whose outputs see some 16 or 34 pixels each (Isola et al. 2017, arXiv 1611.07004, 3.2.2).

    Groups of channels are normalised and not batches, so that what it says of a picture depends on no other picture.
    """

    def __init__(self, channels: int = 32, halvings: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for number in range(1, halvings):
            inner, outer = channels * 2 ** (number - 1), channels * 2**number
            layers += [nn.Conv2d(inner, outer, 4, stride=2, padding=1), nn.GroupNorm(8, outer), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels * 2 ** (halvings - 1), 1, 4, padding=1))

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Verdicts (B, N), above 0 for "real"."""
        return self.layers(pixels_BCHW).flatten(1)

    def judging(self, pixels_BCHW: Tensor) -> Tensor:
        """The same verdicts, from which the generator learns and the discriminator does not."""
        still = {name: weight.detach() for name, weight in self.named_parameters()}
        return functional_call(self, still, (pixels_BCHW,))


def judged_apart(discriminator: nn.Module, real_BCHW: Tensor, fake_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Verdicts on real pictures and on drawn ones, from which the discriminator alone learns."""
    verdicts = discriminator(torch.cat([real_BCHW, fake_BCHW.detach()]))
    return verdicts[:len(real_BCHW)], verdicts[len(real_BCHW):]
