"""Odds ratio preference optimisation (Hong et al. 2024, arXiv 2403.07691): fine-tuning and preference in one loss."""

from functools import partial

from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.losses.preference import orpo_odds
from preceptor.rlhf.offline_options import OrpoOptions
from preceptor.rlhf.preference import means, pair_loss
from preceptor.rlhf.rankings import learn
from preceptor.run.step import Step


def run(step: Step) -> None:
    """Read `policy` and `comparisons`; write model/ and results.json."""
    learn(step, partial(loss, options=step.options), means, reference=False)


def loss(policy: nn.Module, batch: Batch, options: OrpoOptions) -> tuple[Tensor, int, dict[str, Tensor]]:
    """-l_w - odds_weight log sigmoid(log odds_w - log odds_l), l the mean log-probability of an answer's tokens."""

    def of_pairs(chosen: Tensor, rejected: Tensor) -> Tensor:
        return options.odds_weight * orpo_odds(chosen, rejected) - chosen

    return pair_loss(means(policy, batch), batch, of_pairs)
