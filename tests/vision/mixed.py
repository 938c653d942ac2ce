"""Small systems whose one vocabulary holds words and codes, and what they are held to by hand."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from preceptor.data.batches import Batch, collate
from preceptor.data.pictures.captions import caption_record, drawn_record
from preceptor.data.records import IMAGE, Conversation
from preceptor.models.trainable import train_only
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.vision.keep import system_class
from preceptor.vision.mixed import Mixed
from tests.vision.by_heart import COLOURS, PLAIN
from tests.vision.conftest import Book
from tests.vision.rows import TINY

SMALL = {"codes": 12, "code_width": 8, "halvings": 3, "text_length": 96, "answer_tokens": 6}


def small(name: str, book: Book, size: int = 16, **options: Any) -> Mixed:
    """A row with fresh weights, for pictures of four codes; its codebook holds what the four colours look like."""
    kind, tokenizer = system_class(name), load_tokenizer(book.tokenizer / "model")
    tokenizer.add_tokens([IMAGE], special_tokens=True)
    torch.manual_seed(0)
    shape = {key: TINY[key] for key in ("width", "layers", "heads")}
    system = kind(kind.options_class(system=name, **shape | SMALL | options), tokenizer, size, {})
    with torch.no_grad():
        system.quantizer.train()(system.encoder(PLAIN.expand(4, 3, size, size)))
        system.quantizer.codebook.weight.add_(0.01 * torch.randn_like(system.quantizer.codebook.weight))  # no two alike
        for weight in system.language_model.parameters():  # fresh ones are near zero, where all texts look alike
            weight.add_(0.2 * torch.randn_like(weight))
    return system.eval()


def batch_of(system: Mixed, records: Sequence[Conversation], pixels: Tensor) -> Batch:
    """The records as a batch; `pixels` (B, P, 3, H, W) are their pictures."""
    batch = collate([[system.conversation(record)] for record in records], system.tokenizer.pad_token_id)
    return Batch(batch.tensors | {"pixels": pixels}, [1] * len(records), batch.documents)


def colours_both_ways(system: Mixed) -> Batch:
    """Each colour with its name, in both orders."""
    records = [caption_record(name, name, name) for name in COLOURS]
    pixels = PLAIN.expand(4, 3, system.size, system.size).repeat(2, 1, 1, 1)[:, None].contiguous()
    return batch_of(system, [*records, *map(drawn_record, records)], pixels)


def learn(system: Mixed, batch: Batch, steps: int, rate: float = 0.01) -> None:
    """Adam on the row's loss, its image tokenizer frozen."""
    train_only(system, "language_model")
    optimiser = torch.optim.Adam(system.language_model.parameters(), lr=rate, fused=True)
    for _ in range(steps):
        loss = sum(system.weights.get(name, 1.0) * total / count
                   for name, (total, count) in system.losses(batch).items())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@torch.no_grad()
def slow_log_likelihood(system: Mixed, before: Sequence[int], after: Sequence[int]) -> float:
    """log p of entries behind entries, the whole read anew for each, among words and codes."""
    sequence, total = list(before), 0.0
    for entry in after:
        logits = system.language_model(input_ids=torch.tensor([sequence])).logits[0, -1]
        total += logits.log_softmax(0)[entry].item()
        sequence.append(entry)
    return total
