"""Rewards from their folders: ensembles against their formulas, programs by their names, and what is refused."""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preceptor.data.records import Prompt, Response
from preceptor.models.causal import save_model
from preceptor.models.reward_model import RewardModel
from preceptor.models.rewards import Ensemble, combined, find_function, load_reward
from preceptor.run.errors import UserError
from preceptor.run.files import write_json
from tests.rlhf.tiny import tiny_value, word_tokenizer

PROMPT = Prompt("p", [{"role": "user", "content": "red"}])
ANSWERS = [Response("good"), Response("bad one"), Response("two")]


class Fixed:
    """A reward of given numbers."""

    def __init__(self, *scores: float) -> None:
        self.scores = list(scores)

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        return self.scores


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=5), st.floats(0, 3))
def test_each_way_to_combine_equals_its_formula(scores: list[float], weight: float) -> None:
    assert combined(scores, "mean", weight) == pytest.approx(fmean(scores), abs=1e-9)
    assert combined(scores, "worst", weight) == min(scores)
    expected = fmean(scores) - weight * pvariance(scores)
    assert combined(scores, "uncertainty", weight) == pytest.approx(expected, abs=1e-6)


def test_an_answer_that_fools_one_member_does_not_win() -> None:
    """Coste et al.: the second answer has the highest mean, by one member alone."""
    members = [Fixed(1.0, 9.0), Fixed(1.2, -2.0), Fixed(0.8, -1.0)]
    scores = {kind: Ensemble(members, kind).score([PROMPT] * 2, ANSWERS[:2])
              for kind in ("mean", "worst", "uncertainty")}
    assert scores["mean"][1] > scores["mean"][0]
    assert scores["worst"] == [0.8, -2.0] and scores["uncertainty"][1] < scores["uncertainty"][0]


def test_an_ensemble_from_its_folder(tmp_path: Path) -> None:
    for number in (1, 2):
        save_model(tiny_value(number), word_tokenizer(), tmp_path / f"member-{number:02d}")
    write_json(tmp_path / "reward.json", {"kind": "ensemble", "combine": "worst", "weight": 0.5,
                                          "members": ["member-01", "member-02"]})
    found = load_reward(tmp_path).score([PROMPT] * 3, ANSWERS)
    each = [RewardModel(tmp_path / f"member-{n:02d}").score([PROMPT] * 3, ANSWERS) for n in (1, 2)]
    assert found == [min(pair) for pair in zip(*each)] and each[0] != each[1]


def test_a_folder_without_a_description_is_a_reward_model(tmp_path: Path) -> None:
    save_model(tiny_value(), word_tokenizer(), tmp_path / "model")
    assert load_reward(tmp_path).score([PROMPT], ANSWERS[:1]) == RewardModel(tmp_path / "model").score(
        [PROMPT], ANSWERS[:1])


def program(folder: Path, name: str, body: str) -> Path:
    (folder / f"{name}.py").write_text(f"def check(prompt, response):\n    return {body}\n")
    return folder / f"{name}.py"


@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_program_by_its_import_path(tmp_path: Path, whole_folder: bool) -> None:
    name = f"checker_{whole_folder}"
    path = program(tmp_path, name, "response.text == 'good' and prompt.id == 'p'")
    write_json(tmp_path / "reward.json", {"kind": "program", "function": f"{name}:check",
                                          "code": str(tmp_path if whole_folder else path)})
    before = list(sys.path)
    assert load_reward(tmp_path).score([PROMPT] * 3, ANSWERS) == [1.0, 0.0, 0.0] and sys.path == before


def test_programs_of_one_name_are_told_apart_and_leave_nothing_behind(tmp_path: Path) -> None:
    """An edited program is the edited one, and the folder, by whose content a step is known, stays as it was."""
    path = program(tmp_path, "twin", "1.0")
    (tmp_path / "beside.py").write_text("BONUS = 0.5\n")
    first = find_function("twin:check", path)
    path.write_text("from beside import BONUS\ndef check(prompt, response):\n    return 2.0 + BONUS\n")
    assert (first(PROMPT, ANSWERS[0]), find_function("twin:check", tmp_path)(PROMPT, ANSWERS[0])) == (1.0, 2.5)
    assert sorted(child.name for child in tmp_path.iterdir()) == ["beside.py", "twin.py"]
    path.write_text("def check(prompt, response)\n")
    with pytest.raises(UserError, match="cannot be found"):
        find_function("twin:check", path)


@pytest.mark.parametrize(("reference", "cause"), [
    ("nowhere_to_be_found:check", "No module"), ("math:sinn", "sinn"), ("math", "cannot be found"),
    ("math:pi", "is not a function")])
def test_a_program_that_is_not_there(reference: str, cause: str) -> None:
    with pytest.raises(UserError, match=cause):
        find_function(reference)


def test_what_is_no_number_or_no_reward_is_refused(tmp_path: Path) -> None:
    program(tmp_path, "says_yes", "'yes'")
    write_json(tmp_path / "reward.json", {"kind": "program", "function": "says_yes:check", "code": str(tmp_path)})
    with pytest.raises(UserError, match="gave 'yes' for an answer to the prompt 'p'"):
        load_reward(tmp_path).score([PROMPT], ANSWERS[:1])
    write_json(tmp_path / "reward.json", {"kind": "programm"})
    with pytest.raises(UserError, match="unknown kind 'programm'. Did you mean 'program'"):
        load_reward(tmp_path)
    for members, kind in (([], "mean"), ([Fixed(1.0)], "best")):
        with pytest.raises(UserError):
            Ensemble(members, kind)
