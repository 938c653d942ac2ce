"""Networks with fresh weights, by transformers' own classes."""

from typing import Any

from torch import nn

from preceptor.models.causal import attention_for, without_dropout
from preceptor.models.families import FAMILIES, chosen
from preceptor.models.initialise import initialise
from preceptor.models.options import ArchitectureOptions
from preceptor.run.machine import device

HEADED = {"causal": "AutoModelForCausalLM", "masked": "AutoModelForMaskedLM",
          "encoder_decoder": "AutoModelForSeq2SeqLM"}


def headed(kind: str) -> Any:
    """transformers' Auto class of a kind of networks with its language-model head."""
    import transformers
    return getattr(transformers, HEADED[kind])


def build(options: ArchitectureOptions, *, vocabulary: int, end: int, pad: int, mask: int | None = None) -> nn.Module:
    """A network as the options say, weights from the global generator, dropout off.

    Args:
        vocabulary: entries, the ids below included.
        end, pad: the tokens at the end of a text, and that fill a row (an encoder-decoder begins to write with `pad`).
        mask: the token in whose place a masked encoder fills in another.

    Raises:
        UserError: the family cannot have it so (`families.chosen`).
    """
    options = chosen(options)
    family = FAMILIES[options.family]
    tokens = {"vocab_size": vocabulary, "bos_token_id": None, "eos_token_id": end, "pad_token_id": pad}
    if family.kind == "encoder_decoder":
        tokens["decoder_start_token_id"] = pad
    if family.kind == "masked":
        tokens["mask_token_id"] = mask
    config = without_dropout(family.config(options, tokens))
    kind = headed(family.kind)
    config._attn_implementation = attention_for(kind._model_mapping[type(config)], config)
    model = kind.from_config(config)
    initialise(model, options.initialisation)
    return model.to(device())


def kind_of(config: Any) -> str:
    """`causal`, `masked` or `encoder_decoder`: what a checkpoint with this configuration was trained to do."""
    if config.is_encoder_decoder:
        return "encoder_decoder"
    masked = any("MaskedLM" in name for name in config.architectures or ())
    return "masked" if masked else "causal"
