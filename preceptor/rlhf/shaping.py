"""From the score of an answer to what it is paid: scaled, cut, and less what is wrong with the answer's form.

In this order, so that penalties are in units of the scaled score. Legend: B answers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from preceptor.metrics.repetition import rep_n
from preceptor.rlhf.options import OnlineOptions

REPEATED = 3  # tokens: an n-gram that an answer says again is a repetition


class ScoreScale:
    """The mean and deviation of the scores seen, by which scores are brought to mean 0 and deviation 1.

    `running` takes in the scores of every iteration (Chan et al. 1979: exact, in one pass); `reference` those of the
    first, whose answers the reference itself has written, as the policy has not moved yet (Ziegler et al. 2019, and
    Stiennon et al. 2020: the reference's mean is 0); `raw` changes nothing.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def take_in(self, scores: Tensor) -> None:
        """Learn from an iteration's scores, [B]."""
        if self.kind == "raw" or (self.kind == "reference" and self.count):
            return
        scores = scores.double()
        mean, count = float(scores.mean()), self.count + len(scores)
        difference = mean - self.mean
        self.squares += float((scores - mean).square().sum()) + difference**2 * self.count * len(scores) / count
        self.mean += difference * len(scores) / count
        self.count = count

    def scaled(self, scores: Tensor) -> Tensor:
        """The scores in units of the deviation from the mean, [B]; unchanged where nothing was taken in."""
        if not self.count:
            return scores
        deviation = (self.squares / self.count) ** 0.5
        return (scores - self.mean) / max(deviation, 1e-6)  # scores that never differ are all 0

    def state(self) -> list[float]:
        return [self.count, self.mean, self.squares]

    def restore(self, state: list[float]) -> None:
        self.count, self.mean, self.squares = state


def payments(scores: Tensor, answers: Sequence[Sequence[int]], ended: Tensor, scale: ScoreScale,
             options: OnlineOptions) -> Tensor:
    """What each answer is paid, [B].

    Args:
        scores: [B], what the reward said.
        answers: the tokens of each answer, its end included.
        ended: [B] booleans, whether it ended by itself.
        scale: of the scores, these taken in.
    """
    paid = scale.scaled(scores)
    if options.score_clip:
        paid = paid.clamp(-options.score_clip, options.score_clip)
    lengths = torch.tensor([len(answer) for answer in answers])
    return (paid - options.missing_end_penalty * (~ended)
            - options.length_penalty * lengths
            - options.repetition_penalty * torch.tensor([repeated_share(answer) for answer in answers])
            - overlong(lengths, options.max_tokens, options.overlong_tokens))


def repeated_share(answer: Sequence[int]) -> float:
    """The share of the answer's 3-grams that it has said before: 0 says nothing twice, near 1 is one loop."""
    return rep_n([answer], REPEATED) or 0.0


def overlong(lengths: Tensor, longest: int, margin: int) -> Tensor:
    """0 up to `longest - margin` tokens, then rising linearly to 1 at `longest` (DAPO, arXiv 2503.14476, eq. 13).

    Args:
        lengths: [B].
        longest: the most tokens that an answer may have.
        margin: the last tokens over which the penalty grows; 0 gives none.
    """
    return ((lengths - (longest - margin)) / margin).clamp(0, 1) if margin else torch.zeros(len(lengths))
