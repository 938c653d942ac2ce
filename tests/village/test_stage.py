"""The stage: files in the records of the project, the same bytes for the same seed, an oracle and a panel rebuilt."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Conversation, Document, Prompt, Response
from preceptor.run.errors import UserError
from preceptor.village.options import VillageOptions
from preceptor.village.stage import load_oracle, load_panel, run
from tests.village.conftest import SMALL

FILES = {"corpus.jsonl": Document, "corpus_valid.jsonl": Document, "demonstrations.train.jsonl": Conversation,
         "demonstrations.valid.jsonl": Conversation, "prompts.train.jsonl": Prompt, "prompts.valid.jsonl": Prompt,
         "prompts.test.jsonl": Prompt}


@dataclass
class OwnStep:
    """What the stage uses of a step."""

    folder: Path
    options: VillageOptions
    seed: int
    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)


def _run(folder: Path, seed: int = 0, language: str = "both") -> OwnStep:
    folder.mkdir()
    options = VillageOptions(language=language, **(SMALL | {"documents": 600, "demonstrations": 150}))
    step = OwnStep(folder, options, seed)
    run(step)
    return step


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> OwnStep:
    return _run(tmp_path_factory.mktemp("village") / "both")


def test_the_files_hold_records_of_both_languages(step: OwnStep) -> None:
    for name, kind in FILES.items():
        assert read_jsonl(step.folder / name, kind), name
    documents = read_jsonl(step.folder / "corpus.jsonl", Document)
    assert 0.3 < Counter(one.language for one in documents)["zh"] / len(documents) < 0.7
    prompts = read_jsonl(step.folder / "prompts.train.jsonl", Prompt)
    assert len(prompts) == 200
    chinese = sum(any("一" <= letter <= "鿿" for letter in one.messages[-1]["content"]) for one in prompts)
    assert 0.3 < chinese / len(prompts) < 0.7
    assert any("labeler noise" in line for line in step.said)


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(step: OwnStep, tmp_path: Path) -> None:
    same, other = _run(tmp_path / "same"), _run(tmp_path / "other", seed=1)
    for path in sorted(step.folder.iterdir()):
        assert path.read_bytes() == (same.folder / path.name).read_bytes(), path.name
        assert path.read_bytes() != (other.folder / path.name).read_bytes(), path.name


def test_the_oracle_judges_demonstrations_and_the_panel_ranks(step: OwnStep) -> None:
    oracle, panel = load_oracle(step.folder), load_panel(step.folder)
    for row in read_jsonl(step.folder / "demonstrations.train.jsonl", Conversation):
        verdict = oracle.judge(Prompt(row.id, row.messages[:-1]), row.messages[-1]["content"])
        assert (verdict.overall > 6.999) == (row.source == "village/good"), row
    prompt = read_jsonl(step.folder / "prompts.test.jsonl", Prompt)[0]
    comparison = panel.rank(prompt, [Response(text="Hello."), Response(text="")], panel.heldout[0], "c")
    assert comparison.labeler == panel.heldout[0] not in panel.training


def test_what_cannot_be_loaded_says_why(step: OwnStep, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="world.json is missing"):
        load_oracle(tmp_path)
    recipe = json.loads((step.folder / "world.json").read_text())
    (tmp_path / "world.json").write_text(json.dumps(recipe | {"version": "0"}))
    with pytest.raises(UserError, match="of version 0"):
        load_panel(tmp_path)
    with pytest.raises(UserError, match="Unknown language 'eng'.*Did you mean 'en'"):
        _run(tmp_path / "wrong", language="eng")
