"""What is hidden can be put back, its share is the one asked for, and the same draw hides the same."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.batches import IGNORE, Example
from preceptor.data.denoising import Infilling, SpanCorruption
from preceptor.data.masking import Masking
from preceptor.data.packing import PackedBatches

END, PAD, MASK, START, SENTINELS = 0, 1, 2, 1, list(range(900, 1000))
SPECIAL = frozenset({END, PAD, MASK})
texts = st.lists(st.integers(3, 800), min_size=1, max_size=200)


def masking(**options: object) -> Masking:
    return Masking(**{"mask": MASK, "pad": PAD, "vocabulary": 850, "special": SPECIAL, **options})


def spans(**options: float) -> SpanCorruption:
    return SpanCorruption(sentinels=SENTINELS, end=END, pad=PAD, start=START, **options)


def infilling(**options: object) -> Infilling:
    return Infilling(**{"mask": MASK, "end": END, "pad": PAD, "start": START, "sentence_ends": frozenset(), **options})


@given(texts, st.integers(0, 99), st.sampled_from([0.05, 0.15, 0.5]))
@settings(deadline=None)
def test_targets_put_a_masked_text_back(tokens: list[int], seed: int, share: float) -> None:
    example = Example.of_text("a", [END, *tokens, END])
    hidden = masking(share=share).hidden(example, Random(seed))
    assert hidden.count == max(1, round(share * len(tokens)))
    assert [token if target == IGNORE else target for token, target in zip(hidden.tokens, hidden.targets)] \
        == example.tokens
    assert hidden.tokens[0] == hidden.tokens[-1] == END and hidden.targets[0] == hidden.targets[-1] == IGNORE


def test_of_the_chosen_tokens_eight_tenths_are_masked_and_a_tenth_each_replaced_and_kept() -> None:
    example = Example.of_text("a", [3 + n % 700 for n in range(40_000)])
    hidden = masking().hidden(example, Random(0))
    chosen = [(new, old) for new, old, target in zip(hidden.tokens, example.tokens, hidden.targets) if target != IGNORE]
    share = Counter("mask" if new == MASK else "kept" if new == old else "other" for new, old in chosen)
    assert len(chosen) == 6000
    assert share["mask"] / 6000 == pytest.approx(0.8, abs=0.02)  # 4 standard deviations
    assert share["other"] / 6000 == pytest.approx(0.1, abs=0.016)
    assert share["kept"] / 6000 == pytest.approx(0.1, abs=0.016)
    assert not any(new in SPECIAL - {MASK} for new, _ in chosen)


def test_static_masks_are_the_same_in_every_pass_and_dynamic_ones_are_not() -> None:
    examples = [Example.of_text(str(n), [END, *range(3, 60), END]) for n in range(4)]

    def passes(layout: Masking) -> list[dict[str, list[int]]]:
        batches = PackedBatches(examples, rows=1, length=59, pad=PAD, seed=5, epochs=2, layout=layout)
        drawn = [next(batches) for _ in range(8)]
        return [{batch.documents[0][0]: batch["tokens"][0].tolist() for batch in part}
                for part in (drawn[:4], drawn[4:])]

    first, second = passes(masking(static_seed=1))
    assert first == second and len({tuple(tokens) for tokens in first.values()}) == 4
    first, second = passes(masking())
    assert all(first[name] != second[name] for name in first)
    assert passes(masking()) == [first, second]  # a function of the seed


def test_whole_words_are_hidden_whole() -> None:
    starts = [token % 3 == 0 for token in range(850)]  # every third token begins a word
    example = Example.of_text("a", [END, *range(3, 300), END])
    hidden = masking(starts=starts, share=0.3).hidden(example, Random(0))
    chosen = {old for old, target in zip(example.tokens, hidden.targets) if target != IGNORE}
    assert chosen and all({3 * (token // 3) + k for k in range(3)} <= chosen for token in chosen)
    assert 0.28 * 297 <= len(chosen) <= 0.3 * 297


@given(texts, st.integers(0, 99), st.sampled_from([(0.15, 3.0), (0.5, 3.0), (0.15, 1.0), (0.9, 20.0)]))
@settings(deadline=None)
def test_spans_put_a_damaged_text_back(tokens: list[int], seed: int, rates: tuple[float, float]) -> None:
    read, written = spans(share=rates[0], span=rates[1]).damaged(tokens, Random(seed))
    assert read[-1] == written[-1] == END
    lost: dict[int, list[int]] = {}
    for token in written[:-1]:
        if token in SENTINELS:
            lost[token] = []
            last = token
        else:
            lost[last].append(token)
    assert all(lost.values()) and list(lost) == SENTINELS[:len(lost)]
    back = [piece for token in read[:-1] for piece in (lost[token] if token in lost else [token])]
    assert back == tokens
    if len(tokens) > 1:
        assert sum(map(len, lost.values())) == min(max(1, round(rates[0] * len(tokens))), len(tokens) - 1)


def test_spans_have_the_mean_length_asked_for() -> None:
    read, _ = spans().damaged([3 + n % 800 for n in range(600)], Random(0))
    assert sum(token in SENTINELS for token in read) == 30  # 90 of 600 tokens in spans of 3


@given(texts, st.integers(0, 99))
@settings(deadline=None)
def test_infilling_keeps_what_it_does_not_hide_in_order(tokens: list[int], seed: int) -> None:
    read, written = infilling().damaged(tokens, Random(seed))
    assert written == [*tokens, END] and read[-1] == END and MASK in read
    kept = [token for token in read[:-1] if token != MASK]
    assert len(kept) == len(tokens) - max(1, round(0.3 * len(tokens)))
    rest = iter(tokens)
    assert all(token in rest for token in kept)  # a subsequence


def test_sentences_are_shuffled_whole() -> None:
    tokens = [3, 4, 9, 5, 6, 9, 7, 8, 9]
    layout = infilling(sentence_ends=frozenset({9}), share=1e-9)
    orders = {tuple(token for token in layout._shuffled(tokens, Random(seed))) for seed in range(60)}
    assert len(orders) == 6
    assert all({order[:3], order[3:6], order[6:]} == {(3, 4, 9), (5, 6, 9), (7, 8, 9)} for order in orders)


def test_pairs_lie_side_by_side_with_the_same_numbers() -> None:
    rows = [[Example.of_text("a", [END, 5, 6, 7, END]), Example.of_text("b", [END, 8, 9, END])],
            [Example.of_text("c", [10, 11, 12])]]
    batch = spans()(rows, Random(0))
    assert batch.documents == [["a", "b"], ["c"]] and batch.counts == (batch["targets"] != IGNORE).sum(1).tolist()
    for row, documents in enumerate(batch.documents):
        for number in range(1, len(documents) + 1):
            given = batch["written"][row][batch["written_segments"][row] == number].tolist()
            wanted = batch["targets"][row][batch["written_segments"][row] == number].tolist()
            read = batch["tokens"][row][batch["segments"][row] == number].tolist()
            assert given == [START, *wanted[:-1]] and wanted[-1] == read[-1] == END
