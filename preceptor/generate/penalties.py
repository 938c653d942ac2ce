"""Processors that look at the text so far: pure functions of logits and of tokens already seen.

R rows, V entries of the vocabulary. A row's past is a list of token ids: prompt and answer, or the answer alone, as the
function says. There is no padding in it, so the end-of-text token counts only where it really stood.
"""

import math
from collections import Counter
from collections.abc import Sequence, Set

import torch
from torch import Tensor

LONGEST_EXPONENT = 88.0  # e^88 is near the largest float32


def repetition_penalty(logits_RV: Tensor, texts_R: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Divide the positive and multiply the negative logits of tokens in prompt and answer (Keskar et al. 2019,
    arXiv 1909.05858, section 4.1; there negative logits are divided, too, which makes them more likely).

    On log-probabilities, which are never positive, it always multiplies: that is what beam search does.
    """
    result_RV = logits_RV.clone()
    for row, text in enumerate(texts_R):
        seen = torch.tensor(sorted(set(text)), dtype=torch.long, device=logits_RV.device)
        values = logits_RV[row, seen]
        result_RV[row, seen] = torch.where(values < 0, values * penalty, values / penalty)
    return result_RV


def presence_penalty(logits_RV: Tensor, answers_R: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Subtract `penalty` from the logits of tokens in the answer, as the API of OpenAI and vLLM do."""
    return _minus(logits_RV, [dict.fromkeys(answer, penalty) for answer in answers_R])


def frequency_penalty(logits_RV: Tensor, answers_R: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Subtract `penalty` times a token's number of occurrences in the answer, as the API of OpenAI and vLLM do."""
    return _minus(logits_RV, [{token: penalty * count for token, count in Counter(answer).items()}
                              for answer in answers_R])


def no_repeat_ngram(logits_RV: Tensor, texts_R: Sequence[Sequence[int]], size: int) -> Tensor:
    """Forbid each token that would end an n-gram of prompt and answer a second time (Paulus et al. 2017,
    arXiv 1705.04304, section 2.5)."""
    return _minus(logits_RV, [dict.fromkeys(_would_repeat(text, size), math.inf) for text in texts_R])


def _would_repeat(text: Sequence[int], size: int) -> set[int]:
    """The tokens that followed the last size - 1 tokens before."""
    start = len(text) - size + 1
    if start < 0:
        return set()
    last = list(text[start:])
    return {text[end] for end in range(size - 1, len(text)) if list(text[end - size + 1:end]) == last}


def dry(logits_RV: Tensor, texts_R: Sequence[Sequence[int]], multiplier: float, base: float, allowed_length: int,
        breakers: Set[int]) -> Tensor:
    """Subtract multiplier * base^(L - allowed_length) from tokens that would go on with a sequence seen before.

    "Don't repeat yourself", by its author p-e-w: L is the length of the longest sequence at the end of prompt and
    answer that stood before, followed by that token; only L >= allowed_length costs. A sequence holds no breaker and is
    not followed by one.
    """
    costs_R = []
    for text in texts_R:
        lengths = _repeated_lengths(text, breakers)
        limit = math.inf if base <= 1 else LONGEST_EXPONENT / math.log(base)
        costs_R.append({token: multiplier * base ** min(length - allowed_length, limit)
                        for token, length in lengths.items() if length >= allowed_length})
    return _minus(logits_RV, costs_R)


def _repeated_lengths(text: Sequence[int], breakers: Set[int]) -> dict[int, int]:
    """For each token that followed an earlier copy of the text's end: the length of the longest such copy.

    Linear in the length of the text, by the Z-algorithm on the text read backwards: z[i] is how many tokens before
    place i equal those at the end.
    """
    reach = next((length for length, token in enumerate(reversed(text)) if token in breakers), len(text))
    longest: dict[int, int] = {}
    for back, length in enumerate(_common_ends(text)):
        token = text[len(text) - back] if back else None
        if back and length and token not in breakers:
            longest[token] = max(longest.get(token, 0), min(length, reach))
    return {token: length for token, length in longest.items() if length}


def _common_ends(text: Sequence[int]) -> list[int]:
    """z[i]: how many of the last tokens of `text` equal the last tokens of `text` without its last i."""
    word = text[::-1]
    z = [len(word)] + [0] * (len(word) - 1) if word else []
    left = right = 0
    for i in range(1, len(word)):
        if i < right:
            z[i] = min(right - i, z[i - left])
        while i + z[i] < len(word) and word[z[i]] == word[i + z[i]]:
            z[i] += 1
        if i + z[i] > right:
            left, right = i, i + z[i]
    return z


def _minus(logits_RV: Tensor, costs_R: Sequence[dict[int, float]]) -> Tensor:
    """Logits less the costs of some tokens of each row."""
    result_RV = logits_RV.clone()
    for row, costs in enumerate(costs_R):
        if costs:
            tokens = torch.tensor(list(costs), dtype=torch.long, device=logits_RV.device)
            result_RV[row, tokens] -= torch.tensor(list(costs.values()), dtype=logits_RV.dtype, device=logits_RV.device)
    return result_RV
