"""Encoder-decoder models: the library's greedy answers, and the same answer alone and in any batch."""

import random
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.generate.decoder import Request
from preceptor.generate.local import LocalDecoder
from preceptor.run.errors import UserError
from tests.generate.conftest import CONTEXT, ask

TEXTS = ["ado", "emi iru ona", "bado kemi ado emi iru", "", "ona " * 9]


@pytest.fixture(scope="module", params=["t5", "bart"])
def model(tokenizer: Any, request: pytest.FixtureRequest) -> nn.Module:
    import transformers
    torch.manual_seed(1)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None,
            "decoder_start_token_id": tokenizer.pad_token_id, "vocab_size": len(tokenizer), "dropout": 0.0}
    if request.param == "t5":
        model = transformers.T5ForConditionalGeneration(transformers.T5Config(
            d_model=32, d_ff=48, d_kv=8, num_layers=2, num_heads=4, n_positions=CONTEXT, dropout_rate=0.0,
            tie_word_embeddings=False, **{name: value for name, value in ends.items() if name != "dropout"}))
    else:
        model = transformers.BartForConditionalGeneration(transformers.BartConfig(
            d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=CONTEXT, forced_eos_token_id=None, **ends))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def test_greedy_answers_are_those_of_the_library(model: nn.Module, tokenizer: Any) -> None:
    for options in ({}, {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2}):
        requests = [ask(text, temperature=0, max_tokens=14, **options) for text in TEXTS]
        for answer in LocalDecoder(model, tokenizer).answers(requests):
            prompt = torch.tensor([answer.prompt_tokens])
            written = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False,
                                     max_new_tokens=14, **options)[0, 1:]
            assert answer.response.token_ids == written.tolist()


def test_an_answer_is_the_same_alone_and_in_any_batch(model: nn.Module, tokenizer: Any) -> None:
    requests: list[Request] = [ask(TEXTS[n % 5], seed=n, max_tokens=3 + 2 * (n % 6), stop=("a",) if n % 4 == 0 else ())
                               for n in range(20)]
    alone = [LocalDecoder(model, tokenizer).answers([request])[0] for request in requests]
    order = random.Random(0).sample(range(20), 20)
    for rows in (3, 64):
        found = dict(LocalDecoder(model, tokenizer, rows=rows).generate([requests[number] for number in order]))
        for place, number in enumerate(order):
            assert found[place].response == alone[number].response
            assert found[place].log_probs == pytest.approx(alone[number].log_probs, abs=1e-4)
    request = ask("ado", seed=3, max_tokens=20)
    assert "".join(LocalDecoder(model, tokenizer).stream(request)) == \
        LocalDecoder(model, tokenizer).answers([request])[0].response.text


def test_searches_are_refused_and_long_prompts_cut(model: nn.Module, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="without an encoder"):
        LocalDecoder(model, tokenizer).answers([ask("ado", temperature=0, num_beams=2)])
    decoder = LocalDecoder(model, tokenizer)
    answer = decoder.answers([ask("ona " * 80, max_tokens=CONTEXT)])[0]
    assert decoder.truncated == 1 and len(answer.prompt_tokens) == CONTEXT
