"""Rows of a prompt with its answers: the loss and its gradient are those of one forward pass for each answer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.data.ranked import RankedPrompt, collate_ranked
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.losses.ranking import pairwise_ranking
from preceptor.models.reward_model import AnswerEncoder
from preceptor.models.scalar import scalar_from_causal, set_likelihood_weight
from preceptor.reward.loss import ranking_loss
from tests.data.test_ranked import PAD, ranked


def plain_loss(model: nn.Module, prompts: list[RankedPrompt]) -> torch.Tensor:
    """One forward pass of transformers' own classifier for each answer, then a loop over pairs."""
    total = torch.zeros(())
    for one in prompts:
        scores = [model(torch.tensor([one.prompt + answer])).logits[0, 0] for answer in one.answers]
        pairs = [(i, j) for i, a in enumerate(one.ranks) for j, b in enumerate(one.ranks) if a < b]
        total = total - sum(nn.functional.logsigmoid(scores[i] - scores[j]) for i, j in pairs) / len(pairs)
    return total


def test_loss_and_gradient_equal_one_forward_pass_for_each_answer(sft: Path) -> None:
    model = scalar_from_causal(sft / "model")
    prompts = [ranked(seed) for seed in range(5)]
    expected = plain_loss(model, prompts)
    names, parameters = zip(*model.named_parameters())
    gradients = torch.autograd.grad(expected / 5, parameters)
    loss, count, metrics = ranking_loss(model, collate_ranked(prompts, PAD))
    assert count == 5 and loss.item() == pytest.approx(expected.item(), abs=1e-5)
    for name, ours, theirs in zip(names, torch.autograd.grad(loss / 5, parameters), gradients):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5, msg=name)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 1e-2  # else the tolerance would hide it
    assert 0 <= float(metrics["accuracy"]) <= 5


def test_with_the_likelihood_too(sft: Path) -> None:
    model = scalar_from_causal(sft / "model")
    prompts = [ranked(seed) for seed in range(4)]
    embedding = model.get_input_embeddings().weight
    total = torch.zeros(())
    for one in prompts:
        scores = []
        for answer in one.answers:
            hidden = model.base_model(torch.tensor([one.prompt + answer])).last_hidden_state[0]
            log_probs = (hidden[len(one.prompt) - 1:-1] @ embedding.T).log_softmax(-1)
            likelihood = log_probs[torch.arange(len(answer)), torch.tensor(answer)].sum()
            scores.append(model.score(hidden[-1])[0] + 0.1 * likelihood)
        pairs = [(i, j) for i, a in enumerate(one.ranks) for j, b in enumerate(one.ranks) if a < b]
        total = total - sum(nn.functional.logsigmoid(scores[i] - scores[j]) for i, j in pairs) / len(pairs)
    names, parameters = zip(*model.named_parameters())
    gradients = torch.autograd.grad(total / 4, parameters)
    set_likelihood_weight(model, 0.1)
    loss, _, _ = ranking_loss(model, collate_ranked(prompts, PAD))
    assert loss.item() == pytest.approx(total.item(), abs=1e-5)
    for name, ours, theirs in zip(names, torch.autograd.grad(loss / 4, parameters), gradients):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5, msg=name)


def test_micro_batches_add_up(sft: Path) -> None:
    model = scalar_from_causal(sft / "model")
    batch = collate_ranked([ranked(seed) for seed in range(5)], PAD)
    whole, _, metrics = ranking_loss(model, batch)
    parts = [ranking_loss(model, micro) for micro in batch.split(3)]
    assert sum(loss.item() for loss, _, _ in parts) == pytest.approx(whole.item(), abs=1e-5)
    assert sum(count for _, count, _ in parts) == 5
    assert sum(float(extra["accuracy"]) for _, _, extra in parts) == pytest.approx(float(metrics["accuracy"]))


def test_a_prompt_is_cut_for_its_longest_answer(tokenizer: Any) -> None:
    prompt = Prompt("p", [{"role": "user", "content": "one two three four five six seven eight"}])
    comparison = Comparison("c", prompt, [Response("yes"), Response("no no no no")], [[1], [0]], "l", "person")
    free, tight = AnswerEncoder(tokenizer, 160), AnswerEncoder(tokenizer, 20)
    whole, cut = free.ranked(comparison), tight.ranked(comparison)
    longest = max(map(len, whole.answers))
    assert cut.answers == whole.answers and cut.ranks == [1, 0]
    assert cut.prompt == whole.prompt[-(20 - longest):] and len(whole.prompt) + longest > 20
    assert free.truncated == 0 and tight.truncated == 1


def test_a_loss_of_log_2_before_anything_is_learned(sft: Path) -> None:
    model = scalar_from_causal(sft / "model")
    with torch.no_grad():
        model.score.weight.zero_()
    loss, count, metrics = ranking_loss(model, collate_ranked([ranked(1), ranked(2)], PAD))
    scores, present = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    expected, _ = pairwise_ranking(scores, torch.tensor([[0, 1]]), present)
    assert loss.item() / count == pytest.approx(expected.item(), abs=1e-6)
    assert float(metrics["accuracy"]) == 1.0  # half of two prompts: equal scores count one half
