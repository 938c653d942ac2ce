"""The game of a generator and a discriminator: hinge losses, and the weight that balances them against reconstruction.

Legend: B images, N patches that the discriminator judges; a verdict above 0 means "real". Sums are over images, of the
mean over patches. The generator must not teach the discriminator, nor the other way round: the caller gives the
discriminator's loss images without a gradient, and the generator's loss a discriminator whose weights take none.
"""

import torch
from torch import Tensor


def discriminator_sum(real_BN: Tensor, fake_BN: Tensor) -> Tensor:
    """1/2 (max(0, 1 - D(x)) + max(0, 1 + D(x^)))  (Lim and Ye 2017, arXiv 1705.02894; halved as in VQ-GAN's code)."""
    return (torch.relu(1 - real_BN) + torch.relu(1 + fake_BN)).flatten(1).mean(1).sum() / 2


def generator_sum(fake_BN: Tensor) -> Tensor:
    """-D(x^), of the same papers."""
    return -fake_BN.flatten(1).mean(1).sum()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last: Tensor, most: float = 1e4) -> Tensor:
    """lambda = ||grad_last L_rec|| / (||grad_last L_gan|| + 1e-4)  (Esser et al. 2021, arXiv 2012.09841, equation 7).

    `last` is the decoder's last weight: there both losses then pull equally hard. No gradient flows through lambda.
    It is a ratio over a whole batch, so it couples the images of the micro-batch that it is measured on.
    """
    of_reconstruction, of_adversarial = (torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
                                         for loss in (reconstruction, adversarial))
    return (of_reconstruction / (of_adversarial + 1e-4)).clamp(0, most).detach()
