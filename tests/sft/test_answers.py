"""The loss counts the answers and the ends of them, and nothing else; the measure is what a plain model call gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.batches import IGNORE
from preceptor.models.causal import load_causal
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.sft.answers import answer_examples, answer_likelihood
from preceptor.sft.options import SftOptions
from tests.sft.conftest import WORDS, conversation


@pytest.fixture
def step(make_step: Callable[..., Step]) -> Step:
    return make_step("sft", {}, SftOptions())


def test_every_token_of_a_conversation_of_two_turns_is_counted_or_not_as_the_template_says(
        step: Step, tokenizer: Any) -> None:
    said = conversation("bado emi?", "liru kona", "fona!", "gado", system="Be kind.")
    example, = answer_examples(step, tokenizer, [said], 64)
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("system", "user", "assistant", "end")}
    expected, answering = [], False
    for number, token in enumerate(example.tokens):
        if answering:
            expected.append((number - 1, token))  # the position before predicts this token
        if token in (ids["assistant"], ids["end"]):
            answering = token == ids["assistant"]
    assert [(at, target) for at, target in enumerate(example.targets) if target != IGNORE] == expected
    whole = ("<|system|> Be kind.<|user|> bado emi?<|assistant|> liru kona<|end|>"
             "<|user|> fona!<|assistant|> gado<|end|>")
    assert tokenizer.decode(example.tokens) == whole


turns = st.lists(st.text("ab é你\n?", min_size=1, max_size=12).filter(str.strip), min_size=2, max_size=6)


@settings(deadline=None, max_examples=50)
@given(turns.filter(lambda texts: len(texts) % 2 == 0))
def test_what_is_counted_are_the_answers_with_their_ends(tokenizer: Any, texts: list[str]) -> None:
    step = Step("sft", Path(), {}, SftOptions(), 0, None)
    example, = answer_examples(step, tokenizer, [conversation(*texts)], 10_000)
    counted = [target for target in example.targets if target != IGNORE]
    assert tokenizer.decode(counted) == "".join(f" {answer}<|end|>" for answer in texts[1::2])


def test_what_does_not_fit_is_left_out_whole_and_said(
        step: Step, tokenizer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    short, long = conversation("bado", "emi", id="short"), conversation("bado " * 30, "emi", id="long")
    size = len(answer_examples(step, tokenizer, [long], 100)[0].tokens)
    assert [example.id for example in answer_examples(step, tokenizer, [short, long], size)] == ["short", "long"]
    assert capsys.readouterr().err == ""
    assert [example.id for example in answer_examples(step, tokenizer, [short, long], size - 1)] == ["short"]
    assert f"1 of 2 demonstrations are longer than {size - 1} tokens" in capsys.readouterr().err
    with pytest.raises(UserError, match="None of the 1 demonstrations"):
        answer_examples(step, tokenizer, [long], size - 1)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_likelihood_is_that_of_one_plain_call_a_conversation(
        step: Step, tokenizer: Any, family_folder: Callable[[str], Path], family: str) -> None:
    model = load_causal(family_folder(family)).train()
    said = [conversation(f"Say {first}", second, f"and {second}?", first)
            for first, second in zip(WORDS[:7], WORDS[7:14])]
    examples = answer_examples(step, tokenizer, said, 64)
    loss, accuracy = answer_likelihood(model, examples, rows=2, length=64, pad=tokenizer.pad_token_id)
    assert model.training
    model.eval()
    nats, right = [], []
    for example in examples:
        with torch.no_grad():
            log_probs = model(torch.tensor([example.tokens])).logits[0].log_softmax(-1)
        for at, target in enumerate(example.targets):
            if target != IGNORE:
                nats.append(-log_probs[at, target].item())
                right.append(log_probs[at].argmax().item() == target)
    assert loss == pytest.approx(sum(nats) / len(nats), abs=1e-5)
    assert accuracy == pytest.approx(sum(right) / len(right))
