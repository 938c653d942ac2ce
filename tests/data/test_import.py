"""The import stage: nothing of the held-out side is on the training side, and nothing is lost without being counted."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from preceptor.data.jsonl import read_jsonl
from preceptor.data.options import ImportOptions
from preceptor.data.records import Comparison, Conversation, Document, Prompt
from preceptor.data.stage import run
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path
from preceptor.run.log import Log, read_log
from preceptor.run.step import Step

KINDS = {"corpus.jsonl": Document, "corpus_valid.jsonl": Document,
         **{f"demonstrations.{side}.jsonl": Conversation for side in ("train", "valid")},
         **{f"comparisons.{side}.jsonl": Comparison for side in ("train", "valid")},
         **{f"prompts.{side}.jsonl": Prompt for side in ("train", "valid", "test")}}


def _sentence(draw: random.Random, words: int) -> str:
    return " ".join("".join(draw.choices("abdeginorstu", k=draw.randint(2, 8))) for _ in range(words))


def _write(path: Path, rows: list[dict]) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """300 documents of three sources with 30 near-copies, 120 demonstrations of 40 users, 80 comparisons."""
    draw = random.Random(0)
    documents = [{"text": _sentence(draw, 60), "source": "abc"[n % 3], "lang": "en"} for n in range(270)]
    documents += [{**document, "text": document["text"] + " more"} for document in draw.sample(documents, 30)]
    asked = [_sentence(draw, 12) for _ in range(120)]
    demonstrations = [{"instruction": question, "output": _sentence(draw, 5), "user": f"u{n % 40}", "license": "MIT"}
                      for n, question in enumerate(asked)]
    demonstrations.append({"instruction": "long", "output": "蜂" * 700})
    comparisons = [{"prompt": asked[n] + "!" if n < 40 else _sentence(draw, 12), "chosen": _sentence(draw, 5),
                    "rejected": _sentence(draw, 5)} for n in range(80)]
    return {"text": _write(tmp_path / "text.jsonl.gz", documents),
            "demonstrations": _write(tmp_path / "demonstrations.jsonl", demonstrations),
            "comparisons": _write(tmp_path / "comparisons.jsonl", comparisons)}


def _run(folder: Path, inputs: dict[str, Path], seed: int = 1, **options: object) -> dict[str, list]:
    folder.mkdir()
    log = Log(folder / "log.jsonl", "data", 1)
    run(Step("data", folder, inputs, ImportOptions(**{"held_out": 0.1, "longest": 2000} | options), seed, log))
    return {name: read_jsonl(folder / name, kind) for name, kind in KINDS.items()}


def _asked(records: list) -> set[str]:
    return {(r.prompt if isinstance(r, Comparison) else r).messages[0]["content"].rstrip("!") for r in records}


def test_sides_share_no_near_duplicate_no_question_and_no_user(inputs: dict[str, Path], tmp_path: Path) -> None:
    made = _run(tmp_path / "out", inputs)
    texts = [{d.text.removesuffix(" more") for d in made[name]} for name in ("corpus.jsonl", "corpus_valid.jsonl")]
    assert not texts[0] & texts[1]
    train = _asked(made["demonstrations.train.jsonl"]) | _asked(made["comparisons.train.jsonl"])
    held = _asked(made["demonstrations.valid.jsonl"]) | _asked(made["comparisons.valid.jsonl"])
    prompts = [_asked(made[f"prompts.{side}.jsonl"]) for side in ("train", "valid", "test")]
    assert prompts[0] == train and prompts[1] | prompts[2] == held
    assert not train & held and not prompts[1] & prompts[2]
    users = [{r.user for r in made[f"demonstrations.{side}.jsonl"]} for side in ("train", "valid")]
    assert not users[0] & users[1]


def test_every_record_is_on_one_side_or_counted(inputs: dict[str, Path], tmp_path: Path, capsys) -> None:
    made = _run(tmp_path / "out", inputs)
    counts = {name: len(records) for name, records in made.items()}
    assert counts["corpus.jsonl"] + counts["corpus_valid.jsonl"] == 300
    assert counts["demonstrations.train.jsonl"] + counts["demonstrations.valid.jsonl"] == 120
    assert counts["comparisons.train.jsonl"] + counts["comparisons.valid.jsonl"] == 80
    noted = {"records of 'demonstrations.jsonl' left out: longer than 2,000 bytes": 1, "fields 'license' ignored": 120}
    assert read_log(tmp_path / "out/log.jsonl")["data"][0]["noted"] == noted
    printed = capsys.readouterr().err
    assert all(f"data: {count} {what}" in printed for what, count in noted.items())
    assert {document.language for document in made["corpus.jsonl"]} == {"en"}


def test_held_out_documents_keep_the_mix_of_sources(inputs: dict[str, Path], tmp_path: Path) -> None:
    held = Counter(document.source for document in _run(tmp_path / "out", inputs)["corpus_valid.jsonl"])
    assert set(held) == set("abc") and all(7 <= count <= 13 for count in held.values()), held


def test_the_seed_decides_everything(inputs: dict[str, Path], tmp_path: Path) -> None:
    for name, seed in [("one", 1), ("again", 1), ("two", 2)]:
        _run(tmp_path / name, inputs, seed)
    hashes = {name: [hash_path(tmp_path / name / file) for file in KINDS] for name in ("one", "again", "two")}
    assert hashes["one"] == hashes["again"] != hashes["two"]


def test_a_validation_file_stays_whole_and_training_gives_way(inputs: dict[str, Path], tmp_path: Path) -> None:
    asked = [json.loads(line)["prompt"] for line in inputs["comparisons"].read_text(encoding="utf-8").splitlines()]
    own = [{"prompt": asked[n], "candidates": ["a", "b", "c"], "id": f"v{n}"} for n in (0, 50)]
    made = _run(tmp_path / "out", {**inputs, "validation_comparisons": _write(tmp_path / "v.jsonl", own)})
    assert sorted(record.id for record in made["comparisons.valid.jsonl"]) == ["v0", "v50"]
    assert len(made["comparisons.train.jsonl"]) <= 78 and not _asked(made["comparisons.train.jsonl"]) & {
        asked[0].rstrip("!"), asked[50]}
    noted = read_log(tmp_path / "out/log.jsonl")["data"][0]["noted"]
    left_out = noted["comparisons left out of training: too like the held-out ones"]
    assert left_out == 80 - len(made["comparisons.train.jsonl"])
    assert asked[0].rstrip("!") in _asked(made["demonstrations.valid.jsonl"]), "the demonstration of the same question"


def test_data_that_cannot_be_split_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    alone = _write(tmp_path / "alone.jsonl", [{"text": "a single document"}])
    with pytest.raises(UserError, match="cannot be split"):
        _run(tmp_path / "one", {**inputs, "text": alone})
    with pytest.raises(UserError, match="all resemble the held-out ones"):
        _run(tmp_path / "two", {**inputs, "validation_text": inputs["text"]})
    with pytest.raises(UserError, match="has a message longer than 3 bytes"):
        _run(tmp_path / "three", inputs, longest=3)
    with pytest.raises(UserError, match="must lie between 0 and 1"):
        _run(tmp_path / "four", inputs, held_out=5.0)


def test_public_packs_are_read_whole(public_data: Path, tmp_path: Path) -> None:
    smoke = {"text": "text_zh", "demonstrations": "instruct_zh", "comparisons": "pref_oasst_zh_kway"}
    inputs = {name: public_data / "smoke" / f"{pack}.train.jsonl" for name, pack in smoke.items()}
    made = _run(tmp_path / "out", inputs, longest=100_000)
    assert {document.language for document in made["corpus.jsonl"]} == {"zh"}
    assert max(len(one.responses) for one in made["comparisons.train.jsonl"]) > 2
