"""The families of networks: what the configuration of each can express, and how our options become one.

A family is data: for every knob the values that its configuration in transformers has, its own first. `chosen` fills
in what the options leave empty and refuses what cannot be had; nothing is ever built that differs from what was asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from preceptor.models.options import ArchitectureOptions
from preceptor.run.errors import UserError, nearest

EXPERTS, WINDOW = 8, 128  # of families whose own way is to have some
KINDS = {"causal": "causal decoders", "masked": "masked encoders", "encoder_decoder": "encoder-decoders"}


@dataclass(frozen=True, kw_only=True)
class Family:
    """Per knob the values that can be had, the family's own first; `config` makes transformers' configuration."""

    config: Callable[[ArchitectureOptions, dict[str, Any]], Any]
    kind: str = "causal"
    norm: tuple[str, ...] = ("layernorm",)
    norm_place: tuple[str, ...] = ("pre",)
    activation: tuple[str, ...] = ("gelu",)
    positions: tuple[str, ...] = ("learned",)
    biases: tuple[bool, ...] = (True,)
    attention: tuple[str, ...] = ("mha",)
    embedding_norm: tuple[bool, ...] = (False,)
    tied: tuple[bool, ...] = (True, False)
    experts: tuple[bool, ...] = (False,)
    window: tuple[bool, ...] = (False,)
    unused: tuple[str, ...] = ()
    """Options that mean nothing in this family; they must keep their default."""


def _config(name: str, options: ArchitectureOptions, shared: dict[str, Any], **own: Any) -> Any:
    """transformers' `NAMEConfig`; names that most families share are given here, a family's own replace them."""
    import transformers
    known = {"hidden_size": options.width, "num_hidden_layers": options.layers, "num_attention_heads": options.heads,
             "intermediate_size": options.feed_forward, "max_position_embeddings": options.context,
             "tie_word_embeddings": options.tied, **shared, **own}
    return getattr(transformers, f"{name}Config")(**known)


def _hidden(options: ArchitectureOptions) -> str:
    """The activation by transformers' name, without its gate."""
    return {"swiglu": "silu", "geglu": "gelu"}.get(options.activation, options.activation)


