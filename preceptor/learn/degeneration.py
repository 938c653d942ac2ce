"""Training against repetition: what `LanguageOptions` add to the likelihood of text (docs/repetition.md).

Token unlikelihood and SimCTG look at the batch that the likelihood sees (learn/language.py). Sequence unlikelihood and
DITTO have batches of their own, and are further terms of the same optimiser step; their papers alternate such steps
with others instead, one to one, which has the same direction in the mean and half the work in each.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch, Example, Numbered
from preceptor.learn.gradients import Term
from preceptor.learn.options import LanguageOptions
from preceptor.losses.ditto import ditto_sum
from preceptor.losses.likelihood import token_log_probs
from preceptor.losses.unlikelihood import repeated_ngrams, sequence_unlikelihood_sum
from preceptor.models.causal import hidden_states
from preceptor.run.errors import UserError

PREFIX, CONTINUATION = 50, 100  # tokens that sequence unlikelihood starts from and goes on for, in the paper
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")

Continue = Callable[[nn.Module, list[list[int]], int], list[list[int]]]
"""How a model goes on greedily from prefixes for a number of tokens: the decoder's `continuations`."""


def degeneration_terms(options: LanguageOptions, examples: Sequence[Example], tokenizer: Any, go_on: Continue, *,
                       rows: int, context: int, total: int, seed: int) -> list[Term]:
    """The further terms that the options ask for, with batches of `rows` prefixes or sentences drawn from the examples.

    Raises:
        UserError: the examples have no prefix or no sentence that is long enough.
    """
    terms = []
    if options.unlikelihood_sequence:
        prefix = min(PREFIX, context // 3)
        batches = Drawn(prefix_batch(examples, rows, prefix, min(CONTINUATION, context - prefix)), seed, total)
        terms.append(Term("unlikelihood_sequence", batches, SequenceUnlikelihood(go_on, prefix),
                          options.unlikelihood_sequence))
    if options.ditto:
        batches = Drawn(repeated_batch(examples, tokenizer, rows, context), seed + 1, total)
        terms.append(Term("ditto", batches, ditto_loss, options.ditto))
    return terms


class Drawn(Numbered):
    """Batches drawn by `draw`, each a function of (seed, number) alone."""

    def __init__(self, draw: Callable[[torch.Generator], Batch], seed: int, total: int) -> None:
        super().__init__()
        self.draw, self.seed, self.total = draw, seed, total

    def __next__(self) -> Batch:
        self.number = self.due() + 1
        return self.draw(torch.Generator().manual_seed(self.seed * 1_000_003 + self.number))


def prefix_batch(examples: Sequence[Example], rows: int, prefix: int, length: int) -> Callable[[torch.Generator],
Batch]:
    """Draws batches of `prefix` tokens from random places, to be gone on with for `length` tokens."""
    long = [example for example in examples if len(example.tokens) >= prefix]
    if not long:
        raise UserError(f"Sequence unlikelihood starts from {prefix} tokens, and no text has as many.",
                        "Set unlikelihood_sequence to 0, or give longer texts.")

    def draw(generator: torch.Generator) -> Batch:
        chosen = [long[index] for index in torch.randint(len(long), (rows,), generator=generator).tolist()]
        starts = [int(torch.randint(len(one.tokens) - prefix + 1, (), generator=generator)) for one in chosen]
        tokens = torch.tensor([one.tokens[start:start + prefix] for one, start in zip(chosen, starts)])
        return Batch({"tokens": tokens}, [length] * rows, [[one.id] for one in chosen])

    return draw


class SequenceUnlikelihood:
    """The model goes on from each prefix, and 4-grams that it repeats become less likely; all that it wrote counts."""

    def __init__(self, go_on: Continue, prefix: int) -> None:
        self.go_on, self.prefix = go_on, prefix

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
        length, prefixes = batch.counts[0], batch["tokens"]
        written = torch.tensor(self.go_on(model, prefixes.tolist(), length), device=prefixes.device)
        tokens = torch.cat([prefixes, written], dim=1)
        places = torch.arange(tokens.shape[1], device=tokens.device).expand(len(tokens), -1)
        whole = Batch({"tokens": tokens, "positions": places, "segments": torch.ones_like(tokens)}, batch.counts,
                      batch.documents)
        states = hidden_states(model, whole)[:, self.prefix - 1:-1]
        log_probs = token_log_probs(model.get_output_embeddings()(states), written)
        repeated = repeated_ngrams(written)
        return sequence_unlikelihood_sum(log_probs, repeated), batch.count, {"repeated": repeated.sum()}


def repeated_batch(examples: Sequence[Example], tokenizer: Any, rows: int, context: int) -> Callable[..., Batch]:
    """Draws batches of sentences of the examples, each repeated until the context is full."""
    sentences = [tokens for example in examples for text in SENTENCE_END.split(
        tokenizer.decode(example.tokens, skip_special_tokens=True)) if text.strip()
        for tokens in [tokenizer(text.strip() + " ", add_special_tokens=False)["input_ids"]]
        if 2 <= len(tokens) <= context // 3]
    if not sentences:
        raise UserError(f"DITTO repeats sentences of at most {context // 3} tokens, and the texts have none.",
                        "Set ditto to 0, or give texts with shorter sentences.")

    def draw(generator: torch.Generator) -> Batch:
        chosen = [sentences[index] for index in torch.randint(len(sentences), (rows,), generator=generator).tolist()]
        tokens = torch.tensor([(one * (context // len(one) + 1))[:context] for one in chosen])
        periods = torch.tensor([len(one) for one in chosen])
        return Batch({"tokens": tokens, "period": periods}, [context - 1 - len(one) for one in chosen], [["ditto"]] *
        rows)

    return draw


def ditto_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """DITTO's loss over repeated sentences; the count is of the tokens from the second copy on."""
    tokens = batch["tokens"]
    places = torch.arange(tokens.shape[1], device=tokens.device).expand(len(tokens), -1)
    whole = Batch({"tokens": tokens, "positions": places, "segments": torch.ones_like(tokens)}, batch.counts,
                  batch.documents)
    logits = model.get_output_embeddings()(hidden_states(model, whole)[:, :-1])
    log_probs_BT = token_log_probs(logits, tokens[:, 1:])
    parts = [ditto_sum(log_probs, int(period)) for log_probs, period in zip(log_probs_BT, batch["period"])]
    return torch.stack([part for part, _ in parts]).sum(), sum(count for _, count in parts), {}
