"""The guard: loops are seen while they are written, and each action does what its name says, logged and counted."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.generate.guard import GuardedDecoder, LoopPenalty, Policy, first_part, put_differently
from preceptor.generate.local import LocalDecoder
from preceptor.generate.preferences import against_loops
from preceptor.metrics.watch import first_loop
from preceptor.run.errors import UserError
from tests.generate.conftest import ask


def requests(count: int = 4, **options: Any) -> list:
    return [ask(f"ado {n}", seed=n, **{"temperature": 0, "max_tokens": 45, **options}) for n in range(count)]


def test_without_a_loop_the_guard_changes_nothing(llama: nn.Module, tokenizer: Any) -> None:
    asked = [ask("ado", seed=n, max_tokens=30, stop=("a",) if n % 2 else ()) for n in range(12)]
    decoder = LocalDecoder(llama, tokenizer)
    guarded = GuardedDecoder(decoder)
    for ours, plain in zip(guarded.answers(asked), decoder.answers(asked)):
        assert ours.response == plain.response and ours.log_probs == pytest.approx(plain.log_probs, abs=1e-4)
    assert guarded.events == [] and not guarded.counts()


def test_stop_ends_the_answer_before_the_second_copy(looping: nn.Module, tokenizer: Any) -> None:
    decoder = LocalDecoder(looping, tokenizer)
    plain = decoder.answers(requests())
    guarded = GuardedDecoder(decoder, Policy(actions=("stop",)))
    for ours, free in zip(guarded.answers(requests()), plain):
        assert len(free.response.token_ids) == 45 and ours.response.finish == "stop"
        event = ours.response.sampling["guard"][0]
        assert ours.response.token_ids == free.response.token_ids[:event["start"]]
        assert len(ours.log_probs) == len(ours.response.token_ids) < event["at"] < 45
        assert event["action"] == "stop" and event["period"] in (5, len(set(ours.response.token_ids)))
    assert guarded.counts().total() == 4


def test_rolled_back_answers_leave_the_loop(looping: nn.Module, tokenizer: Any) -> None:
    recovery = {"temperature": 1.0, "dry_multiplier": 5.0, "dry_sequence_breakers": ()}
    guarded = GuardedDecoder(LocalDecoder(looping, tokenizer), Policy(recovery=recovery))
    answers = guarded.answers(requests(6))
    assert all(action == "roll_back" for _, action in guarded.counts())
    for answer in answers:
        tokens, event = answer.response.token_ids, answer.response.sampling["guard"][0]
        assert first_loop(guarded.units[token] for token in tokens) is None
        assert len(tokens) == 45 == len(answer.log_probs) and answer.response.finish == "length"
        with torch.no_grad():
            logits = looping(input_ids=torch.tensor([answer.prompt_tokens + tokens])).logits[0]
        expected = logits.log_softmax(-1)[len(answer.prompt_tokens) - 1:-1].gather(-1, torch.tensor(tokens)[:, None])
        kept = event["start"]
        torch.testing.assert_close(torch.tensor(answer.log_probs), expected[:, 0], atol=1e-3, rtol=0)
        assert 0 < kept < event["at"]


def test_a_loop_that_comes_back_is_stopped_in_the_end(looping: nn.Module, tokenizer: Any) -> None:
    guarded = GuardedDecoder(LocalDecoder(looping, tokenizer), Policy(recovery={"temperature": 0.0}))
    answer = guarded.answers(requests(1))[0]
    assert [event["action"] for event in answer.response.sampling["guard"]] == ["roll_back", "roll_back", "stop"]
    assert answer.response.finish == "stop"


def test_regenerate_puts_the_prompt_differently(looping: nn.Module, tokenizer: Any) -> None:
    asked = []

    def rephrase(prompt: Prompt, attempt: int) -> Prompt:
        asked.append((prompt.id, attempt))
        return put_differently(prompt, attempt)

    guarded = GuardedDecoder(LocalDecoder(looping, tokenizer), Policy(
        ("regenerate", "stop"), {"temperature": 1.0, "dry_multiplier": 9.0, "dry_sequence_breakers": ()}),
        rephrase=rephrase)
    plain = LocalDecoder(looping, tokenizer).answers(requests(2))
    answers = guarded.answers(requests(2))
    assert asked == [("ado 0", 1), ("ado 1", 1)]
    for ours, free in zip(answers, plain):
        assert len(ours.prompt_tokens) > len(free.prompt_tokens) and len(ours.response.token_ids) == 45


def test_a_person_s_queue_gets_prompt_and_answer(looping: nn.Module, tokenizer: Any) -> None:
    queue = []
    guarded = GuardedDecoder(LocalDecoder(looping, tokenizer), Policy(("queue",)),
                             queue=lambda request, answer: queue.append((request.prompt.id, answer.response.finish)))
    guarded.answers(requests(2))
    assert sorted(queue) == [("ado 0", "stop"), ("ado 1", "stop")]


def test_searches_are_looked_at_when_they_are_done(looping: nn.Module, tokenizer: Any) -> None:
    guarded = GuardedDecoder(LocalDecoder(looping, tokenizer), Policy(("stop",)))
    answers = guarded.answers(requests(1, num_beams=2))
    assert all(answer.response.finish == "stop" and "guard" in answer.response.sampling for answer in answers)


def test_stop_texts_hold_across_a_roll_back(looping: nn.Module, tokenizer: Any) -> None:
    asked = [dataclasses.replace(one, sampling=dataclasses.replace(one.sampling, stop=("zzz", "kemi ona emi iru")))
             for one in requests(1)]
    answer = GuardedDecoder(LocalDecoder(looping, tokenizer)).answers(asked)[0]
    assert "kemi ona emi iru" not in answer.response.text


@pytest.mark.parametrize("policy, said", [({"actions": ("shout",)}, "no action 'shout'"), ({"actions": ()}, "end"),
                                          ({"actions": ("roll_back",)}, "must end the matter")], ids=str)
def test_policies_that_cannot_be_are_refused(policy: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Policy(**policy)


def test_a_queue_that_is_not_there_is_refused(llama: nn.Module, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="no queue is given"):
        GuardedDecoder(LocalDecoder(llama, tokenizer), Policy(("queue",)))


def test_rollouts_can_be_made_to_pay() -> None:
    prompt = Prompt(id="p", messages=[{"role": "user", "content": "?"}])
    loop = Response("she closed the door and went home. " * 8)
    assert LoopPenalty(2.0).score([prompt] * 2, [loop, Response("She closed the door.")]) == [-2.0, 0.0]


def test_prompts_are_put_differently_in_their_language() -> None:
    def prompt(text: str) -> Prompt:
        return Prompt(id="p", messages=[{"role": "user", "content": text}])

    assert put_differently(prompt("Who?"), 1).messages[0]["content"].startswith("Who?\nAnswer briefly")
    assert "不要重复" in put_differently(prompt("谁？"), 1).messages[0]["content"]
    assert first_part(prompt("One. Two. Three. Four."), 1).messages[0]["content"] == "One.\nTwo."


def test_loops_become_comparisons_in_which_they_lose(looping: nn.Module, tokenizer: Any) -> None:
    recovery = {"temperature": 1.0, "dry_multiplier": 9.0, "dry_sequence_breakers": ()}
    guarded = GuardedDecoder(LocalDecoder(looping, tokenizer), Policy(recovery=recovery))
    found = against_loops(guarded, requests(3))
    assert len(found) == 3
    for comparison in found:
        good, bad = comparison.responses
        assert comparison.ranking == [[0], [1]] and comparison.kind == "program"
        assert first_loop(guarded.units[token] for token in bad.token_ids)
        assert not first_loop(guarded.units[token] for token in good.token_ids)
        assert Comparison.from_dict(comparison.to_dict()) == comparison
