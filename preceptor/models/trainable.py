"""What of a model learns, by a pattern of part names; everything else is frozen.

A pattern is a list of dotted names, such as `connector, language_model.lora`. A name means every weight whose own name
begins with the same part and has the further words, in this order, among what follows; a word also means what begins
with it and an underscore (`lora` means `lora_A`), and `*` means everything.
"""

import hashlib
from collections.abc import Iterable

import torch
from torch import nn

from preceptor.run.errors import UserError, nearest


def train_only(model: nn.Module, pattern: str) -> list[str]:
    """Let the weights that `pattern` means learn and freeze all others; returns the names of those that learn.

    Raises:
        UserError: a name of the pattern means no weight.
    """
    wanted = [name.strip() for name in pattern.split(",")]
    weights = dict(model.named_parameters())
    for name in wanted:
        if not any(means(name, weight) for weight in weights):
            raise UserError(f"The pattern '{pattern}' trains '{name}', which is no part of this model.",
                            nearest(name, {weight.split(".")[0] for weight in weights}))
    for weight, parameter in weights.items():
        parameter.requires_grad_(any(means(name, weight) for name in wanted))
    return [weight for weight, parameter in weights.items() if parameter.requires_grad]


def means(pattern: str, weight: str) -> bool:
    """Whether one dotted name of a pattern means the weight."""
    if pattern == "*":
        return True
    first, *words = pattern.split(".")
    head, *parts = weight.split(".")
    if not _same(first, head):
        return False
    left = iter(parts)
    return all(any(_same(word, part) for part in left) for word in words)


def _same(word: str, part: str) -> bool:
    return part == word or part.startswith(f"{word}_")


def weights_hash(model: nn.Module, without: Iterable[str] = ()) -> str:
    """SHA-256 of all weights but those named, by name, shape and value: equal before and after for what is frozen.

    A weight that has a second name (a tied embedding) is left out under both.
    """
    weights = dict(model.named_parameters(remove_duplicate=False))
    digest, out = hashlib.sha256(), {id(weights[name]) for name in without}
    for name, value in sorted(model.state_dict().items()):
        if id(weights.get(name)) not in out:
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
