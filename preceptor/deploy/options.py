"""Options of the stages that make a model smaller."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """What is taken out of a model: blocks, heads and channels first, then single weights of what is left."""

    score: Literal["wanda", "magnitude"] = "wanda"
    """What a weight is worth: its magnitude times the norm of its input over the corpus, or its magnitude alone."""
    sparsity: float = 0.0
    """Share of the weights of every linear map in the blocks that is set to 0."""
    pattern: Literal["unstructured", "two_of_four"] = "unstructured"
    """Where the zeros may be: anywhere, or two of every four neighbouring inputs (with a sparsity of 0.5)."""
    layers: int = 0
    """Blocks that the model keeps; 0 keeps all."""
    heads: int = 0
    """Attention heads that each block keeps; 0 keeps all."""
    feed_forward: int = 0
    """Feed-forward channels that each block keeps; 0 keeps all."""
    calibration_rows: int = 128
    """Rows of the corpus, each as long as the model's context, from which scores are measured."""


@dataclass(frozen=True, kw_only=True)
class QuantiseOptions:
    """In which numbers a model is written, and for which program."""

    numbers: Literal["int8_weights", "int4_weights", "int8_dynamic", "int8_static", "bf16", "fp16",
                     "fp32"] = "int8_weights"
    """What the weights of linear maps become; `dynamic` and `static` round the maps' inputs to 8 bits too."""
    runtime: Literal["onnx", "torch"] = "onnx"
    """What runs the result: ONNX Runtime, or PyTorch (int8_weights and int8_dynamic with torchao)."""
    block: int = 32
    """Neighbouring inputs that share a scale, of int4_weights and int8_weights in ONNX: a power of two from 16."""
    reduce_range: bool = False
    """7 bits for the weights of int8_dynamic and int8_static, whose sums overflow on x86 processors without VNNI."""
    calibration_rows: int = 32
    """Rows of the corpus, each as long as the model's context, from which int8_static measures its scales."""
