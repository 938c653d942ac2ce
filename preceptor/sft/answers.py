"""Demonstrations as examples whose loss counts the answers only, and how well a model predicts those answers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from preceptor.data.batches import IGNORE, Example, collate
from preceptor.data.packing import pack
from preceptor.data.records import Conversation
from preceptor.losses.likelihood import token_log_probs
from preceptor.models.causal import hidden_states
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.chat import encode_conversation


def answer_examples(step: Step, tokenizer: Any, conversations: Sequence[Conversation], length: int) -> list[Example]:
    """Conversations as examples; those of more than `length` tokens are left out, counted and printed.

    They are not cut: without its front a demonstration answers a question that is not there, and without its end it
    teaches the model not to stop.

    Raises:
        UserError: none is left.
    """
    examples = [encode_conversation(tokenizer, conversation) for conversation in conversations]
    fitting = [example for example in examples if len(example.tokens) <= length]
    left_out = len(examples) - len(fitting)
    if not fitting:
        raise UserError(f"None of the {len(examples)} demonstrations of step '{step.name}' fits into {length} tokens.",
                        "Give shorter demonstrations, or a model with a longer context.")
    if left_out:
        step.say(f"{left_out} of {len(examples)} demonstrations are longer than {length} tokens and are left out")
    return fitting


@torch.no_grad()
def answer_likelihood(model: nn.Module, examples: Sequence[Example], *, rows: int, length: int,
                      pad: int) -> tuple[float, float]:
    """Mean loss (nats) and accuracy (share predicted first) over the tokens of all answers.

    Each token is predicted from the demonstration's own tokens before it. No example is longer than `length`. The model
    is left in its mode.
    """
    was_training = model.training
    model.eval()
    packed = pack([len(example.tokens) for example in examples], length)
    nats, right, count = 0.0, 0, 0
    for first in range(0, len(packed), rows):
        batch = collate([[examples[index] for index in row] for row in packed[first:first + rows]], pad)
        batch = batch.to(str(next(model.parameters()).device))
        counted = batch["targets"] != IGNORE
        targets_N = batch["targets"][counted]
        logits_NV = model.get_output_embeddings()(hidden_states(model, batch)[counted])
        nats -= float(token_log_probs(logits_NV, targets_N).sum())
        right += int((logits_NV.argmax(-1) == targets_N).sum())
        count += batch.count
    model.train(was_training)
    return nats / count, right / count
