"""datatrove: the same decisions as its own Gopher, C4, FineWeb and MinHash, and our blocks in its executor."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datatrove", reason="the blocks need the extra 'datatrove'")

from datatrove.data import Document as Piece
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.writers import JsonlWriter

from preceptor.data.cleaning.cleaner import Cleaner
from preceptor.data.cleaning.gopher import poor_quality, repetitive
from preceptor.data.cleaning.options import (
    C4Options,
    CleaningOptions,
    DuplicateOptions,
    FineWebOptions,
    GopherOptions,
    RepetitionOptions,
)
from preceptor.data.cleaning.web_prose import c4, fineweb
from preceptor.data.cleaning.words import counted_words
from preceptor.data.datatrove_blocks import OurWords, RulesBlock, SourceBlock
from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Document

WORDS = OurWords("en")
LEAST = 0.995


@pytest.fixture(scope="module")
def texts(public_data: Path) -> list[str]:
    """Real web pages, and such pages with lines repeated, cut short, or turned to symbols, so that every rule fires."""
    with gzip.open(public_data / "web/c4_demo.jsonl.gz", "rt", encoding="utf-8") as file:
        pages = [json.loads(line)["text"] for line in file]
    pages = pages[::3]
    draw, made = random.Random(0), list(pages)
    for text in pages:
        lines = [line + "." for line in text.replace("\n", " ").split(". ")]
        made.append("\n".join(lines))
        made.append("\n".join(lines[:4] + draw.choices(lines, k=len(lines) // draw.choice([2, 5, 20]) + 1)))
        made.append(draw.choice(["# ", "- ", "… "]).join(text.split(" ")[:draw.choice([30, 90])]))
        made.append("\n\n".join(draw.choices(lines[:3], k=4)) + " {" * draw.choice([0, 1]))
    return made


def _agreement(texts: list[str], theirs: Any, ours: Any) -> float:
    """Share of texts on which both decide alike; each must drop some and keep some."""
    kept = []
    for number, text in enumerate(texts):
        verdict = theirs.filter(Piece(text, str(number)))
        kept.append((verdict is True or (isinstance(verdict, tuple) and verdict[0] is True), ours(text)))
    assert 0.02 < sum(their for their, _ in kept) / len(kept) < 0.98
    return sum(their == our for their, our in kept) / len(kept)


def test_gopher_quality_agrees(texts: list[str]) -> None:
    def ours(text: str) -> bool:
        return poor_quality(text, counted_words(text, "en"), "en", GopherOptions()) is None
    assert _agreement(texts, GopherQualityFilter(language=WORDS), ours) >= LEAST


def test_gopher_repetition_agrees(texts: list[str]) -> None:
    def ours(text: str) -> bool:
        return repetitive(text, counted_words(text, "en"), "en", RepetitionOptions()) is None
    assert _agreement(texts, GopherRepetitionFilter(language=WORDS), ours) >= LEAST


def test_c4_agrees_and_keeps_the_same_lines(texts: list[str]) -> None:
    theirs, options = C4QualityFilter(language=WORDS), C4Options()

    def ours(text: str) -> bool:
        return c4(text, "en", options)[2] is None
    assert _agreement(texts, theirs, ours) >= LEAST
    same = 0
    for number, text in enumerate(texts):
        piece = Piece(text, str(number))
        if theirs.filter(piece) is True:
            same += piece.text == c4(text, "en", options)[0]
        else:
            same += 1
    assert same / len(texts) >= LEAST


def test_fineweb_agrees(texts: list[str]) -> None:
    def ours(text: str) -> bool:
        return fineweb(text, counted_words(text, "en"), "en", FineWebOptions()) is None
    theirs = FineWebQualityFilter(language=WORDS, char_duplicates_ratio=0.1)
    assert _agreement(texts, theirs, ours) >= LEAST


def test_minhash_agrees_on_copies_with_changed_words(tmp_path: Path) -> None:
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.utils.hashing import HashConfig

    from tests.cli.test_data import KINDS, NOUNS, VERBS
    draw, texts = random.Random(1), []
    words = [a + b for a in KINDS for b in NOUNS] + VERBS
    for number in range(300):
        if number > 20 and draw.random() < 0.2:
            copy = draw.choice(texts[:20]).split(" ")
            copy[draw.randrange(len(copy))] = "changed"
            texts.append(" ".join(copy))
        else:
            texts.append(" ".join(draw.choices(words, k=200)))
    write_jsonl(tmp_path / "in/a.jsonl", [{"text": text, "id": str(n)} for n, text in enumerate(texts)])
    config = MinhashConfig(hash_config=HashConfig(hash_fc="sha1", precision=64))
    work = {name: str(tmp_path / name) for name in ("signatures", "buckets", "remove")}
    reader = JsonlReader(str(tmp_path / "in"))
    for blocks in ([reader, MinhashDedupSignature(work["signatures"], config=config, language=WORDS)],
                   [MinhashDedupBuckets(work["signatures"], work["buckets"], config=config)],
                   [MinhashDedupCluster(work["buckets"], work["remove"], config=config)],
                   [reader, MinhashDedupFilter(work["remove"]), JsonlWriter(str(tmp_path / "out"), compression=None)]):
        tasks = config.num_buckets if isinstance(blocks[0], MinhashDedupBuckets) else 1
        LocalPipelineExecutor(blocks, tasks=tasks, workers=1, logging_dir=str(tmp_path / f"log{id(blocks)}")).run()
    theirs = {json.loads(line)["id"] for path in (tmp_path / "out").iterdir() for line in path.read_text().splitlines()}
    cleaner = Cleaner(_only_duplicates())
    ours = {str(n) for n, text in enumerate(texts) if cleaner.clean(Document(text, str(n)))[0] is not None}
    assert 200 < len(theirs) < 290
    assert len(ours ^ theirs) / len(texts) <= 1 - LEAST


def _only_duplicates() -> CleaningOptions:
    from tests.data.cleaning.test_duplicates import ONLY_DUPLICATES
    return ONLY_DUPLICATES


def test_our_blocks_decide_in_an_executor_as_they_do_at_home(tmp_path: Path) -> None:
    from tests.cli.test_data import _page
    rows = [Document(_page(name), name, "made") for name in ("spring", "summer", "autumn", "winter")]
    rows += [Document("Zu kurz.", "short", "made"),
             Document(_page("mist") + " Write to nora@example.org today.", "mail", "made")]
    for part in range(3):
        write_jsonl(tmp_path / f"in/{part}.jsonl", rows[part * 2:part * 2 + 2])
    writer = JsonlWriter(str(tmp_path / "out"), compression=None)
    LocalPipelineExecutor([SourceBlock([tmp_path / "in"]), RulesBlock(), writer], tasks=2, workers=1,
                          logging_dir=str(tmp_path / "log")).run()
    found = {row["id"]: row for path in (tmp_path / "out").iterdir() for row in map(json.loads, path.open())}
    options = CleaningOptions(duplicates=DuplicateOptions(on=False))
    cleaner = Cleaner(options)
    expected = {kept.id: kept.text for row in rows if (kept := cleaner.clean(row)[0])}
    assert {name: row["text"] for name, row in found.items()} == expected and len(expected) == 5
    assert found["mail"]["metadata"]["decision"]["changes"][0]["rule"] == "personal: email"
    assert len(list((tmp_path / "out").iterdir())) == 2
