"""Answers of encoder-decoder models (T5, BART): the encoder reads the prompt, the decoder writes the answer.

All rows of a batch begin together, because some families' decoders count positions from the first column; rows that
ended leave, and the next batch begins when all have. Tokens are drawn as from any other model.

N rows, V entries of the vocabulary, L tokens in the longest prompt.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from preceptor.generate.decoder import Answer, Request
from preceptor.generate.processors import Shaper
from preceptor.generate.rows import Rows, fresh_rows
from preceptor.run.errors import UserError

if TYPE_CHECKING:
    from preceptor.generate.local import LocalDecoder


class EncoderDecoderCall:
    """Requests to an encoder-decoder model, answered batch by batch. Penalties look at the answer alone."""

    def __init__(self, decoder: "LocalDecoder", requests: Sequence[Request], prompts: Sequence[list[int]]) -> None:
        for request in requests:
            if request.sampling.strategy != "sample":
                raise UserError("Searches and speculation are for models without an encoder.",
                                "Leave out num_beams, penalty_alpha and the draft tokens.")
        self.decoder, self.requests, self.prompts = decoder, requests, prompts
        self.start = decoder.model.config.decoder_start_token_id
        self.shaper = Shaper(requests, [[self.start]] * len(requests), decoder.tokenizer)
        self.waiting = sorted(range(len(requests)), key=lambda number: (len(prompts[number]), prompts[number]))
        self.batch: Rows | None = None
        self.ended: list[int] = []

    @torch.inference_mode()
    def advance(self) -> bool:
        """Write one more token in each row; false when there is nothing left to write."""
        if self.batch is not None and self.batch.live():
            self._drop_ended()
            self.batch.logits_NV = self._read(self.batch.last_tokens())
        elif self.waiting:
            self._begin()
        else:
            return False
        self.ended = self.batch.write(self.decoder.tokenizer.eos_token_id, self.shaper)
        self.ended += self.batch.end([row for row, number in self.batch.live_requests() if self.decoder.stopped(
            self.requests[number], self.batch.written(row))])
        return True

    def written(self) -> list[int]:
        """The tokens so far of the only answer."""
        return self.batch.written(0)

    def finished(self) -> Iterator[tuple[int, Answer]]:
        """The answers that ended with the last token written, with the indices of their requests."""
        for row in self.ended:
            number, tokens = int(self.batch.request_N[row]), self.batch.written(row)
            yield number, self.decoder.answer(self.requests[number], self.prompts[number], tokens,
                                              self.batch.log_probs_NT[row, :len(tokens)].tolist())

    def _begin(self) -> None:
        """Encode the prompts of the next batch, each different one once."""
        rows = self.decoder.rows
        numbers, self.waiting = self.waiting[-rows:], self.waiting[:-rows]
        model, pad = self.decoder.model, self.decoder.tokenizer.pad_token_id
        different = list(dict.fromkeys(tuple(self.prompts[number]) for number in numbers))
        width, device = max(map(len, different)), model.device
        tokens_NL = torch.tensor([[*prompt, *[pad] * (width - len(prompt))] for prompt in different], device=device)
        mask_NL = torch.tensor([[1] * len(prompt) + [0] * (width - len(prompt)) for prompt in different], device=device)
        states_NLD = model.get_encoder()(input_ids=tokens_NL, attention_mask=mask_NL).last_hidden_state
        place_N = torch.tensor([different.index(tuple(self.prompts[number])) for number in numbers], device=device)
        self.encoded_NLD, self.mask_NL = states_NLD[place_N], mask_NL[place_N]
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        logits_NV = self._read(torch.full((len(numbers), 1), self.start, device=device))
        requests = [self.requests[number] for number in numbers]
        self.batch = fresh_rows(requests, numbers, [1] * len(numbers), logits_NV, self.cache,
                                max(request.sampling.max_tokens for request in requests), pad)

    def _drop_ended(self) -> None:
        """Leave out the rows that ended, when a quarter can go."""
        if self.batch.live() * 4 > len(self.batch) * 3:
            return
        keep = self.batch.live_N.nonzero()[:, 0]
        self.batch = Rows(cache=self.cache, **self.batch.chosen(keep))
        self.encoded_NLD, self.mask_NL = self.encoded_NLD[keep], self.mask_NL[keep]
        self.cache.batch_select_indices(keep)

    def _read(self, tokens_N1: Tensor) -> Tensor:
        """Run the decoder over one more token a row; returns the logits (N, V) of what comes next."""
        return self.decoder.model(
            encoder_outputs=(self.encoded_NLD,), attention_mask=self.mask_NL, decoder_input_ids=tokens_N1,
            past_key_values=self.cache, use_cache=True).logits[:, -1]
