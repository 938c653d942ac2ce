"""Options of a network's architecture."""

from dataclasses import dataclass
from typing import Literal

Name = Literal["llama", "mistral", "mixtral", "olmo2", "gpt2", "opt", "starcoder2", "stablelm", "falcon", "bloom",
               "mpt", "xglm", "mamba", "mamba2", "rwkv", "bert", "roberta", "roberta_prenorm", "distilbert",
               "modernbert", "eurobert", "t5", "bart", "mbart", "marian", "pegasus"]


@dataclass(frozen=True, kw_only=True)
class ArchitectureOptions:
    """The network's family and shape. A knob left empty is as the family has it; one that no configuration of the
    family can express is refused, with the families that can."""

    family: Name = "llama"
    """The kind of network, by the name of its configuration in transformers (docs/families.md lists what each can)."""
    width: int = 128
    """Width of the residual stream."""
    layers: int = 4
    """Blocks; an encoder-decoder has as many in each half."""
    heads: int = 4
    """Attention heads (state-space heads of mamba2); they divide the width."""
    kv_heads: int | None = None
    """Heads of keys and values: as many as heads (MHA), fewer that divide them (GQA), or 1 (MQA)."""
    feed_forward: int = 352
    """Width inside the feed-forward blocks."""
    context: int = 256
    """Tokens in a row, and the longest text that the model is built for."""
    norm: Literal["rmsnorm", "layernorm"] | None = None
    """How the residual stream is normalised."""
    norm_place: Literal["pre", "post"] | None = None
    """Norm before each part of a block, or after it."""
    activation: Literal["gelu", "relu", "swiglu", "geglu"] | None = None
    """Of the feed-forward blocks; swiglu and geglu multiply by a gate."""
    positions: Literal["rope", "alibi", "learned", "sinusoidal", "relative", "none"] | None = None
    """How order is told: queries and keys turned, a penalty by distance, vectors added, T5's buckets, or recurrence."""
    biases: bool | None = None
    """Whether linear layers add a bias."""
    embedding_norm: bool | None = None
    """A norm right after the embedding."""
    tied: bool | None = None
    """Whether the output projection is the embedding."""
    experts: int | None = None
    """Feed-forward experts of a block (mixture of experts); 0 is one dense block."""
    experts_used: int = 2
    """Experts that a token goes through, where there are experts."""
    window: int | None = None
    """Tokens back that attention sees (sliding window); 0 sees all."""
    initialisation: Literal["depth_scaled", "normal", "xavier", "he", "family"] = "depth_scaled"
    """First weights: N(0, 0.02²), the same with what writes to the residual stream divided by the root of the number
    of writers, Xavier (Glorot), He (Kaiming), or what transformers gives the family."""

    @property
    def attention(self) -> str:
        """`mha`, `gqa` or `mqa`."""
        if self.kv_heads in (None, self.heads):
            return "mha"
        return "mqa" if self.kv_heads == 1 else "gqa"
