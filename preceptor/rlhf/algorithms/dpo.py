"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290): the policy is its own reward model.

All pairs of a ranking are one element of the loss, ties are no pair, every prompt has the same weight.
"""

from functools import partial

from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.losses.preference import dpo
from preceptor.rlhf.offline_options import DpoOptions
from preceptor.rlhf.preference import log_ratios, pair_loss
from preceptor.rlhf.rankings import learn
from preceptor.run.errors import UserError
from preceptor.run.step import Step


def run(step: Step) -> None:
    """Read `policy` and `comparisons`; write model/ and results.json."""
    if not 0 <= step.options.label_smoothing < 0.5:
        raise UserError(f"A label that is wrong with chance {step.options.label_smoothing} says nothing, or the "
                        "reverse.", f"Set {step.name}.label_smoothing to 0 or more, and below 0.5.")
    learn(step, partial(loss, options=step.options), log_ratios, reference=True)


def loss(policy: nn.Module, batch: Batch, options: DpoOptions) -> tuple[Tensor, int, dict[str, Tensor]]:
    """-log sigmoid(beta (h_w - h_l)), h the answer's log ratio to the reference."""
    return pair_loss(log_ratios(policy, batch), batch, partial(dpo, beta=options.beta,
                                                               smoothing=options.label_smoothing))
