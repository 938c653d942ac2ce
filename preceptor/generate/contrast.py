"""Contrastive decoding (Li et al. 2023, arXiv 2210.15097): what a large model likes and a small one does not.

    score(v) = log p_expert(v) - log p_amateur(v)  where p_expert(v) >= alpha max p_expert, else -inf  (equations 2, 3)

with the amateur's logits divided by its temperature. The pair is a model like any other to the decoder: `Contrasted`
runs both, keeps both in one cache, and gives the scores as its logits.
"""

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.generate.cache import BlockCache
from preceptor.models.causal import context_length
from preceptor.models.soft_prompt import refuse_soft_prompt
from preceptor.run.errors import UserError


class Contrasted(nn.Module):
    """Expert and amateur as one model for `LocalDecoder`; its answers carry log softmax(scores) and say so.

    Raises:
        UserError: the two do not share a vocabulary, a context length and a kind of attention, or alpha is no share.
    """

    def __init__(self, expert: nn.Module, amateur: nn.Module, *, alpha: float = 0.1, temperature: float = 1.0,
                 name: str = "") -> None:
        super().__init__()
        if not 0 < alpha <= 1 or temperature <= 0:
            raise UserError(f"Contrastive decoding cannot use alpha {alpha} and an amateur's temperature of "
                            f"{temperature}.", "alpha: above 0, at most 1. temperature: above 0.")
        for model in (expert, amateur):
            refuse_soft_prompt(model, "Contrastive decoding")
        for what, read in (("tokens", lambda model: model.get_output_embeddings().weight.shape[0]),
                           ("tokens of context", context_length),
                           ("attention", lambda model: model.config._attn_implementation)):
            if read(expert) != read(amateur):
                raise UserError(f"The expert has {read(expert)} {what}, the amateur {read(amateur)}.",
                                "Take two models of one family and tokenizer.")
        self.expert, self.amateur = expert, amateur
        self.alpha, self.temperature = alpha, temperature
        self.config = expert.config
        self.decoding = {"contrastive_decoding": {"alpha": alpha, "temperature": temperature, "amateur": name}}

    @property
    def device(self) -> torch.device:
        """The expert's."""
        return self.expert.device

    @property
    def dtype(self) -> torch.dtype:
        """The expert's."""
        return self.expert.dtype

    def get_output_embeddings(self) -> nn.Module:
        """The expert's, whose vocabulary it is."""
        return self.expert.get_output_embeddings()

    def forward(self, past_key_values: BlockCache, **inputs: Any) -> SimpleNamespace:
        """The scores (N, T, V) as `logits`; the amateur's layers stand behind the expert's in the cache."""
        layers = self.expert.config.num_hidden_layers
        expert = self.expert(past_key_values=past_key_values, **inputs).logits
        behind = _Behind(past_key_values, layers)
        amateur = self.amateur(past_key_values=behind, **inputs).logits
        return SimpleNamespace(logits=contrasted(expert, amateur, self.alpha, self.temperature))


def contrasted(expert: Tensor, amateur: Tensor, alpha: float, temperature: float = 1.0, rank: int = 1) -> Tensor:
    """log p_expert - log p_amateur on the plausible tokens, -inf elsewhere; logits (..., V) of both.

    Tokens are plausible that reach alpha of the probability of the token of that `rank`: with 1 the likeliest, as in
    equation 2; with more, CD-K of Yu et al. 2023 (arXiv 2309.02591, section 2.4), which leaves more of them.
    """
    log_probs = expert.float().log_softmax(-1)
    least = log_probs.topk(min(rank, log_probs.shape[-1])).values[..., -1:]
    plausible = log_probs >= least + math.log(alpha)
    scores = log_probs - (amateur.float() / temperature).log_softmax(-1)
    return scores.masked_fill(~plausible, -torch.inf)


class _Behind(BlockCache):
    """The layers of a cache from number `first` on, as a cache of their own."""

    def __init__(self, whole: BlockCache, first: int) -> None:
        super().__init__(whole.layers[0].columns)
        self.whole, self.first = whole, first
        self.layers = whole.layers[first:]

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any,
               **kwargs: Any) -> tuple[Tensor, Tensor]:
        return self.whole.update(key_states, value_states, self.first + layer_idx, *args, **kwargs)
