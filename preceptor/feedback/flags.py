"""What the flags of several labelers say together: Dawid and Skene (1979), by expectation and maximisation.

Each labeler has a matrix P(says k | truth is c); the truths and the matrices are found together. Where all labelers say
the same of everything, or one labeler alone judged, it is the majority's view.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preceptor.data.records import Comparison

Vote = tuple[int, int, int]  # task, labeler, class


@dataclass(frozen=True, slots=True)
class Consensus:
    """`truth` [T, C]: probability of each class for each task; `confusion` [L, C, C]: P(says k | is c) of a labeler."""

    truth: np.ndarray
    confusion: np.ndarray
    prior: np.ndarray


def dawid_skene(votes: Sequence[Vote], tasks: int, labelers: int, classes: int = 2, smoothing: float = 1.0,
                rounds: int = 200) -> Consensus:
    """The posterior of the truth of each task.

    Args:
        votes: (task, labeler, class), in any order; a labeler may judge a task more than once.
        smoothing: imagined judgements in each row of a labeler's matrix, most of them right, so that a labeler with few
            votes is taken for a fair one.
    """
    task, labeler, said = (np.array(column, dtype=int) for column in zip(*votes))
    counts = np.zeros((tasks, classes))
    np.add.at(counts, (task, said), 1)
    truth = (counts + 1e-3) / (counts + 1e-3).sum(1, keepdims=True)
    believed = smoothing * (0.5 * np.eye(classes) + 0.5 / classes)
    for _ in range(rounds):
        prior = (truth.sum(0) + 1) / (tasks + classes)
        confusion = np.tile(believed, (labelers, 1, 1))
        np.add.at(confusion, (labeler, slice(None), said), truth[task])
        confusion /= confusion.sum(2, keepdims=True)
        logs = np.tile(np.log(prior), (tasks, 1))
        np.add.at(logs, task, np.log(confusion[labeler, :, said]))
        new = np.exp(logs - logs.max(1, keepdims=True))
        new /= new.sum(1, keepdims=True)
        moved = float(np.abs(new - truth).max())
        truth = new
        if moved < 1e-8:
            break
    return Consensus(truth, confusion, prior)


def flag_consensus(comparisons: Sequence[Comparison], flag: str) -> dict[tuple[str, str], float]:
    """Probability that an answer has a flag: `{(prompt id, text): probability}`, of all answers that were judged.

    A comparison in which no answer has any flag counts as judged: the page offers the flags with every answer.
    """
    names = {name: number for number, name in enumerate(sorted({one.labeler for one in comparisons}))}
    place: dict[tuple[str, str], int] = {}
    votes = [(place.setdefault((one.prompt.id, response.text), len(place)), names[one.labeler],
              int(flag in (response.flags or ()))) for one in comparisons for response in one.responses]
    if not votes:
        return {}
    truth = dawid_skene(votes, len(place), len(names)).truth
    return {key: float(truth[number, 1]) for key, number in place.items()}
