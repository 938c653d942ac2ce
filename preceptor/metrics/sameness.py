"""Sameness between answers: to one prompt, and across prompts.

Two answers are alike when the Jaccard similarity of their sets of character 4-grams is high (Broder 1997); white space
and case do not count, so that Chinese needs no word breaker. An answer that stands for several prompts says little of
any.
"""

from collections import defaultdict
from collections.abc import Sequence

from preceptor.data.near_duplicates import near_duplicates
from preceptor.metrics.repetition import repeated_sentences, repetition, text_tokens

GRAM = 4
ALIKE = 0.7
PROMPTS = 3  # different prompts with one answer: two may really ask the same


def likeness(first: str, second: str) -> float:
    """The Jaccard similarity of the two texts' sets of character 4-grams; texts that are shorter are one gram."""
    ours, theirs = _grams(first), _grams(second)
    return len(ours & theirs) / len(ours | theirs)


def same_prompt(answers: Sequence[Sequence[str]]) -> dict[str, float]:
    """Likeness among the answers to one prompt, over prompts with two answers or more.

    Args:
        answers: for each prompt, its answers.

    Returns:
        `likeness`, the mean over prompts of the mean over pairs, and `alike`, of the share of pairs of at least 0.7;
        and the number of `prompts`. Nothing but the latter where no prompt has two answers.
    """
    means, shares = [], []
    for texts in answers:
        found = [likeness(one, other) for index, one in enumerate(texts) for other in texts[:index]]
        if found:
            means.append(sum(found) / len(found))
            shares.append(sum(value >= ALIKE for value in found) / len(found))
    if not means:
        return {"prompts": 0}
    return {"likeness": sum(means) / len(means), "alike": sum(shares) / len(shares), "prompts": len(means)}


def across_prompts(answers: Sequence[Sequence[str]]) -> dict[str, float]:
    """How often one and the same answer stands for different prompts.

    Answers that are near-duplicates, directly or through others (`data/near_duplicates.py`), form a cluster. A cluster
    is stock when it answers at least 3 different prompts.

    Returns:
        `stock`, the share of answers in stock clusters, `largest`, the share in the largest of them, and `answers`.
    """
    texts = [text for some in answers for text in some]
    prompt_of = [prompt for prompt, some in enumerate(answers) for _ in some]
    leader = list(range(len(texts)))

    def root(index: int) -> int:
        while leader[index] != index:
            leader[index] = index = leader[leader[index]]
        return index

    for one, other in near_duplicates(texts, ALIKE):
        leader[root(other)] = root(one)
    clusters: dict[int, list[int]] = defaultdict(list)
    for index in range(len(texts)):
        clusters[root(index)].append(index)
    stock = [len(members) for members in clusters.values()
             if len({prompt_of[index] for index in members}) >= PROMPTS]
    if not texts:
        return {"answers": 0}
    return {"stock": sum(stock) / len(texts), "largest": max(stock, default=0) / len(texts), "answers": len(texts)}


def four_kinds(answers: Sequence[Sequence[str]]) -> dict[str, dict[str, float]]:
    """Repetition of characters or words, of sentences, among the answers to one prompt, and across prompts."""
    texts = [text for some in answers for text in some]
    sentences = repeated_sentences(texts)
    return {"words": repetition([text_tokens(text) for text in texts]),
            "sentences": {} if sentences is None else {"repeated": sentences},
            "same_prompt": same_prompt(answers), "across_prompts": across_prompts(answers)}


def _grams(text: str) -> frozenset[str]:
    letters = "".join(text.lower().split())
    return frozenset(letters[start:start + GRAM] for start in range(max(1, len(letters) - GRAM + 1)))
