"""Options of the prune stage."""

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
