"""Repetition of meaning: the running sum by hand, no alarm on what it was calibrated on, and an alarm while writing."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from preceptor.generate.guard import GuardedDecoder, Policy
from preceptor.generate.local import LocalDecoder
from preceptor.generate.watched import calibrate
from preceptor.metrics.meaning import Limits, MeaningWatch, calibrated
from tests.generate.conftest import CONTEXT, ask


def test_the_running_sum_by_hand() -> None:
    watch = MeaningWatch(Limits(reference=0.5, limit=0.7))
    east, north = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert watch.add(east, 0) is None and watch.add(north, 10) is None and watch.sum == 0
    assert watch.add(east * 3, 20) is None and watch.sum == pytest.approx(0.5)
    assert watch.add(north, 30) == 20, "the spell began with the first sentence that was like an earlier one"


def test_a_new_thought_ends_a_spell() -> None:
    watch = MeaningWatch(Limits(reference=0.9, limit=0.3))
    axes = np.eye(4)
    for place, vector in enumerate((axes[0], axes[0], axes[1], axes[1], axes[2], axes[2])):
        assert watch.add(vector, place) is None


def test_honest_texts_give_no_alarm_and_paraphrases_do() -> None:
    draw = np.random.default_rng(0)
    honest = [[draw.normal(size=16) + 1 for _ in range(12)] for _ in range(40)]
    limits = calibrated(honest)

    def alarm(vectors: list[np.ndarray]) -> bool:
        watch = MeaningWatch(limits)
        return any(watch.add(vector, place) is not None for place, vector in enumerate(vectors))

    assert not any(map(alarm, honest))
    thought = draw.normal(size=16) + 1
    assert alarm([*honest[0][:4], *(thought + 0.1 * draw.normal(size=16) for _ in range(12))])
    with pytest.raises(ValueError):
        calibrated([[thought]])


def test_the_guard_sees_it_while_the_answer_is_written(endless: nn.Module, tokenizer: Any) -> None:
    model = copy.deepcopy(endless)
    with torch.no_grad():  # it ends a sentence now and then
        model.lm_head.bias[tokenizer(".", add_special_tokens=False)["input_ids"][0]] += 6.0
    decoder = LocalDecoder(model, tokenizer)
    asked = [ask("ado", seed=n, max_tokens=40) for n in range(6)]
    plain = decoder.answers(asked)
    never = GuardedDecoder(decoder, Policy(("stop",)), meaning=Limits(2.0, 1.0))  # no cosine is as large as 2
    for ours, free in zip(never.answers(asked), plain):
        assert ours.response == free.response and ours.log_probs == pytest.approx(free.log_probs, abs=1e-4)
    always = GuardedDecoder(decoder, Policy(("stop",)), meaning=Limits(-2.0, 0.5))
    stopped = always.answers(asked)
    assert {event.kind for event in always.events} == {"meaning"} and len(always.events) >= 2
    for ours, free in zip(stopped, plain):
        tokens = ours.response.token_ids
        assert tokens == free.response.token_ids[:len(tokens)]


def test_limits_come_from_texts_that_the_model_reads(endless: nn.Module, tokenizer: Any) -> None:
    limits = calibrate(endless, tokenizer, ["ado emi. iru ona! bado kemi. ado ado.", ""], CONTEXT)
    assert -1 <= limits.reference <= 1.5 and limits.limit >= 0
