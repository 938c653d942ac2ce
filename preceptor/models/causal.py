"""Causal language models: build one, load one, save one, and run its trunk over packed rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.models.adapters import ordinary_weights
from preceptor.models.attention import block_mask
from preceptor.models.trunk import upper_trunk
from preceptor.run.errors import UserError
from preceptor.run.files import replacing
from preceptor.run.machine import device, has_bfloat16


def attention_kind() -> str:
    """SDPA in fp32; plain products in bf16 on a CPU, where SDPA's backward is slow (docs/performance.md)."""
    return "eager" if has_bfloat16() and not torch.cuda.is_available() else "sdpa"


def build_llama(*, vocabulary: int, width: int, layers: int, heads: int, feed_forward: int, context: int,
                end: int, pad: int) -> nn.Module:
    """A Llama-style model with fresh weights from the global generator.

    RMSNorm before each block, SwiGLU, rotary positions, no biases, no norm after the embedding, tied embeddings.
    Weights are N(0, 0.02), and N(0, 0.02/sqrt(2·layers)) where a block writes to the residual stream (Radford et al.
    2019, §2.3), so that the stream's scale does not grow with depth.
    """
    from transformers import LlamaConfig, LlamaForCausalLM
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=feed_forward, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=context,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=end, pad_token_id=pad,
        attn_implementation=attention_kind())
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.mul_((2 * layers) ** -0.5)
    return model.to(device())


def model_folder(path: Path) -> Path:
    """The model folder of `path`: what a step wrote as model/ inside its folder, or else `path` itself."""
    return path / "model" if (path / "model").is_dir() else path


def load_causal(source: Path | str) -> nn.Module:
    """Load a causal model from a folder, or from the hub when `source` is no path and the user asked for it by name.

    Weights are fp32 and copied to fresh memory: a memory-mapped file is not aligned as the allocator aligns, and other
    alignment can mean other rounding, so that a resumed run would differ. Dropout is off: stages that want it add it.

    Raises:
        UserError: the folder is no model, a weight was not in the file, or the family changes the logits after the
            output projection in a way that our losses would miss.
    """
    from transformers import AutoModelForCausalLM
    model = load_network(AutoModelForCausalLM, source)
    _check_head(model, source)
    return model


def load_network(kind: Any, source: Path | str) -> nn.Module:
    """Load a model of `kind`, one of transformers' Auto classes, as `load_causal` says; every weight must be there."""
    from transformers import AutoConfig
    try:
        config = AutoConfig.from_pretrained(source)
        for name in ("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "hidden_dropout",
                     "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            if hasattr(config, name):
                setattr(config, name, 0.0)
        model, report = kind.from_pretrained(source, config=config, dtype=torch.float32, output_loading_info=True,
                                             attn_implementation=attention_kind())
    except (OSError, ValueError) as error:
        raise UserError(f"'{source}' cannot be loaded as a model: {str(error).splitlines()[0]}",
                        "Give a folder written by save_pretrained, or the name of a model on the hub.") from None
    absent = sorted(report["missing_keys"])
    if absent:
        raise UserError(f"The model '{source}' lacks {len(absent)} weights, for example '{absent[0]}'.",
                        "Give a whole checkpoint of the right kind.")
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model.to(device())


@torch.no_grad()
def _check_head(model: nn.Module, source: Path | str) -> None:
    """Refuse families whose logits are more than trunk times output projection (scaled or soft-capped ones)."""
    tokens = torch.arange(4, device=model.device)[None]
    hidden = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
    if not torch.allclose(model.get_output_embeddings()(hidden), model(input_ids=tokens).logits, atol=1e-4):
        raise UserError(f"The model '{source}' changes its logits after the output projection.",
                        "This family is not supported for training here.")


def hidden_states(model: nn.Module, batch: Batch, mask: Callable[[Tensor, nn.Module], Tensor] = block_mask) -> Tensor:
    """The trunk's last hidden states (rows, time, width) over a packed batch, before any head.

    `mask` makes the attention mask from the batch's segments: documents apart, unless the caller says otherwise. Where
    the batch has `lower_states`, what the frozen blocks make of it is known, and only those above them are run.
    """
    known = batch.tensors.get("lower_states")
    trunk, inputs = ((model.base_model, {"input_ids": batch["tokens"]}) if known is None else
                     (upper_trunk(model), {"inputs_embeds": known}))
    return trunk(**inputs, position_ids=batch["positions"], use_cache=False,
                 attention_mask=mask(batch["segments"], model)).last_hidden_state


def save_model(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write model and tokenizer as one folder that `from_pretrained` opens, whole or not at all; adapters merged."""
    with replacing(folder) as temporary:
        model.save_pretrained(temporary, state_dict=ordinary_weights(model))
        tokenizer.save_pretrained(temporary)


def context_length(model: nn.Module) -> int:
    """The most tokens that the model was built for."""
    config = model.config
    return getattr(config, "max_position_embeddings", None) or config.n_positions


def parameter_count(model: nn.Module) -> int:
    """The number of weights, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
