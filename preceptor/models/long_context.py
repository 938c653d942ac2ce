"""Texts longer than a network was trained on: what its configuration must say.

Legend: L the length trained on, L' the longer one, s = L'/L, b the base of the rotary angles, d the width of a head;
pair i of a head turns by position · b^(-2i/d).

    interpolation  position / s                                                    Chen et al. 2023, eq. 3-4
    ntk            b' = b · s^(d/(d-2)): the slowest pair is divided by s, the fastest stays        bloc97 2023
    yarn           pairs that turn less than once in L are divided by s, those that turn more than 32 times stay, and
                   logits are multiplied by (0.1 ln s + 1)²                        Peng et al. 2023, eq. 18-22
    base           b' = 500,000 at least, so that far positions are turned less    Xiong et al. 2023, §2.1
    window         attention sees the last L tokens only
    as_is          nothing: ALiBi's penalty, T5's buckets and a recurrence go on by themselves      Press et al. 2022
"""

from collections.abc import Callable
from typing import Any

from preceptor.run.errors import UserError

RAISED_BASE = 500_000.0
ROTARY = ("interpolation", "ntk", "yarn", "base")
METHODS = (*ROTARY, "window", "as_is")
WINDOWED = ("mistral", "mixtral", "starcoder2")  # families in which every layer takes the window


def lengthened(config: Any, method: str, length: int, trained: int) -> Any:
    """The configuration with which a network that was trained on `trained` tokens reads `length`; changed in place.

    Raises:
        UserError: the family has no such thing to change.
    """
    if method in ROTARY:
        _turn_slower(config, method, length, trained)
    elif method == "window":
        if config.model_type not in WINDOWED:
            raise UserError(f"A '{config.model_type}' network has no sliding window to set.",
                            f"Start from one of {', '.join(WINDOWED)}, or choose another method.")
        config.sliding_window = min(trained, config.sliding_window or trained)
    elif not _goes_on(config):
        raise UserError(f"Positions of a '{config.model_type}' network do not go on by themselves.",
                        f"Choose one of: {', '.join(METHODS[:-1])}.")
    for name in ("max_position_embeddings", "max_seq_len", "context_length", "seq_length"):
        if getattr(config, name, None):
            setattr(config, name, length)
    return config


def methods_of(config: Any) -> list[str]:
    """The methods that a family's configuration can express."""
    found = list(ROTARY) if _base(config) else []
    return found + ["window"] * (config.model_type in WINDOWED) + ["as_is"] * _goes_on(config)


def lengthening(method: str, length: int, trained: int) -> Callable[[Any], Any]:
    """`lengthened` with everything but the configuration given: what `load_causal` takes."""
    return lambda config: lengthened(config, method, length, trained)


def _goes_on(config: Any) -> bool:
    recurrent = config.model_type in ("mamba", "mamba2", "rwkv")
    return recurrent or config.model_type in ("bloom", "mpt", "t5") or bool(getattr(config, "alibi", False))


def _base(config: Any) -> float | None:
    """The base of the rotary angles, None where there are none or several."""
    rope = getattr(config, "rope_parameters", None) or {}
    return None if getattr(config, "alibi", False) else rope.get("rope_theta")


def _turn_slower(config: Any, method: str, length: int, trained: int) -> None:
    base = _base(config)
    if base is None:
        raise UserError(f"A '{config.model_type}' network has no rotary positions that '{method}' could change.",
                        f"Choose {' or '.join(methods_of(config)) or 'another family'}.")
    kind = config.rope_parameters.get("rope_type", "default")
    if kind != "default":
        raise UserError(f"The model's positions were changed before ({kind}).", "Start from the model before that.")
    factor = length / trained
    rope = {**config.rope_parameters, "rope_theta": base}
    if method == "interpolation":
        rope |= {"rope_type": "linear", "factor": factor}
    elif method == "yarn":
        rope |= {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": trained}
    elif method == "ntk":
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        rope["rope_theta"] = base * factor ** (head / (head - 2))
    else:
        rope["rope_theta"] = max(RAISED_BASE, base)
    config.rope_parameters = rope
