"""Simple preference optimisation (Meng et al. 2024, arXiv 2405.14734): no reference, and length does not count."""

from functools import partial

from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.losses.preference import simpo
from preceptor.rlhf.offline_options import SimpoOptions
from preceptor.rlhf.preference import means, pair_loss
from preceptor.rlhf.rankings import learn
from preceptor.run.step import Step


def run(step: Step) -> None:
    """Read `policy` and `comparisons`; write model/ and results.json."""
    learn(step, partial(loss, options=step.options), means, reference=False)


def loss(policy: nn.Module, batch: Batch, options: SimpoOptions) -> tuple[Tensor, int, dict[str, Tensor]]:
    """-log sigmoid(beta (l_w - l_l) - margin), l the mean log-probability of an answer's tokens."""
    return pair_loss(means(policy, batch), batch, partial(simpo, beta=options.beta, margin=options.margin))
