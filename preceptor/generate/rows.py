"""The answers in the making: one row each, in one batch that loses and gains rows as answers end and begin.

N rows, V entries of the vocabulary, T tokens at most in an answer, L tokens in the longest prompt of a call.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from preceptor.generate.cache import BlockCache, BlockLayer, joined
from preceptor.generate.decoder import Request
from preceptor.generate.processors import Shaper, signed
from preceptor.generate.sampling import next_tokens, uniforms
from preceptor.models.attention import block_mask
from preceptor.models.causal import configured_length
from preceptor.models.soft_prompt import embedded_behind, prompt_vectors


@dataclass(slots=True)
class Rows:
    """All tensors have the rows on their first axis; row i of the cache holds what row i has read and written."""

    cache: BlockCache
    """Of encoder-decoder models, the library's own kind."""
    request_N: Tensor
    """Which request the row answers: an index into the requests of the call."""
    cached_N: Tensor
    """Tokens of the row in the cache: the position of the token that comes next."""
    logits_NV: Tensor
    """The logits of the token that comes next."""
    made_N: Tensor
    """Tokens written."""
    limit_N: Tensor
    """Tokens that may be written."""
    live_N: Tensor
    """Whether the answer goes on; a row that ended is carried along until it is dropped."""
    tokens_NT: Tensor
    log_probs_NT: Tensor
    uniforms_NT: Tensor
    temperature_N: Tensor
    top_k_N: Tensor
    top_p_N: Tensor

    def __len__(self) -> int:
        return len(self.live_N)

    @torch.inference_mode()
    def write(self, end: int, shaper: Shaper) -> list[int]:
        """Draw a token for each row; returns the rows that ended with it."""
        slot_N1 = self.made_N.clamp(max=self.tokens_NT.shape[1] - 1)[:, None]  # rows that ended write over their last
        shaped = None
        if shaper.numbers:
            at_work = [(row, number, self.written(row)) for row, number in self.live_requests()]
            shaped = shaper(at_work, self.logits_NV)
        tokens_N, log_probs_N = next_tokens(self.logits_NV, self.uniforms_NT.gather(1, slot_N1)[:, 0],
                                            self.temperature_N, self.top_k_N, self.top_p_N, shaped)
        for row, number in self.live_requests() if shaped else ():
            shaper.drawn(number, int(tokens_N[row]))
        return self.append(tokens_N, log_probs_N, end)

    @torch.inference_mode()
    def append(self, tokens_N: Tensor, log_probs_N: Tensor, end: int) -> list[int]:
        """Add a token to each row's answer; returns the rows that ended with it."""
        slot_N1 = self.made_N.clamp(max=self.tokens_NT.shape[1] - 1)[:, None]
        self.tokens_NT.scatter_(1, slot_N1, tokens_N[:, None])
        self.log_probs_NT.scatter_(1, slot_N1, log_probs_N[:, None])
        self.made_N += 1
        ended_N = self.live_N & ((tokens_N == end) | (self.made_N == self.limit_N))
        self.live_N &= ~ended_N
        return ended_N.nonzero()[:, 0].tolist()

    @torch.inference_mode()
    def end(self, rows: list[int]) -> list[int]:
        """End the answers of these rows; returns them."""
        self.live_N[rows] = False
        return rows

    def live(self) -> int:
        """How many answers go on."""
        return int(self.live_N.sum())

    def live_requests(self) -> list[tuple[int, int]]:
        """(row, index of its request) of the answers that go on."""
        numbers = zip(self.live_N.tolist(), self.request_N.tolist())
        return [(row, number) for row, (live, number) in enumerate(numbers) if live]

    def written(self, row: int) -> list[int]:
        """The tokens of a row's answer so far."""
        return self.tokens_NT[row, :int(self.made_N[row])].tolist()

    def last_tokens(self) -> Tensor:
        """The token that each row wrote last (N, 1)."""
        return self.tokens_NT.gather(1, (self.made_N - 1).clamp(max=self.tokens_NT.shape[1] - 1)[:, None])

    def chosen(self, keep: Tensor) -> dict[str, Tensor]:
        """The fields of these rows, without the cache."""
        return {field.name: getattr(self, field.name)[keep] for field in fields(Rows) if field.name != "cache"}

    @torch.inference_mode()
    def read(self, model: nn.Module) -> None:
        """Run the model over the token that each row wrote last."""
        self.logits_NV = read_token(model, self.cache, self.cached_N, self.last_tokens())
        self.cached_N = self.cached_N + 1


