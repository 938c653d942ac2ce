"""Answers behind a soft prompt: whatever the strategy, alone or in company, they are scored as a whole reading does."""

from collections.abc import Sequence

import pytest
import torch

from preceptor.data.batches import IGNORE, Example, collate
from preceptor.data.records import Prompt
from preceptor.generate.decoder import Answer, Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.models.adapters import adapter_off
from preceptor.models.causal import context_length, hidden_states
from preceptor.run.errors import UserError
from tests.models.test_soft_prompt import prompted
from tests.models.test_trunk import network
from tests.rlhf.tiny import WORDS, word_tokenizer

STRATEGIES = {"sampled": Sampling(max_tokens=4), "greedy": Sampling(temperature=0.0, max_tokens=4),
              "beams": Sampling(temperature=0.0, max_tokens=4, num_beams=2),
              "looked up": Sampling(temperature=0.0, max_tokens=4, prompt_lookup_num_tokens=2),
              "contrastive": Sampling(temperature=0.0, max_tokens=4, penalty_alpha=0.4, top_k=3)}


def decoder(family: str) -> LocalDecoder:
    return LocalDecoder(prompted(network(family), "p_tuning"), word_tokenizer(), rows=4)


def requests(sampling: Sampling) -> list[Request]:
    texts = [" ".join(WORDS[: 1 + n % 3]) for n in range(5)]
    return [Request(Prompt(str(n), [{"role": "user", "content": text}]), sampling, n) for n, text in enumerate(texts)]


def read(model: torch.nn.Module, answer: Answer, temperature: float = 1.0) -> torch.Tensor:
    """log p of the answer's tokens in one reading of prompt and answer."""
    tokens = [*answer.prompt_tokens, *answer.response.token_ids]
    batch = collate([[Example("", tokens[:-1], [IGNORE] * (len(tokens) - 1))]], pad=1)
    with torch.no_grad():
        logits = model.get_output_embeddings()(hidden_states(model, batch))[0, len(answer.prompt_tokens) - 1:]
    return (logits / temperature).log_softmax(-1).gather(1, torch.tensor(answer.response.token_ids)[:, None])[:, 0]


def likelihoods(model: torch.nn.Module, answers: Sequence[Answer]) -> list[list[float]]:
    return [read(model, answer).tolist() for answer in answers]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_written_is_what_a_whole_reading_makes_of_it(family: str, strategy: str) -> None:
    writer, asked = decoder(family), requests(STRATEGIES[strategy])
    together = writer.answers(asked)
    for answer, expected in zip(together, likelihoods(writer.model, together)):
        assert answer.log_probs == pytest.approx(expected, abs=1e-4)
    alone = [writer.answers([one])[0] for one in asked]
    assert [one.response.token_ids for one in alone] == [one.response.token_ids for one in together]
    if strategy == "greedy":
        for answer in together:
            assert _greedy(writer.model, answer) == answer.response.token_ids
        with adapter_off(writer.model):
            off = writer.answers(asked)
        del writer.model.soft_prompt
        plain = writer.answers(asked)
        assert [one.log_probs for one in off] == [one.log_probs for one in plain]
        assert [one.log_probs for one in off] != [one.log_probs for one in together]


def _greedy(model: torch.nn.Module, answer: Answer) -> list[int]:
    """The likeliest tokens, one whole reading a token."""
    tokens = list(answer.prompt_tokens)
    with torch.no_grad():
        for _ in answer.response.token_ids:
            batch = collate([[Example("", tokens, [IGNORE] * len(tokens))]], pad=1)
            tokens.append(int(model.get_output_embeddings()(hidden_states(model, batch)[0, -1]).argmax()))
    return tokens[len(answer.prompt_tokens):]


def test_an_answer_may_fill_the_context_to_its_end() -> None:
    writer = decoder("gpt2")
    room = context_length(writer.model)
    asked = requests(Sampling(max_tokens=room - 4, temperature=1.5))[2]
    prompt = writer.prompt_tokens(asked)
    assert len(prompt) == 4 and writer.truncated == 1
    longest = max((writer.answers([Request(asked.prompt, asked.sampling, seed)])[0] for seed in range(20)),
                  key=lambda answer: len(answer.response.token_ids))
    assert len(longest.response.token_ids) == room - 4
    assert longest.log_probs == pytest.approx(read(writer.model, longest, 1.5).tolist(), abs=1e-4)


def test_a_draft_behind_a_soft_prompt_is_refused() -> None:
    with pytest.raises(UserError, match="Speculation cannot take"):
        LocalDecoder(network("llama"), word_tokenizer(), draft=prompted(network("llama"), "prompt"))
