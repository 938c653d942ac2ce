"""A causal language model that writes the codes of a picture behind a text.

Legend: B pictures, L text tokens, T codes. Entry V + k of its vocabulary is code k, where V is the size of the text's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from preceptor.data.batches import IGNORE


def only_codes(model: nn.Module, words: int) -> RemovableHandle:
    """From now on the model gives no probability to the first `words` entries of its vocabulary: it only writes codes.
    """
    return _shut(model, range(words))


@contextmanager
def without(model: nn.Module, entries: Sequence[int]) -> Iterator[None]:
    """Inside the block the model gives these entries of its vocabulary no probability."""
    handle = _shut(model, entries)
    try:
        yield
    finally:
        handle.remove()


def _shut(model: nn.Module, entries: Sequence[int]) -> RemovableHandle:
    def shut(head: nn.Module, inputs: Any, logits: Tensor) -> Tensor:
        return logits.index_fill(-1, torch.tensor(entries, device=logits.device), -torch.inf)

    return model.get_output_embeddings().register_forward_hook(shut)


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


def with_codes(tokens_BL: Tensor, targets_BL: Tensor, mark: int, codes_PT: Tensor, first_code: int
               ) -> tuple[Tensor, Tensor]:
    """Rows in which every picture has 1 + T marks, as one mark and the T codes of the picture, in the order of reading,
    and their targets. The last code predicts what the last mark did; the mark and the codes before it predict the next
    code where the row predicts the mark itself, and nothing where the picture is given."""
    places_BL = tokens_BL == mark
    entries_PT = codes_PT + first_code
    predicted_BL = nn.functional.pad(targets_BL[:, :-1] == mark, (1, 0))
    shape = len(codes_PT), codes_PT.shape[1] + 1
    given_P1 = ~predicted_BL[places_BL].view(shape)[:, :1]
    last_P1 = targets_BL[places_BL].view(shape)[:, -1:]
    marks_P1 = torch.full_like(last_P1, mark)
    tokens_BL = tokens_BL.masked_scatter(places_BL, torch.cat([marks_P1, entries_PT], 1))
    targets_PN = torch.cat([entries_PT.masked_fill(given_P1, IGNORE), last_P1], 1)
    return tokens_BL, targets_BL.masked_scatter(places_BL, targets_PN)


def code_log_probs(model: nn.Module, tokens_BN: Tensor, targets_BN: Tensor) -> Tensor:
    """log p(codes | text) of each row, (B,), in nats."""
    states_BND = model.base_model(input_ids=tokens_BN, use_cache=False).last_hidden_state
    counted = targets_BN != IGNORE
    logits = model.get_output_embeddings()(states_BND[counted]).float()
    nats = torch.nn.functional.cross_entropy(logits, targets_BN[counted], reduction="none")
    return -nats.view(len(tokens_BN), -1).sum(1)
