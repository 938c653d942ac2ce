"""Two processes on the CPU (gloo): the losses of one, copied or sharded, and checkpoints that one can go on from."""

import multiprocessing
import os
import socket
from pathlib import Path

import pytest
import torch

from preceptor.cli.main import main
from preceptor.learn.language import language_loss
from preceptor.models.causal import save_model
from preceptor.models.shards import shard
from preceptor.run import machine
from preceptor.run.errors import UserError
from preceptor.run.log import read_log
from preceptor.run.processes import joined
from tests.learn.test_fit import batches, tiny_model, train, weights
from tests.learn.test_nothing_lost import stop_at
from tests.processes import PRELOADED, ended, preceptor
from tests.rlhf.tiny import word_tokenizer


def in_two(work, *arguments) -> None:
    """Run `work(*arguments)` in two processes, as torchrun would start them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [context.Process(target=_process, args=(rank, port, work, arguments)) for rank in range(2)]
    for process in processes:
        process.start()
    ended(processes)
    assert [process.exitcode for process in processes] == [0, 0]


def _process(rank: int, port: int, work, arguments) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    work(*arguments)


def learn(folder: Path, options: dict, stopped: bool = False) -> None:
    model = tiny_model()
    with joined():
        if stopped:
            with pytest.raises(InterruptedError):
                train(model, folder, loss=stop_at(5), **options)
            return
        train(model, folder, **options)
        save_model(model, word_tokenizer(), folder / "model")


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_log(folder / "log.jsonl")["s"].values()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    folder, model = tmp_path_factory.mktemp("alone"), tiny_model()
    train(model, folder, ema=0.5)
    return folder, weights(model)


@pytest.mark.parametrize("options", [{}, {"micro_batches": 3}, {"shard": "blocks", "micro_batches": 2}],
                         ids=["copied", "micro-batches", "sharded"])
def test_two_processes_have_the_losses_and_the_weights_of_one(tmp_path: Path, alone, options: dict) -> None:
    from transformers import LlamaForCausalLM
    in_two(learn, tmp_path, {"ema": 0.5, **options})
    torch.testing.assert_close(losses(tmp_path), losses(alone[0]), atol=1e-5, rtol=0)
    saved = LlamaForCausalLM.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(weights(saved), alone[1], atol=1e-5, rtol=0)


def test_what_two_began_one_goes_on_with_and_the_other_way_round(tmp_path: Path, alone) -> None:
    in_two(learn, tmp_path / "two", {"ema": 0.5, "shard": "blocks"}, True)
    model = tiny_model()
    train(model, tmp_path / "two", ema=0.5)
    torch.testing.assert_close(weights(model), alone[1], atol=1e-5, rtol=0)
    learn(tmp_path / "one", {"ema": 0.5}, True)
    in_two(learn, tmp_path / "one", {"ema": 0.5, "shard": "blocks"})
    torch.testing.assert_close(losses(tmp_path / "one"), losses(alone[0]), atol=1e-5, rtol=0)


def test_one_process_has_nothing_to_shard_between() -> None:
    with pytest.raises(UserError, match="torchrun"):
        shard(tiny_model(), "blocks")
    shard(tiny_model(), "none")


def test_the_loss_of_a_batch_needs_no_row_for_every_process(tmp_path: Path) -> None:
    """Of a batch with one row the second process has none: it keeps step with a row that weighs nothing."""
    in_two(learn_single_rows, tmp_path)
    model = tiny_model()
    train(model, tmp_path / "alone", batches(rows=1))
    torch.testing.assert_close(losses(tmp_path), losses(tmp_path / "alone"), atol=1e-5, rtol=0)


def learn_single_rows(folder: Path) -> None:
    with joined():
        train(tiny_model(), folder, batches(rows=1), loss=language_loss, shard="blocks")


def test_a_recipe_runs_in_two_processes_as_in_one(tiny_recipe: Path, tmp_path: Path) -> None:
    """The vocabulary is the leader's work alone, the base model that of both; the files are those of one process."""
    words = ["run", str(tiny_recipe), "--set", "base.precision=fp32", "--set", "base.steps=12", "--out"]
    in_two(command, [*words, str(tmp_path / "two"), "--set", "base.shard=blocks"])
    alone = preceptor([*words, str(tmp_path / "one")], tmp_path)
    assert alone.code == 0, alone.output
    logs = [read_log(tmp_path / name / "log.jsonl")["base"] for name in ("one", "two")]
    one, two = ([line["loss"] for line in log.values() if "loss" in line] for log in logs)
    torch.testing.assert_close(two, one, atol=1e-5, rtol=0)
    files = [sorted(str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*"))
             for name in ("one", "two")]
    assert files[0] == files[1]


def command(words: list[str]) -> None:
    machine.cores = lambda: 1
    assert main(words) == 0
