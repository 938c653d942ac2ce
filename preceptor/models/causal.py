"""Causal language models: build one, load one, save one, and run its trunk over packed rows."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.models.adapter_folder import FOLDER, adapter_base, attach_adapter, head_weights, write_adapter
from preceptor.models.adapters import carries_adapter, ordinary_weights
from preceptor.models.apart import run_apart
from preceptor.models.attention import SHORT, Mask, attention_for_rows, block_mask, packs, shares_prefix
from preceptor.models.options import ArchitectureOptions
from preceptor.models.shards import whole
from preceptor.models.soft_prompt import mask_behind, positions_behind, prompt_vectors, read_behind
from preceptor.models.trunk import upper_trunk
from preceptor.models.vision.album import album_vectors, attach_album, save_album
from preceptor.run.errors import UserError
from preceptor.run.files import replacing
from preceptor.run.machine import device, has_bfloat16

BEHIND_PADDING = ("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "data2vec-text",
                  "ibert", "longformer", "mpnet", "xmod")
"""Families whose positions begin behind the padding token's number."""


def attention_kind(config: Any) -> str:
    """SDPA; where bf16 is fast on a CPU, plain products for networks of at most `SHORT` positions.

    Networks of more take them for short rows alone (`attention_for_rows`).
    """
    plain = has_bfloat16() and not torch.cuda.is_available() and configured_length(config) <= SHORT
    return "eager" if plain else "sdpa"


def attention_for(network: type, config: Any) -> str:
    """`attention_kind` where the class of networks offers the choice; some have one way of their own."""
    return attention_kind(config) if network._supports_sdpa else "eager"


def build_llama(*, vocabulary: int, width: int, layers: int, heads: int, feed_forward: int, context: int,
                end: int, pad: int) -> nn.Module:
    """A Llama-style model with fresh weights from the global generator.

    RMSNorm before each block, SwiGLU, rotary positions, no biases, no norm after the embedding, tied embeddings.
    Weights are N(0, 0.02), and N(0, 0.02/sqrt(2·layers)) where a block writes to the residual stream (Radford et al.
    2019, §2.3), so that the stream's scale does not grow with depth.
    """
    from preceptor.models.build import build
    options = ArchitectureOptions(width=width, layers=layers, heads=heads, feed_forward=feed_forward, context=context)
    return build(options, vocabulary=vocabulary, end=end, pad=pad)


def model_folder(path: Path) -> Path:
    """The model folder of `path`: what a step wrote as model/ inside its folder, or else `path` itself."""
    return path / "model" if (path / "model").is_dir() else path


