"""A causal model as a GGUF file, by llama.cpp's own converter, of which the user has a checkout.

The converter knows a tokenizer by the hash of what it makes of one text, and so refuses every vocabulary that somebody
trained. How ours cuts text before its merges (`ByteLevel` with its pattern) is GPT-2's way, which llama.cpp has under
that name: this alone is told to the converter, and only of tokenizers that do it so.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from preceptor.deploy.export import kind_of
from preceptor.models.causal import model_folder
from preceptor.run.errors import UserError
from preceptor.run.files import replacing

CONVERTER = "convert_hf_to_gguf.py"
NUMBERS = ("f32", "f16", "bf16", "q8_0")
NAMED = """
import runpy, sys
folder = sys.argv.pop(1)
sys.path[:0] = [folder, folder + "/gguf-py"]
from conversion.base import TextModel
known = TextModel.get_vocab_base_pre
def named(self, tokenizer):
    try:
        return known(self, tokenizer)
    except NotImplementedError:
        return "gpt-2"
TextModel.get_vocab_base_pre = named
sys.argv[0] = folder + "/convert_hf_to_gguf.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def to_gguf(source: Path, file: Path, checkout: Path, numbers: str = "f16") -> None:
    """Convert the causal model of a folder.

    Raises:
        UserError: it is no causal model, its tokenizer is none that llama.cpp has a name for, there is no converter, or
            the converter failed, with its last line.
    """
    source = model_folder(source)
    if kind_of(source) != "causal":
        raise UserError(f"'{source}' is no causal model, and GGUF files are written of those.", "Give another model.")
    if not (checkout / CONVERTER).is_file() or not (checkout / "conversion").is_dir():
        raise UserError(f"'{checkout}' is no checkout of llama.cpp with {CONVERTER} and conversion/.",
                        "Give --llama-cpp the folder of llama.cpp, of 2026 or later.")
    command = [sys.executable, "-c", NAMED, str(checkout)] if cuts_as_gpt2(source) else [sys.executable,
                                                                                       str(checkout / CONVERTER)]
    with replacing(file) as temporary:
        done = subprocess.run([*command, str(source), "--outfile", str(temporary), "--outtype", numbers],
                              capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["no reason"])[-1]
            raise UserError(f"llama.cpp's converter could not convert '{source}': {said}",
                            "Install what it asks for (its requirements), or convert a model of another family.")


def cuts_as_gpt2(source: Path) -> bool:
    """Whether a folder's tokenizer cuts text as GPT-2's does: bytes as letters, its pattern, no further rules."""
    path = source / "tokenizer.json"
    described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    cut = described.get("pre_tokenizer") or {}
    return (cut.get("type") == "ByteLevel" and cut.get("use_regex", True) and not cut.get("add_prefix_space")
            and not described.get("normalizer") and described.get("model", {}).get("type") == "BPE")
