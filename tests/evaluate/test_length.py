"""Measuring against length: the same targets at every length, needles that can be found, and the command."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor.cli.main import main
from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Document
from preceptor.evaluate import length as measured
from preceptor.evaluate.length import Reading, readings, recommended
from preceptor.models.causal import build_llama, load_causal, save_model
from preceptor.run.files import read_json
from preceptor.tokenizer.chat import encode_text
from preceptor.tokenizer.train import train_bpe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_bpe(["abc"], 261, 10)
    torch.manual_seed(0)
    save_model(build_llama(vocabulary=261, width=16, layers=1, heads=2, feed_forward=32, context=64,
                           end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id), tokenizer, folder / "model")
    return folder


TEXTS = ["".join(chr(97 + (n * n + k) % 26) for n in range(300)) for k in range(2)]


def test_every_method_is_measured_at_every_length_on_the_same_targets(model: Path) -> None:
    found = list(readings(model / "model", TEXTS, [32, 64, 256], needles=2, seed=0))
    assert {(one.method, one.length) for one in found} == {
        (method, size) for method in ("chunks", "interpolation", "ntk", "yarn", "base") for size in (32, 64, 256)}
    by = {(one.method, one.length): one.perplexity for one in found}
    assert by["chunks", 256] == by["chunks", 64]  # the last chunk of the longer text is the shorter one
    network = load_causal(model / "model").eval()
    with torch.no_grad():
        nats = 0.0
        for text in TEXTS:
            tokens = torch.tensor([encode_text(measured.load_tokenizer(model / "model"), text)[:256][-64:]])
            rows = network(input_ids=tokens).logits[0, -17:-1].log_softmax(-1)
            nats -= float(rows.gather(1, tokens[0, -16:, None]).sum())
    assert by["chunks", 64] == pytest.approx(torch.tensor(nats / 32).exp().item(), rel=1e-4)


class Copier(nn.Module):
    """A network with perfect memory of `window` tokens: it gives what followed the same token before."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window, self.weight = window, nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize("window, depth, share", [(512, 0.1, 1.0), (64, 0.1, 0.0), (64, 0.9, 1.0)])
def test_needles_are_found_by_what_remembers_and_not_beyond_its_memory(
        window: int, depth: float, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def log_probs(model: Copier, tokens: list[int], last: int) -> Tensor:
        rows = torch.full((last, 300), -9.0)
        for row in range(last):
            here = len(tokens) - last + row - 1
            for back in range(here - 1, max(here - model.window, -1), -1):
                if tokens[back] == tokens[here]:
                    rows[row, tokens[back + 1]] = -0.1
                    break
        return rows

    monkeypatch.setattr(measured, "_log_probs", log_probs)
    text = [n % 50 for n in range(256 - 14)]
    needle = list(range(200, 207))
    assert measured._found(Copier(window), text, needle, depth, 256) == share
    assert measured._found(Copier(64), text, needle, depth, 64) == 1.0  # chunk by chunk each needle is near


def test_the_method_of_least_perplexity_is_recommended_and_needles_settle_a_tie() -> None:
    found = [Reading("a", 64, 1.0, 1.0), Reading("a", 128, 9.0, 1.0), Reading("b", 128, 5.0, 0.2),
             Reading("c", 128, 5.04, 0.4), Reading("d", 128, 5.2, 1.0)]
    assert recommended(found) == "c"


def test_the_command_writes_figures_and_a_picture(model: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(tmp_path / "texts.jsonl", [Document(text, id=str(n)) for n, text in enumerate(TEXTS)])
    command: list[Any] = ["measure", "length", model, "--texts", tmp_path / "texts.jsonl", "--needles", 1]
    assert main(list(map(str, [*command, "--lengths", "64,128", "--out", tmp_path / "out"]))) == 0
    found = read_json(tmp_path / "out.json")
    assert len(found["readings"]) == 10 and found["recommended"] in capsys.readouterr().out
    assert (tmp_path / "out.svg").read_text().count("<polyline") == 10
    for wrong in (["--lengths", "8"], ["--lengths", "900"]):
        assert main(list(map(str, [*command, *wrong]))) == 2
