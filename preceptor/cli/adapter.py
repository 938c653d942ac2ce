"""`preceptor adapter merge | unmerge`: what LoRA learned is added to the weights of its base, or taken off them."""

import argparse
from pathlib import Path
from typing import Any

from preceptor.run.errors import UserError


def add_adapter_commands(commands: argparse._SubParsersAction) -> None:
    """The command's arguments."""
    adapter = commands.add_parser("adapter", help="merge LoRA into its base, or take it off")
    kinds = adapter.add_subparsers(metavar="COMMAND", required=True)
    merge = kinds.add_parser("merge", help="write base and adapter as one ordinary model")
    merge.add_argument("adapter", type=Path, help="the adapter's folder, which names its base")
    merge.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="the folder to write")
    merge.set_defaults(command=_merge)
    unmerge = kinds.add_parser("unmerge", help="take an adapter off a model that it was merged into")
    unmerge.add_argument("model", type=Path, help="the merged model, with its adapter in adapter/")
    unmerge.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="the folder to write")
    unmerge.set_defaults(command=_unmerge)


def _merge(options: argparse.Namespace) -> None:
    from preceptor.models.adapter_folder import adapter_base
    from preceptor.models.causal import save_model
    from preceptor.run.files import refuse_to_replace
    from preceptor.tokenizer.chat import load_tokenizer
    refuse_to_replace(options.to)
    if adapter_base(options.adapter) is None:
        raise UserError(f"'{options.adapter}' is not the folder of an adapter.",
                        "Give one, such as the adapter/ inside the model/ of a step with adapter: lora.")
    model = _load(options.adapter)
    if hasattr(model, "soft_prompt"):
        raise UserError(f"The soft prompt '{options.adapter}' cannot be merged: it stands before the text and in no "
                        "weight.", "Use its folder as it is, or train LoRA in its place.")
    save_model(model, load_tokenizer(options.adapter), options.to)
    print(f"{options.to}: base and adapter as one model")


def _unmerge(options: argparse.Namespace) -> None:
    from preceptor.models.adapter_folder import FOLDER, adapter_base, attach_adapter
    from preceptor.models.adapters import ordinary_weights
    from preceptor.models.causal import model_folder
    from preceptor.run.files import refuse_to_replace, replacing
    from preceptor.tokenizer.chat import load_tokenizer
    refuse_to_replace(options.to)
    source = model_folder(options.model)
    base = adapter_base(source / FOLDER)
    if base is None:
        raise UserError(f"'{source}' holds no adapter that was merged into it.",
                        f"Give a model with its adapter in {FOLDER}/, as a step with adapter: lora writes it.")
    model = _load(source)
    attach_adapter(model, source / FOLDER)
    weights = ordinary_weights(model, sign=-1.0)
    with replacing(options.to) as temporary:
        model.save_pretrained(temporary, state_dict=weights)
        load_tokenizer(source).save_pretrained(temporary)
    known = _load(Path(base)).state_dict()
    apart = max(float((weights[name] - value).abs().max()) for name, value in known.items() if name in weights)
    print(f"{options.to}: the base again, at most {apart:.1e} from '{base}' in any weight")


def _load(folder: Path) -> Any:
    """A model folder as the class that wrote it.

    Raises:
        UserError: it says of no class what it is, as an adapter that `peft` wrote elsewhere.
    """
    import transformers

    from preceptor.models.causal import load_network
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"'{folder}' cannot be loaded as a model: {str(error).splitlines()[0]}",
                        "Of an adapter made elsewhere, put its base's config.json and tokenizer beside it.") from None
    return load_network(getattr(transformers, (config.architectures or ["AutoModelForCausalLM"])[0]), folder)
