"""Labels of tokens survive any breaking into words and sub-words: against seqeval, in English and Chinese."""

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities

from preceptor.data.records import Annotated
from preceptor.metrics.entities import spans
from preceptor.run.errors import UserError
from preceptor.tokenizer.options import TokenizerOptions
from preceptor.tokenizer.train import train_tokenizer
from preceptor.understand.encoding import UnitEncoder
from preceptor.understand.lines import answer_of, conversation_of, lost_places, marks_in
from preceptor.understand.options import AnnotationsOptions
from preceptor.understand.rows import RowReader, from_tags
from preceptor.understand.units import joined, marks_of, tags_of, units, widened

ENGLISH = ["Nora", "O'Hara", "U.S.", "@nora", "co-op", "3", "2008", "n't", "'s", "é", "cafe\u0301", "B&B", ".", ","]
CHINESE = ["北京", "诺拉", "京", "，", "二零零八", "2008", "年", "iPhone", "6", "大学", "《", "〇", "Ｔ恤", "𠮷野家"]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]  # in any order: a model's rows are inconsistent
TEXTS = [" ".join(ENGLISH) * 3, "".join(CHINESE) * 3]

sentences = st.sampled_from([ENGLISH, CHINESE]).flatmap(lambda words: st.lists(
    st.tuples(st.sampled_from(words), st.sampled_from(TAGS)), min_size=1, max_size=12))


@pytest.fixture(scope="module")
def tokenizers() -> list[Any]:
    """Bytes merged across Han characters, single ones, and characters with an unknown token."""
    return [train_tokenizer(TEXTS, TokenizerOptions(vocabulary=400, **kind)) for kind in (
        {}, {"han": "single"}, {"algorithm": "wordpiece", "alphabet": "characters"},
        {"algorithm": "unigram", "alphabet": "fallback"})]


@settings(deadline=None, max_examples=60)
@given(sentences, st.integers(0, 10**6))
def test_tags_survive_units_and_every_vocabulary(tokenizers: list[Any], sentence: list[tuple[str, str]],
                                                 seed: int) -> None:
    """Corpus words -> characters -> units -> sub-word targets -> units -> characters -> the corpus's words again."""
    words, tags = [word for word, _ in sentence], [tag for _, tag in sentence]
    text, marks = from_tags(words, tags)
    _, places = joined(words)
    assert [(kind, places[first][0], places[last][1]) for kind, first, last in get_entities(tags)] == marks
    pieces = units(text)
    assert widened(pieces, marks) == marks, "units are finer than words"
    for tokenizer in tokenizers:
        encoder = UnitEncoder(tokenizer, longest=random.Random(seed).choice((8, 64)))
        parts = encoder.parts(text, pieces)
        wanted = iter(tags_of(pieces, marks))
        read = [next(wanted) for _, firsts in parts for _ in firsts]  # what each unit's first token is taught
        assert all(firsts == sorted(set(firsts)) for _, firsts in parts) and len(read) == len(pieces)
        assert marks_of(pieces, read) == marks


@settings(deadline=None, max_examples=60)
@given(st.lists(sentences, min_size=1, max_size=4), st.integers(0, 10**6))
def test_span_f1_is_seqevals(corpus: list[list[tuple[str, str]]], seed: int) -> None:
    draw = random.Random(seed)
    gold, guessed, right, given_, wanted = [], [], 0, 0, 0
    for sentence in corpus:
        words, tags = [word for word, _ in sentence], [tag for _, tag in sentence]
        guess = [draw.choice([tag, draw.choice(TAGS)]) for tag in tags]
        gold, guessed = [*gold, tags], [*guessed, guess]
        one, other = set(from_tags(words, tags)[1]), set(from_tags(words, guess)[1])
        right, given_, wanted = right + len(one & other), given_ + len(other), wanted + len(one)
    ours = 2 * right / (given_ + wanted) if given_ + wanted else 0.0
    theirs = f1_score(gold, guessed) if any(spans(tags) for tags in (*gold, *guessed)) else 0.0
    assert ours == pytest.approx(theirs)


def test_a_span_inside_a_unit_is_widened_and_one_that_then_overlaps_is_left_out() -> None:
    pieces = units("New Yorker, 北京大学")
    assert [("New Yorker, 北京大学")[first:behind] for first, behind in pieces] == [
        "New", "Yorker", ",", "北", "京", "大", "学"]
    assert widened(pieces, [("LOC", 0, 8), ("X", 9, 10), ("ORG", 12, 14)]) == [("LOC", 0, 10), ("ORG", 12, 14)]


def test_a_part_begins_no_unit_that_it_cannot_end(tokenizers: list[Any]) -> None:
    text = "Nora sings. " * 9
    whole = UnitEncoder(tokenizers[0], 512).parts(text, units(text))
    parts = UnitEncoder(tokenizers[0], 16).parts(text, units(text))
    assert len(whole) == 1 and len(parts) > 1 and max(len(tokens) for tokens, _ in parts) <= 16
    inner = [token for tokens, _ in parts for token in tokens[1:-1]]
    assert inner == whole[0][0][1:-1]
    with pytest.raises(UserError, match="'longest'"):
        UnitEncoder(tokenizers[0], 8).parts("Nora" * 40, units("Nora" * 40))


