"""Identity preference optimisation (Azar et al. 2023, arXiv 2310.12036): DPO that does not run off to certainty."""

from functools import partial

from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.losses.preference import ipo
from preceptor.rlhf.offline_options import IpoOptions
from preceptor.rlhf.preference import log_ratios, pair_loss
from preceptor.rlhf.rankings import learn
from preceptor.run.step import Step


def run(step: Step) -> None:
    """Read `policy` and `comparisons`; write model/ and results.json."""
    learn(step, partial(loss, options=step.options), log_ratios, reference=True)


def loss(policy: nn.Module, batch: Batch, options: IpoOptions) -> tuple[Tensor, int, dict[str, Tensor]]:
    """(h_w - h_l - 1/(2 tau))^2, h the answer's log ratio to the reference."""
    return pair_loss(log_ratios(policy, batch), batch, partial(ipo, tau=options.tau))
