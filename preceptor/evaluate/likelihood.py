"""What a model thinks of texts: its perplexity on the pretraining distribution, and how far it went from another."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from preceptor.data.batches import IGNORE, Example, collate
from preceptor.data.records import Document
from preceptor.generate.decoder import Answer
from preceptor.learn.language import total_nats
from preceptor.losses.likelihood import selected_log_probs
from preceptor.metrics.intervals import Interval, bootstrap_mean
from preceptor.metrics.language import bits_per_byte, perplexity
from preceptor.models.causal import context_length, hidden_states
from preceptor.tokenizer.chat import encode_document

ROWS = 16  # rows in a forward pass: enough to fill the processor, small enough for its memory


def text_likelihood(model: nn.Module, tokenizer: Any, documents: Sequence[Document]) -> dict[str, Any]:
    """Perplexity and bits per byte of documents, the end of each one included.

    Returns:
        `perplexity`, `bits_per_byte`, and where the documents are of several languages `perplexity_by_language`.
    """
    sums: dict[str, tuple[float, int]] = {}
    for language in dict.fromkeys(document.language or "unknown" for document in documents):
        examples = [encode_document(tokenizer, one) for one in documents if (one.language or "unknown") == language]
        sums[language] = total_nats(model, examples, rows=ROWS, length=context_length(model),
                                    pad=tokenizer.pad_token_id)
    nats, tokens = (sum(part) for part in zip(*sums.values(), strict=True))
    found = {"perplexity": perplexity(nats, tokens),
             "bits_per_byte": bits_per_byte(nats, sum(len(document.text.encode()) for document in documents))}
    if len(sums) > 1:
        found["perplexity_by_language"] = {language: perplexity(*part) for language, part in sums.items()}
    return found


@torch.no_grad()
def divergence(reference: nn.Module, answers: Sequence[Answer], temperature: float, pad: int) -> Interval:
    """KL(model || reference) in nats an answer, at the temperature of the sampling.

    The mean over the model's own answers y of sum_t [log p_model(y_t) - log p_reference(y_t)], which is unbiased
    where the answers are sampled (Schulman 2020, k1). Of greedy answers it is the log-ratio at temperature 1.
    """
    reference.eval()
    differences = []
    by_length = sorted(answers, key=lambda answer: len(answer.prompt_tokens) + len(answer.log_probs))
    for first in range(0, len(by_length), 4 * ROWS):
        chosen = by_length[first:first + 4 * ROWS]
        batch = collate([[_answer_example(answer)] for answer in chosen], pad).to(str(reference.device))
        counted = batch["targets"] != IGNORE
        head = reference.get_output_embeddings()
        log_probs = selected_log_probs(hidden_states(reference, batch)[counted], head.weight, batch["targets"][counted],
                                       temperature=temperature or 1.0, bias=head.bias)
        per_answer = log_probs.split(counted.sum(1).tolist())
        differences += [sum(answer.log_probs) - float(part.sum()) for answer, part in zip(chosen, per_answer)]
    return bootstrap_mean(differences)


def _answer_example(answer: Answer) -> Example:
    """Prompt and answer in which the answer's tokens are predicted and nothing else."""
    tokens = [*answer.prompt_tokens, *answer.response.token_ids]
    ignored = len(answer.prompt_tokens) - 1
    return Example("", tokens, [*[IGNORE] * ignored, *answer.response.token_ids, IGNORE])
