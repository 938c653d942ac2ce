"""Perplexity and divergence against the plain way: one text at a time, through the whole model, without packing."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Document, Prompt
from preceptor.evaluate.likelihood import divergence, text_likelihood
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.models.causal import load_causal
from preceptor.tokenizer.chat import encode_text


@torch.no_grad()
def log_probs(model: nn.Module, tokens: list[int], temperature: float = 1.0) -> list[float]:
    """log p of every token but the first, given all before it."""
    logits = model(input_ids=torch.tensor([tokens])).logits[0, :-1] / temperature
    return logits.log_softmax(-1)[range(len(tokens) - 1), tokens[1:]].tolist()


@pytest.fixture(scope="module")
def networks(models: dict[str, Path]) -> dict[str, nn.Module]:
    return {name: load_causal(models[name] / "model").eval() for name in ("sft", "ppo")}


def test_perplexity_is_that_of_one_text_at_a_time(networks: dict[str, nn.Module], tokenizer: Any,
                                                  village: Path) -> None:
    # Texts that are cut to no context, so that the plain way is right.
    documents = [document for document in read_jsonl(village / "corpus.jsonl", Document)
                 if len(encode_text(tokenizer, document.text)) <= 254][:25]
    nats: dict[str, list[float]] = {"en": [], "zh": []}
    for document in documents:
        tokens = [tokenizer.eos_token_id, *encode_text(tokenizer, document.text), tokenizer.eos_token_id]
        nats[document.language] += [-value for value in log_probs(networks["sft"], tokens)]
    found = text_likelihood(networks["sft"], tokenizer, documents)
    everything = nats["en"] + nats["zh"]
    assert found["perplexity"] == pytest.approx(math.exp(sum(everything) / len(everything)), rel=1e-4)
    assert found["perplexity_by_language"] == pytest.approx(
        {language: math.exp(sum(some) / len(some)) for language, some in nats.items()}, rel=1e-4)
    letters = sum(len(document.text.encode()) for document in documents)
    assert found["bits_per_byte"] == pytest.approx(sum(everything) / math.log(2) / letters, rel=1e-4)


def test_documents_of_one_language_are_not_measured_twice(networks: dict[str, nn.Module], tokenizer: Any) -> None:
    assert text_likelihood(networks["sft"], tokenizer, [Document("Ada is a baker.", "d")]).keys() == {
        "perplexity", "bits_per_byte"}


@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_divergence_is_the_mean_log_ratio_of_whole_answers(networks: dict[str, nn.Module], tokenizer: Any,
                                                           village: Path, temperature: float) -> None:
    prompts = read_jsonl(village / "prompts.test.jsonl", Prompt)[:9]
    sampling = Sampling(temperature=temperature, max_tokens=7)
    requests = [Request(prompt, sampling, seed) for seed, prompt in enumerate(prompts)]
    answers = LocalDecoder(networks["ppo"], tokenizer).answers(requests)
    ratios = []
    for answer in answers:
        tokens = [*answer.prompt_tokens, *answer.response.token_ids]
        ours, theirs = (sum(log_probs(networks[name], tokens, temperature or 1.0)[-len(answer.response.token_ids):])
                        for name in ("ppo", "sft"))
        ratios.append(ours - theirs)
    found = divergence(networks["sft"], answers, temperature, tokenizer.pad_token_id)
    assert found.mean == pytest.approx(sum(ratios) / len(ratios), abs=1e-3) and found.n == 9
    assert divergence(networks["ppo"], answers, temperature, tokenizer.pad_token_id).mean == pytest.approx(0, abs=1e-3)