def read_token(model: nn.Module, cache: BlockCache, cached_N: Tensor, tokens_N1: Tensor) -> Tensor:
    """Run the model over one more token a row; returns the logits (N, V) of what comes next.

    `cached` are the tokens of each row that are in the cache, at its end.
    """
    # A row that ended may stand at the end of the context: its position must still exist in a learned table.
    position_N1 = cached_N.clamp(max=configured_length(model.config) - 1)[:, None]
    hidden_NC = padding(cached_N + 1, cache.get_seq_length() + 1)
    return model(input_ids=tokens_N1, position_ids=position_N1, attention_mask=addend(hidden_NC[:, None, None], cache),
                 past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]


def read_states(model: nn.Module, cache: BlockCache, cached_N: Tensor, tokens_N1: Tensor) -> Tensor:
    """`read_token`, but returns the last hidden states (N, D) in place of the logits."""
    position_N1 = cached_N.clamp(max=configured_length(model.config) - 1)[:, None]
    hidden_NC = padding(cached_N + 1, cache.get_seq_length() + 1)
    return model.base_model(input_ids=tokens_N1, position_ids=position_N1, past_key_values=cache, use_cache=True,
                            attention_mask=addend(hidden_NC[:, None, None], cache)).last_hidden_state[:, -1]


def read_on(model: nn.Module, cache: BlockCache, tokens: Sequence[int]) -> Tensor:
    """Run the model over further tokens of the one row in `cache`; returns their logits (1, tokens, V)."""
    device = model.device
    past, count = cache.get_seq_length() if cache.layers else 0, len(tokens)
    positions = torch.arange(past, past + count, device=device)
    hidden = torch.arange(past + count, device=device) > positions[:, None]
    dtype = model.dtype
    mask = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, torch.finfo(dtype).min)
    return model(input_ids=torch.tensor([list(tokens)], device=device), position_ids=positions[None],
                 attention_mask=mask[None, None], past_key_values=cache, use_cache=True).logits


def padding(cached_N: Tensor, columns: int) -> Tensor:
    """Which of the columns (N, C) are padding, where the last `cached` of each row are not."""
    return torch.arange(columns, device=cached_N.device) < (columns - cached_N)[:, None]


def addend(hidden: Tensor, cache: BlockCache) -> Tensor:
    """What attention scores are given so that it does not see what is `hidden`: both kinds of attention take it."""
    dtype = cache.layers[0].keys.dtype
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return mask.masked_fill_(hidden, torch.finfo(dtype).min)


