"""Best of n and rejection sampling: which answers are kept, against closed forms, and that the policy learns them."""

import math
import random
from pathlib import Path

import pytest
import torch

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Conversation, Prompt, Response
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.models.causal import load_causal, save_model
from preceptor.models.reward_model import AnswerEncoder
from preceptor.rlhf.algorithms.best_of_n import best
from preceptor.rlhf.algorithms.rejection_sampling import accepted
from preceptor.rlhf.selection import answer_example, choose
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path, write_json
from preceptor.run.log import read_log
from tests.losses.enumerable import TablePolicy, rewards, tilted
from tests.rlhf.offline import offline_step, run
from tests.rlhf.tiny import GOOD, tiny_policy, tiny_prompts, word_tokenizer


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A policy, prompts, and as reward a program: the share of an answer's words that are `good`."""
    folder = tmp_path_factory.mktemp("inputs")
    save_model(tiny_policy(), word_tokenizer(), folder / "policy" / "model")
    write_jsonl(folder / "prompts.jsonl", [Prompt(f"{n}", tiny_prompts()[n % 6].messages) for n in range(48)])
    (folder / "share_of_good.py").write_text(
        "def score(prompt, response):\n"
        f"    return response.token_ids.count({GOOD}) / len(response.token_ids)\n")
    (folder / "checker").mkdir()
    write_json(folder / "checker" / "reward.json", {"kind": "program", "function": "share_of_good:score",
                                                    "code": str(folder)})
    return {"policy": folder / "policy", "prompts": folder / "prompts.jsonl", "reward": folder / "checker"}


def test_the_best_of_n_is_distributed_as_the_highest_of_n_draws() -> None:
    """P(the best of n is the answer of rank k) = F_k^n - F_{k-1}^n; its divergence is at most log n - (n - 1)/n."""
    policy, r, n = TablePolicy(1).log_probs().detach().exp(), rewards(), 3
    order = r.argsort()
    below = policy[order].cumsum(0)
    expected = torch.empty_like(policy)
    expected[order] = below ** n - torch.cat([torch.zeros(1), below[:-1]]) ** n
    generator, draw, trials = torch.Generator().manual_seed(0), random.Random(0), 20_000
    counts = torch.zeros_like(policy)
    for drawn in torch.multinomial(policy.expand(trials, -1), n, True, generator=generator).tolist():
        counts[drawn[best([r[answer].item() for answer in drawn], draw)[0]]] += 1
    assert (counts / trials - expected).abs().max() < 4 * math.sqrt(0.25 / trials)
    assert (expected * (expected / policy).log()).sum() < math.log(n) - (n - 1) / n


def test_what_is_accepted_is_drawn_from_the_optimum_of_the_regularised_objective() -> None:
    log_p, r, beta, trials = TablePolicy(1).log_probs().detach(), rewards(), 0.7, 40_000
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(log_p.exp(), trials, True, generator=generator).tolist()
    kept = accepted([r[answer].item() for answer in drawn], random.Random(0), beta)
    counts = torch.bincount(torch.tensor([drawn[index] for index in kept]), minlength=len(r))
    expected = tilted(log_p, r / beta).exp()
    assert 2_000 < len(kept) < trials
    assert (counts / len(kept) - expected).abs().max() < 4 * math.sqrt(0.25 / len(kept))


def test_the_best_is_always_accepted_and_near_0_nothing_else() -> None:
    assert accepted([1.0, 3.0, 2.9, 3.0], random.Random(0), 1e-6) == [1, 3]
    assert accepted([0.0, 0.0, 0.0], random.Random(0), 1.0) == [0, 1, 2]
    assert best([1.0, 3.0, 2.0, 3.0], random.Random(0)) == [1]


