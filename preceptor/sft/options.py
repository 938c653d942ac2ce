"""Options of the stages `sft`, `select` and `context_distillation`."""

from dataclasses import dataclass

from preceptor.learn.options import AdapterOptions, LanguageOptions


@dataclass(frozen=True, kw_only=True)
class SftOptions(LanguageOptions, AdapterOptions):
    """How a model learns from demonstrations. Epochs, dropout and schedule are those of InstructGPT, appendix C.1."""

    epochs: int = 16
    """Passes over the demonstrations. The model after each one is kept."""
    dropout: float = 0.2
    """Share of each attention's and each feed-forward block's output that is set to 0 while training."""
    rows: int = 8
    """Packed rows in a batch."""
    length: int = 0
    """Tokens in a packed row, and the longest demonstration that is used; 0 takes the model's context."""
    learning_rate: float = 3e-3
    """Peak learning rate of AdamW, for the small network of the village; models of 100M weights and more want 1e-5."""
    replay_share: float = 0.1
    """Share of each optimiser step's gradient that comes from the documents of the input `replay`, where there are any
    (InstructGPT, appendix C.3: 10 % of pretraining text, found helpful for PPO)."""


@dataclass(frozen=True, kw_only=True)
class SelectOptions:
    """How the answers are sampled by which the epochs are compared."""

    prompts: int = 0
    """Prompts to answer, drawn once and the same for every epoch; 0 takes all."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token. At 1 the policy is judged as PPO will find it."""
    max_tokens: int = 48
    """An answer is cut after this many tokens."""
    rows: int = 64
    """Sequences that are decoded, scored or measured at once."""


@dataclass(frozen=True, kw_only=True)
class DistillationOptions(AdapterOptions):
    """How a context is distilled into the weights."""

    prompts: int = 0
    """Prompts that the model with the context answers, the first of the file; 0 takes all."""
    answers: int = 1
    """Answers to each prompt."""
    temperature: float = 1.0
    """Divides the logits when the answers are drawn."""
    max_tokens: int = 48
    """An answer is cut after this many tokens."""
    decode_rows: int = 64
    """Answers that are written at once."""
    rows: int = 8
    """Answers in a batch."""
    epochs: int = 1
    """Passes over the answers."""
    learning_rate: float = 1e-4
    """Peak learning rate of AdamW, for a million weights."""
