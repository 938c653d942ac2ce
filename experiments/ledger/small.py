"""Small language models of English novels, one for each seed, trained once and shared by the claims."""

import copy
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import nn

from ledger.sources import data
from preceptor.data.batches import Example
from preceptor.data.packing import PackedBatches
from preceptor.learn.gradients import Loss
from preceptor.learn.language import language_loss, total_nats
from preceptor.metrics.language import bits_per_byte
from preceptor.models.build import build
from preceptor.models.options import ArchitectureOptions
from preceptor.tokenizer.train import train_bpe

CONTEXT, STEPS, ROWS = 96, 240, 8
PASSAGE = 480  # letters
VOCABULARY = 800
SHAPE = {"width": 64, "layers": 2, "heads": 4, "feed_forward": 160, "context": CONTEXT}


@cache
def passages() -> tuple[list[str], list[str]]:
    """(training, held-out) passages of novels; the held-out ones come from chapters of their own."""
    rows = [row for row in data("text/en.train.jsonl.gz") if row["source"].startswith("standardebooks")]
    random.Random(0).shuffle(rows)
    cut = [[row["text"][start:start + PASSAGE] for start in range(0, len(row["text"]) - PASSAGE, PASSAGE)]
           for row in rows]
    few = len(cut) // 10
    return [text for some in cut[few:] for text in some][:3000], [text for some in cut[:few] for text in some][:200]


@cache
def tokenizer(entries: int = VOCABULARY) -> Any:
    """A vocabulary of so many byte-level tokens."""
    return train_bpe(passages()[0][:1500], entries, 1_000_000)


def examples(texts: Sequence[str], entries: int = VOCABULARY) -> list[Example]:
    """The texts as examples, each token but the first predicted."""
    return _encoded(tuple(texts), entries)


@cache
def _encoded(texts: tuple[str, ...], entries: int) -> list[Example]:
    rows = tokenizer(entries)(list(texts))["input_ids"]
    return [Example.of_text(str(number), tokens) for number, tokens in enumerate(rows)]


def fresh(seed: int, entries: int = VOCABULARY, **architecture: Any) -> nn.Module:
    """An untrained model: a Llama of SHAPE, but for what `architecture` says (None: as the family has it)."""
    torch.manual_seed(seed)
    chosen = {name: value for name, value in {**SHAPE, **architecture}.items() if value is not None}
    words = tokenizer(entries)
    return build(ArchitectureOptions(**chosen), vocabulary=len(words), end=words.eos_token_id, pad=words.pad_token_id)


def train(model: nn.Module, texts: Sequence[str], seed: int, steps: int = STEPS, rate: float = 3e-3,
          length: int = CONTEXT, entries: int = VOCABULARY, loss: Loss = language_loss) -> nn.Module:
    """Train in place with a linear fall of the learning rate; returns the model, in evaluation mode."""
    batches = PackedBatches(examples(texts, entries), rows=ROWS, length=length, pad=tokenizer(entries).pad_token_id,
                            seed=seed, steps=steps)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    model.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 20) * (1 - 0.9 * step / steps)
        optimiser.zero_grad()
        total, count, _ = loss(model, next(batches))
        (total / count).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return model.eval()


def cost(model: nn.Module, texts: Sequence[str], length: int = CONTEXT, entries: int = VOCABULARY) -> float:
    """Bits a byte of held-out texts."""
    nats, _ = total_nats(model, examples(texts, entries), rows=16, length=length, pad=tokenizer(entries).pad_token_id)
    return bits_per_byte(nats, sum(len(text.encode()) for text in texts))


@cache
def _novelist(seed: int) -> nn.Module:
    return train(fresh(seed), passages()[0], seed)


def novelist(seed: int) -> nn.Module:
    """A copy of the model of this seed."""
    return copy.deepcopy(_novelist(seed))
