"""A model folder with integers for weights that PyTorch runs, by torchao (which models/eight_bit.py uses, too).

torchao deletes and renames much from release to release, so its version is pinned (the extra `quantise`), and what we
take of it is two kinds of weights and how transformers writes and reads them.
"""

from pathlib import Path
from typing import Any

from torch import nn

from preceptor.models.trunk import blocks
from preceptor.run.errors import UserError

NUMBERS = ("int8_weights", "int8_dynamic")


def quantised(source: Path, model: nn.Module, numbers: str) -> nn.Module:
    """The causal model of the folder `source`, which `model` is in fp32, with 8 bits for each weight of the linear maps
    in its blocks and a scale for each output; embeddings, norms and the output projection stay.

    Raises:
        UserError: torchao is not installed, has no such kind for a CPU, or does not know the family's linear maps.
    """
    if numbers not in NUMBERS:
        raise UserError(f"torchao has no {numbers} that a CPU runs and a folder holds.",
                        f"Set runtime to onnx, or numbers to one of {', '.join(NUMBERS)}, bf16, fp16.")
    config = _config(numbers)
    others = {type(module).__name__ for block in blocks(model) for name, module in block.named_modules()
              if getattr(module, "weight", None) is not None and module.weight.ndim == 2
              and not isinstance(module, nn.Linear)}
    if others:
        raise UserError(f"The linear maps of a '{model.config.model_type}' model are of the kind {min(others)}, which "
                        "torchao leaves in fp32.", "Set runtime to onnx.")
    from transformers import AutoModelForCausalLM, TorchAoConfig
    return AutoModelForCausalLM.from_pretrained(source, dtype="float32", quantization_config=TorchAoConfig(config))


def _config(numbers: str) -> Any:
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig
    except ImportError:
        raise UserError("torchao is not installed.", "Install it: pip install 'preceptor[quantise]'.") from None
    return Int8WeightOnlyConfig() if numbers == "int8_weights" else Int8DynamicActivationInt8WeightConfig()
