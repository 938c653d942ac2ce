"""The reward model as a `Reward`: which tokens it reads, where the score is read, neighbours do not matter."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.records import Prompt, Response
from preceptor.models.causal import load_causal, save_model
from preceptor.models.reward_model import AnswerEncoder, RewardModel, _alike
from preceptor.models.scalar import scalar_from_causal, set_likelihood_weight
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_prompt, encode_text
from preceptor.tokenizer.fingerprint import fingerprint

# The template writes a space in front of each message, so that an answer begins as it does behind "Answer:" in a text.
PROMPT = Prompt("p", [{"role": "user", "content": "bado kemi liru?"}])


@pytest.fixture(scope="module")
def folder(causal_folder: Callable[[str], Path], tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reward") / "model"
    model = scalar_from_causal(causal_folder("llama"))
    model.config.preceptor_offset = 0.5
    save_model(model, tokenizer, path)
    return path


def one_by_one(reward: RewardModel, tokens: list[int]) -> float:
    return reward.model(torch.tensor([tokens])).logits.item() + 0.5


def test_the_score_is_read_at_the_end_of_text_token(folder: Path) -> None:
    reward = RewardModel(folder)
    tokenizer = reward.encoder.tokenizer
    tokens = [*encode_prompt(tokenizer, PROMPT), *encode_text(tokenizer, " gona fado."), tokenizer.eos_token_id]
    score, = reward.score([PROMPT], [Response("gona fado.")])
    assert score == pytest.approx(one_by_one(reward, tokens), abs=1e-5)
    cut, = reward.score([PROMPT], [Response("gona fado.", finish="length")])
    assert cut == pytest.approx(one_by_one(reward, tokens[:-1]), abs=1e-5) and abs(cut - score) > 1e-3
    stopped, = reward.score([PROMPT], [Response("gona fado.", finish="stop")])
    assert stopped == score


def test_scores_depend_on_neither_neighbours_nor_rows(folder: Path) -> None:
    prompts = [replace(PROMPT, messages=[{"role": "user", "content": "bado " * (n % 7 + 1)}]) for n in range(23)]
    responses = [Response("kemi " * (n % 5), finish=("eos", "length")[n % 2]) for n in range(23)]
    alone = RewardModel(folder, rows=1)
    expected = [alone.score([prompt], [response])[0] for prompt, response in zip(prompts, responses)]
    for rows in (1, 5, 32):
        assert RewardModel(folder, rows).score(prompts, responses) == pytest.approx(expected, abs=1e-5)
    assert RewardModel(folder).score(prompts[::-1], responses[::-1]) == pytest.approx(expected[::-1], abs=1e-5)
    assert len({round(score, 4) for score in expected}) > 20  # else nothing was tested


def test_no_answer_is_padded_to_more_than_twice_its_length() -> None:
    assert list(_alike([9, 4, 8, 200, 100, 30, 5], 32)) == [[1, 6, 2], [0], [5], [4, 3]]
    assert list(_alike([7, 7, 7, 7, 7], 2)) == [[0, 1], [2, 3], [4]] and not list(_alike([], 2))


def test_token_ids_are_read_only_when_the_vocabulary_is_the_same(folder: Path, tokenizer: Any) -> None:
    encoder = AnswerEncoder(tokenizer, 64)
    end = tokenizer.eos_token_id
    written = [7, 8, 9, end]  # not what the text would be tokenised to
    own = Response("gona", token_ids=written, tokenizer=fingerprint(tokenizer))
    asked = encode_prompt(tokenizer, PROMPT)
    assert encoder.encode(PROMPT, own) == (asked, written)
    retokenised = (asked, [*encode_text(tokenizer, " gona"), end])
    assert encoder.encode(PROMPT, replace(own, tokenizer="another")) == retokenised
    assert encoder.encode(PROMPT, replace(own, token_ids=None)) == retokenised
    assert encoder.encode(PROMPT, replace(own, token_ids=[7, 8], finish="length")) == (asked, [7, 8])
    assert encoder.encode(PROMPT, replace(own, token_ids=[7, 8], finish="stop")) == (asked, [7, 8, end])


def test_a_long_prompt_loses_its_beginning_and_is_counted(folder: Path) -> None:
    reward = RewardModel(folder)
    long = replace(PROMPT, messages=[{"role": "user", "content": "bado kemi " * 60}])
    score, _ = reward.score([long, PROMPT], [Response("gona.")] * 2)
    tokenizer = reward.encoder.tokenizer
    tokens = [*encode_prompt(tokenizer, long), *encode_text(tokenizer, " gona."), tokenizer.eos_token_id]
    assert len(tokens) > 64 and reward.truncated == 1
    assert score == pytest.approx(one_by_one(reward, tokens[-64:]), abs=1e-5)


def test_nothing_to_score(folder: Path) -> None:
    assert RewardModel(folder).score([], []) == []


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_likelihood_is_that_of_the_causal_model(family: str, causal_folder: Callable[[str], Path], tokenizer: Any,
                                                    tmp_path: Path) -> None:
    causal, model = load_causal(causal_folder(family)).eval(), scalar_from_causal(causal_folder(family))
    for name, weight in (("plain", 0.0), ("likelihood", 0.25)):
        set_likelihood_weight(model, weight)
        save_model(model, tokenizer, tmp_path / name)
    plain, reward = RewardModel(tmp_path / "plain"), RewardModel(tmp_path / "likelihood", rows=2)
    answers = [Response("gona fado."), Response("kemi"), Response("bado liru liru", finish="length")]
    difference = [a - b for a, b in zip(reward.score([PROMPT] * 3, answers), plain.score([PROMPT] * 3, answers))]
    for answer, found in zip(answers, difference):
        asked, written = reward.encoder.encode(PROMPT, answer)
        with torch.no_grad():
            log_probs = causal(torch.tensor([asked + written])).logits[0, len(asked) - 1:-1].log_softmax(-1)
        expected = sum(float(log_probs[place, token]) for place, token in enumerate(written))
        assert expected < -5 and found == pytest.approx(0.25 * expected, abs=1e-4)


def test_an_answer_without_room_for_its_prompt_counts_the_tokens_that_something_stands_before(folder: Path) -> None:
    reward = RewardModel(folder)
    set_likelihood_weight(reward.model, 1.0)
    long = Response("gona", token_ids=[7] * 70, tokenizer=fingerprint(reward.encoder.tokenizer), finish="length")
    asked, written = reward.encoder.encode(PROMPT, long)
    score, = reward.score([PROMPT], [long])
    set_likelihood_weight(reward.model, 0.0)
    plain, = reward.score([PROMPT], [long])
    log_probs = trunk_logits(reward)(torch.tensor([written]))[0, :-1].log_softmax(-1)
    assert asked == [] and score - plain == pytest.approx(float(log_probs[:, 7].sum()), abs=1e-3)


def trunk_logits(reward: RewardModel) -> Callable[[torch.Tensor], torch.Tensor]:
    """The logits of a reward model's trunk under its embedding."""
    @torch.no_grad()
    def logits(tokens: torch.Tensor) -> torch.Tensor:
        hidden = reward.model.base_model(tokens).last_hidden_state
        return hidden @ reward.model.get_input_embeddings().weight.T
    return logits


def test_a_family_without_a_tied_embedding_is_refused(causal_folder: Callable[[str], Path]) -> None:
    model = scalar_from_causal(causal_folder("qwen2"))
    model.config.tie_word_embeddings = False
    with pytest.raises(UserError, match="matrix of its own"):
        set_likelihood_weight(model, 0.1)
    set_likelihood_weight(model, 0.0)
