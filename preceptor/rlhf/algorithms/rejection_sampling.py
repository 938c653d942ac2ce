"""Statistical rejection sampling (Liu et al. 2023, arXiv 2309.06657), then fine-tuning on what was accepted.

Accepted answers are draws from pi_ref exp(r / beta) / Z, the optimum of the KL-regularised objective: the more answers
to a prompt, the more nearly, because the best of them stands for the best there is (their algorithm 1).
"""

import math
import random
from collections.abc import Sequence
from functools import partial

from preceptor.rlhf.selection import learn_from_chosen
from preceptor.run.errors import UserError
from preceptor.run.step import Step


def run(step: Step) -> None:
    """Read `policy`, `reward` and `prompts`; write answers.jsonl, chosen.jsonl and model/."""
    if step.options.beta <= 0:
        raise UserError(f"Answers cannot be accepted at beta {step.options.beta:g}.",
                        f"Set {step.name}.beta above 0; near 0 only the best answer to each prompt is accepted.")
    learn_from_chosen(step, partial(accepted, beta=step.options.beta))


def accepted(scores: Sequence[float], draw: random.Random, beta: float) -> list[int]:
    """Each answer with probability exp((score - best) / beta); the best always."""
    best = max(scores)
    return [index for index, score in enumerate(scores) if draw.random() < math.exp((score - best) / beta)]
