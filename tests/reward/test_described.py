"""Ensembles and programs as steps of a recipe: what they write, and that another step uses them by name."""

from pathlib import Path

import pytest

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Prompt, Response
from preceptor.models.causal import save_model
from preceptor.models.reward_model import RewardModel
from preceptor.models.rewards import load_reward, trained_folder
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.reward.described import run_ensemble, run_program
from preceptor.reward.options import EnsembleOptions, ProgramOptions
from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from tests.reward.conftest import Start
from tests.reward.test_stage import names_a_pet, write_inputs
from tests.rlhf.tiny import tiny_policy, tiny_prompts, tiny_value, word_tokenizer

PROMPT = Prompt("p", [{"role": "user", "content": "red"}])
ANSWERS = [Response("good"), Response("bad one two")]


@pytest.fixture
def members(tmp_path: Path) -> dict[str, Path]:
    for number, name in enumerate(("first", "second", "third"), start=1):
        save_model(tiny_value(number), word_tokenizer(), tmp_path / name / "model")
    return {name: tmp_path / name for name in ("first", "second", "third")}


def test_an_ensemble_is_measured_and_found_again_where_the_run_was_moved(tmp_path: Path, members: dict[str, Path],
                                                                        start: Start) -> None:
    write_inputs(tmp_path / "comparisons", names_a_pet, 2)
    step = start(tmp_path / "run", "ensemble", EnsembleOptions(combine="mean"), comparisons=tmp_path / "comparisons",
                 **members)
    run_ensemble(step)
    each = [RewardModel(path / "model").score([PROMPT] * 2, ANSWERS) for path in members.values()]
    expected = [sum(scores) / 3 for scores in zip(*each)]
    assert load_reward(step.folder).score([PROMPT] * 2, ANSWERS) == pytest.approx(expected)
    measured = read_json(step.folder / "results.json")
    assert 0 <= measured["reward_accuracy"]["same_labelers"]["mean"] <= 1
    assert measured["details"]["same_labelers"]["calibration_error"] >= 0
    moved = tmp_path.rename(tmp_path.with_name("elsewhere")) / "run" / "ensemble"
    assert load_reward(moved).score([PROMPT] * 2, ANSWERS) == pytest.approx(expected)
    assert trained_folder(moved).resolve() == moved.parent.parent / "first" / "model"


def test_an_ensemble_of_a_model_and_a_program(tmp_path: Path, members: dict[str, Path], start: Start) -> None:
    (tmp_path / "longest.py").write_text("def score(prompt, response):\n    return 100 + len(response.text)\n")
    program = start(tmp_path, "program", ProgramOptions(function="longest:score"), code=tmp_path / "longest.py")
    run_program(program)
    assert trained_folder(program.folder) is None
    step = start(tmp_path, "both", EnsembleOptions(combine="worst"), first=program.folder, second=members["second"])
    run_ensemble(step)
    alone = RewardModel(members["second"] / "model").score([PROMPT] * 2, ANSWERS)
    assert max(alone) < 100 and load_reward(step.folder).score([PROMPT] * 2, ANSWERS) == alone
    assert trained_folder(step.folder).resolve() == members["second"] / "model"


def test_a_program_that_is_not_there_is_refused_before_anything_is_trained(tmp_path: Path, start: Start) -> None:
    with pytest.raises(UserError, match="cannot be found"):
        run_program(start(tmp_path, "program", ProgramOptions(function="nowhere_at_all:score")))


def test_a_recipe_learns_from_a_program_and_an_edited_one_is_learned_from_anew(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tiny_policy(), word_tokenizer(), tmp_path / "policy")
    write_jsonl(tmp_path / "prompts.jsonl", tiny_prompts())
    code = tmp_path / "says_red.py"
    code.write_text("def score(prompt, response):\n    return float('red' in response.text)\n")
    (tmp_path / "recipe.yaml").write_text(f"""
name: verified
steps:
  - {{name: checker, stage: program, needs: {{code: {code}}}, options: {{function: "says_red:score"}}}}
  - name: policy
    stage: rlhf
    needs: {{policy: {tmp_path}/policy, reward: checker, prompts: {tmp_path}/prompts.jsonl}}
    options: {{algorithm: best_of_n, answers: 4, max_tokens: 5, epochs: 1}}
  - name: ppo
    stage: rlhf
    needs: {{policy: {tmp_path}/policy, reward: checker, prompts: {tmp_path}/prompts.jsonl}}
    options: {{iterations: 1, episodes: 6, minibatches: 2, max_tokens: 5}}
""")
    run_recipe(load_recipe(str(tmp_path / "recipe.yaml")), tmp_path / "run")
    answers = (tmp_path / "run" / "01-policy" / "answers.jsonl").read_text()
    assert '"reward": 1.0' in answers and '"reward": 0.0' in answers
    assert "no model with a value for each token, so the value network starts from" in capsys.readouterr().err
    code.write_text("def score(prompt, response):\n    return 5.0 * ('blue' in response.text)\n")
    manifest = read_json(tmp_path / "run" / "run.json")
    run_recipe(load_recipe(str(tmp_path / "recipe.yaml")), tmp_path / "run")
    again = read_json(tmp_path / "run" / "run.json")
    for name in ("policy", "ppo"):
        assert manifest["steps"][name]["identity"] != again["steps"][name]["identity"]
    assert '"reward": 5.0' in (tmp_path / "run" / "01-policy" / "answers.jsonl").read_text()
