"""Best of n, distilled: the policy learns from the best of its own answers to each prompt.

Known as rejection-sampling fine-tuning since Llama 2 (Touvron et al. 2023, arXiv 2307.09288, section 3.2.3). Choosing
the best of n at answering time is what this imitates; that policy diverges from the one that writes by
log n - (n - 1)/n nats at most (Stiennon et al. 2020; an equality where no two answers are alike, Beirami et al. 2024).
"""

import random
from collections.abc import Sequence

from preceptor.rlhf.selection import learn_from_chosen
from preceptor.run.step import Step


def run(step: Step) -> None:
    """Read `policy`, `reward` and `prompts`; write answers.jsonl, chosen.jsonl and model/."""
    learn_from_chosen(step, best)


def best(scores: Sequence[float], _: random.Random) -> list[int]:
    """The first of the highest scores."""
    return [max(range(len(scores)), key=scores.__getitem__)]