def _llama(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("Llama", options, shared, num_key_value_heads=options.kv_heads, hidden_act=_hidden(options),
                   attention_bias=options.biases, mlp_bias=options.biases)


def _mistral(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("Mistral", options, shared, num_key_value_heads=options.kv_heads, hidden_act=_hidden(options),
                   sliding_window=options.window or None)


def _mixtral(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("Mixtral", options, shared, num_key_value_heads=options.kv_heads, hidden_act=_hidden(options),
                   sliding_window=options.window or None, num_local_experts=options.experts,
                   num_experts_per_tok=options.experts_used)


def _olmo2(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("Olmo2", options, shared, num_key_value_heads=options.kv_heads, hidden_act=_hidden(options))


def _gpt2(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("GPT2", options, shared, n_inner=options.feed_forward,
                   activation_function={"gelu": "gelu_new"}.get(options.activation, options.activation))


def _opt(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("OPT", options, shared, ffn_dim=options.feed_forward, activation_function=options.activation,
                   do_layer_norm_before=options.norm_place == "pre", enable_bias=options.biases)


def _starcoder2(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("Starcoder2", options, shared, num_key_value_heads=options.kv_heads, use_bias=options.biases,
                   hidden_act=options.activation, sliding_window=options.window or None)


def _stablelm(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("StableLm", options, shared, num_key_value_heads=options.kv_heads, hidden_act=_hidden(options))


def _falcon(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("Falcon", options, shared, ffn_hidden_size=options.feed_forward, bias=options.biases,
                   alibi=options.positions == "alibi", multi_query=options.attention == "mqa", parallel_attn=False,
                   activation=options.activation)


def _bloom(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("Bloom", options, shared)


def _mpt(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("Mpt", options, shared, max_seq_len=options.context)


def _xglm(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("XGLM", options, shared, d_model=options.width, ffn_dim=options.feed_forward,
                   num_layers=options.layers, attention_heads=options.heads, activation_function=options.activation)


def _mamba(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("Mamba", options, shared, intermediate_size=2 * options.width, use_bias=options.biases)


def _mamba2(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("Mamba2", options, shared, num_heads=options.heads, head_dim=2 * options.width // options.heads,
                   intermediate_size=2 * options.width, n_groups=1, state_size=64, chunk_size=64,
                   use_bias=options.biases)


def _rwkv(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    # Rescaling would divide weights in eval mode and multiply them back in training: it serves fp16 only.
    return _config("Rwkv", options, shared, context_length=options.context, rescale_every=0)


def _bert(name: str) -> Callable[[ArchitectureOptions, dict[str, Any]], Any]:
    def config(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
        extra = 0 if name == "Bert" else shared["pad_token_id"] + 1  # RoBERTa's positions start behind the padding's
        return _config(name, options, shared, hidden_act=options.activation, type_vocab_size=1,
                       max_position_embeddings=options.context + extra)
    return config


def _distilbert(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("DistilBert", options, shared, dim=options.width, hidden_dim=options.feed_forward,
                   n_layers=options.layers, n_heads=options.heads, activation=options.activation)


def _modernbert(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    kinds = ["sliding_attention" if options.window and layer % 3 else "full_attention"
             for layer in range(options.layers)]
    return _config("ModernBert", options, shared, hidden_activation=_hidden(options), layer_types=kinds,
                   local_attention=2 * (options.window or WINDOW), attention_bias=options.biases,
                   mlp_bias=options.biases, norm_bias=options.biases, cls_token_id=None, sep_token_id=None)


def _eurobert(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    return _config("EuroBert", options, shared, num_key_value_heads=options.kv_heads, hidden_act=_hidden(options),
                   attention_bias=options.biases, mlp_bias=options.biases)


def _t5(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
    gated = "gated-" if options.activation.endswith("glu") else ""
    return _config("T5", options, shared, d_model=options.width, d_kv=options.width // options.heads,
                   d_ff=options.feed_forward, num_layers=options.layers, num_heads=options.heads,
                   feed_forward_proj=gated + _hidden(options))


def _bart(name: str) -> Callable[[ArchitectureOptions, dict[str, Any]], Any]:
    def config(options: ArchitectureOptions, shared: dict[str, Any]) -> Any:
        halves = {f"{half}_{what}": value for half in ("encoder", "decoder") for what, value in
                  (("layers", options.layers), ("ffn_dim", options.feed_forward), ("attention_heads", options.heads))}
        own = {} if name != "Marian" else {"decoder_vocab_size": shared["vocab_size"]}
        return _config(name, options, {**shared, **halves}, d_model=options.width, forced_eos_token_id=None,
                       activation_function=options.activation, scale_embedding=False, **own)
    return config


GATED, PLAIN, HEADS = ("swiglu", "geglu"), ("gelu", "relu"), ("mha", "gqa", "mqa")
_rotary = {"norm": ("rmsnorm",), "activation": GATED, "positions": ("rope",), "attention": HEADS}
_recurrent = {"positions": ("none",), "attention": ("mha",), "activation": ("swiglu",)}
_halves = {"kind": "encoder_decoder", "activation": PLAIN, "tied": (True,)}

FAMILIES: dict[str, Family] = {
    "llama": Family(config=_llama, **_rotary, biases=(False, True)),
    "mistral": Family(config=_mistral, **_rotary, biases=(False,), window=(False, True)),
    "mixtral": Family(config=_mixtral, **_rotary, biases=(False,), window=(False, True), experts=(True,)),
    "olmo2": Family(config=_olmo2, **_rotary, biases=(False,), norm_place=("post",)),
    "gpt2": Family(config=_gpt2, activation=PLAIN),
    "opt": Family(config=_opt, activation=PLAIN[::-1], norm_place=("pre", "post"), biases=(True, False)),
    "starcoder2": Family(config=_starcoder2, activation=PLAIN, positions=("rope",), biases=(True, False),
                         attention=HEADS, window=(False, True)),
    "stablelm": Family(config=_stablelm, activation=GATED, positions=("rope",), biases=(False,), attention=HEADS),
    "falcon": Family(config=_falcon, activation=PLAIN, positions=("rope", "alibi"), biases=(False, True),
                     attention=("mha", "mqa")),
    "bloom": Family(config=_bloom, positions=("alibi",), embedding_norm=(True,), unused=("feed_forward",)),
    "mpt": Family(config=_mpt, positions=("alibi",), biases=(False,), unused=("feed_forward",)),
    "xglm": Family(config=_xglm, activation=PLAIN, positions=("sinusoidal",)),
    "mamba": Family(config=_mamba, **_recurrent, norm=("rmsnorm",), biases=(False, True),
                    unused=("heads", "feed_forward")),
    "mamba2": Family(config=_mamba2, **_recurrent, norm=("rmsnorm",), biases=(False, True), unused=("feed_forward",)),
    "rwkv": Family(config=_rwkv, **{**_recurrent, "activation": ("relu",)}, biases=(False,), embedding_norm=(True,),
                   unused=("heads",)),
    "bert": Family(config=_bert("Bert"), kind="masked", norm_place=("post",), activation=PLAIN, embedding_norm=(True,)),
    "roberta": Family(config=_bert("Roberta"), kind="masked", norm_place=("post",), activation=PLAIN,
                      embedding_norm=(True,)),
    "roberta_prenorm": Family(config=_bert("RobertaPreLayerNorm"), kind="masked", activation=PLAIN,
                              embedding_norm=(True,)),
    "distilbert": Family(config=_distilbert, kind="masked", norm_place=("post",), activation=PLAIN,
                         embedding_norm=(True,)),
    "modernbert": Family(config=_modernbert, kind="masked", activation=GATED[::-1], positions=("rope",),
                         biases=(False, True), embedding_norm=(True,), window=(True, False)),
    "eurobert": Family(config=_eurobert, kind="masked", **_rotary, biases=(False, True)),
    "t5": Family(config=_t5, kind="encoder_decoder", norm=("rmsnorm",), activation=("geglu", "swiglu", "relu", "gelu"),
                 positions=("relative",), biases=(False,), tied=(True,)),
    "bart": Family(config=_bart("Bart"), **_halves, norm_place=("post",), embedding_norm=(True,)),
    "mbart": Family(config=_bart("MBart"), **_halves, embedding_norm=(True,)),
    "marian": Family(config=_bart("Marian"), **_halves, norm_place=("post",), positions=("sinusoidal",)),
    "pegasus": Family(config=_bart("Pegasus"), **_halves, positions=("sinusoidal",)),
}

KNOBS = ("norm", "norm_place", "activation", "positions", "biases", "attention", "embedding_norm", "tied", "experts",
         "window")
_DEFAULTS = {field.name: field.default for field in fields(ArchitectureOptions)}


def chosen(options: ArchitectureOptions) -> ArchitectureOptions:
    """The options with every knob filled in.

    Raises:
        UserError: the family cannot have a knob so, or numbers do not go together; the cure names families that can.
    """
    if options.family not in FAMILIES:
        raise UserError(f"There is no family '{options.family}'.", nearest(options.family, FAMILIES))
    family = FAMILIES[options.family]
    for knob in family.unused:
        if getattr(options, knob) != _DEFAULTS[knob]:
            raise UserError(f"The family '{options.family}' has no '{knob}' of its own to set.", "Leave it out.")
    for knob in KNOBS:
        if (wanted := _wanted(options, knob)) is not None and wanted not in getattr(family, knob):
            raise UserError(f"The family '{options.family}' cannot have {_said(knob, wanted)}.",
                            _expressing(options, knob, wanted))
    _check_numbers(options)
    filled = {knob: getattr(family, knob)[0] for knob in KNOBS
              if knob not in ("attention", "experts", "window") and getattr(options, knob) is None}
    experts = options.experts if options.experts is not None else EXPERTS * family.experts[0]
    window = options.window if options.window is not None else WINDOW * family.window[0]
    return replace(options, **filled, kv_heads=options.kv_heads or options.heads, experts=experts, window=window)


def _wanted(options: ArchitectureOptions, knob: str) -> Any:
    """What the options ask of a knob, None where they leave it to the family; numbers only by whether there are any."""
    value = getattr(options, knob)
    if knob == "attention":
        return value if options.kv_heads is not None else None
    return bool(value) if knob in ("experts", "window") and value is not None else value


def _said(knob: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"{'' if value else 'no '}{knob.replace('_', ' ')}"
    return f"{knob.replace('_', ' ')} {value}"


def _expressing(options: ArchitectureOptions, knob: str, wanted: Any) -> str:
    """Families of the same kind whose configuration has all that is asked, or else what stands in the way."""
    kind = FAMILIES[options.family].kind
    alike = {name: family for name, family in FAMILIES.items() if family.kind == kind}
    able = [name for name, family in alike.items()
            if all((value := _wanted(options, knob)) is None or value in getattr(family, knob) for knob in KNOBS)]
    if able:
        return f"Choose family {' or '.join(able)}, which can have all that is asked."
    some = [name for name, family in alike.items() if wanted in getattr(family, knob)]
    if some:
        return (f"No configuration of transformers has all that is asked; {_said(knob, wanted)} alone is in "
                f"{', '.join(some)}.")
    return f"No configuration of transformers for {KINDS[kind]} has it: leave it out."


def _check_numbers(options: ArchitectureOptions) -> None:
    if options.width % options.heads:
        raise UserError(f"The width {options.width} is not a multiple of the {options.heads} heads.",
                        "Choose heads that divide the width.")
    if options.kv_heads is not None and (options.kv_heads < 1 or options.heads % options.kv_heads):
        raise UserError(f"{options.kv_heads} heads of keys and values cannot be shared by {options.heads} heads.",
                        "Choose kv_heads that divide the heads.")
    if "rope" in (options.positions, FAMILIES[options.family].positions[0]) and options.width // options.heads % 2:
        raise UserError(f"Rotary positions turn pairs of numbers, and a head has {options.width // options.heads}.",
                        "Choose width and heads so that width / heads is even.")
    if options.experts and not 0 < options.experts_used <= options.experts:
        raise UserError(f"A token cannot go through {options.experts_used} of {options.experts} experts.",
                        "Choose experts_used between 1 and experts.")
