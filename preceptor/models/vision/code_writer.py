"""A causal language model that writes the codes of a picture behind a text.

Legend: B pictures, L text tokens, T codes. Entry V + k of its vocabulary is code k, where V is the size of the text's.
"""

from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE


def only_codes(model: nn.Module, words: int) -> None:
    """From now on the model gives no probability to the first `words` entries of its vocabulary: it only writes codes.
    """
    def shut(head: nn.Module, inputs: Any, logits: Tensor) -> Tensor:
        return logits.index_fill(-1, torch.arange(words, device=logits.device), -torch.inf)

    model.get_output_embeddings().register_forward_hook(shut)


def behind(words_BL: Tensor, seen_BL: Tensor, codes_BT: Tensor, first_code: int) -> tuple[Tensor, Tensor]:
    """Each row's text, its codes right behind it, then padding, as tokens (B, L + T), and the codes as targets, aligned
    with the token before each. Padding is last, so that under a causal mask nothing sees it."""
    rows, places = torch.arange(len(words_BL))[:, None], torch.arange(codes_BT.shape[1])
    start_B1 = seen_BL.sum(1, keepdim=True)
    tokens = torch.nn.functional.pad(words_BL, (0, codes_BT.shape[1]))
    targets = torch.full_like(tokens, IGNORE)
    tokens[rows, start_B1 + places.to(start_B1.device)] = codes_BT + first_code
    targets[rows, start_B1 + places.to(start_B1.device) - 1] = codes_BT + first_code
    return tokens, targets


def code_log_probs(model: nn.Module, tokens_BN: Tensor, targets_BN: Tensor) -> Tensor:
    """log p(codes | text) of each row, (B,), in nats."""
    states_BND = model.base_model(input_ids=tokens_BN, use_cache=False).last_hidden_state
    counted = targets_BN != IGNORE
    logits = model.get_output_embeddings()(states_BND[counted]).float()
    nats = torch.nn.functional.cross_entropy(logits, targets_BN[counted], reduction="none")
    return -nats.view(len(tokens_BN), -1).sum(1)
