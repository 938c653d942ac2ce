"""A byte-level vocabulary and tiny models of three families, each of which ends its answers now and then."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.data.records import Prompt
from preceptor.generate.decoder import Request, Sampling
from preceptor.tokenizer.train import train_bpe

CONTEXT = 64


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    """Models this small lose time to every further thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return train_bpe(["ado emi iru ona bado kemi"] * 20, 300, 10_000)


def build(family: str, tokenizer: Any, attention: str = "sdpa") -> nn.Module:
    """A model with fresh weights, sharp enough to have opinions; about one token in twenty ends an answer."""
    import transformers
    shape = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None,
             "tie_word_embeddings": False, "initializer_range": 0.3, "attn_implementation": attention}
    if family == "gpt2":
        config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=CONTEXT, resid_pdrop=0.0,
                                         embd_pdrop=0.0, attn_pdrop=0.0, **shape)
        model = transformers.GPT2LMHeadModel(config)
    else:
        kinds = {"llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
                 "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM)}
        make_config, make_model = kinds[family]
        config = make_config(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                             num_key_value_heads=2, max_position_embeddings=CONTEXT, **shape)
        model = make_model(config)
    head = nn.Linear(32, len(tokenizer))
    with torch.no_grad():
        head.weight.normal_(std=0.3)
        head.bias.zero_()
        head.bias[tokenizer.eos_token_id] = 4.0
    model.lm_head = head
    return model.eval()


@pytest.fixture(scope="session")
def models(tokenizer: Any) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"llama": build("llama", tokenizer), "gpt2": build("gpt2", tokenizer), "qwen2": build("qwen2", tokenizer),
            "llama, plain attention": build("llama", tokenizer, attention="eager")}


@pytest.fixture(params=["llama", "gpt2", "qwen2", "llama, plain attention"])
def model(models: dict[str, nn.Module], request: pytest.FixtureRequest) -> nn.Module:
    return models[request.param]


@pytest.fixture
def llama(models: dict[str, nn.Module]) -> nn.Module:
    return models["llama"]


@pytest.fixture(scope="session")
def endless(models: dict[str, nn.Module], tokenizer: Any) -> nn.Module:
    """The llama that never ends an answer."""
    model = copy.deepcopy(models["llama"])
    with torch.no_grad():
        model.lm_head.bias[tokenizer.eos_token_id] = -100.0
    return model


@pytest.fixture(scope="session")
def looping(endless: nn.Module, tokenizer: Any) -> nn.Module:
    """A model that writes "ona emi iru " again and again, whatever it read: greedy, it never leaves the loop."""
    model = copy.deepcopy(endless)
    cycle = tokenizer(" ona emi iru bado kemi", add_special_tokens=False)["input_ids"]
    follows = {one: other for one, other in zip(cycle, cycle[1:] + cycle[:1])}

    def push(_: nn.Module, inputs: tuple, kwargs: dict, output: Any) -> Any:
        lasts = kwargs["input_ids"][:, -output.logits.shape[1]:]
        for row in range(len(lasts)):
            for place, last in enumerate(lasts[row].tolist()):
                output.logits[row, place, follows.get(last, cycle[0])] += 12.0
        return output

    model.register_forward_hook(push, with_kwargs=True)
    return model


def ask(text: str, seed: int = 0, **sampling: Any) -> Request:
    """A request of one message."""
    return Request(Prompt(id=text[:20] or "empty", messages=[{"role": "user", "content": text}]),
                   Sampling(**sampling), seed)


@pytest.fixture
def requests() -> list[Request]:
    """Requests that differ in length, options and limits; the last six ask the same."""
    texts = ["ado", "emi iru ona", "bado kemi ado emi iru", "", "ona " * 9]
    options = [{"temperature": 1.0}, {"temperature": 0.7}, {"temperature": 0.0}, {"top_k": 5}, {"top_p": 0.8},
               {"temperature": 1.3, "top_k": 50, "top_p": 0.9}]
    mixed = [ask(texts[n % len(texts)], seed=n, max_tokens=3 + 4 * (n % 7), **options[n % len(options)])
             for n in range(12)]
    return mixed + [ask("the same", seed=100 + n, max_tokens=12) for n in range(6)]
