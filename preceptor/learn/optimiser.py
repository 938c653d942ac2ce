"""AdamW with its parameter groups: what is decayed, and which part learns at another rate."""

from collections.abc import Mapping

import torch
from torch import nn

from preceptor.learn.options import FitOptions


def decayed(model: nn.Module) -> set[str]:
    """Names of the parameters with weight decay: matrices that are not embeddings.

    Norm gains and biases are vectors; embeddings (and an output projection tied to one) are left out because a token
    that does not occur in a batch would be shrunk all the same.
    """
    embeddings = {id(parameter) for module in model.modules() if isinstance(module, nn.Embedding)
                  for parameter in module.parameters(recurse=False)}
    return {name for name, parameter in model.named_parameters()
            if parameter.ndim >= 2 and id(parameter) not in embeddings}


def build_optimiser(model: nn.Module, options: FitOptions, rates: Mapping[str, float]) -> torch.optim.AdamW:
    """AdamW over the trainable parameters (Loshchilov & Hutter 2019: decay is decoupled, not an L2 term).

    `rates` gives a peak learning rate to the parameters whose name starts with its key; others take
    `options.learning_rate`. Each group keeps its peak under `peak`, which the schedule scales.
    """
    decaying = decayed(model)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            peak = next((rate for prefix, rate in rates.items() if name.startswith(prefix)), options.learning_rate)
            decay = options.weight_decay if name in decaying else 0.0
            groups.setdefault((peak, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": parameters, "weight_decay": decay, "peak": peak} for (peak, decay), parameters in groups.items()],
        lr=options.learning_rate, betas=(options.beta1, options.beta2), eps=options.epsilon, fused=True)
