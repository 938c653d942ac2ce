"""Scalar models: trunk and head, values independent of what stands beside them, folders that transformers opens."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, MambaConfig

from preceptor.data.batches import IGNORE, Example, collate
from preceptor.models import causal
from preceptor.models.attention import shared_prompt_mask
from preceptor.models.causal import SHORT, attention_kind, load_causal, save_model
from preceptor.models.scalar import load_scalar, offset, scalar_from_causal, token_values
from preceptor.run.errors import UserError

FAMILIES = ("llama", "gpt2", "qwen2")
Folder = Callable[[str], Path]


def example(length: int, seed: int) -> Example:
    draw = random.Random(seed)
    return Example(str(seed), [draw.randrange(5, 300) for _ in range(length)], [IGNORE] * length)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_trunk_is_the_causal_models(family: str, causal_folder: Folder) -> None:
    causal, scalar = load_causal(causal_folder(family)), scalar_from_causal(causal_folder(family))
    tokens = torch.tensor([example(9, 0).tokens])
    torch.testing.assert_close(scalar.base_model(tokens).last_hidden_state, causal.base_model(tokens).last_hidden_state)
    assert scalar.config.num_labels == 1 and scalar.score.weight.shape == (1, 32)


def test_the_head_has_variance_one_over_width_plus_one(causal_folder: Folder) -> None:
    heads = torch.stack([scalar_from_causal(causal_folder("llama"), seed).score.weight.detach() for seed in range(20)])
    # 640 draws: the deviation of their mean square is 5.6 % of it.
    assert float(heads.square().mean()) == pytest.approx(1 / 33, rel=0.2)
    assert abs(float(heads.mean())) < 4 * (1 / 33 / 640) ** 0.5
    again = scalar_from_causal(causal_folder("llama"), 3).score.weight
    assert torch.equal(again, heads[3]) and not torch.equal(heads[3], heads[4])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_value_does_not_depend_on_what_is_packed_beside_it(family: str, causal_folder: Folder) -> None:
    model = scalar_from_causal(causal_folder(family)).eval()
    examples = [example(length, length) for length in (7, 12, 5, 9)]
    packed = token_values(model, collate([examples, examples[:1]], pad=1))
    assert packed.dtype == torch.float32
    start = 0
    for one in examples:
        alone = model.score(model.base_model(torch.tensor([one.tokens])).last_hidden_state)[0, :, 0]
        torch.testing.assert_close(packed[0, start:start + len(one.tokens)], alone, atol=1e-5, rtol=0)
        start += len(one.tokens)
    torch.testing.assert_close(packed[1, :7], packed[0, :7], atol=1e-5, rtol=0)


def test_the_shared_prompt_mask_shows_an_answer_its_prompt_and_itself(causal_folder: Folder) -> None:
    model = load_causal(causal_folder("llama"))
    segments = torch.tensor([[1, 1, 2, 2, 3, 0]])
    expected = [[1, 0, 0, 0, 0, 0],
                [1, 1, 0, 0, 0, 0],
                [1, 1, 1, 0, 0, 0],
                [1, 1, 1, 1, 0, 0],
                [1, 1, 0, 0, 1, 0],
                [0, 0, 0, 0, 0, 1]]
    model.config._attn_implementation = "sdpa"
    assert shared_prompt_mask(segments, model)[0, 0].int().tolist() == expected
    model.config._attn_implementation = "eager"
    assert (shared_prompt_mask(segments, model)[0, 0] == 0).int().tolist() == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_opens_with_transformers_and_keeps_its_offset(family: str, causal_folder: Folder, tokenizer: Any,
                                                                    tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification
    model = scalar_from_causal(causal_folder(family), seed=2).eval()
    assert offset(model) == 0.0
    model.config.preceptor_offset = 0.75
    save_model(model, tokenizer, tmp_path / "model")
    ours, theirs = load_scalar(tmp_path / "model").eval(), AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model").eval()
    assert offset(ours) == offset(theirs) == 0.75
    one = example(8, 1)
    expected = token_values(ours, collate([[one]], pad=1))[0, -1].item()
    assert theirs(torch.tensor([one.tokens])).logits.item() == pytest.approx(expected, abs=1e-5)


def test_what_is_no_scalar_model_is_refused(causal_folder: Folder, tokenizer: Any, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification
    with pytest.raises(UserError, match="lacks 1 weights.*score"):
        load_scalar(causal_folder("llama"))
    small = dict(vocab_size=300, pad_token_id=1, num_labels=2)
    save_model(GPT2ForSequenceClassification(GPT2Config(n_embd=8, n_layer=1, n_head=1, **small)), tokenizer,
               tmp_path / "two")
    with pytest.raises(UserError, match="2 outputs, not one"):
        load_scalar(tmp_path / "two")
    bert = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, **small)
    bert.num_labels = 1
    save_model(BertForSequenceClassification(bert), tokenizer, tmp_path / "bert")
    with pytest.raises(UserError, match="no linear head on each token"):
        load_scalar(tmp_path / "bert")


def test_plain_attention_is_for_short_networks_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = LlamaConfig(max_position_embeddings=SHORT), LlamaConfig(max_position_embeddings=SHORT + 1)
    monkeypatch.setattr(causal, "has_bfloat16", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [attention_kind(one) for one in (short, long, MambaConfig())] == ["eager", "sdpa", "sdpa"]
    monkeypatch.setattr(causal, "has_bfloat16", lambda: False)
    assert attention_kind(short) == "sdpa"
