"""The folder of an adapter, as `peft` writes and reads it; the base is named in it, and stays where it is.

    FOLDER/adapter_config.json         the kind of adapter, its shape, and `base_model_name_or_path`
    FOLDER/adapter_model.safetensors   what was learned: A and B of every map, or the vectors of the soft prompt, and
                                       the head where that learned too (a reward model's); and, whole, what the base
                                       lacks (the pooler of an encoder from masked pretraining)
    FOLDER/config.json                 the configuration of the model that base and adapter make together; where there
                                       is none, as in a folder that `peft` wrote, it is the base's
"""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.models.adapters import lora_layers, ordinary_weights, peft_package
from preceptor.models.shards import whole
from preceptor.models.soft_prompt import put_soft_prompt
from preceptor.run.errors import UserError
from preceptor.run.files import read_json

FOLDER = "adapter"
"""Where in the folder of a model with LoRA merged its adapter stands by itself."""
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX, VECTORS = "base_model.", "prompt_embeddings"
INSIDE = PREFIX + "model."
"""Before the names of weights in the file: peft puts LoRA into a model of its own inside, a soft prompt before it."""
UNKNOWN = ("use_dora", "trainable_token_indices", "target_parameters", "layer_replication", "lora_bias")


def adapter_base(source: Path | str) -> str | None:
    """The base that an adapter's folder names; None where the folder is no adapter's.

    Raises:
        UserError: it names none, or one that is not there.
    """
    path = Path(source) / CONFIG
    if not path.is_file():
        return None
    base = read_json(path).get("base_model_name_or_path")
    if not base or (Path(base).is_absolute() and not Path(base).is_dir()):
        raise UserError(f"The base of the adapter '{source}' is not at '{base}'.",
                        f"Put it back, or write its new place into {CONFIG} as base_model_name_or_path.")
    return base


def write_adapter(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write what learned in or before `model`, with the tokenizer."""
    from safetensors.torch import save_file
    prompt = getattr(model, "soft_prompt", None)
    config = model.peft_config["default"] if prompt is None else prompt.config
    heads = {name: value for name, value in model.named_parameters()
             if value.requires_grad and "lora_" not in name and not name.startswith("soft_prompt.")}
    if prompt is None and (drawn := getattr(model, "drawn", None)):
        heads |= {name: value for name, value in ordinary_weights(model).items() if name in drawn}
    learned = {(INSIDE if prompt is None else PREFIX) + name: value for name, value in heads.items()}
    if prompt is None:
        adapted = {name for name in lora_layers(model) if f"{name}.weight" not in heads}
        learned |= {INSIDE + name.replace(".default.", "."): value for name, value in model.state_dict().items()
                    if ".lora_" in name and name.partition(".lora_")[0] in adapted}
    else:
        learned[VECTORS] = prompt()
    base = model.config._name_or_path
    written = copy.copy(config)
    written.inference_mode, written.task_type = True, task_type(model)
    written.base_model_name_or_path = str(Path(base).resolve()) if Path(base).is_dir() else base
    if heads and prompt is None:  # with a soft prompt peft knows by its task which head learns too
        inside = f"{model.base_model_prefix}."
        written.modules_to_save = sorted({name.removeprefix(inside).split(".")[0] for name in heads})
        written.target_modules = sorted(adapted)
    folder.mkdir(parents=True, exist_ok=True)
    written.save_pretrained(folder)
    save_file({name: whole(value).detach().cpu().contiguous() for name, value in learned.items()}, folder / WEIGHTS,
              metadata={"format": "pt"})
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def task_type(model: nn.Module) -> str | None:
    """What `peft` calls the kind of a network, by which it chooses the class that opens it."""
    name = type(model).__name__
    return ("SEQ_CLS" if name.endswith("ForSequenceClassification") else
            "CAUSAL_LM" if name.endswith(("ForCausalLM", "LMHeadModel")) else None)


def head_weights(source: Path | str) -> set[str]:
    """The names of the weights outside the adapter proper that its folder holds."""
    return {_own_name(name) for name in _read(source) if name != VECTORS and ".lora_" not in name}


def attach_adapter(model: nn.Module, source: Path | str) -> None:
    """Put the adapter of a folder into its base, or before it; it does not learn on.

    Raises:
        UserError: it is of a kind that is not read here, or does not fit the base.
    """
    peft = peft_package()
    config, tensors = peft.PeftConfig.from_pretrained(str(source)), _read(source)
    kinds = (peft.PeftType.LORA, peft.PeftType.PROMPT_TUNING, peft.PeftType.P_TUNING)
    strange = [name for name in UNKNOWN if getattr(config, name, None)]
    if config.peft_type not in kinds or strange or getattr(config, "bias", "none") != "none":
        raise UserError(f"The adapter '{source}' is {config.peft_type.value} with {', '.join(strange) or 'options'} "
                        "that are not read here.", "Merge it into its base with peft, and give the merged folder.")
    if config.peft_type == peft.PeftType.LORA:
        config.modules_to_save = None  # the head is loaded as the rest of the model is
        peft.inject_adapter_in_model(config, model)
        expected = {name for name in model.state_dict() if ".lora_" in name}
    else:
        vectors = tensors.pop(VECTORS, torch.zeros(0, 0))
        if tuple(vectors.shape) != (config.num_virtual_tokens, model.get_input_embeddings().embedding_dim):
            raise UserError(f"The soft prompt in '{source}' is of another width than its base.", "Give its own base.")
        put_soft_prompt(model, config, vectors)
        expected = set()
    for name in head_weights(source):  # a head may be tied to the embeddings, or shared with another network
        if name in model.state_dict():
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, nn.Parameter(model.get_parameter(name).detach().clone()))
    own, given = model.state_dict(), {_own_name(name): value for name, value in tensors.items()}
    wrong = [name for name in given.keys() | expected
             if name not in given or name not in own or own[name].shape != given[name].shape]
    if wrong:
        raise UserError(f"The adapter '{source}' does not fit its base, for example at '{min(wrong)}'.",
                        "Give the base that it was trained on.")
    model.load_state_dict(given, strict=False)
    model.requires_grad_(False)
    model.eval()


def _own_name(name: str) -> str:
    """A weight's name in the model, from that in the file: A and B of a map are kept by the adapter's name."""
    owner, lora, rest = name.removeprefix(INSIDE).removeprefix(PREFIX).partition(".lora_")
    which, _, leaf = rest.partition(".")
    return f"{owner}.lora_{which}.default.{leaf}" if lora else owner


def _read(source: Path | str) -> dict[str, Tensor]:
    from safetensors.torch import load_file
    try:
        return load_file(Path(source) / WEIGHTS)
    except OSError:
        raise UserError(f"'{source}' holds no {WEIGHTS}.", "Give the folder of an adapter.") from None
