"""Where pretraining starts: a network with fresh weights, or a checkpoint that goes on learning."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from preceptor.learn.adapting import adapt
from preceptor.models.build import build, headed, kind_of
from preceptor.models.causal import configured_length, context_length, load_causal, load_network, model_folder
from preceptor.models.families import FAMILIES, chosen
from preceptor.models.long_context import lengthening
from preceptor.models.masked import check_masked
from preceptor.models.options import ArchitectureOptions
from preceptor.pretrain.options import PretrainOptions
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.tokenizer.special import mask_token, sentinel_tokens

PER_CHECKPOINT = ("context",)  # options of the architecture that a checkpoint does not settle


@dataclass(frozen=True, slots=True)
class Start:
    """A network, its tokenizer, what kind it is, how its text is hidden, and the tokens that stand for what is."""

    model: nn.Module
    tokenizer: Any
    kind: str
    denoising: str
    """`spans` or `infilling`, of an encoder-decoder; empty of others."""
    hidden: list[int]
    """The mask, or the sentinels."""


def start(step: Step) -> Start:
    """Build the network that the options describe, or load the step's input `model`.

    Raises:
        UserError: inputs or options do not go together.
    """
    return _load(step) if "model" in step.inputs else _build(step)


def _build(step: Step) -> Start:
    options = step.options
    tokenizer = load_tokenizer(step.input("tokenizer", "model"))
    if options.extend:
        raise UserError(f"'{step.name}.extend' is for a model that the step goes on from.", "Leave it out.")
    if options.adapter != "none":
        raise UserError(f"Step '{step.name}' trains a fresh network, in which an adapter has nothing to adapt.",
                        f"Add a 'model' to its needs, or set {step.name}.adapter to none.")
    kind = FAMILIES[options.family].kind
    if kind == "causal" and chosen(options).embedding_norm:
        step.say(f"{options.family} has a norm after the embedding, which costs causal decoders quality "
                 "(Le Scao et al. 2022)")
    denoising = _denoising(step, kind, "spans" if options.family == "t5" else "infilling")
    hidden = _hidden_tokens(options, tokenizer, kind, denoising, add=True)
    model = build(options, vocabulary=len(tokenizer), end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id,
                  mask=tokenizer.mask_token_id)
    return Start(model, tokenizer, kind, denoising, hidden)


def _load(step: Step) -> Start:
    from transformers import AutoConfig
    source = model_folder(step.input("model"))
    if "tokenizer" in step.inputs:
        raise UserError(f"Step '{step.name}' goes on from a model, whose tokenizer is its own.",
                        f"Leave out {step.name}.needs.tokenizer.")
    for option in fields(ArchitectureOptions):
        if option.name not in PER_CHECKPOINT and getattr(step.options, option.name) != option.default:
            raise UserError(f"'{step.name}.{option.name}' is settled by the model that the step goes on from.",
                            "Leave it out.")
    tokenizer, config = load_tokenizer(source), AutoConfig.from_pretrained(source)
    kind, change = kind_of(config), _longer(step, config)
    model = load_causal(source, change) if kind == "causal" else load_network(headed(kind), source, change)
    if kind == "masked":
        check_masked(model)
    adapt(step, model, causal=kind == "causal")
    room = context_length(model)
    if step.options.context > room:
        raise UserError(f"Rows of {step.options.context} tokens do not fit behind the soft prompt, where there is room "
                        f"for {room}.", f"Set {step.name}.context to {room} or less.")
    denoising = _denoising(step, kind, "spans" if "t5" in model.config.model_type else "infilling")
    hidden = _hidden_tokens(step.options, tokenizer, kind, denoising, add=False)
    return Start(model, tokenizer, kind, denoising, hidden)


def _longer(step: Step, config: Any) -> Callable[[Any], Any] | None:
    """How the configuration must change for rows longer than the model was trained on."""
    length, trained, method = step.options.context, configured_length(config), step.options.extend
    if length > trained and method is None:
        raise UserError(f"Rows of {length} tokens do not fit the model's context of {trained}.",
                        f"Set {step.name}.context to that or less, or {step.name}.extend to a way to read more.")
    if length <= trained and method is not None:
        raise UserError(f"'{step.name}.extend' is for rows longer than the model's {trained} tokens.",
                        f"Set {step.name}.context to the longer length, or leave extend out.")
    return lengthening(method, length, trained) if method else None


def _denoising(step: Step, kind: str, own: str) -> str:
    if kind == "encoder_decoder":
        return step.options.denoising or own
    if step.options.denoising:
        raise UserError(f"'{step.name}.denoising' is for encoder-decoders.", "Leave it out.")
    return ""


def _hidden_tokens(options: PretrainOptions, tokenizer: Any, kind: str, denoising: str, *, add: bool) -> list[int]:
    """The tokens that stand for what is hidden: as many sentinels as a row of the context can need."""
    if denoising == "spans":
        share = options.hidden_share if options.hidden_share is not None else 0.15
        return sentinel_tokens(tokenizer, round(options.context * share / options.span) + 1, add=add)
    return [mask_token(tokenizer, add=add)] if kind != "causal" else []
