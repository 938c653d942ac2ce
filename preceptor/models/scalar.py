"""Scalar models: a causal trunk with one linear output instead of the unembedding, for rewards and for values.

They are Hugging Face's sequence classifiers with one label, so that `from_pretrained` opens what we save. Only families
whose head is a linear map `score` of each hidden state are taken (the decoders are): the value of a token is then the
head applied to that token, which packing and PPO need.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.models.adapters import carries_adapter
from preceptor.models.attention import block_mask
from preceptor.models.causal import attention_kind, hidden_states, load_causal, load_network
from preceptor.models.vision.album import album_vectors, give_album
from preceptor.run.errors import UserError
from preceptor.run.machine import device


def scalar_from_causal(source: Path | str, seed: int = 0) -> nn.Module:
    """A scalar model with the trunk of a causal model and a fresh head of N(0, 1/(d+1)), d the trunk's width.

    The variance 1/(d+1) is that of Ziegler et al. 2019 (arXiv 1909.08593) and Stiennon et al. 2020: scores start with a
    deviation near 1 when hidden states are normalised.

    Raises:
        UserError: `source` is no causal model, carries an adapter, or its family has no classifier with a linear head
            on each token.
    """
    from transformers import AutoModelForSequenceClassification
    causal = load_causal(source)
    if carries_adapter(causal):
        raise UserError(f"The trunk of '{source}' carries an adapter, which a head cannot be put on.",
                        "Merge it first (preceptor adapter merge), or start from its base.")
    config = causal.config
    config.num_labels = 1
    try:
        model = AutoModelForSequenceClassification.from_config(config, attn_implementation=attention_kind(config))
    except ValueError:
        raise UserError(f"The family of '{source}' ({config.model_type}) has no sequence classifier.",
                        "Start the reward model from another family.") from None
    _check_linear_head(model, source)
    model.base_model.load_state_dict(causal.base_model.state_dict())
    width = model.score.in_features
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.score.weight.copy_(torch.randn(1, width, generator=generator) * (width + 1) ** -0.5)
    model = model.to(device())
    if (vectors_KD := album_vectors(causal)) is not None:
        give_album(model, vectors_KD)
    return model


def start_scalar(source: Path | str, seed: int = 0) -> nn.Module:
    """Where a reward model begins: a reward model with its head (what it learned before is kept), or a causal trunk.

    Raises:
        UserError: as `load_scalar` and `scalar_from_causal`.
    """
    if not is_scalar(source):
        return scalar_from_causal(source, seed)
    model = load_scalar(source)
    model.config.preceptor_offset = 0.0  # it belongs to what was learned before
    return model


def is_scalar(source: Path | str) -> bool:
    """Whether a model folder holds a sequence classifier, by what its config says."""
    from transformers import AutoConfig
    try:
        architectures = AutoConfig.from_pretrained(source).architectures or []
    except (OSError, ValueError):
        return False  # whoever loads it says why
    return any(name.endswith("ForSequenceClassification") for name in architectures)


def load_scalar(source: Path | str) -> nn.Module:
    """Load a scalar model that was saved, head included.

    Raises:
        UserError: it is no sequence classifier of one label, or lacks weights (its head, when it is a causal model).
    """
    from transformers import AutoModelForSequenceClassification
    model = load_network(AutoModelForSequenceClassification, source)
    if model.config.num_labels != 1:
        raise UserError(f"The model '{source}' has {model.config.num_labels} outputs, not one.",
                        "Give a reward model: a sequence classifier with num_labels = 1.")
    _check_linear_head(model, source)
    return model


def _check_linear_head(model: nn.Module, source: Path | str) -> None:
    if not isinstance(getattr(model, "score", None), nn.Linear):
        raise UserError(f"The classifier of '{source}' ({model.config.model_type}) has no linear head on each token.",
                        "Start the reward model from a decoder, such as Llama, Qwen2 or GPT-2.")


def token_values(model: nn.Module, batch: Batch, mask: Callable[[Tensor, nn.Module], Tensor] = block_mask) -> Tensor:
    """The head at every position of a packed batch, (rows, time), without the offset; `mask` as in `hidden_states`.

    The head runs in float32 under any autocast: bfloat16 has 8 bits, and two answers whose scores differ in the third
    digit must not be tied.
    """
    return head_values(model, hidden_states(model, batch, mask))


def head_values(model: nn.Module, hidden_BTD: Tensor) -> Tensor:
    """The head at every position, (rows, time), from the trunk's states; in float32, as `token_values` says."""
    with torch.autocast(hidden_BTD.device.type, enabled=False):
        return model.score(hidden_BTD.float()).squeeze(-1)


def offset(model: nn.Module) -> float:
    """What is added to a value to make a score, kept in the model's config; 0 when none was set."""
    return float(getattr(model.config, "preceptor_offset", 0.0))


def likelihood_weight(model: nn.Module) -> float:
    """Weight, per nat, of an answer's log-likelihood in its score, kept in the model's config; 0 when none was set."""
    return float(getattr(model.config, "preceptor_likelihood", 0.0))


def set_likelihood_weight(model: nn.Module, weight: float) -> None:
    """Have the score of an answer count its log-likelihood under the scalar model's own trunk and embedding.

    Raises:
        UserError: the model keeps no unembedding, because its own is not its embedding.
    """
    if weight and not model.config.tie_word_embeddings:
        raise UserError("The reward model cannot count an answer's likelihood: its family unembeds by a matrix of its "
                        "own, which a classifier does not keep.",
                        "Set likelihood to 0, or start from a model with tied embeddings.")
    model.config.preceptor_likelihood = weight
