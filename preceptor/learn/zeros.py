"""Weights that pruning set to 0 stay 0 while the others learn.

A gradient of 0 is a step of 0 in every optimiser that treats weights one by one: the moments of such a weight stay 0,
and decay of 0 is 0. Muon mixes the entries of a matrix, so it is refused.
"""

from torch import nn

from preceptor.models.trunk import blocks
from preceptor.run.errors import UserError
from preceptor.run.step import Step


def keep_zeros(step: Step, model: nn.Module) -> None:
    """Where `keep_zeros` asks for it, stop the gradient at every 0 of the matrices in the model's blocks. To be called
    before a checkpoint is loaded, so that a resumed step holds the zeros of the model that it began with.

    Raises:
        UserError: there are none, or what else is chosen would fill them.
    """
    options = step.options
    if not options.keep_zeros:
        return
    if options.optimiser == "muon" or options.shard != "none" or options.adapter != "none":
        raise UserError(f"'{step.name}.keep_zeros' cannot hold zeros under the optimiser muon, an adapter or shards.",
                        "Take adamw, adapter none and shard none, or leave keep_zeros out.")
    matrices = [weight for block in blocks(model) for weight in block.parameters() if weight.ndim > 1]
    held = [weight for weight in matrices if (weight == 0).any()]
    if not held:
        raise UserError(f"The model of step '{step.name}' has no zeros to keep.", "Leave keep_zeros out.")
    for weight in held:
        weight.register_hook((weight.detach() != 0).mul)
