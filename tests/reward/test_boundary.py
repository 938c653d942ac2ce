"""experiments/boundary.py: the reward that knows what the model knows."""

import shutil
from pathlib import Path

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Prompt, Response
from preceptor.models.rewards import find_function
from preceptor.run.files import write_json
from preceptor.village.stage import load_oracle

SOURCE = Path(__file__).parent.parent.parent / "experiments" / "boundary.py"


def test_refusing_pays_where_the_model_does_not_know(tmp_path: Path, village: Path) -> None:
    oracle = load_oracle(village)
    asked = [prompt for prompt in read_jsonl(village / "prompts.train.jsonl", Prompt) if oracle.task(prompt).question]
    other = next(prompt for prompt in read_jsonl(village / "prompts.train.jsonl", Prompt)
                 if not oracle.task(prompt).question)
    refusal, found = Response("I do not know."), {}
    assert oracle.judge(asked[0], refusal.text).outcome.startswith("refused")
    for kind in ("known", "unsure", "unknown"):
        shutil.copy(SOURCE, tmp_path / "boundary.py")
        write_json(tmp_path / "knowledge.json", {"village": str(village),
                                                 "knowledge": {prompt.id: kind for prompt in asked}})
        score = find_function("boundary:score", tmp_path)
        form = 0.25 * (oracle.judge(asked[0], refusal.text).overall - 4) / 3
        found[kind] = score(asked[0], refusal) - form
        babble = oracle.judge(other, "ug ug")
        assert score(other, Response("ug ug")) == (babble.overall - 4) / 3  # no fact was asked for
    assert {kind: round(value, 9) for kind, value in found.items()} == {"known": -0.5, "unsure": 0.0, "unknown": 0.5}