@torch.inference_mode()
def begin(model: nn.Module, requests: Sequence[Request], numbers: Sequence[int], prompts: Sequence[list[int]],
          most: int, pad: int, with_states: bool = False) -> Rows:
    """Read prompts, each different one once, and make a row for each request.

    `numbers[i]` and `prompts[i]` are the index and the prompt tokens of `requests[i]`; `most` is T. `with_states` keeps
    the hidden states too (`read_prompts`).
    """
    device = model.device
    different = {tuple(prompt): place for place, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    cache, logits = read_prompts(model, [list(prompt) for prompt in different], pad, with_states)
    before = cache.get_seq_length() - max(map(len, prompts))
    if len(different) < len(prompts):
        place_N = torch.tensor([different[tuple(prompt)] for prompt in prompts], device=device)
        cache, logits = joined([(cache, place_N, cache.get_seq_length())], room=0), logits[place_N]
    return fresh_rows(requests, numbers, [before + len(prompt) for prompt in prompts], logits, cache, most, pad)


def fresh_rows(requests: Sequence[Request], numbers: Sequence[int], cached: Sequence[int], logits_NV: Tensor,
               cache: Any, most: int, pad: int) -> Rows:
    """Rows that have written nothing, in front of the logits of their first tokens."""
    device = logits_NV.device

    def column(values: list[Any], dtype: torch.dtype = torch.long) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    sampling = [request.sampling for request in requests]
    shape = (len(requests), most)
    return Rows(
        cache=cache,
        request_N=column(list(numbers)),
        cached_N=column(list(cached)),
        logits_NV=logits_NV,
        made_N=column([0] * len(requests)),
        limit_N=column([options.max_tokens for options in sampling]),
        live_N=column([True] * len(requests), torch.bool),
        tokens_NT=torch.full(shape, pad, device=device),
        log_probs_NT=torch.zeros(shape, device=device),
        uniforms_NT=uniforms(column([signed(request.seed) for request in requests]), most),
        temperature_N=column([options.temperature for options in sampling], torch.float),
        top_k_N=column([options.top_k for options in sampling]),
        top_p_N=column([options.top_p for options in sampling], torch.double))


def read_prompts(model: nn.Module, prompts: Sequence[list[int]], pad: int,
                 with_states: bool = False, room: int = 0) -> tuple[BlockCache, Tensor]:
    """Run the model over prompts, aligned at their last token; returns the cache and the next token's logits (N, V).

    A soft prompt stands before each, in the cache too. The cache has room for `room` more tokens.
    `with_states` adds a layer to the cache, behind those of the model: the last hidden states, of length 1.
    """
    device = model.device
    vectors_PD = prompt_vectors(model)
    before = 0 if vectors_PD is None else len(vectors_PD)
    prompts = [[pad] * before + list(prompt) for prompt in prompts]
    width = max(map(len, prompts))
    tokens_NL = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    lengths_N = torch.tensor([len(prompt) for prompt in prompts], device=device)
    positions_NL = torch.arange(width, device=device) - (width - lengths_N)[:, None]
    cache = BlockCache(width + room)
    read = ({"input_ids": tokens_NL} if vectors_PD is None else
            {"inputs_embeds": embedded_behind(model, vectors_PD, tokens_NL, positions_NL)})
    inputs = {**read, "position_ids": positions_NL.clamp(min=0), "past_key_values": cache,
              "attention_mask": block_mask((positions_NL >= 0).long(), model), "use_cache": True}
    if not with_states:
        return cache, model(**inputs, logits_to_keep=1).logits[:, -1]
    states_NLD = model.base_model(**inputs).last_hidden_state
    layer = BlockLayer(width)
    layer.update(normalize(states_NLD, dim=-1)[:, None], states_NLD[:, None, :, :0])
    cache.layers.append(layer)
    return cache, model.get_output_embeddings()(states_NLD[:, -1])


@torch.inference_mode()
def live_rows(parts: Sequence[Rows], spare: int = 0) -> Rows:
    """The rows of several batches whose answers go on, as one batch; the cache drops those that ended, too.

    The cache has room for `spare` columns more than the answers can fill.
    """
    kept = [rows.live_N.nonzero()[:, 0] for rows in parts]
    chosen = [rows.chosen(keep) for rows, keep in zip(parts, kept)]
    widest = max(part["tokens_NT"].shape[1] for part in chosen)  # requests that joined later may write more
    for part in chosen:
        for name in ("tokens_NT", "log_probs_NT", "uniforms_NT"):
            part[name] = nn.functional.pad(part[name], (0, widest - part[name].shape[1]))
    tensors = {name: torch.cat([part[name] for part in chosen]) for name in chosen[0]}
    room = int((tensors["limit_N"] - tensors["made_N"]).max()) + spare
    cache = joined([(rows.cache, keep, int(rows.cached_N[keep].max())) for rows, keep in zip(parts, kept)
                    if len(keep)], room)
    return Rows(cache=cache, **tensors)