def weight_bytes(folder: Path) -> int:
    """The bytes of a model folder's weights on disk, an exported one's graph included."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in (".safetensors", ".onnx"))


def load_causal(source: Path | str, change: Callable[[Any], Any] | None = None) -> nn.Module:
    """Load a causal model from a folder, or from the hub when `source` is no path and the user asked for it by name;
    `change` may change its configuration first (models/long_context.py).

    Weights are fp32 and copied to fresh memory: a memory-mapped file is not aligned as the allocator aligns, and other
    alignment can mean other rounding, so that a resumed run would differ. Dropout is off: stages that want it add it.

    Raises:
        UserError: the folder is no model, a weight was not in the file, or the family changes the logits after the
            output projection in a way that our losses would miss.
    """
    from transformers import AutoModelForCausalLM
    model = load_network(AutoModelForCausalLM, source, change)
    _check_head(model, source)
    return model


def load_network(kind: Any, source: Path | str, change: Callable[[Any], Any] | None = None,
                 optional: str | None = None) -> nn.Module:
    """Load a model of `kind`, a class of transformers or one of its Auto classes, as `load_causal` says; every weight
    must be there, except for those whose names hold `optional`, which are drawn from the global generator (their names
    are the model's `drawn`). From the folder of an adapter the base comes with the adapter put into it, or before it.
    """
    from transformers import AutoConfig
    try:
        base = adapter_base(source)
        stated = source if base is None or (Path(source) / "config.json").is_file() else base  # peft writes none
        config = without_dropout(AutoConfig.from_pretrained(stated))
        config = change(config) if change else config
        network = kind._model_mapping.get(type(config), None) if hasattr(kind, "_model_mapping") else kind
        if network is None:
            raise ValueError(f"{config.model_type} networks are of another kind")
        network = network[0] if isinstance(network, tuple) else network  # Funnel has two trunks
        model, report = kind.from_pretrained(base or source, config=config, dtype=torch.float32,
                                             output_loading_info=True,
                                             attn_implementation=attention_for(network, config))
    except (OSError, ValueError, ImportError) as error:  # the last: torchao, of a folder that it wrote, is not there
        raise UserError(f"'{source}' cannot be loaded as a model: {str(error).splitlines()[0]}",
                        "Give a folder written by save_pretrained, or the name of a model on the hub.") from None
    absent = sorted(name for name in set(report["missing_keys"]) - (head_weights(source) if base else set())
                    if optional is None or optional not in name)
    if absent:
        raise UserError(f"The model '{source}' lacks {len(absent)} weights, for example '{absent[0]}'.",
                        "Give a whole checkpoint of the right kind.")
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    model.drawn = frozenset(report["missing_keys"]) - frozenset(head_weights(source) if base else ())
    if base:
        attach_adapter(model, source)
        model.config._name_or_path = base  # what is saved names the base, not this folder
    model = model.to(device())
    attach_album(model, source)
    return model


def without_dropout(config: Any) -> Any:
    """The configuration with every kind of dropout at 0, under the names that the families give it."""
    for name in ("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "emb_pdrop", "hidden_dropout",
                 "dropout", "activation_dropout", "dropout_rate", "hidden_dropout_prob", "attention_probs_dropout_prob",
                 "embedding_dropout", "residual_dropout", "mlp_dropout", "layerdrop", "encoder_layerdrop",
                 "decoder_layerdrop", "classifier_dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    return config


@torch.no_grad()
def _check_head(model: nn.Module, source: Path | str) -> None:
    """Refuse families whose logits are more than trunk times output projection (scaled or soft-capped ones)."""
    tokens = torch.arange(4, device=model.device)[None]
    hidden = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
    if not torch.allclose(model.get_output_embeddings()(hidden), model(input_ids=tokens).logits, atol=1e-4):
        raise UserError(f"The model '{source}' changes its logits after the output projection.",
                        "This family is not supported for training here.")


def hidden_states(model: nn.Module, batch: Batch, mask: Callable[[Tensor, nn.Module], Mask] = block_mask) -> Tensor:
    """The trunk's last hidden states (rows, time, width) over a packed batch, before any head.

    `mask` makes the attention mask from the batch's segments: documents apart, unless the caller says otherwise.
    Networks that cannot keep documents of one row apart get each in a row of its own (models/apart.py). Where the batch
    has `lower_states`, what the frozen blocks make of it is known, and only those above them are run.

    Raises:
        UserError: such a network is to share a prompt among answers.
    """
    trunk, vectors_PD = model.base_model, prompt_vectors(model)
    if vectors_PD is not None and shares_prefix(model):
        count = len(vectors_PD)
        return read_behind(trunk, vectors_PD, batch["tokens"], position_ids=positions_behind(batch["positions"], count),
                           attention_mask=mask_behind(mask(batch["segments"], model), count))
    if vectors_PD is None and packs(model):
        positions = {"position_ids": batch["positions"]} if model.config.model_type != "mpt" else {}
        known = batch.tensors.get("lower_states")
        trunk, inputs = ((trunk, {"input_ids": batch["tokens"]}) if known is None else
                         (upper_trunk(model), {"inputs_embeds": known}))
        with attention_for_rows(model, batch["segments"].shape[1]):
            return trunk(**inputs, **positions, use_cache=False,
                         attention_mask=mask(batch["segments"], model)).last_hidden_state
    if mask is not block_mask:
        raise UserError(f"A '{model.config.model_type}' network cannot hold one prompt with several answers in a row"
                        f"{' behind a soft prompt' if vectors_PD is not None else ''}.",
                        "Start from a family whose attention takes a mask, such as llama or gpt2.")
    if vectors_PD is not None:
        return run_apart(batch["tokens"], batch["segments"], partial(read_behind, trunk, vectors_PD))
    return run_apart(batch["tokens"], batch["segments"],
                     lambda tokens: trunk(input_ids=tokens, use_cache=False).last_hidden_state)


def logits_at(model: nn.Module, batch: Batch, chosen_BT: Tensor) -> Tensor:
    """The logits (chosen, V) at some places of a packed batch, of a network or of an exported one."""
    if hasattr(model, "packed_logits"):
        return model.packed_logits(batch)[chosen_BT]
    return model.get_output_embeddings()(hidden_states(model, batch)[chosen_BT])


def save_model(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write model and tokenizer, and the pictures that the model has as words, as one folder that `from_pretrained`
    opens, whole or not at all.

    LoRA is merged, and stands by itself in the folder's adapter/; a soft prompt cannot be, so that the folder is that
    of an adapter, which names its base (models/adapter_folder.py).
    """
    with replacing(folder) as temporary:
        if hasattr(model, "soft_prompt"):
            write_adapter(model, tokenizer, temporary)
        else:
            weights = ordinary_weights(model) or model.state_dict()
            model.save_pretrained(temporary, state_dict={name: whole(value) for name, value in weights.items()})
            tokenizer.save_pretrained(temporary)
            if carries_adapter(model):
                write_adapter(model, tokenizer, temporary / FOLDER)
        if album_vectors(model) is not None:
            save_album(model, tokenizer.album, temporary)


def context_length(model: nn.Module) -> int:
    """The most tokens that the model was built for, less those of its soft prompt."""
    return configured_length(model.config) - len(getattr(model, "soft_prompt", ()))


def configured_length(config: Any, unbounded: int = 2048) -> int:
    """The most tokens that a configuration states, or `unbounded` where it states no limit: what such families of
    decoders were published with."""
    if config.model_type in BEHIND_PADDING:
        return config.max_position_embeddings - config.pad_token_id - 1
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "context_length", "seq_length"):
        if (getattr(config, name, None) or 0) > 0:  # XLNet says -1
            return getattr(config, name)
    return unbounded


def parameter_count(model: nn.Module) -> int:
    """The number of weights, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
