"""Systems on disk: a folder that `load_system` opens again, written whole or not at all.

    system.json          which system it is, the size of its pictures, its options
    model.safetensors    every weight, by the names that patterns use
    PART/config.json     of each part that is a network of transformers, its configuration
    tokenizer.json, ...  its tokenizer
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from preceptor.models.causal import model_folder
from preceptor.run.errors import UserError, nearest
from preceptor.run.files import read_json, replacing, write_json
from preceptor.run.machine import device
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.vision.system import System


def system_class(name: str) -> type[System]:
    """The class of the system called `name`.

    Raises:
        UserError: there is none.
    """
    if not name.isidentifier() or find_spec(f"preceptor.vision.systems.{name}") is None:
        known = [path.stem for path in (Path(__file__).parent / "systems").glob("[a-z]*.py")]
        raise UserError(f"There is no system '{name}'.", nearest(name, known))
    return import_module(f"preceptor.vision.systems.{name}").SYSTEM


def save_system(system: System, folder: Path) -> None:
    """Write the system and its tokenizer."""
    from dataclasses import asdict

    from safetensors.torch import save_model
    from transformers import PreTrainedModel
    with replacing(folder) as temporary:
        temporary.mkdir()
        system.tokenizer.save_pretrained(temporary)
        for name, part in system.named_children():
            if isinstance(part, PreTrainedModel):
                (temporary / name).mkdir()
                part.config.save_pretrained(temporary / name)
        save_model(system, str(temporary / "model.safetensors"))
        write_json(temporary / "system.json", {"system": system.options.system, "size": system.size,
                                               "options": asdict(system.options)})


def part_folders(source: Path) -> dict[str, Path]:
    """The folders of a saved system's parts, by name: what says their shape."""
    return {path.name: path for path in model_folder(source).iterdir() if path.is_dir()}


def load_system(source: Path) -> System:
    """The system of a step's folder, or of the folder that `save_system` wrote.

    Raises:
        UserError: there is no system there, or a weight is missing or left over.
    """
    from safetensors.torch import load_model
    folder = model_folder(source)
    if not (folder / "system.json").is_file():
        raise UserError(f"'{source}' holds no system that sees.", "Name the folder of a step of the stage 'vision'.")
    kept: dict[str, Any] = read_json(folder / "system.json")
    kind = system_class(kept["system"])
    system = kind(kind.options_class(**kept["options"]), load_tokenizer(folder), kept["size"], part_folders(folder))
    try:
        load_model(system, str(folder / "model.safetensors"))
    except (RuntimeError, OSError) as error:
        raise UserError(f"The weights in '{source}' are not those of a {kept['system']}: "
                        f"{str(error).splitlines()[0]}", "Train it again, or restore the folder.") from None
    return system.to(device()).eval()
