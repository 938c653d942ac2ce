"""A picture as several vectors, of which each text takes its own mixture (Llip, Lavoie et al. 2024, arXiv 2405.00740).

Legend: I pictures, T texts, K mixture tokens, D width, V dimensions of the shared space, H heads.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from preceptor.models.vision.towers import Shape, blocks_of


class MixtureTower(nn.Module):
    """SigLIP's ViT with K learned tokens in front of the patches; what becomes of them is the picture, (I, K, D)."""

    def __init__(self, shape: Shape, size: int, tokens: int) -> None:
        from transformers import SiglipVisionConfig, SiglipVisionModel
        super().__init__()
        self.network = SiglipVisionModel(SiglipVisionConfig(**blocks_of(shape), image_size=size,
                                                            patch_size=shape.patch, vision_use_head=False))
        self.tokens = nn.Parameter(torch.randn(tokens, shape.width) * shape.width ** -0.5)

    def forward(self, pixels_ICHW: Tensor) -> Tensor:
        patches = self.network.embeddings(pixels_ICHW)
        first = self.tokens.expand(len(patches), -1, -1)
        states = self.network.encoder(inputs_embeds=torch.cat([first, patches], 1)).last_hidden_state
        return self.network.post_layernorm(states[:, :len(self.tokens)])


class Mixture(nn.Module):
    """Each text asks the mixture tokens of a picture by attention, and so makes the picture's vector for itself:

        Phi[i, t, k] = softmax_k(q(w_t) . k(h_ik) / tau)  per head,    z_it = W_o concat_heads sum_k Phi v(h_ik)
    """

    def __init__(self, width: int, vector: int, heads: int, temperature: float) -> None:
        super().__init__()
        self.query = nn.Linear(vector, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, vector, bias=False)
        self.heads, self.temperature = heads, temperature

    def forward(self, tokens_IKD: Tensor, texts_TV: Tensor) -> Tensor:
        """Unit vectors (I, T, V) of every picture as every text sees it."""
        query_THE, key_IKHE, value_IKHE = (part(x).unflatten(-1, (self.heads, -1)) for part, x in (
            (self.query, texts_TV), (self.key, tokens_IKD), (self.value, tokens_IKD)))
        share_IHTK = (torch.einsum("the,ikhe->ihtk", query_THE, key_IKHE) / self.temperature).softmax(-1)
        mixed_ITHE = torch.einsum("ihtk,ikhe->ithe", share_IHTK, value_IKHE)
        return normalize(self.out(mixed_ITHE.flatten(2)), dim=-1)

    def cosines(self, tokens_IKD: Tensor, texts_TV: Tensor) -> Tensor:
        """The cosine (I, T) of each text with each picture as that text sees it."""
        return torch.einsum("itv,tv->it", self(tokens_IKD, texts_TV), texts_TV)
