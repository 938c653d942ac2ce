"""What a model makes of texts of growing length, under each way to read more than it was trained on."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Example, collate
from preceptor.metrics.language import perplexity
from preceptor.models.causal import context_length, hidden_states, load_causal
from preceptor.models.long_context import lengthening, methods_of
from preceptor.models.soft_prompt import refuse_soft_prompt
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_text, load_tokenizer
from preceptor.tokenizer.pieces import special_tokens

DEPTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
KEY, VALUE = 4, 3  # entries of a needle that are asked by, and that are asked for
CHUNKS = "chunks"


@dataclass(frozen=True, slots=True)
class Reading:
    """One method at one length."""

    method: str
    length: int
    perplexity: float
    """Of the last tokens of each text, the same ones at every length, after as many before them as the length holds."""
    found: float
    """Share of the needles' tokens that are the likeliest ones where they are asked for."""


def readings(source: Path, texts: Sequence[str], lengths: Sequence[int], *, needles: int, seed: int
             ) -> Iterator[Reading]:
    """Every method that the family has, extended for the longest length and measured at all.

    `chunks` changes nothing in the model: it reads chunks of the trained length, one by one. Its perplexity is that of
    the last chunk; its needle is sought in every chunk, and the chunk that is surest of the answer gives it.

    Raises:
        UserError: no text is as long as the longest length.
    """
    tokenizer, plain = load_tokenizer(source), load_causal(source).eval()
    refuse_soft_prompt(plain, "Measuring by length")
    trained, longest = context_length(plain), max(lengths)
    passages = [tokens[:longest] for tokens in (encode_text(tokenizer, text) for text in texts)
                if len(tokens) >= longest]
    if not passages:
        raise UserError(f"No text has {longest} tokens.", "Give longer texts, or smaller --lengths.")
    tail = min(64, min(lengths) // 2)
    draw = random.Random(seed)
    planted = [_needle(tokenizer, draw) for _ in range(needles)]
    for method in [CHUNKS, *methods_of(plain.config)]:
        extended = longest > trained and method != CHUNKS
        model = load_causal(source, lengthening(method, longest, trained)).eval() if extended else plain
        for length in lengths:
            seen = min(length, trained) if method == CHUNKS else length
            nats = sum(_tail_nats(model, tokens[-seen:], tail) for tokens in passages)
            right = sum(_found(model, passages[number % len(passages)][:length - 2 * (KEY + VALUE)], needle,
                               DEPTHS[number % len(DEPTHS)], trained if method == CHUNKS else length)
                        for number, needle in enumerate(planted))
            yield Reading(method, length, perplexity(nats, tail * len(passages)), right / max(needles, 1))


def recommended(found: Sequence[Reading]) -> str:
    """At the longest length the method of least perplexity; of those within 1 % of it, the one that finds most."""
    longest = max(reading.length for reading in found)
    last = [reading for reading in found if reading.length == longest]
    least = min(reading.perplexity for reading in last)
    near = [reading for reading in last if reading.perplexity <= 1.01 * least]
    return max(near, key=lambda reading: (reading.found, -reading.perplexity)).method


def _needle(tokenizer: Any, draw: random.Random) -> list[int]:
    """Entries drawn at random: KEY of them to ask by, VALUE to ask for. They mean nothing in any language."""
    special = special_tokens(tokenizer)
    return draw.sample([token for token in range(len(tokenizer)) if token not in special], KEY + VALUE)


@torch.no_grad()
def _tail_nats(model: nn.Module, tokens: list[int], tail: int) -> float:
    log_probs_LV = _log_probs(model, tokens, tail)
    return -float(log_probs_LV.gather(1, torch.tensor(tokens[-tail:], device=log_probs_LV.device)[:, None]).sum())


@torch.no_grad()
def _found(model: nn.Module, text: list[int], needle: list[int], depth: float, window: int) -> float:
    """Share of the needle's value that the model gives when asked by its key behind the text."""
    at = round(depth * len(text))
    hay = [*text[:at], *needle, *text[at:]]
    room = window - KEY - VALUE
    end = max(len(hay) - room, 0)
    answers = []
    for start in sorted({*range(0, end, max(1, room // 2)), end}):  # chunks overlap: each needle is whole in one
        log_probs_LV = _log_probs(model, [*hay[start:start + room], *needle], VALUE)
        right = log_probs_LV.argmax(-1) == torch.tensor(needle[KEY:], device=log_probs_LV.device)
        answers.append((float(log_probs_LV[0].max()), float(right.float().mean())))
    return max(answers)[1]  # of the chunk whose first word is surest, before anything of the answer is seen


def _log_probs(model: nn.Module, tokens: list[int], last: int) -> Tensor:
    """Log-probabilities (last, V) of what could stand in the place of each of the last tokens, after all before it."""
    batch = collate([[Example.of_text("", tokens)]], 0).to(str(next(model.parameters()).device))
    logits_LV = model.get_output_embeddings()(hidden_states(model, batch)[0, -last - 1:-1])
    return logits_LV.float().log_softmax(-1)
