"""`preceptor export MODEL --to FOLDER`: write the graph and say what was compared; or a GGUF file, and its size."""

from pathlib import Path

from preceptor.run.errors import UserError


def export_model(model: Path, folder: Path) -> None:
    """Export a model, and print its kind, its inputs and outputs, and how near its results are.

    Raises:
        UserError: the model cannot be exported, and why.
    """
    from transformers.utils.logging import disable_progress_bar

    from preceptor.deploy.export import export
    disable_progress_bar()
    print(f"Tracing '{model}' (this takes seconds) ...", flush=True)
    said = export(model, folder)
    print(f"{said['kind']} model, opset {said['opset']['ai.onnx']}, in {folder}")
    for side in ("inputs", "outputs"):
        shown = [f"{name} {tuple(shape)}" for name, shape in said[side].items()
                 if not name.startswith(("past.", "present."))]
        caches = len(said[side]) - len(shown)
        print(f"  {side:8} {', '.join(shown)}" + (f", and {caches} blocks of the cache" if caches else ""))
    print(f"  largest difference from PyTorch {said['largest_difference']:.1e} (results up to "
          f"{said['largest_result']:.1f})")


def export_gguf(model: Path, file: Path, checkout: Path | None, numbers: str) -> None:
    """Have llama.cpp's converter write a GGUF file.

    Raises:
        UserError: no checkout is named, or as `to_gguf`.
    """
    if checkout is None:
        raise UserError("A GGUF file is written by llama.cpp's own converter.", "Name its folder with --llama-cpp.")
    from preceptor.deploy.gguf import to_gguf
    to_gguf(model, file, checkout, numbers)
    print(f"{file}: {file.stat().st_size:,} bytes, {numbers}")
