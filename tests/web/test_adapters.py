"""Several adapters on one base: the model's name picks one, none knows of the others, the weights are one."""

import gc
from pathlib import Path

import pytest
import torch
from torch import nn

from preceptor.data.records import Prompt
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.engine import Engine
from preceptor.generate.local import LocalDecoder
from preceptor.models import shared_base
from preceptor.models.adapters import add_lora
from preceptor.models.causal import context_length, load_causal, save_model
from preceptor.models.soft_prompt import add_soft_prompt
from preceptor.run.files import read_json, write_json
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.web.options import ServeOptions
from preceptor.web.served import load
from tests.generate.test_engine import Told
from tests.models.test_adapter_folder import moved
from tests.models.test_trunk import network
from tests.rlhf.tiny import word_tokenizer


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A base, two adapters of LoRA, and two soft prompts."""
    save_model(network("llama"), word_tokenizer(), tmp_path / "base")
    found = {"base": tmp_path / "base"}
    for number, name in enumerate(("law", "medicine", "short", "long")):
        model = load_causal(tmp_path / "base")
        torch.manual_seed(number)
        if number < 2:
            add_lora(model, 2, 4.0)
        else:
            add_soft_prompt(model, "prompt", number)
        save_model(moved(model), word_tokenizer(), tmp_path / name)
        found[name] = tmp_path / name / "adapter" if number < 2 else tmp_path / name
    return found


def test_each_name_answers_as_its_adapter_alone_over_the_weights_of_one_base(folders: dict[str, Path]) -> None:
    requests = [Request(Prompt("", [{"role": "user", "content": "good"}]), Sampling(max_tokens=5), seed)
                for seed in range(6)]
    expected = {name: LocalDecoder(load_causal(folder), load_tokenizer(folder)).answers(requests)
                for name, folder in folders.items()}
    engines = {name: load(name, folder, ServeOptions()) for name, folder in folders.items()}
    told = [(name, number, Told(engine.decoder, request)) for number, request in enumerate(requests)
            for name, engine in engines.items()]
    for name, _, one in told:  # all at once, each to its own name
        engines[name].submit([one.job])
    for name, number, one in told:
        answer = one.answer()
        assert answer.response.token_ids == expected[name][number].response.token_ids, name
        assert answer.log_probs == pytest.approx(expected[name][number].log_probs, abs=1e-4)
    likelihoods = [tuple(answer.log_probs) for answers in expected.values() for answer in answers[:1]]
    assert len(set(likelihoods)) == len(folders), "the adapters should differ"
    assert len({weights(engine) for engine in engines.values()}) == 1
    for engine in engines.values():
        engine.close()
    del engines, told, engine, one
    gc.collect()
    kept = [path for path, *_ in shared_base._bases if path == str(folders["base"].resolve())]
    assert not kept, "a base that nobody serves is let go"


def weights(engine: Engine) -> frozenset[int]:
    """Where the weights of the base lie in memory."""
    return frozenset(one.data_ptr() for name, one in engine.decoder.model.named_parameters()
                     if "lora_" not in name and not name.startswith("soft_prompt."))


def test_a_base_that_was_written_anew_is_loaded_anew(folders: dict[str, Path]) -> None:
    first = shared_base.load_shared(folders["base"])
    assert shared_base.load_shared(folders["base"]) is first
    save_model(network("llama", seed=7), word_tokenizer(), folders["base"])
    again = shared_base.load_shared(folders["law"])
    assert not torch.equal(again.get_input_embeddings().weight, first.get_input_embeddings().weight)
    assert isinstance(again, nn.Module) and again.shared_base is not first
    config = read_json(folders["base"] / "config.json")
    write_json(folders["base"] / "config.json", config | {"max_position_embeddings": 17})
    assert context_length(shared_base.load_shared(folders["base"])) == 17
