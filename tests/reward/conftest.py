"""A tiny village with a tokenizer and an untrained model of its language, and a way to run a stage on folders."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Document
from preceptor.models.causal import build_llama, save_model
from preceptor.reward.comparisons import run as run_comparisons
from preceptor.reward.options import ComparisonsOptions
from preceptor.run.log import Log
from preceptor.run.step import Step
from preceptor.tokenizer.train import train_bpe
from preceptor.village.options import VillageOptions
from preceptor.village.stage import run as run_village

Start = Callable[..., Step]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Models this small are ten times slower where threads wait for one another on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def start() -> Start:
    """Make the step `name` with options and inputs; its folder and log are under `root`."""

    def make(root: Path, name: str, options: Any, **inputs: Path) -> Step:
        (root / name).mkdir(parents=True, exist_ok=True)
        return Step(name, root / name, inputs, options, 0, Log(root / "log.jsonl", name, 1))

    return make


@pytest.fixture(scope="session")
def village(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Path:
    options = VillageOptions(people=20, documents=80, demonstrations=20, valid_demonstrations=4, train_prompts=16,
                             valid_prompts=8, test_prompts=6, users=12)
    step = start(tmp_path_factory.mktemp("village"), "village", options)
    run_village(step)
    return step.folder


@pytest.fixture(scope="session")
def tokenizer(village: Path) -> Any:
    return train_bpe([document.text for document in read_jsonl(village / "corpus.jsonl", Document)], 400, 100_000)


@pytest.fixture(scope="session")
def sft(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a step that made an (untrained) model."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run") / "03-sft"
    model = build_llama(vocabulary=len(tokenizer), width=32, layers=2, heads=2, feed_forward=48, context=160,
                        end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    save_model(model, tokenizer, folder / "model")
    return folder


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory, village: Path, sft: Path, start: Start) -> Step:
    """A finished comparisons step on the village's prompts."""
    step = start(tmp_path_factory.mktemp("compared"), "comparisons",
                 ComparisonsOptions(k_min=3, k_max=5, max_tokens=6, heldout_prompts=7), model=sft, village=village,
                 prompts=village / "prompts.train.jsonl", heldout=village / "prompts.valid.jsonl")
    run_comparisons(step)
    return step
