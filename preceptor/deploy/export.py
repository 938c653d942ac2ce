"""`preceptor export MODEL --to FOLDER`: a model as an ONNX graph that was compared with PyTorch before it was kept."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.deploy.graphs import encoder_graph, reward_graph
from preceptor.generate.onnx import FILE, OnnxCausal
from preceptor.generate.rows import read_on, read_prompts
from preceptor.models.causal import context_length, load_causal, load_network, model_folder
from preceptor.models.graph import causal_graph
from preceptor.models.reward_model import score_answers
from preceptor.models.scalar import load_scalar, offset
from preceptor.models.soft_prompt import refuse_soft_prompt
from preceptor.run.errors import UserError
from preceptor.run.files import refuse_to_replace, replacing, write_json

SAID = "export.json"
TOLERANCE = 1e-4
WEIGHTS = re.compile(r"\.(safetensors|bin|pt|pth|gguf|onnx)(\.index\.json)?$")
LENGTHS = 12  # lengths of the prompts compared, from 1 to the context


def export(source: Path, folder: Path) -> dict[str, Any]:
    """Write `source` as model.onnx with its config and tokenizer; returns what export.json says.

    Raises:
        UserError: there is no model, its kind or family cannot be exported, the graph's numbers are not the model's, or
            `folder` holds something else.
    """
    refuse_to_replace(folder, SAID)
    source = model_folder(source)
    kind = kind_of(source)
    model = _LOADERS[kind](source).float().cpu().eval()
    refuse_soft_prompt(model, "Export")
    graph = {"causal": causal_graph, "reward": reward_graph, "encoder": encoder_graph}[kind](model)
    with replacing(folder) as temporary:
        model.config.save_pretrained(temporary)
        _copy_tokenizer(source, temporary)
        (temporary / FILE).write_bytes(graph.SerializeToString())
        difference, largest = check(kind, model, temporary)
        if not difference <= TOLERANCE * max(1.0, largest):
            raise UserError(f"The graph's results differ from the model's by {difference:.1e}.",
                            "This family cannot be exported faithfully; run it in PyTorch.")
        said = {"kind": kind, "opset": {one.domain or "ai.onnx": one.version for one in graph.opset_import},
                "inputs": shapes(graph.graph.input), "outputs": shapes(graph.graph.output),
                "largest_difference": difference, "largest_result": largest}
        write_json(temporary / SAID, said)
    return said


def kind_of(source: Path) -> str:
    """causal, reward or encoder, by what the model's config says.

    Raises:
        UserError: there is no config, or the model is of another kind.
    """
    from transformers import AutoConfig
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UserError(f"'{source}' cannot be loaded as a model: {str(error).splitlines()[0]}",
                        "Give a folder written by save_pretrained.") from None
    name = (config.architectures or [""])[0]
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return "causal"
    if config.is_encoder_decoder or not name:
        raise UserError(f"A model of kind '{name or 'unknown'}' cannot be exported.",
                        "Export a causal model, a reward model or an encoder.")
    decoder = name.endswith("ForSequenceClassification") and config.num_labels == 1 and config.model_type in _decoders()
    return "reward" if decoder else "encoder"


def _decoders() -> set[str]:
    """The model types that have a causal model whose classifier is a head on each token."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )
    return set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - set(MODEL_FOR_MASKED_LM_MAPPING_NAMES)


def _load_encoder(source: Path) -> nn.Module:
    import transformers
    return load_network(getattr(transformers, transformers.AutoConfig.from_pretrained(source).architectures[0]), source)


_LOADERS = {"causal": load_causal, "reward": load_scalar, "encoder": _load_encoder}


def _copy_tokenizer(source: Path, folder: Path) -> None:
    """Every file of the model's folder but its config and its weights."""
    for file in source.iterdir():
        if file.is_file() and file.name != "config.json" and not WEIGHTS.search(file.name):
            shutil.copy(file, folder)


def shapes(values: Sequence[Any]) -> dict[str, list[int | str]]:
    """The shape of each input or output, free axes by their names."""
    return {value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in values}


@torch.inference_mode()
def check(kind: str, model: nn.Module, folder: Path) -> tuple[float, float]:
    """The largest difference of the graph's results from the model's, and the model's largest, over several lengths."""
    longest = context_length(model) - 1
    lengths = sorted({1 + (longest - 1) * number // (LENGTHS - 1) for number in range(LENGTHS)})
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(model.config.vocab_size, (length,), generator=generator).tolist() for length in lengths]
    found, expected = {"causal": _causal, "reward": _reward, "encoder": _encoder}[kind](model, folder, texts)
    return float((found - expected).abs().max()), float(expected.abs().max())


def _causal(model: nn.Module, folder: Path, texts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Logits after each text: all together without a cache, and of the longest, token after token, with one."""
    graph = OnnxCausal.load(folder)
    _, found = read_prompts(graph, texts, pad=0)
    expected = torch.stack([model(torch.tensor([text])).logits[0, -1] for text in texts])
    half = len(texts[-1]) // 2
    cache, _ = read_prompts(graph, [texts[-1][:half]], pad=0, room=len(texts[-1]) - half)
    steps = torch.cat([read_on(graph, cache, [token]) for token in texts[-1][half:]], dim=1)[0]
    return torch.cat([found, steps]), torch.cat([expected, model(torch.tensor([texts[-1]])).logits[0, half:]])


def _reward(model: nn.Module, folder: Path, texts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """The first third of each text is the prompt."""
    answers = [(text[:len(text) // 3], text[len(text) // 3:]) for text in texts]
    found = _run(folder, {"input_ids": _padded(texts),
                          "prompt_lengths": torch.tensor([len(prompt) for prompt, _ in answers]),
                          "lengths": torch.tensor([len(text) for text in texts])})
    return found, torch.tensor(score_answers(model, answers, pad=0, rows=1)) + offset(model)


def _encoder(model: nn.Module, folder: Path, texts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    padded = _padded(texts)
    mask = torch.arange(padded.shape[1]) < torch.tensor([[len(text)] for text in texts])
    found = _run(folder, {"input_ids": padded, "attention_mask": mask.long()})
    expected = [model(input_ids=torch.tensor([text]), attention_mask=torch.ones(1, len(text), dtype=torch.long))[0][0]
                for text in texts]
    if found.ndim == 2:  # one result a text, not one a token
        return found, torch.stack(expected)
    return torch.cat([one[:len(text)] for one, text in zip(found, texts)]), torch.cat(expected)


def _run(folder: Path, inputs: dict[str, Tensor]) -> Tensor:
    import onnxruntime
    session = onnxruntime.InferenceSession(str(folder / FILE), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])


def _padded(texts: Sequence[list[int]]) -> Tensor:
    width = max(map(len, texts))
    return torch.tensor([text + [0] * (width - len(text)) for text in texts])
