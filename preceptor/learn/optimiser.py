"""The optimisers with their parameter groups: what is decayed, and which part learns by which rule at which rate."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from preceptor.learn.layerwise import Lamb, Lars
from preceptor.learn.options import FitOptions
from preceptor.models.shards import sharded
from preceptor.run.errors import UserError

WHOLE = ("lamb", "lars", "muon")  # what they do to a tensor needs all of it


def decayed(model: nn.Module) -> set[str]:
    """Names of the parameters with weight decay: matrices that are not embeddings.

    Norm gains and biases are vectors; embeddings (and an output projection tied to one) are left out because a token
    that does not occur in a batch would be shrunk all the same.
    """
    embeddings = {id(parameter) for module in model.modules() if isinstance(module, nn.Embedding)
                  for parameter in module.parameters(recurse=False)}
    return {name for name, parameter in model.named_parameters()
            if parameter.ndim >= 2 and id(parameter) not in embeddings}


def build_optimisers(model: nn.Module, options: FitOptions, rates: Mapping[str, float]) -> list[torch.optim.Optimizer]:
    """The optimiser of the options over the trainable parameters; for Muon a second one, of what is no matrix.

    `rates` gives a peak learning rate to the parameters whose name starts with its key; others take
    `options.learning_rate`. Each group keeps its peak under `peak`, which the schedule scales.
    """
    decaying = decayed(model)
    groups: dict[tuple[bool, bool, float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            peak = next((rate for prefix, rate in rates.items() if name.startswith(prefix)), options.learning_rate)
            matrix = options.optimiser == "muon" and name in decaying and parameter.ndim == 2
            decay = options.weight_decay if name in decaying else 0.0
            groups.setdefault((matrix, sharded(parameter), peak, decay), []).append(parameter)
    in_shares = any(shares for _, shares, _, _ in groups)
    if in_shares and options.optimiser in WHOLE:
        raise UserError(f"The optimiser {options.optimiser} needs whole tensors, and the weights are sharded.",
                        "Choose adamw, adam or sgd, or set shard to none.")
    matrices, others = ([{"params": parameters, "weight_decay": decay, "peak": peak, "lr": peak}
                         for (is_matrix, _, peak, decay), parameters in groups.items() if is_matrix == wanted]
                        for wanted in (True, False))
    # Steps as long as AdamW's (Liu et al. 2025, arXiv 2502.16982, eq. 4), so that one learning rate serves both.
    muon = [torch.optim.Muon(matrices, momentum=options.momentum, adjust_lr_fn="match_rms_adamw")] if matrices else []
    return [*muon, *([_build(others, options, fused=not in_shares)] if others else [])]


def _build(groups: list[dict[str, Any]], options: FitOptions, fused: bool) -> torch.optim.Optimizer:
    adam = {"lr": options.learning_rate, "betas": (options.beta1, options.beta2), "eps": options.epsilon}
    momentum = {"lr": options.learning_rate, "momentum": options.momentum}
    if options.optimiser == "adam":
        return torch.optim.Adam(groups, **adam, fused=fused)
    if options.optimiser == "lamb":
        return Lamb(groups, **adam, weight_decay=options.weight_decay)
    if options.optimiser == "lars":
        return Lars(groups, **momentum, weight_decay=options.weight_decay, trust=options.trust)
    if options.optimiser == "sgd":
        return torch.optim.SGD(groups, **momentum, fused=fused)
    return torch.optim.AdamW(groups, **adam, fused=fused)
