"""An adapter's folder: plain `peft` opens it, we open it, merging keeps what it does, and misfits are refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from preceptor.data.batches import IGNORE, Example, collate
from preceptor.models.adapter_folder import CONFIG, WEIGHTS, adapter_base, attach_adapter
from preceptor.models.adapters import add_lora, carries_adapter, ordinary_weights, view_of
from preceptor.models.causal import hidden_states, load_causal, save_model
from preceptor.models.scalar import head_values, load_scalar, scalar_from_causal
from preceptor.models.soft_prompt import add_soft_prompt
from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json
from tests.models.test_trunk import network
from tests.rlhf.tiny import word_tokenizer

TOKENS = torch.tensor([[2, 3, 4, 5, 6]])
BATCH = collate([[Example("", TOKENS[0].tolist(), [IGNORE] * 5)]], pad=1)


def moved(model: torch.nn.Module) -> torch.nn.Module:
    """The model with everything that learns in it moved."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def adapted(folder: Path, family: str = "llama") -> torch.nn.Module:
    """A model with LoRA, whose base stands in base/ and which is saved in tuned/."""
    save_model(network(family), word_tokenizer(), folder / "base")
    model = load_causal(folder / "base")
    add_lora(model, rank=2, alpha=4.0)
    save_model(moved(model), word_tokenizer(), folder / "tuned")
    return model


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_plain_peft_and_we_open_it_and_it_is_what_was_trained(family: str, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM, PeftModel
    model, folder = adapted(tmp_path, family), tmp_path / "tuned" / "adapter"
    ours = load_causal(folder)
    assert carries_adapter(ours) and ours.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in ours.state_dict().items())
    plain = PeftModel.from_pretrained(load_causal(tmp_path / "base"), folder)
    assert all(torch.equal(value, model.state_dict()[name.removeprefix("base_model.model.")])
               for name, value in plain.state_dict().items())
    torch.testing.assert_close(plain(input_ids=TOKENS).logits, model(TOKENS).logits, atol=1e-6, rtol=1e-5)
    found = AutoPeftModelForCausalLM.from_pretrained(folder)(input_ids=TOKENS).logits
    torch.testing.assert_close(found[..., :11], model(TOKENS).logits, atol=1e-5, rtol=0)  # it adds rows for all tokens
    merged = load_causal(tmp_path / "tuned")
    assert not carries_adapter(merged) and adapter_base(tmp_path / "tuned") is None
    torch.testing.assert_close(merged(TOKENS).logits, model(TOKENS).logits, atol=1e-5, rtol=0)


def test_a_folder_that_plain_peft_wrote_opens(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    save_model(network("llama"), word_tokenizer(), tmp_path / "base")
    config = LoraConfig(r=2, target_modules=["q_proj", "up_proj"])
    theirs = moved(get_peft_model(load_causal(tmp_path / "base"), config))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_causal(tmp_path / "theirs")
    torch.testing.assert_close(ours(TOKENS).logits, theirs(input_ids=TOKENS).logits, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(ours(TOKENS).logits, load_causal(tmp_path / "base")(TOKENS).logits, atol=1e-2)


def test_unmerged_is_the_base_to_the_rounding_of_one_addition(tmp_path: Path) -> None:
    adapted(tmp_path)
    base = load_causal(tmp_path / "base").state_dict()
    merged = load_causal(tmp_path / "tuned")
    taken_off = view_of(merged)

    attach_adapter(taken_off, tmp_path / "tuned" / "adapter")
    found = ordinary_weights(taken_off, sign=-1.0)
    assert found.keys() == base.keys()
    for name, value in found.items():  # (W + BA) - BA is W but for two roundings to 24 bits
        most = base[name].abs().max() + merged.state_dict()[name].abs().max()
        assert (value - base[name]).abs().max() <= 2.0 ** -23 * most, name


def test_a_reward_models_head_goes_with_its_adapter(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification
    save_model(network("llama"), word_tokenizer(), tmp_path / "base")
    for kind in ("lora", "prompt"):
        model = scalar_from_causal(tmp_path / "base", seed=4)
        add_lora(model, 2, 4.0) if kind == "lora" else add_soft_prompt(model, kind, 2)
        model.score.requires_grad_(True)
        model.config.preceptor_offset = 0.5
        save_model(moved(model.eval()), word_tokenizer(), tmp_path / kind)
        folder = tmp_path / kind / "adapter" if kind == "lora" else tmp_path / kind
        again = load_scalar(folder)
        with torch.no_grad():
            ours, loaded = (head_values(one, hidden_states(one, BATCH)) for one in (model, again))
            plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=1)
            theirs = PeftModel.from_pretrained(plain, folder).eval()(
                input_ids=TOKENS, attention_mask=torch.ones_like(TOKENS)).logits
        torch.testing.assert_close(loaded, ours, atol=1e-6, rtol=1e-5)
        assert torch.equal(again.score.weight, model.score.weight) and again.config.preceptor_offset == 0.5
        torch.testing.assert_close(theirs[0, 0], ours[0, -1], atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="carries an adapter"):
        save_model(moved(_prompted(tmp_path / "base")), word_tokenizer(), tmp_path / "soft")
        scalar_from_causal(tmp_path / "soft")


def _prompted(folder: Path) -> torch.nn.Module:
    model = load_causal(folder)
    add_soft_prompt(model, "prompt", 2)
    return model


def test_misfits_are_refused_by_name(tmp_path: Path) -> None:
    adapted(tmp_path)
    folder = tmp_path / "tuned" / "adapter"
    config, tensors = read_json(folder / CONFIG), load_file(folder / WEIGHTS)
    name = sorted(tensors)[0]

    def refused(match: str, changes: dict[str, object], weights: dict[str, torch.Tensor]) -> None:
        write_json(folder / CONFIG, {**config, **changes})
        save_file(weights, folder / WEIGHTS)
        with pytest.raises(UserError, match=match):
            load_causal(folder)

    refused("is not at", {"base_model_name_or_path": str(tmp_path / "gone")}, tensors)
    refused("does not fit its base", {}, {key: value for key, value in tensors.items() if key != name})
    refused("does not fit its base", {}, {**tensors, name: torch.zeros(3, 3)})
    refused("does not fit its base", {}, {**tensors, "base_model.model.nothing.lora_A.weight": torch.zeros(2, 2)})
    refused("use_dora", {"use_dora": True}, tensors)
    refused("not read here", {"bias": "all"}, tensors)
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match="holds no"):
        load_causal(folder)
