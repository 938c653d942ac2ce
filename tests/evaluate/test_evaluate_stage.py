"""The whole stage on a tiny village: what it writes, that a kill loses little, and that it does without a village."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import preceptor.evaluate.stage as stage
from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Prompt
from preceptor.evaluate.answers import JudgedAnswer
from preceptor.run.files import read_json
from preceptor.run.log import read_log
from preceptor.run.step import Step
from preceptor.village.stage import load_oracle

ALL = ["base", "base_prompted", "sft", "ppo", "ppo_ptx"]
Make = Callable[..., Step]


@pytest.fixture
def inputs(village: Path, models: dict[str, Path]) -> dict[str, Path]:
    return {"prompts": village / "prompts.test.jsonl", "validation": village / "corpus_valid.jsonl",
            "demonstrations": village / "demonstrations.train.jsonl", "village": village, **models}


def test_everything_is_measured_of_every_model(make_step: Make, inputs: dict[str, Path], village: Path) -> None:
    step = make_step(inputs)
    stage.run(step)
    rows = read_jsonl(step.folder / "answers.jsonl", JudgedAnswer)
    prompts = read_jsonl(inputs["prompts"], Prompt)
    assert [row.model for row in rows] == [model for model in ALL for _ in prompts]
    assert [row.prompt for row in rows] == prompts * 5  # as the user wrote them, whatever the model was shown
    oracle = load_oracle(village)
    assert all(row.verdict["overall"] == oracle.judge(row.prompt, row.response.text).overall for row in rows)
    assert all("\n" not in row.response.text for row in rows if row.model in ("base", "base_prompted"))
    assert len({row.response.text for row in rows}) > len(prompts)  # the models differ
    results = read_json(step.folder / "results.json")
    chat = ["sft", "ppo", "ppo_ptx"]
    per_model = {name: list(results[name]) for name in ("likert", "correct", "false_assertions", "reward", "words",
                                                        "ended", "repetition", "harmless", "perplexity", "kl")}
    assert per_model.pop("kl") == chat[1:] and per_model.pop("perplexity") == ["base", *chat]
    assert all(found == ALL for found in per_model.values())
    assert results["models"] == ALL and results["prompts"] == len(prompts)
    assert "null" not in json.dumps(results) and "NaN" not in json.dumps(results)
    logged = read_log(step.log.path)["evaluate"][0]
    assert logged["win_rate ppo_ptx vs sft"] == results["win_rate"]["ppo_ptx vs sft"]["mean"]
    assert logged["perplexity base"] == results["perplexity"]["base"]


def test_the_base_is_asked_in_text_and_the_others_in_chat(make_step: Make, inputs: dict[str, Path],
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, tuple[str, Any]] = {}

    def note(decoder: Any, prompts: list[Prompt], sampling: Any, seed: int, progress: Any) -> Any:
        seen[decoder.name] = (prompts[0].messages[-1]["content"], sampling.stop)
        return ask(decoder, prompts, sampling, seed, progress)

    ask = stage.ask
    monkeypatch.setattr(stage, "ask", note)
    stage.run(make_step(inputs, prompts=2))
    question = read_jsonl(inputs["prompts"], Prompt)[0].messages[-1]["content"]
    assert seen["sft"] == seen["ppo"] == (question, ())
    assert seen["base"][0].rstrip("\n").endswith(question) and seen["base"][1] == ("\n",)
    assert len(seen["base_prompted"][0]) > len(question) + 40 and seen["base_prompted"][1] == ("\n",)


def test_a_killed_evaluation_goes_on_with_the_model_it_was_at(make_step: Make, inputs: dict[str, Path],
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    examined: list[str] = []

    def examine(step: Step, model: str, examination: Any) -> Any:
        if model == "ppo" and "ppo" not in examined:
            examined.append(model)
            raise KeyboardInterrupt
        examined.append(model)
        return whole(step, model, examination)

    whole = stage._examine
    monkeypatch.setattr(stage, "_examine", examine)
    step = make_step(inputs, prompts=6)
    with pytest.raises(KeyboardInterrupt):
        stage.run(step)
    stage.run(step)
    assert examined == [*ALL[:3], "ppo", "ppo", "ppo_ptx"]
    resumed = (step.folder / "answers.jsonl").read_bytes(), (step.folder / "results.json").read_bytes()
    for kept in (step.folder / "checkpoints").iterdir():
        kept.unlink()
    stage.run(step)
    assert resumed == ((step.folder / "answers.jsonl").read_bytes(), (step.folder / "results.json").read_bytes())


def test_without_a_village_the_reward_model_is_the_judge(make_step: Make, inputs: dict[str, Path],
                                                         tmp_path: Path) -> None:
    own = tmp_path / "prompts.jsonl"
    write_jsonl(own, [Prompt(f"o{n}", [{"role": "user", "content": f"Tell me about {n}."}]) for n in range(5)])
    step = make_step({"prompts": own, **{name: inputs[name] for name in ("sft", "ppo_ptx", "reward", "validation")}})
    stage.run(step)
    results = read_json(step.folder / "results.json")
    assert results["models"] == ["sft", "ppo_ptx"] and list(results["reward_win_rate"]) == ["ppo_ptx vs sft"]
    assert not {"win_rate", "likert", "correct"} & results.keys()
    assert all(row.verdict is None and row.reward is not None
               for row in read_jsonl(step.folder / "answers.jsonl", JudgedAnswer))


def test_without_any_judge_the_texts_are_still_measured(make_step: Make, inputs: dict[str, Path]) -> None:
    step = make_step({name: inputs[name] for name in ("prompts", "sft", "base")}, prompts=3, temperature=0.0)
    stage.run(step)
    results = read_json(step.folder / "results.json")
    assert results["models"] == ["base", "sft"] and results["sampling"]["temperature"] == 0.0
    assert set(results) == {"models", "prompts", "sampling", "repetition", "words", "ended"}