@settings(deadline=None, max_examples=60)
@given(sentences)
def test_lines_give_back_the_spans_whose_place_they_can_say(sentence: list[tuple[str, str]]) -> None:
    text, marks = from_tags([word for word, _ in sentence], [tag for _, tag in sentence])
    record = Annotated(text, "r", spans=[list(mark) for mark in marks])
    found = marks_in(answer_of(record, "tag"), text, units(text), ["PER", "LOC"])
    assert [(kind, text[start:end]) for kind, start, end in found] == [
        (kind, text[start:end]) for kind, start, end in marks]
    assert lost_places([record], ["PER", "LOC"]) == len(set(marks) - set(found))


def test_what_an_answer_gets_wrong_is_left_out() -> None:
    text = "Nora met Nora in Paris."
    pieces = units(text)
    assert marks_in("PER: Nora\nPER: Nora\nLOC: Par", text, pieces, ["PER", "LOC"]) == [("PER", 0, 4), ("PER", 9, 13)]
    assert marks_in("LOC: Paris\nPER: Nora", text, pieces, ["PER", "LOC"]) == [("LOC", 17, 22)]
    assert marks_in("ORG: Nora\nPER:\n-", text, pieces, ["PER", "LOC"]) == []
    record = Annotated(text, "r", spans=[["PER", 9, 13]])
    assert lost_places([record], ["PER"]) == 1
    assert conversation_of(record, "extract").messages[1]["content"] == "PER: Nora"
    assert answer_of(Annotated("a", "r", spans=[]), "tag") == "-"


def read(task: str, row: dict[str, Any], **options: Any) -> tuple[Annotated, set[str], Counter[str]]:
    noted: Counter[str] = Counter()
    record, ignored = RowReader(AnnotationsOptions(task=task, **options), noted)(row, "f:1", "f")
    return record, ignored, noted


def test_rows_of_every_form_become_records() -> None:
    assert read("classify", {"text": "a", "label": 1, "lang": "en"})[0] == Annotated(
        "a", "f:1", label="1", source="f", language="en")
    assert read("classify", {"said": "a", "intent": "x"}, text_field="said", label_field="intent")[0].label == "x"
    spoken = read("tag", {"tokens": ["Nora", "sings"], "tags": ["I-PER", "O"], "mood": 1})
    assert spoken[0].spans == [["PER", 0, 4]] and spoken[0].text == "Nora sings" and spoken[1] == {"mood"}
    assert read("tag", {"text": "a\nb", "spans": [["X", 2, 3]]})[0] == Annotated(
        "a b", "f:1", spans=[["X", 2, 3]], source="f")
    slots = [{"slot": "b", "start": 4, "end": 5, "value": "c"}, {"slot": "a", "start": 0, "end": 3}]
    assert read("extract", {"text": "a b c", "slots": slots})[0].spans == [["a", 0, 3], ["b", 4, 5]]
    overlapping = read("tag", {"text": "a b c", "spans": [["X", 0, 3], ["Y", 2, 5]]})
    assert overlapping[0].spans == [["X", 0, 3]] and overlapping[2].total() == 1
    values = {"起": "6元", "人均": "68元", "名": "无", "又": ["68元"]}
    facts = read("extract", {"text": "餐厅人均68元，6元起", "facts": values})
    assert facts[0].spans == [["人均", 4, 7], ["起", 8, 10]] and facts[2].total() == 2


@pytest.mark.parametrize(("task", "row", "said"), [
    ("classify", {"text": "a"}, "label_field"), ("classify", {"text": "a", "label": True}, "label_field"),
    ("classify", {"text": " ", "label": "a"}, "no text"), ("tag", {"text": "a"}, "No spans"),
    ("tag", {"tokens": ["a"], "tags": []}, "one length"), ("tag", {"text": "a", "spans": [["X", "0", 1]]}, "A span"),
    ("extract", {"text": "a", "facts": ["a"]}, "object"), ("tag", {"text": "a", "spans": {}}, "lists"),
])
def test_rows_that_say_nothing_are_refused(task: str, row: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(task, row)


def test_a_pretrained_tokenizers_own_marks_stand_around_a_text_and_no_unit_is_lost() -> None:
    """BERT's normaliser drops what it takes for control characters: the unit keeps a token, and its label."""
    from transformers import BertTokenizer
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "##ra", "京"]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    text = "Nora \ufffd京"
    encoder, pieces = UnitEncoder(tokenizer, 16), units(text)
    assert len(pieces) == 3
    assert encoder.parts(text, pieces) == [([2, 5, 6, 1, 7, 3], [1, 3, 4])]
    assert encoder.whole("Nora") == [2, 5, 6, 3] and encoder.truncated == 0
    assert UnitEncoder(tokenizer, 4).whole("Nora 京") == [2, 5, 6, 3]
    short = UnitEncoder(tokenizer, 4)
    assert short.parts(text, pieces) == [([2, 5, 6, 3], [1]), ([2, 1, 7, 3], [1, 2])]
    short.whole("Nora 京")
    assert short.truncated == 1
