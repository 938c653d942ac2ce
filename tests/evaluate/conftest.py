"""A tiny village, a tokenizer of its text, and untrained models of a few thousand weights."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Document
from preceptor.evaluate.options import EvaluateOptions
from preceptor.models.causal import build_llama, save_model
from preceptor.models.scalar import scalar_from_causal
from preceptor.run.log import Log
from preceptor.run.step import Step
from preceptor.tokenizer.train import train_bpe
from preceptor.village.options import VillageOptions
from preceptor.village.stage import run as run_village


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Models this small are slower where threads wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("village")
    options = VillageOptions(language="both", people=30, documents=300, demonstrations=60, valid_demonstrations=10,
                             train_prompts=20, valid_prompts=10, test_prompts=24, users=12)
    run_village(Step("village", folder, {}, options, 3, Log(folder / "log.jsonl", "village", 1)))
    return folder


@pytest.fixture(scope="session")
def tokenizer(village: Path) -> Any:
    return train_bpe((one.text for one in read_jsonl(village / "corpus.jsonl", Document)), 400, 100_000)


def tiny_model(tokenizer: Any, seed: int) -> nn.Module:
    """Weights large enough for the models to differ in what they say."""
    torch.manual_seed(seed)
    model = build_llama(vocabulary=len(tokenizer), width=16, layers=1, heads=2, feed_forward=24, context=256,
                        end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.ndim > 1 else 1)
    return model


@pytest.fixture(scope="session")
def models(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders as steps write them: model/ inside."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "sft", "ppo", "ppo_ptx")):
        save_model(tiny_model(tokenizer, seed), tokenizer, folder / name / "model")
    save_model(scalar_from_causal(folder / "sft" / "model"), tokenizer, folder / "reward" / "model")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def make_step(tmp_path: Path) -> Callable[..., Step]:
    """`make_step(inputs, **options)` is an evaluation step in one and the same folder."""
    def make(inputs: dict[str, Path], **options: Any) -> Step:
        folder = tmp_path / "09-evaluate"
        folder.mkdir(exist_ok=True)
        return Step("evaluate", folder, inputs, EvaluateOptions(**{"max_tokens": 8, **options}), 11,
                    Log(tmp_path / "log.jsonl", "evaluate", 1))
    return make
