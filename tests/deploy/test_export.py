"""Exported models: the graph's results are the model's, for causal models, reward models and encoders."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")

from preceptor.cli.main import main
from preceptor.data.records import Prompt, Response
from preceptor.deploy import export as exporting
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.generate.onnx import OnnxCausal, load_for_decoding
from preceptor.models.causal import build_llama, load_causal, save_model
from preceptor.models.graph import with_weights
from preceptor.models.reward_model import RewardModel
from preceptor.models.scalar import scalar_from_causal, set_likelihood_weight
from preceptor.run.errors import UserError
from preceptor.tokenizer.train import train_bpe

CONTEXT = 48


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_bpe(["ado emi iru ona bado kemi"] * 20, 300, 10_000)


@pytest.fixture(scope="module")
def folder(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model with opinions."""
    torch.manual_seed(0)
    model = build_llama(vocabulary=len(tokenizer), width=32, layers=2, heads=4, feed_forward=48, context=CONTEXT,
                        end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8 if weight.ndim == 2 else 1)
    path = tmp_path_factory.mktemp("causal") / "model"
    save_model(model, tokenizer, path)
    return path


@pytest.fixture(scope="module")
def out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The causal model's folder as the command writes it."""
    path = tmp_path_factory.mktemp("exported") / "onnx"
    assert main(["export", str(folder), "--to", str(path)]) == 0
    return path


def test_an_exported_causal_model_writes_the_same_answers(folder: Path, out: Path, tokenizer: Any) -> None:
    said = json.loads((out / "export.json").read_text())
    assert said["inputs"]["input_ids"] == ["rows", "tokens"] and said["outputs"]["logits"][:2] == ["rows", "places"]
    assert said["inputs"]["past.1.value"] == ["rows", 4, "room", 8] == said["outputs"]["present.1.value"]
    assert said["largest_difference"] <= 1e-4
    traced, model = load_for_decoding(out), load_causal(folder)
    assert isinstance(traced, OnnxCausal) and not isinstance(load_for_decoding(folder), OnnxCausal)
    requests = [Request(Prompt("p", [{"role": "user", "content": "ado emi " * number}]),
                        Sampling(temperature=number % 2, max_tokens=12), number) for number in range(8)]
    for one, other in zip(*(LocalDecoder(network, tokenizer).answers(requests) for network in (model, traced))):
        assert one.response.token_ids == other.response.token_ids
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def test_an_exported_reward_model_scores_with_offset_and_likelihood(folder: Path, tokenizer: Any,
                                                                    tmp_path: Path) -> None:
    scalar = scalar_from_causal(folder, seed=1)
    scalar.config.preceptor_offset = 0.75
    set_likelihood_weight(scalar, 0.1)
    save_model(scalar, tokenizer, tmp_path / "reward")
    said = exporting.export(tmp_path / "reward", tmp_path / "onnx")
    assert said["kind"] == "reward" and said["largest_difference"] <= 1e-4 * max(1, said["largest_result"])
    assert list(said["inputs"]) == ["input_ids", "prompt_lengths", "lengths"]
    reward = RewardModel(tmp_path / "reward")
    prompts = [Prompt(str(n), [{"role": "user", "content": "emi " * n}]) for n in range(1, 6)]
    responses = [Response("ona " * n, "eos") for n in range(5, 0, -1)]
    pairs = [reward.encoder.encode(prompt, response) for prompt, response in zip(prompts, responses)]
    scores = exporting._run(tmp_path / "onnx", {
        "input_ids": exporting._padded([prompt + answer for prompt, answer in pairs]),
        "prompt_lengths": torch.tensor([len(prompt) for prompt, _ in pairs]),
        "lengths": torch.tensor([len(prompt) + len(answer) for prompt, answer in pairs])})
    assert scores.tolist() == pytest.approx(reward.score(prompts, responses), rel=1e-4, abs=1e-4)


def test_an_exported_encoder_gives_the_same_results(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForTokenClassification
    torch.manual_seed(0)
    BertForTokenClassification(BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=CONTEXT, num_labels=5)).save_pretrained(tmp_path / "bert")
    said = exporting.export(tmp_path / "bert", tmp_path / "onnx")
    assert said["kind"] == "encoder" and said["outputs"] == {"logits": ["rows", "tokens", 5]}
    assert said["largest_difference"] <= 1e-4


def test_a_graph_that_is_not_the_model_is_not_kept(folder: Path, out: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx
    other = load_causal(folder)
    with torch.no_grad():
        other.model.norm.weight.mul_(1.01)
    graph = with_weights(onnx.load(out / "model.onnx"), other)
    monkeypatch.setattr(exporting, "causal_graph", lambda model: graph)
    with pytest.raises(UserError, match="differ from the model's"):
        exporting.export(folder, tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_what_cannot_be_exported_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from transformers import T5Config
    T5Config(architectures=["T5ForConditionalGeneration"]).save_pretrained(tmp_path / "t5")
    assert main(["export", str(tmp_path / "t5"), "--to", str(tmp_path / "out")]) == 2
    assert "cannot be exported" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "nothing"), "--to", str(tmp_path / "out")]) == 2
    assert "cannot be loaded as a model" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    assert main(["export", str(tmp_path / "t5"), "--to", str(tmp_path / "mine")]) == 2
    assert "this command did not write" in capsys.readouterr().err
    assert (tmp_path / "mine" / "letter.txt").read_text(encoding="utf-8") == "dear"


def test_the_runtime_is_the_folder_s_or_the_one_that_is_asked_for(folder: Path, out: Path, tokenizer: Any) -> None:
    asked = [Request(Prompt("p", [{"role": "user", "content": text}]), Sampling(temperature=0, max_tokens=12), 0)
             for text in ("ado", "emi iru ona")]
    answers = [[answer.response.token_ids for answer in LocalDecoder(model, tokenizer).answers(asked)]
               for model in (load_for_decoding(folder), load_for_decoding(folder, "onnx"))]
    assert answers[0] == answers[1]
    assert isinstance(load_for_decoding(out, "onnx"), OnnxCausal)
    for place, runtime in ((out, "pytorch"), (folder, "onyx")):
        with pytest.raises(UserError, match="exported" if runtime == "pytorch" else "onyx"):
            load_for_decoding(place, runtime)