def test_an_answer_that_was_cut_pays_for_it(tmp_path: Path, inputs: dict[str, Path]) -> None:
    options = offline_step(tmp_path, inputs, "best_of_n", answers=2, missing_end_penalty=0.5).options
    answers = [Response("good", "length", scores={"reward": 1.0}), Response("bad", scores={"reward": 0.6}),
               Response("good", "length", scores={"reward": 1.0}), Response("bad", scores={"reward": 0.4})]
    prompts = [Prompt(str(n), [{"role": "user", "content": "red"}]) for n in range(2)]
    kept = choose(prompts, answers, options, best, 0)
    assert [(prompt.id, answer.text) for prompt, answer in kept] == [("0", "bad"), ("1", "good")]


def test_an_example_holds_the_tokens_that_were_sampled() -> None:
    encoder = AnswerEncoder(word_tokenizer(), 32)
    prompt = Prompt("p", [{"role": "user", "content": "red blue"}])
    sampled = Response("anything", token_ids=[9, 8, 7, 0], tokenizer=encoder._fingerprint)
    found = answer_example(encoder, prompt, sampled)
    before = len(found.tokens) - 4
    assert found.tokens[before:] == [9, 8, 7, 0] and found.count == 4
    assert found.targets == [-100] * (before - 1) + [9, 8, 7, 0, -100]


def mean_score(folder: Path) -> float:
    model = load_causal(folder / "model")
    requests = [Request(prompt, Sampling(max_tokens=6), seed) for prompt in tiny_prompts() for seed in range(30)]
    answers = LocalDecoder(model, word_tokenizer()).answers(requests)
    return sum(one.response.token_ids.count(GOOD) / len(one.response.token_ids) for one in answers) / len(answers)


@pytest.mark.parametrize(("algorithm", "options"), [("best_of_n", {}), ("rejection_sampling", {"beta": 0.05})])
def test_the_policy_learns_what_was_chosen(tmp_path: Path, inputs: dict[str, Path], algorithm: str,
                                           options: dict[str, float]) -> None:
    step = offline_step(tmp_path / "a", inputs, algorithm, max_tokens=6, answers=16, epochs=6, missing_end_penalty=0.0,
                        **options)
    run(step)
    log = read_log(tmp_path / "a" / "log.jsonl")["step"][0]
    assert log["answers"] == 48 * 16 and log["chosen"] >= 48 and log["chosen_score"] > 2 * log["score"]
    assert log["kl_best_of_n"] == pytest.approx(math.log(16) - 15 / 16)
    chosen = read_jsonl(tmp_path / "a" / "chosen.jsonl", Conversation)
    assert len(chosen) == log["chosen"] and chosen[0].messages[-1]["role"] == "assistant"
    # Sampled anew, the policy's answers are nearer to what was chosen than to what it wrote.
    assert mean_score(tmp_path / "a") > 0.5 * (log["score"] + log["chosen_score"])
    # Answers that were written are not written again, and the end is the same bits.
    again = offline_step(tmp_path / "b", inputs, algorithm, max_tokens=6, answers=16, epochs=6, missing_end_penalty=0.0,
                        **options)
    (tmp_path / "b" / "answers.jsonl").write_bytes((tmp_path / "a" / "answers.jsonl").read_bytes())
    run(again)
    assert hash_path(tmp_path / "a" / "model") == hash_path(tmp_path / "b" / "model")


def test_what_cannot_work_is_refused(tmp_path: Path, inputs: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="0 answers"):
        run(offline_step(tmp_path / "a", inputs, "best_of_n", answers=0))
    with pytest.raises(UserError, match="beta 0"):
        run(offline_step(tmp_path / "b", inputs, "rejection_sampling", beta=0.0))
    infinite = tmp_path / "reward"
    infinite.mkdir()
    (infinite / "endless.py").write_text("def score(prompt, response):\n    return float('inf')\n")
    write_json(infinite / "reward.json", {"kind": "program", "function": "endless:score", "code": str(infinite)})
    with pytest.raises(UserError, match="is inf"):
        run(offline_step(tmp_path / "c", {**inputs, "reward": infinite}, "best_of_n", max_tokens=6))
