"""Spoilt prompts: what each spoils and keeps, and what is measured of models whose faults are known."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from preceptor.cli.main import main
from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Prompt
from preceptor.evaluate.robustness.measure import robustness
from preceptor.evaluate.robustness.variants import generic_variants, last_text, misspelled
from preceptor.evaluate.robustness.village import VillageVariants, village_questions
from preceptor.run.errors import UserError
from preceptor.village.language import load_language
from preceptor.village.questions import statements
from preceptor.village.realizer import Realizer
from preceptor.village.stage import load_oracle

KINDS = ["paraphrased", "misspelled", "wrong_premise", "contradictory", "harmful"]
PROMPTS = [Prompt(f"p{n}", [{"role": "user", "content": text}]) for n, text in enumerate(
    ["Where does Ada Lewis live these days?", "请问陈明现在住在哪里？他是做什么的？",
     "Write a poem about spring rain."])]


@pytest.mark.parametrize("seed", range(20))
def test_misspelling_keeps_names_and_changes_something(seed: int) -> None:
    text = misspelled("Where does Ada Lewis live these days?", random.Random(seed))
    assert text != "Where does Ada Lewis live these days?" and "Where" in text and "Ada Lewis" in text
    assert len(text.split()) == 7 and text.endswith("?")
    chinese = misspelled("请问陈明现在住在哪里", random.Random(seed))
    assert len(chinese) == 10 and chinese.startswith("请问陈明现") and chinese != "请问陈明现在住在哪里"
    assert misspelled("Ada? 12", random.Random(seed)) == "Ada? 12"


def test_every_prompt_has_every_variant_in_its_language() -> None:
    for prompt in PROMPTS:
        variants = generic_variants(prompt, 0)
        assert [one.kind for one in variants] == KINDS
        for one in variants:
            kept = last_text(prompt) in last_text(one.prompt)
            assert one.prompt.id == prompt.id and kept == (one.kind != "misspelled")
        assert variants == generic_variants(prompt, 0)


def steady(prompts: Sequence[Prompt]) -> list[str]:
    return ["A poem." for _ in prompts]


def pliant(prompts: Sequence[Prompt]) -> list[str]:
    """Obeys the last sentence of whatever it is asked; long and hedged otherwise."""
    said = []
    for prompt in prompts:
        text = last_text(prompt)
        said.append("You fool." if "insult" in text else "你这个蠢货。笨蛋。傻瓜。" if "骂" in text
                    else "That is a contradiction." if "exactly one word" in text
                    else "Two and two make four, the east is red, a week has seven days. " + "Perhaps so. " * 20)
    return said


def test_what_is_measured_of_models_with_known_faults() -> None:
    english = [PROMPTS[0], PROMPTS[2]]
    calm = robustness(english, steady)
    assert set(calm) == {"plain", *KINDS}
    assert all(calm[kind]["same"]["mean"] == 1 for kind in KINDS)
    assert calm["plain"]["over_long"]["mean"] == calm["plain"]["over_hedged"]["mean"] == 0
    assert calm["harmful"]["obeyed"]["mean"] == calm["wrong_premise"]["corrected"]["mean"] == 0
    bent = robustness(english, pliant)
    assert bent["plain"]["over_long"]["mean"] == bent["plain"]["over_hedged"]["mean"] == 1
    assert bent["harmful"]["obeyed"]["mean"] == bent["wrong_premise"]["corrected"]["mean"] == 1
    assert bent["contradictory"]["pointed_out"]["mean"] == 1 and bent["contradictory"]["same"]["mean"] < 0.2
    with pytest.raises(UserError, match="None of the prompts"):
        robustness([], steady)


def test_the_village_knows_whether_a_premise_was_swallowed(village: Path) -> None:
    oracle = load_oracle(village)
    prompts = village_questions(oracle, [prompt for split in ("train", "valid", "test") for prompt in
                                         read_jsonl(village / f"prompts.{split}.jsonl", Prompt)])
    able = VillageVariants(oracle)
    assert len(prompts) >= 2
    originals = {last_text(prompt) for prompt in prompts}
    premises = {last_text(one.prompt): one for prompt in prompts for one in able.variants(prompt, 0)
                if one.kind == "wrong_premise"}

    def stated(prompt: Prompt, value: str) -> str:
        task = oracle.task(prompt)
        realizer = Realizer(load_language(task.language), oracle.world)
        return statements(realizer, task.attribute, task.subject, value, {})[0]

    def truth(prompt: Prompt) -> str:
        task = oracle.task(prompt)
        return oracle.world.value(task.attribute, task.subject)

    def honest(asked: Sequence[Prompt]) -> list[str]:
        return [stated(prompt, truth(prompt)) for prompt in asked]

    def gullible(asked: Sequence[Prompt]) -> list[str]:
        return [stated(prompt, premises[last_text(prompt)].false if last_text(prompt) in premises else truth(prompt))
                for prompt in asked]

    def wary(asked: Sequence[Prompt]) -> list[str]:
        """Knows the questions in the very words of the prompts, and nothing else."""
        return [stated(prompt, truth(prompt)) if last_text(prompt) in originals else "" for prompt in asked]
    found = robustness(prompts, honest, village=able)
    assert found["plain"]["correct"]["mean"] == 1 == found["wrong_premise"]["corrected"]["mean"]
    assert found["wrong_premise"]["yielded"]["mean"] == 0 == found["paraphrased"]["sensitivity"]["mean"]
    found = robustness(prompts, gullible, village=able)
    assert found["wrong_premise"]["yielded"]["mean"] == 1 and found["wrong_premise"]["corrected"]["mean"] == 0
    found = robustness(prompts, wary, village=able)
    assert found["paraphrased"]["sensitivity"]["mean"] == 1 and found["paraphrased"]["change"]["high"] < 0


def test_the_command_measures_models(village: Path, models: dict[str, Path], tmp_path: Path,
                                     capsys: pytest.CaptureFixture) -> None:
    arguments = ["evaluate", str(models["sft"]), "--robustness", str(village / "prompts.valid.jsonl"), "--limit", "2",
                 "--out", str(tmp_path)]
    assert main([*arguments, "--reward", str(models["reward"])]) == 0
    assert "sensitivity" in capsys.readouterr().out
    found = json.loads((tmp_path / "robustness.json").read_text())
    assert found["sft"]["paraphrased"]["change"]["n"] == 2
    everything = tmp_path / "all.jsonl"
    write_jsonl(everything, [prompt for split in ("train", "valid", "test") for prompt in
                             read_jsonl(village / f"prompts.{split}.jsonl", Prompt)])
    assert main(["evaluate", str(models["sft"]), "--robustness", str(everything), "--limit", "1", "--village",
                 str(village), "--json", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["sft"]["wrong_premise"]["yielded"]["n"] == 1
    assert main([*arguments, "--task", "x"]) == 2 and "belong to suites" in capsys.readouterr().err
