"""Contrastive search (Su et al. 2022, arXiv 2202.06417, equation 5): likely tokens that do not say the same again.

Among the k most likely tokens, take the one with the largest

    (1 - alpha) p(v | x_<t) - alpha max_{j < t} cos(h_v, h_{x_j})

where h are the last hidden states of the model, of all tokens of prompt and answer and of the candidate itself. It
helps where the hidden states are not all alike (`metrics/geometry.py` measures that).

N rows, K candidates, V entries of the vocabulary, C columns of the cache, D width of the hidden states.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from preceptor.generate.decoder import Request
from preceptor.generate.rows import Rows, addend, padding
from preceptor.models.causal import configured_length


class ContrastiveSearch:
    """Writes the next token of rows whose cache holds hidden states (`begin(..., with_states=True)`).

    The published programs copy the cache for each candidate. Here the candidates stand side by side in the columns
    behind the text, each blind to the others, and the columns of those not chosen are forgotten.
    """

    with_states = True

    def __init__(self, model: nn.Module, requests: Sequence[Request], end: int) -> None:
        self.model, self.end = model, end
        self.top_k = torch.tensor([request.sampling.top_k for request in requests])
        self.alpha = torch.tensor([request.sampling.penalty_alpha for request in requests])
        self.spare = int(self.top_k.max()) - 1  # columns for the candidates of the last token

    def read(self, rows: Rows) -> None:
        """Nothing: a token is read when it is a candidate."""

    @torch.inference_mode()
    def write(self, rows: Rows) -> list[int]:
        """Choose each row's next token; returns the rows that ended with it."""
        device = rows.logits_NV.device
        top_k_N, alpha_N1 = self.top_k.to(device)[rows.request_N], self.alpha.to(device)[rows.request_N][:, None]
        log_probs_NV = rows.logits_NV.float().log_softmax(-1)
        log_probs_NK, tokens_NK = log_probs_NV.topk(min(int(top_k_N.max()), log_probs_NV.shape[-1]))
        states_NKD = self._look_ahead(rows, tokens_NK)
        features_NKD = normalize(states_NKD, dim=-1)
        likeness_NK = self._likeness(rows, features_NKD)
        scores_NK = (1 - alpha_N1) * log_probs_NK.exp() - alpha_N1 * likeness_NK
        rank_K = torch.arange(tokens_NK.shape[1], device=device)
        choice_N = scores_NK.masked_fill(rank_K >= top_k_N[:, None], -torch.inf).argmax(-1)
        self._keep(rows, choice_N, features_NKD)
        chosen_N1 = choice_N[:, None]
        row_N = torch.arange(len(choice_N), device=device)
        rows.logits_NV = self.model.get_output_embeddings()(states_NKD[row_N, choice_N])
        return rows.append(tokens_NK.gather(1, chosen_N1)[:, 0], log_probs_NK.gather(1, chosen_N1)[:, 0], self.end)

    def _look_ahead(self, rows: Rows, tokens_NK: Tensor) -> Tensor:
        """The hidden states (N, K, D) of the candidates, each as if it alone came next."""
        count = tokens_NK.shape[1]
        position_N1 = rows.cached_N.clamp(max=configured_length(self.model.config) - 1)[:, None]
        past_NC = padding(rows.cached_N, rows.cache.get_seq_length())
        others_KK = ~torch.eye(count, dtype=torch.bool, device=tokens_NK.device)
        hidden_NKC = torch.cat([past_NC[:, None].expand(-1, count, -1), others_KK.expand(len(past_NC), -1, -1)], dim=-1)
        return self.model.base_model(
            input_ids=tokens_NK, position_ids=position_N1.expand(-1, count), past_key_values=rows.cache,
            attention_mask=addend(hidden_NKC[:, None], rows.cache), use_cache=True).last_hidden_state

    def _likeness(self, rows: Rows, features_NKD: Tensor) -> Tensor:
        """The largest cosine (N, K) between each candidate and the tokens of prompt and answer."""
        layer = rows.cache.layers[-1]
        cosines_NKC = features_NKD @ layer.keys[:, 0, :layer.length].transpose(1, 2)
        return cosines_NKC.float().masked_fill(padding(rows.cached_N, layer.length)[:, None], -torch.inf).amax(-1)

    def _keep(self, rows: Rows, choice_N: Tensor, features_NKD: Tensor) -> None:
        """Keep the chosen candidates' columns in the cache and forget the others."""
        *layers, states = rows.cache.layers
        for layer in layers:
            layer.keep_one(states.length, choice_N)
        chosen_ND = features_NKD[torch.arange(len(choice_N), device=choice_N.device), choice_N]
        states.update(chosen_ND[:, None, None], chosen_ND[:, None, None, :0])
        rows.cached_N = rows.cached_N + 1
