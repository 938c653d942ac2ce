"""Quantised models: the integers are a brute-force quantiser's, files shrink, folders open anywhere, refusals are said.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")

import onnx
from onnx import numpy_helper

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Document, Prompt
from preceptor.deploy.export import export
from preceptor.deploy.integers import with_integers, with_plain_products
from preceptor.deploy.options import QuantiseOptions
from preceptor.evaluate.likelihood import text_likelihood
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.generate.onnx import OnnxCausal, load_for_decoding
from preceptor.models.causal import load_causal, save_model, weight_bytes
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import load_tokenizer
from tests.deploy.test_recovery import do

TABLE = "model.lm_head.weight"  # as the graph calls the embedding and the output projection, which are one


@pytest.fixture(scope="module")
def base(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny trained model: the folder of a step."""
    runs = tmp_path_factory.mktemp("quantised")
    tokenizer = do(runs / "tokenizer", "tokenizer", {"corpus": corpus}, vocabulary=300)
    return do(runs / "base", "pretrain", {"corpus": corpus, "tokenizer": tokenizer}, width=64, layers=2, heads=2,
              feed_forward=96, context=32, rows=4, steps=60, learning_rate=1e-2, precision="fp32")


@pytest.fixture(scope="module")
def exported(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export(base, folder)
    return folder


@pytest.fixture(scope="module")
def graph(exported: Path) -> Any:
    return onnx.load(exported / "model.onnx")


def weights(graph: Any) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in graph.graph.initializer}


def rounded_in_blocks(weight_KN: np.ndarray, bits: int, block: int) -> np.ndarray:
    """Each block of inputs of an output in 2^bits levels: the largest weight of a block is its end of the levels."""
    half, rounded = 2 ** (bits - 1), np.zeros_like(weight_KN)
    for output in range(weight_KN.shape[1]):
        for first in range(0, weight_KN.shape[0], block):
            values = weight_KN[first:first + block, output]
            scale = values[np.abs(values).argmax()] / -half
            if scale:
                levels = np.clip(np.round(values / scale), -half, half - 1)
                rounded[first:first + block, output] = levels * scale
    return rounded


def rounded_by_output(weight_KN: np.ndarray) -> np.ndarray:
    scale_N = np.abs(weight_KN).max(0) / 127
    return np.round(weight_KN / scale_N) * scale_N


@pytest.mark.parametrize(("numbers", "bits"), [("int8_weights", 8), ("int4_weights", 4)])
def test_integers_in_blocks_are_those_of_a_brute_force_quantiser(graph: Any, numbers: str, bits: int) -> None:
    plain = with_plain_products(graph)
    before = weights(plain.model)
    found = with_integers(graph, QuantiseOptions(numbers=numbers, block=32))
    after = weights(found)
    assert len(plain.products) == 2 * 7 + 1
    for name in plain.products:
        assert name not in after, "no fp32 copy may stay"
        packed, scales = after[f"{name}_Q{bits}"], after[f"{name}_scales"]
        levels = packed if bits == 8 else np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:2], -1)
        values = (levels.astype(np.float32) - 2 ** (bits - 1)) * scales[..., None]
        K, N = before[name].shape
        largest_scale = np.abs(scales).max()
        error = np.abs(values.reshape(N, -1)[:, :K].T - rounded_in_blocks(before[name], bits, 32))
        # where a weight lies half-way between two levels, rounding of the quotient may choose the other one
        assert (error < 1e-6).mean() > 0.999 and error.max() <= 1.001 * largest_scale
    assert TABLE not in after, "the table that is looked up is the one of the product"


@pytest.mark.parametrize("numbers", ["int8_dynamic", "int8_static"])
def test_integers_by_output_are_those_of_a_brute_force_quantiser(graph: Any, exported: Path, corpus: Path,
                                                                 numbers: str) -> None:
    from preceptor.deploy.calibration import calibration_batches
    from preceptor.deploy.quantise import graph_inputs
    model = OnnxCausal.load(exported)
    batches = calibration_batches(model, load_tokenizer(exported), read_jsonl(corpus, Document), 4, seed=0)
    plain = with_plain_products(graph)
    after = weights(with_integers(graph, QuantiseOptions(numbers=numbers), (graph_inputs(model, one)
                                                                           for one in batches)))
    for name in plain.products:
        values = after[f"{name}_quantized"].astype(np.float32) * after[f"{name}_scale"]
        np.testing.assert_allclose(values, rounded_by_output(weights(plain.model)[name]),
                                   atol=float(after[f"{name}_scale"].max()) * 1.01)
        assert np.abs(values - weights(plain.model)[name]).max() <= float(after[f"{name}_scale"].max()) * 0.51
        assert np.abs(after[f"{name}_quantized"].astype(int)).max() == 127 and name not in after
    assert TABLE not in after


