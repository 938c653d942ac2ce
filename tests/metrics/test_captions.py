"""Caption measures against a plain version of the papers, and cases that can be counted by hand."""

import math
import random

import pytest

from preceptor.metrics.captions import bleu, cider_d, rouge_l, words

VOCABULARY = "a red blue hat book is left of the two".split()


def drawn(seed: int) -> tuple[list[list[str]], list[list[list[str]]]]:
    draw = random.Random(seed)
    captions = [draw.choices(VOCABULARY, k=draw.randint(1, 9)) for _ in range(6)]
    return captions, [[draw.choices(VOCABULARY, k=draw.randint(1, 9)) for _ in range(draw.randint(1, 3))]
                      for _ in captions]


def counts(text: list[str], n: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(len(text) - n + 1):
        gram = " ".join(text[start:start + n])
        found[gram] = found.get(gram, 0) + 1
    return found


def slow_cider(caption: list[str], own: list[list[str]], everyone: list[list[list[str]]]) -> float:
    """Section 6 of the paper, one vector over all n-grams at a time."""
    total = 0.0
    for n in (1, 2, 3, 4):
        for one in own:
            space = sorted(set(counts(caption, n)) | set(counts(one, n)))
            rarity = [math.log(len(everyone) / max(1, sum(any(gram in counts(text, n) for text in several)
                                                         for several in everyone))) for gram in space]
            c, r = ([counts(text, n).get(gram, 0) * weight for gram, weight in zip(space, rarity)]
                    for text in (caption, one))
            norm = math.hypot(*c) * math.hypot(*r) if space else 0.0
            close = sum(min(x, y) * y for x, y in zip(c, r)) / norm if norm else 0.0
            total += close * math.exp(-(len(caption) - len(one)) ** 2 / 72) / len(own)
    return 10 * total / 4


@pytest.mark.parametrize("seed", range(4))
def test_cider_d_is_that_of_the_paper(seed: int) -> None:
    captions, references = drawn(seed)
    slow = [slow_cider(caption, own, references) for caption, own in zip(captions, references)]
    assert cider_d(captions, references) == pytest.approx(slow, abs=1e-9) and max(slow) > 0.05


def test_cider_d_of_the_reference_itself_is_ten() -> None:
    texts = ["one two three four five".split(), "six seven eight nine ten".split()]
    assert cider_d(texts, [[text] for text in texts]) == pytest.approx([10, 10])
    longer = cider_d([texts[0] + ["six"], texts[1]], [[text] for text in texts])
    assert longer[0] < 10 * math.exp(-1 / 72)


def test_figures_are_those_of_pycocoevalcap() -> None:
    # pycocoevalcap 1.2 (Bleu(4), Cider(), Rouge()) on the same drawn words, computed on 2026-11-21
    captions, references = drawn(0)
    assert bleu(captions, references) == pytest.approx(
        [0.4565217391205104, 0.15108304655206978, 8.756237179816696e-07, 2.2128329505123927e-09], rel=1e-9)
    assert cider_d(captions, references) == pytest.approx(
        [1.1671075237804935, 0.055637383285823336, 0.19369419709830984, 0.8885908629162591, 1.245227254455294,
         0.5956114298998352], rel=1e-9)
    assert [rouge_l(*pair) for pair in zip(captions, references)] == pytest.approx(
        [0.31202046035805625, 0.22426470588235295, 0.23371647509578544, 0.4680306905370844, 0.4149659863945578,
         0.3279569892473118], rel=1e-9)


def test_bleu_by_hand() -> None:
    caption, references = "the hat is is red".split(), ["the hat is red".split(), "a red hat".split()]
    found = bleu([caption], [references])
    # unigrams: the, hat, is (once of two), red: 4 of 5; bigrams "the hat", "hat is", "is red": 3 of 4
    assert found[0] == pytest.approx(4 / 5) and found[1] == pytest.approx(math.sqrt(4 / 5 * 3 / 4))
    short = bleu(["the hat".split()], [["the hat is red".split()]])
    assert short[0] == pytest.approx(math.exp(1 - 4 / 2))
    assert bleu([caption, caption], [references, references])[:3] == pytest.approx(found[:3])


def test_bleu_is_that_of_sacrebleu() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    draw = random.Random(0)
    captions = [draw.choices(VOCABULARY, k=9) for _ in range(30)]
    references = [[[draw.choice(VOCABULARY) if draw.random() < .2 else word for word in caption] for _ in range(2)]
                  for caption in captions]
    metric = sacrebleu.metrics.BLEU(tokenize="none", smooth_method="none", force=True)
    theirs = metric.corpus_score([" ".join(one) for one in captions],
                                 [[" ".join(several[n]) for several in references] for n in range(2)])
    assert 100 * bleu(captions, references)[3] == pytest.approx(theirs.score, rel=1e-6)


def test_rouge_l_by_hand() -> None:
    caption, references = "a red hat on it".split(), ["a hat".split(), "red hat on it now".split()]
    precision, recall = 4 / 5, 1.0  # of the second and of the first: each the best of all references
    assert rouge_l(caption, references) == pytest.approx(2.44 * precision * recall / (recall + 1.44 * precision))
    assert rouge_l([], references) == rouge_l(["no"], references) == 0


def test_words() -> None:
    assert words("The dog's bone, isn't it?") == ["the", "dog", "'s", "bone", "is", "n't", "it"]
    assert words("图中有一顶red帽子。") == ["图", "中", "有", "一", "顶", "red", "帽", "子"]
