"""Duplicates, contamination, and the whole run: decisions, shards, going on, replay."""

import json
import random
from pathlib import Path

import pytest

from preceptor.data.cleaning.cleaner import Cleaner
from preceptor.data.cleaning.contamination import EvaluationIndex
from preceptor.data.cleaning.duplicates import Memory, key_of
from preceptor.data.cleaning.options import (
    BoilerplateOptions,
    C4Options,
    ChineseOptions,
    CleaningOptions,
    ContaminationOptions,
    DuplicateOptions,
    FineWebOptions,
    GopherOptions,
    LanguageOptions,
    PersonalOptions,
    RepairOptions,
    RepetitionOptions,
)
from preceptor.data.cleaning.run import clean_corpus, decisions, kept_documents
from preceptor.data.cleaning.sample import sample
from preceptor.data.cleaning.summary import replayed, summarise
from preceptor.data.jsonl import write_jsonl
from preceptor.data.near_duplicates import NearDuplicateIndex, near_duplicates, sketch
from preceptor.data.reading.options import ReadingOptions
from preceptor.data.records import Document
from preceptor.run.errors import UserError

ONLY_DUPLICATES = CleaningOptions(
    repair=RepairOptions(on=False), personal=PersonalOptions(on=False), boilerplate=BoilerplateOptions(on=False),
    language=LanguageOptions(on=False), c4=C4Options(on=False), gopher=GopherOptions(on=False),
    repetition=RepetitionOptions(on=False), fineweb=FineWebOptions(on=False), chinese=ChineseOptions(on=False))


def _prose(draw: random.Random, chinese: bool, sentences: int) -> str:
    if chinese:
        letters = ("的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年"
                   "动同工也能下过子说产种面而方后多定行学法所民得经")
        return "".join("".join(draw.choices(letters, k=draw.randint(8, 20))) + "。" for _ in range(sentences))
    words = [f"{a}{b}{c}" for a in ("ba", "ke", "mo", "tri", "su") for b in ("la", "ne", "ro", "ti")
             for c in ("", "s", "n")]
    return " ".join(" ".join(draw.choices(words, k=draw.randint(6, 14))).capitalize() + "." for _ in range(sentences))