def test_the_graph_computes_with_the_rounded_weights(base: Path, exported: Path, graph: Any) -> None:
    """Beside PyTorch with the brute-force weights in it; what is left is the 8 bits of the products' inputs."""
    from preceptor.generate.rows import read_prompts
    prompts = [list(range(3, 3 + length)) for length in (1, 9, 30)]
    model = load_causal(base / "model")
    _, exact = read_prompts(model.requires_grad_(False), prompts, pad=1)
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim == 2:
                value.copy_(torch.from_numpy(rounded_in_blocks(value.numpy().T, 4, 32).T.copy()))
    _, expected = read_prompts(model.requires_grad_(False), prompts, pad=1)
    found = with_integers(graph, QuantiseOptions(numbers="int4_weights", block=32))
    _, logits = read_prompts(OnnxCausal(model.config, found.SerializeToString()), prompts, pad=1)
    apart = float((logits - expected).norm() / expected.norm())
    assert apart < 0.03 and apart < 0.5 * float((exact - expected).norm() / expected.norm())


@pytest.mark.parametrize(("numbers", "runtime", "smaller", "gap"), [
    ("int8_weights", "onnx", 2.5, 1.01), ("int4_weights", "onnx", 3.4, 1.08), ("int8_dynamic", "onnx", 2.5, 1.02),
    ("int8_static", "onnx", 2.5, 1.05), ("bf16", "torch", 1.9, 1.01), ("fp16", "torch", 1.9, 1.001)])
def test_a_quantised_folder_is_smaller_and_predicts_as_well(base: Path, exported: Path, corpus: Path, tmp_path: Path,
                                                            numbers: str, runtime: str, smaller: float,
                                                            gap: float) -> None:
    texts = {"validation": corpus} | ({"corpus": corpus} if numbers == "int8_static" else {})
    source = exported if runtime == "onnx" else base
    done = do(tmp_path / "step", "quantise", {"model": source} | texts, numbers=numbers, runtime=runtime)
    said = json.loads((done / "quantise.json").read_text())
    assert weight_bytes(base / "model") > smaller * said["after"]["bytes"]
    assert said["after"]["perplexity"] < gap * said["before"]["perplexity"]
    model, tokenizer = load_for_decoding(done / "model"), load_tokenizer(done / "model")
    assert text_likelihood(model, tokenizer, read_jsonl(corpus, Document))["perplexity"] == pytest.approx(
        said["after"]["perplexity"], rel=1e-5)
    requests = [Request(Prompt("p", [{"role": "user", "content": "ado " * number}]),
                        Sampling(temperature=0, max_tokens=6), number) for number in range(3)]
    assert all(answer.response.token_ids for answer in LocalDecoder(model, tokenizer).answers(requests))
    if runtime == "torch":
        from transformers import AutoModelForCausalLM
        assert next(AutoModelForCausalLM.from_pretrained(done / "model").parameters()).dtype == {
            "bf16": torch.bfloat16, "fp16": torch.float16}[numbers]


