"""The contract of a reward: it scores prompts and responses, not token ids.

So a reward model of another family with its own tokenizer, an ensemble, a program, a judge or a waiting person are
one thing to PPO and to evaluation. A reward with the policy's own tokenizer reads `Response.token_ids` and never
re-tokenises.
"""

from collections.abc import Sequence
from typing import Protocol

from preceptor.data.records import Prompt, Response


class Reward(Protocol):
    """Scores answers; higher is better. The scale is the reward's own."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """One score for each pair (prompts[i], responses[i])."""
        ...
