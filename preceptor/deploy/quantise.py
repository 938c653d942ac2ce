"""The quantise stage: a model in smaller numbers, as an ONNX graph or as a folder of PyTorch (docs/shrink.md)."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Document
from preceptor.deploy.calibration import calibration_batches
from preceptor.deploy.export import SAID, export, kind_of
from preceptor.deploy.integers import check_block, with_integers
from preceptor.deploy.prune import measure_of
from preceptor.generate.onnx import FILE, OnnxCausal, load_for_decoding
from preceptor.models.attention import block_mask
from preceptor.models.causal import load_causal, model_folder, save_model, weight_bytes
from preceptor.run.errors import UserError
from preceptor.run.files import read_json, replacing, write_json
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def run(step: Step) -> None:
    """Read `model` (a folder of PyTorch or an export; `corpus` for int8_static, `validation`); write model/ and
    quantise.json."""
    options, source = step.options, model_folder(step.input("model"))
    _check(step, source)
    (_to_onnx if options.runtime == "onnx" else _to_torch)(step, source, step.folder / "model")
    measure = measure_of(step, load_tokenizer(source)) if "validation" in step.inputs else None
    said = {when: {"bytes": weight_bytes(folder)} | ({"perplexity": measure(load_for_decoding(folder))} if measure
                                                      else {})
            for when, folder in (("before", source), ("after", step.folder / "model"))}
    write_json(step.folder / "quantise.json", {"numbers": options.numbers, "runtime": options.runtime} | said)
    step.log.write(1, **{f"{name}_{when}": value for when, values in said.items() for name, value in values.items()})
    for when, values in said.items():
        step.say(f"{when}: " + "  ".join(f"{name} {value:,.6g}" for name, value in values.items()))


def _check(step: Step, source: Path) -> None:
    """Refuse, before work starts, what cannot be had."""
    options = step.options
    check_block(options.block)
    causal = kind_of(source) == "causal"
    if options.runtime == "onnx" and options.numbers in HALVES:
        raise UserError("An exported graph is run by the CPU, which has no fast products in 16 bits.",
                        "Set runtime to torch, or numbers to int8_weights.")
    if not causal and (options.runtime == "torch" or options.numbers == "int8_static" or "validation" in step.inputs):
        raise UserError(f"'{source}' is no causal model, and the step wants what only those have.",
                        "Of others: runtime onnx, other numbers than int8_static, and no input 'validation'.")
    if (options.numbers == "int8_static") != ("corpus" in step.inputs):
        raise UserError("int8_static measures its scales on real text, and no other numbers do.",
                        f"Give it with --set {step.name}.needs.corpus=FILE, or leave it out.")
    if options.runtime == "torch" and (source / FILE).exists():
        raise UserError(f"'{source}' is an exported graph, which PyTorch does not run.", "Give the model's own folder.")


def _to_torch(step: Step, source: Path, folder: Path) -> None:
    options, model = step.options, load_causal(source).cpu()
    if options.numbers in HALVES:
        model = model.to(HALVES[options.numbers])
    elif options.numbers != "fp32":
        from preceptor.deploy.torch_integers import quantised
        model = quantised(source, model, options.numbers)
    save_model(model, load_tokenizer(source), folder)


def _to_onnx(step: Step, source: Path, folder: Path) -> None:
    import onnx

    exported = source if (source / FILE).exists() else step.folder / "checkpoints" / "exported"
    if exported != source:
        export(source, exported)
    with replacing(folder) as temporary:
        shutil.copytree(exported, temporary)
        if step.options.numbers != "fp32":
            graph = with_integers(onnx.load(exported / FILE), step.options, _feeds(step, exported))
            (temporary / FILE).write_bytes(graph.SerializeToString())
            said = {name: value for name, value in read_json(exported / SAID).items() if not name.startswith("largest")}
            write_json(temporary / SAID, said | {"numbers": step.options.numbers})


def _feeds(step: Step, exported: Path) -> Iterator[dict[str, np.ndarray]]:
    """The graph's inputs over the step's corpus, for int8_static."""
    if "corpus" not in step.inputs:
        return
    model, tokenizer = OnnxCausal.load(exported), load_tokenizer(exported)
    corpus: Sequence[Document] = read_jsonl(step.input("corpus"), Document)
    for batch in calibration_batches(model, tokenizer, corpus, step.options.calibration_rows, step.seed):
        yield graph_inputs(model, batch)


def graph_inputs(model: OnnxCausal, batch: Any) -> dict[str, np.ndarray]:
    """What an exported causal model is given to read a packed batch, with an empty cache."""
    tokens = batch["tokens"]
    heads, width = model.shape
    cache = np.zeros((len(tokens), heads, tokens.shape[1], width), np.float32)
    return {"input_ids": tokens.numpy(), "position_ids": batch["positions"].numpy(),
            "attention_bias": block_mask(batch["segments"], model).float().numpy(),
            "logit_places": np.arange(tokens.shape[1]),
            **{f"past.{layer}.{part}": cache for layer in range(model.layers) for part in ("key", "value")}}