@pytest.mark.parametrize("numbers", ["int8_weights", "int8_dynamic"])
def test_torchao_rounds_by_output_and_its_folder_opens(base: Path, corpus: Path, tmp_path: Path, numbers: str) -> None:
    pytest.importorskip("torchao", reason="the extra 'quantise' is not installed")
    from transformers import AutoModelForCausalLM
    done = do(tmp_path / "step", "quantise", {"model": base, "validation": corpus}, numbers=numbers, runtime="torch")
    said = json.loads((done / "quantise.json").read_text())
    assert said["after"]["bytes"] < 0.6 * said["before"]["bytes"]
    assert said["after"]["perplexity"] < 1.02 * said["before"]["perplexity"]
    opened, ours = AutoModelForCausalLM.from_pretrained(done / "model"), load_causal(done / "model")
    for number, block in enumerate(load_causal(base / "model").model.layers):
        exact = block.mlp.down_proj.weight.detach()
        for model in (opened, ours):
            values = model.model.layers[number].mlp.down_proj.weight.dequantize().detach()
            scale = exact.abs().amax(1, keepdim=True) / 127.5
            expected = (exact / scale).round().clamp(-128, 127) * scale
            assert float((values - expected).abs().max()) <= 1.01 * float(scale.max())
            assert float((values - exact).abs().max()) <= 0.52 * float(scale.max())
    request = Request(Prompt("p", [{"role": "user", "content": "ado"}]), Sampling(temperature=0, max_tokens=6), 0)
    assert LocalDecoder(ours, load_tokenizer(done / "model")).answers([request])[0].response.token_ids


def test_a_table_of_its_own_and_a_product_that_adds_are_quantised_too() -> None:
    """As BERT has them (a table that no product shares) and GPT-2 (Gemm), in a graph small enough for numpy."""
    from onnx import TensorProto, helper
    from onnxruntime import InferenceSession
    draw = np.random.default_rng(0)
    table, weight, bias = (draw.normal(size=shape).astype(np.float32) for shape in ((50, 64), (64, 32), (32,)))
    plain = helper.make_model(helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["rows"], name="look"),
         helper.make_node("Gemm", ["rows", "weight", "bias"], ["out"], name="add")], "two",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 32])],
        [numpy_helper.from_array(value, name) for name, value in (("table", table), ("weight", weight),
                                                                  ("bias", bias))]),
        opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    ids = np.array([3, 49, 0])
    for numbers, bits in (("int8_weights", 8), ("int4_weights", 4), ("int8_dynamic", 8)):
        small = with_integers(plain, QuantiseOptions(numbers=numbers, block=16))
        assert not {"table", "weight"} & set(weights(small))
        found, = InferenceSession(small.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"ids": ids})
        rounded = (rounded_by_output(weight) if numbers == "int8_dynamic" else rounded_in_blocks(weight, bits, 16))
        rows = rounded_in_blocks(table.T, bits, 16).T[ids]
        expected = rows @ rounded + bias
        assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)


@pytest.mark.parametrize(("options", "inputs", "cause"), [
    ({"numbers": "bf16"}, (), "no fast products in 16 bits"),
    ({"numbers": "int8_static"}, (), "real text"), ({"numbers": "int8_weights"}, ("corpus",), "real text"),
    ({"numbers": "int4_weights", "runtime": "torch"}, (), "no int4_weights that a CPU runs"),
    ({"numbers": "int8_static", "runtime": "torch"}, ("corpus",), "no int8_static"),
    ({"block": 24}, (), "A block of 24")])
def test_what_cannot_be_had_is_refused(base: Path, corpus: Path, tmp_path: Path, options: dict[str, Any],
                                       inputs: tuple[str, ...], cause: str) -> None:
    with pytest.raises(UserError, match=cause):
        do(tmp_path / "step", "quantise", {"model": base} | dict.fromkeys(inputs, corpus), **options)


def test_models_that_are_refused(base: Path, exported: Path, corpus: Path, tmp_path: Path) -> None:
    small = do(tmp_path / "small", "quantise", {"model": exported}, numbers="int4_weights")
    with pytest.raises(UserError, match="nothing to quantise"):
        do(tmp_path / "again", "quantise", {"model": small}, numbers="int8_weights")
    with pytest.raises(UserError, match="which PyTorch does not run"):
        do(tmp_path / "back", "quantise", {"model": exported}, numbers="bf16", runtime="torch")
    from transformers import GPT2Config, GPT2LMHeadModel
    tokenizer = load_tokenizer(base / "model")
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=32,
                                     bos_token_id=0, eos_token_id=0))
    save_model(gpt, tokenizer, tmp_path / "gpt2")
    pytest.importorskip("torchao", reason="the extra 'quantise' is not installed")
    with pytest.raises(UserError, match="Conv1D, which torchao leaves in fp32"):
        do(tmp_path / "conv", "quantise", {"model": tmp_path / "gpt2"}, numbers="int8_weights", runtime="torch")
