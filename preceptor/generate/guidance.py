"""Answers under guidance: every token is drawn from what one model says behind two prompts, with and without something.

Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) and contrastive decoding of a model against itself
(Yu et al. 2023, arXiv 2309.02591, section 2.4) need the logits behind both. Both are rows of one batch: requests 2n and
2n + 1 are the pair of answer n, with equal options and seed, so that they write the same tokens and end together.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from preceptor.generate.call import RowCall
from preceptor.generate.decoder import Answer, Request
from preceptor.generate.drawing import Drawing
from preceptor.generate.local import LocalDecoder, evaluating
from preceptor.generate.processors import Shaper
from preceptor.generate.rows import Rows

Combine = Callable[[Tensor, Tensor], Tensor]
"""From the logits (N, V) with and without to those that tokens are drawn from."""


class Guided(Drawing):
    """Draws the same token for both rows of a pair."""

    def __init__(self, model: torch.nn.Module, shaper: Shaper, end: int, combine: Combine) -> None:
        super().__init__(model, shaper, end)
        self.combine = combine

    @torch.inference_mode()
    def write(self, rows: Rows) -> list[int]:
        pairs_N2 = rows.request_N.argsort().view(-1, 2)
        combined_NV = self.combine(rows.logits_NV[pairs_N2[:, 0]], rows.logits_NV[pairs_N2[:, 1]])
        logits_NV = combined_NV.new_empty(rows.logits_NV.shape)
        logits_NV[pairs_N2] = combined_NV[:, None].expand(-1, 2, -1)
        rows.logits_NV = logits_NV
        return super().write(rows)


def guided_answers(decoder: LocalDecoder, requests: Sequence[Request], prompts: Sequence[list[int]],
                   without: Sequence[list[int]], combine: Combine) -> list[Answer]:
    """The answers to requests with these prompt tokens, under guidance away from those of `without`.

    Their log-probabilities are those of what they were drawn from.
    """
    twice = [request for request in requests for _ in range(2)]
    both = [prompt for pair in zip(prompts, without, strict=True) for prompt in pair]
    found: dict[int, Answer] = {}
    size = max(2, decoder.rows // 2 * 2)
    for first in range(0, len(twice), size):  # pairs must begin together, so that they are never apart
        some, read = twice[first:first + size], both[first:first + size]
        writer = Guided(decoder.model, Shaper(some, read, decoder.tokenizer), decoder.tokenizer.eos_token_id, combine)
        call = RowCall(decoder, some, read, writer, size)
        with evaluating(decoder.model):
            while call.advance():
                found |= {first + place: answer for place, answer in call.finished()}
    return [found[2 * number] for number in range(len(requests))]