def _documents(seed: int, count: int, share: float) -> tuple[list[Document], dict[str, str]]:
    """Documents in two languages, of which a share are near-copies of earlier ones; and which copies which."""
    draw = random.Random(seed)
    documents, copies = [], {}
    for number in range(count):
        chinese = number % 2 == 1
        if number > 10 and draw.random() < share:
            first = draw.choice([document for document in documents if document.id not in copies])
            letters = list(first.text)
            for place in draw.sample(range(len(letters)), max(1, len(letters) // 200)):
                letters[place] = draw.choice("abc的了是")
            copies[f"d{number}"] = first.id
            documents.append(Document("".join(letters), f"d{number}", "copy"))
        else:
            documents.append(Document(_prose(draw, chinese, draw.randint(8, 20)), f"d{number}", "own"))
    return documents, copies


def test_planted_near_duplicates_are_found_with_their_neighbour_and_no_others() -> None:
    documents, copies = _documents(0, 400, 0.25)
    cleaner = Cleaner(ONLY_DUPLICATES)
    found = {}
    for document in documents:
        kept, decision = cleaner.clean(document)
        if decision.drop:
            assert kept is None and decision.drop.rule.startswith("duplicate: ") and 0.7 <= decision.drop.score <= 1
            found[document.id] = decision.drop.neighbour
    assert len(set(found) & set(copies)) / len(copies) >= 0.95
    assert len(set(found) & set(copies)) / len(found) >= 0.99
    assert all(copies[copy] == neighbour for copy, neighbour in found.items())


def test_the_index_links_what_the_batch_links() -> None:
    texts = [document.text for document in _documents(1, 150, 0.4)[0]]
    index, found = NearDuplicateIndex(0.7), set()
    for number, text in enumerate(texts):
        if near := index.find(sketch(text)):
            found.add((int(near[0]), number))
            assert near[1] >= 0.7
        index.add(str(number), sketch(text))
    pairs = set(near_duplicates(texts, 0.7))
    assert found <= pairs and {later for _, later in found} == {later for _, later in pairs}


def test_exact_duplicates_across_sources_name_the_one_that_stays() -> None:
    cleaner = Cleaner(ONLY_DUPLICATES)
    cleaner.clean(Document("The bees hum\n in spring.", "a", "one"))
    _, decision = cleaner.clean(Document("the BEES hum in spring. ", "b", "two"))
    assert decision.drop.rule == "duplicate: exact" and decision.drop.neighbour == "a"


def test_sentences_said_before_go_and_the_rest_is_unchanged() -> None:
    memory = Memory(DuplicateOptions())
    shared = "The keeper of bees went home. She lit the old lamp again. Nobody in the town saw her. "
    memory.remember("a", "First of all there was rain. " + shared, "k")
    text, changes = memory.without_said_before("Other words stand here.\n" + shared + "And others here too.")
    assert text == "Other words stand here.\nAnd others here too." and changes[0].count == 3
    two = "She lit the old lamp again. Nobody in the town saw her. Then came the dawn of the day."
    assert memory.without_said_before(two) == (two, [])


def test_contamination_names_the_record_and_counts_runs(tmp_path: Path) -> None:
    question = "Which of the four keepers of bees in the old town of Elm owned the brown dog with one ear"
    chinese = "小明有三个苹果，小红比小明多两个苹果，请问他们两个人一共有多少个苹果呢"
    write_jsonl(tmp_path / "quiz.dev.jsonl", [{"id": "q1", "question": question, "choices": ["a", chinese]}])
    index = EvaluationIndex(ContaminationOptions(against=(str(tmp_path),)))
    drop = index.contaminated(f"Somebody asked: “{question.upper()}?” and left.")
    assert drop.neighbour == "quiz:q1" and drop.score == len(question.split()) - 12
    said = "他说：小明有三个苹果；小红比小明多两个苹果。请问他们两个人一共有多少个苹果？"
    assert index.contaminated(said).neighbour == "quiz:q1"
    assert index.contaminated(" ".join(question.split()[:12])) is None
    around = "The riddle of the week was hard. Nobody knew, and so we asked the teacher of the other school. " * 3
    assert index.contaminated(around + said).neighbour == "quiz:q1"  # a quotation in the other language
    assert index.contaminated(f"有人问过这样一个问题：{question}？然后他就走了，谁也没有回答他。" + chinese[:20] * 9)
    write_jsonl(tmp_path / "short" / "a.jsonl", [{"id": "s1", "question": "Who keeps bees?"}])
    with pytest.raises(UserError, match="nothing could be found"):
        EvaluationIndex(ContaminationOptions(against=(str(tmp_path / "short"),)))
    with pytest.raises(UserError, match="no evaluation records"):
        EvaluationIndex(ContaminationOptions(against=(str(tmp_path / "none"),)))


def _corpus(folder: Path, seed: int) -> Path:
    documents, _ = _documents(seed, 120, 0.3)
    for part in range(4):
        write_jsonl(folder / f"part{part}.jsonl", documents[part * 30:(part + 1) * 30])
    return folder


def test_a_run_that_is_killed_anywhere_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("preceptor.data.cleaning.run.SHARD", 25)
    source = _corpus(tmp_path / "in", 2)
    clean_corpus([source], tmp_path / "whole", ReadingOptions(), ONLY_DUPLICATES)

    class Killed(Exception):
        pass

    def killer(shards: int, files: int, all_files: int) -> None:
        raise Killed

    for _ in range(3):  # each attempt writes one shard more
        with pytest.raises(Killed):
            clean_corpus([source], tmp_path / "killed", ReadingOptions(), ONLY_DUPLICATES, killer)
    clean_corpus([source], tmp_path / "killed", ReadingOptions(), ONLY_DUPLICATES)
    names = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.jsonl"))
    assert len(names) == 10
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    with pytest.raises(UserError, match="other sources or options"):
        clean_corpus([source], tmp_path / "killed", ReadingOptions(), CleaningOptions())


def test_documents_of_one_name_are_told_apart_when_a_run_goes_on(tmp_path: Path, monkeypatch) -> None:
    """Files of different folders may share a name; what one of them was keyed by must not become another's key."""
    monkeypatch.setattr("preceptor.data.cleaning.run.SHARD", 3)
    first, second = (_prose(random.Random(seed), False, 12) for seed in (1, 2))
    shared = "The keeper of bees went home. She lit the old lamp again. Nobody in the town saw her. "
    rows = [Document(shared + first, "page", "a"), Document(shared + second, "page", "b"),
            Document(shared + first, "page", "c"), Document(shared + second, "last", "d")]
    write_jsonl(tmp_path / "in.jsonl", rows)
    clean_corpus([tmp_path / "in.jsonl"], tmp_path / "whole", ReadingOptions(), ONLY_DUPLICATES)

    def killer(shards: int, files: int, all_files: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean_corpus([tmp_path / "in.jsonl"], tmp_path / "killed", ReadingOptions(), ONLY_DUPLICATES, killer)
    clean_corpus([tmp_path / "in.jsonl"], tmp_path / "killed", ReadingOptions(), ONLY_DUPLICATES)
    fates = [[row.get("dropped", {}).get("rule") for row in decisions(tmp_path / name) if "id" in row]
             for name in ("whole", "killed")]
    assert fates[0] == fates[1] == [None, None, "duplicate: exact", "duplicate: exact"]


def test_other_evaluation_records_are_another_run(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", _documents(5, 6, 0)[0])
    write_jsonl(tmp_path / "quiz.jsonl", [{"id": "q", "question": _prose(random.Random(1), False, 9)}])
    options = CleaningOptions(contamination=ContaminationOptions(against=(str(tmp_path / "quiz.jsonl"),)))
    clean_corpus([tmp_path / "in.jsonl"], tmp_path / "out", ReadingOptions(), options)
    clean_corpus([tmp_path / "in.jsonl"], tmp_path / "out", ReadingOptions(), options)
    write_jsonl(tmp_path / "quiz.jsonl", [{"id": "q", "question": _prose(random.Random(2), False, 10)}])
    with pytest.raises(UserError, match="other sources or options"):
        clean_corpus([tmp_path / "in.jsonl"], tmp_path / "out", ReadingOptions(), options)


def test_every_document_is_accounted_for_and_kept_ones_are_what_was_said(tmp_path: Path) -> None:
    source = _corpus(tmp_path / "in", 3)
    (source / "broken.txt").write_bytes(b"\0\1\2")
    clean_corpus([source], tmp_path / "out", ReadingOptions(), ONLY_DUPLICATES)
    rows = list(decisions(tmp_path / "out"))
    summary = summarise(rows)
    assert summary.read.total() == 120 and summary.files == {"jsonl": 4, "text": 1}
    assert summary.problems == {"file is binary, not text": 1}
    dropped = {row["id"]: row["dropped"] for row in rows if "dropped" in row}
    kept = {document.id for document in kept_documents(tmp_path / "out")}
    assert kept.isdisjoint(dropped) and len(kept) + len(dropped) == 120
    assert all(drop["neighbour"] in kept for drop in dropped.values())
    assert json.loads(json.dumps(summary.to_dict()))["kept"] == len(kept)


def test_a_replay_on_a_sample_decides_as_the_run_does_and_writes_nothing(tmp_path: Path) -> None:
    source = _corpus(tmp_path / "in", 4)
    documents = sample([source], ReadingOptions(), 40)
    assert len(documents) == 40 and len({document.id for document in documents}) == 40
    rows = replayed(documents, ONLY_DUPLICATES)
    again = replayed(documents, ONLY_DUPLICATES)
    assert rows == again and [row["id"] for row in rows] == [document.id for document in documents]
    strict = replayed(documents, CleaningOptions(language=LanguageOptions(keep=("fr",))))
    assert all("dropped" in row for row in strict)
    assert key_of("A  b") == key_of("a\nB") != key_of("ab")
