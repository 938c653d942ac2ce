"""Guidance: every token is drawn from both prompts' logits by the formula, whatever else is answered."""

from typing import Any

import torch
from torch import Tensor

from preceptor.data.records import Prompt
from preceptor.generate.contrast import contrasted
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.guidance import guided_answers
from preceptor.generate.local import LocalDecoder
from preceptor.generate.sampling import next_tokens, uniforms
from preceptor.losses.diffusion import guided
from tests.generate.conftest import build


def away(with_text: Tensor, without: Tensor) -> Tensor:
    return guided(with_text, without, 2.5)


@torch.no_grad()
def slow(model: torch.nn.Module, prompt: list[int], without: list[int], seed: int, count: int) -> list[int]:
    """Both texts read anew for each token."""
    written: list[int] = []
    numbers = uniforms(torch.tensor([seed]), count)
    while len(written) < count and model.config.eos_token_id not in written:
        logits = [model(input_ids=torch.tensor([text + written])).logits[:, -1] for text in (prompt, without)]
        tokens, _ = next_tokens(away(*logits), numbers[:, len(written)], torch.ones(1), torch.zeros(1).long(),
                                torch.ones(1).double())
        written.append(int(tokens[0]))
    return written


def test_tokens_are_drawn_from_the_logits_of_both_prompts(tokenizer: Any) -> None:
    torch.manual_seed(0)
    model, prompts = build("llama", tokenizer).eval(), [[5, 6, 7], [8], [9, 10, 11, 12], [5, 6, 7]]
    without = [[3], [4, 8], [3, 12], [6, 7]]
    requests = [Request(Prompt(str(n), [{"role": "user", "content": ""}]), Sampling(max_tokens=8), 7 + n)
                for n in range(4)]
    expected = [slow(model, prompt, other, 7 + n, 8) for n, (prompt, other) in enumerate(zip(prompts, without))]
    assert len(set(map(tuple, expected))) == 4
    for rows in (3, 4, 64):  # pairs stay together however many rows there are
        found = guided_answers(LocalDecoder(model, tokenizer, rows=rows), requests, prompts, without, away)
        assert [answer.response.token_ids for answer in found] == expected
        assert [answer.prompt_tokens for answer in found] == prompts


def test_contrast_by_rank_keeps_what_the_token_of_that_rank_allows() -> None:
    expert = torch.tensor([[0.5, 0.25, 0.15, 0.06, 0.04]]).log()
    amateur = torch.tensor([[0.7, 0.1, 0.1, 0.05, 0.05]]).log()
    for rank, alpha, kept in ((1, 0.5, 2), (2, 0.5, 3), (3, 0.3, 4), (9, 1.0, 5)):
        found = contrasted(expert, amateur, alpha, rank=rank)
        assert (found > -torch.inf).sum() == kept
        torch.testing.assert_close(found[:, :kept], (expert - amateur)[:, :kept])
