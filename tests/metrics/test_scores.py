"""Each measure equals its reference library: scikit-learn, seqeval, sacrebleu, rouge-score."""

import random
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.metrics import classification, entities, overlap, rouge, translation
from preceptor.run.errors import UserError

LABELS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1, max_size=30)
TAGS = st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), min_size=1, max_size=12)
WORDS = ["the", "cat", "sat", "on", "a", "mat", "Dog", "1999", "ran,"]


@settings(deadline=None, max_examples=40)
@given(LABELS)
def test_precision_recall_and_f1_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support
    gold, guessed = map(list, zip(*pairs, strict=True))
    assert classification.accuracy(gold, guessed) == pytest.approx(accuracy_score(gold, guessed))
    classes = classification.by_class(gold, guessed)
    wanted = precision_recall_fscore_support(gold, guessed, labels=list(classes), zero_division=0)
    for number, found in enumerate(classes.values()):
        assert (found.precision, found.recall, found.f1, found.support) == pytest.approx(
            tuple(column[number] for column in wanted))
    for found, average, labels in ((classification.macro(classes.values()), "macro", None),
                                   (classification.micro(gold, guessed), "micro", None),
                                   (classification.micro(gold, guessed, "ab"), "micro", ["a", "b"])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = precision_recall_fscore_support(gold, guessed, labels=labels, average=average, zero_division=0)
        assert (found.precision, found.recall, found.f1) == pytest.approx(wanted[:3])


def test_the_mean_reciprocal_rank_is_scikit_learns_where_one_is_right() -> None:
    import numpy as np
    from sklearn.metrics import label_ranking_average_precision_score
    draw = np.random.default_rng(0)
    scores = draw.normal(size=(20, 6))
    right = draw.integers(0, 6, 20)
    ranked = [list(map(int, row)) for row in np.argsort(-scores)]
    assert classification.mean_reciprocal_rank(ranked, [[int(one)] for one in right]) == pytest.approx(
        label_ranking_average_precision_score(np.eye(6)[right], scores))
    assert classification.mean_reciprocal_rank([["a", "b"], ["a"]], [["b"], ["z"]]) == 0.25
    assert classification.mean_reciprocal_rank([], []) is None


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(TAGS, st.randoms(use_true_random=False)), min_size=1, max_size=5))
def test_entity_scores_are_those_of_seqeval(rows: list[tuple[list[str], random.Random]]) -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.metrics.sequence_labeling import get_entities
    gold = [tags for tags, _ in rows]
    guessed = [[draw.choice(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", tag]) for tag in tags] for tags, draw in rows]
    for tags in [*gold, *guessed]:
        assert entities.spans(tags) == get_entities(tags)
    found = entities.entity_scores(gold, guessed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for average in ("micro", "macro"):
            wanted = [score(gold, guessed, average=average, zero_division=0)
                      for score in (precision_score, recall_score, f1_score)]
            ours = found[average]
            if found["micro"].support or any(map(entities.spans, guessed)):
                assert (ours.precision, ours.recall, ours.f1) == pytest.approx(tuple(map(float, wanted)))


def test_exact_match_and_f1_are_those_of_squad() -> None:
    """The values that the official script (version 1.1) gives."""
    assert overlap.exact_match("The Denver Broncos!", ["denver broncos"]) == 1
    assert overlap.token_f1("in Santa Clara, California", ["Santa Clara", "Levi's Stadium"]) == pytest.approx(2 / 3)
    assert overlap.token_f1("cat cat dog", ["cat dog dog"]) == pytest.approx(2 / 3)
    assert overlap.token_f1("the", ["an"]) == 1 and overlap.token_f1("", ["x"]) == 0
    assert overlap.exact_match("光荣和ω-force。", ["光荣 和ω-FORCE"]) == 1
    assert overlap.token_f1("是光荣公司", ["光荣"]) == pytest.approx(4 / 7)
    assert overlap.contains("He lives in Oakfield now.", ["oakfield"]) == 1
    assert overlap.contains("Oakfields", ["Oakfield"]) == 0
    assert overlap.number_match("16 - 3 = 13, so $1,300.", ["1300"]) == 1
    assert overlap.number_match("I do not know.", ["3"]) == 0


@pytest.mark.parametrize("seed", range(20))
def test_rouge_is_that_of_rouge_score(seed: int) -> None:
    from rouge_score.rouge_scorer import RougeScorer
    draw = random.Random(seed)
    said, wanted = (" ".join(draw.choices(WORDS, k=draw.randint(0, 15))) for _ in range(2))
    theirs = RougeScorer(list(rouge.KINDS), use_stemmer=False).score(wanted, said)
    for kind, ours in rouge.rouge(said, wanted, "a-z0-9").items():
        assert (ours.precision, ours.recall, ours.f1) == pytest.approx(tuple(theirs[kind]))


def test_rouge_reads_chinese_and_says_how() -> None:
    from rouge_score.rouge_scorer import RougeScorer
    name = rouge.tokenizer_for("zh")

    class Characters:
        tokenize = staticmethod(rouge.TOKENIZERS[name])
    said, wanted = "中国的GDP增长了5%", "中国经济增长5%"
    theirs = RougeScorer(list(rouge.KINDS), tokenizer=Characters()).score(wanted, said)
    for kind, ours in rouge.rouge(said, wanted, name).items():
        assert ours.f1 == pytest.approx(theirs[kind].fmeasure) and ours.f1 > 0
    assert rouge.rouge(said, wanted, "a-z0-9")["rouge1"].support == 1  # only "5": why the signature names it
    assert name in rouge.signature(name)
    assert rouge.best_rouge("a b", ["c", "a b"], "a-z0-9") == {"rouge1": 1, "rouge2": 1, "rougeL": 1}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_bleu_and_chrf_are_sacrebleus_with_its_signature(language: str) -> None:
    import sacrebleu
    pair = {"en": (["the cat sat on the mat", "a dog"], ["the cat sat on a mat", "the dog ran"]),
            "zh": (["猫坐在垫子上", "狗跑了"], ["那只猫坐在垫子上", "狗在跑"])}[language]
    tokenizer = {"en": "13a", "zh": "zh"}[language]
    answers, references = pair[0], [[one] for one in pair[1]]
    found = translation.bleu(answers, references, language, resamples=1)
    assert found.score == pytest.approx(sacrebleu.corpus_bleu(answers, [pair[1]], tokenize=tokenizer).score)
    assert f"tok:{tokenizer}" in found.signature and "version:" in found.signature and found.n == 2
    found = translation.chrf(answers, references, resamples=50)
    assert found.score == pytest.approx(sacrebleu.corpus_chrf(answers, [pair[1]]).score)
    assert 0 <= found.low <= found.high <= 100 and found.low < found.high
    with pytest.raises(UserError, match="no translation"):
        translation.bleu([], [])


def test_the_bins_of_calibration_are_those_of_scikit_learn() -> None:
    import numpy as np
    from sklearn.calibration import calibration_curve

    from preceptor.metrics.calibration import reliability
    draw = np.random.default_rng(0)
    sure = draw.uniform(0, 1, 300)
    right = (draw.uniform(0, 1, 300) < sure).astype(float)
    accuracies, confidences = calibration_curve(right, sure, n_bins=10)
    table = reliability(sure.tolist(), right.tolist(), lowest=0.0)
    assert [one.accuracy for one in table] == pytest.approx(list(accuracies))
    assert [one.confidence for one in table] == pytest.approx(list(confidences))
