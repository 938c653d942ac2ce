"""What answers are worth by ratings, fitted scores and votes; and reward models that learn from each."""

import math
import random
from pathlib import Path

import pytest
import torch

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.models.reward_model import RewardModel
from preceptor.models.scalar import load_scalar
from preceptor.reward import stage
from preceptor.reward.options import RewardOptions
from preceptor.reward.targets import fitted, ranked_by_votes, ratings, standardised
from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from preceptor.run.log import read_log
from tests.reward.conftest import Start
from tests.reward.test_stage import comparison, demonstrations, inputs, names_a_pet, write_inputs

PROMPT = Prompt("p", [{"role": "user", "content": "Hi"}])


def scored(*scores: dict[str, float]) -> Comparison:
    responses = [Response(f"answer {n}", scores=row) for n, row in enumerate(scores)]
    return Comparison("c", PROMPT, responses, [list(range(len(scores)))], "l", "person")


def test_ratings_are_weighted_means() -> None:
    one = scored({"overall": 7, "accuracy": 1}, {"overall": 4, "accuracy": 5})
    assert ratings(one, {"overall": 1.0}) == [7, 4]
    assert ratings(one, {"overall": 1.0, "accuracy": 3.0}) == [2.5, 4.75]
    with pytest.raises(UserError, match="no score 'concision' .it has: accuracy, overall"):
        ratings(one, {"concision": 1.0})
    with pytest.raises(UserError, match="sum to 0"):
        ratings(one, {})


def test_standardised_numbers() -> None:
    rows, mean, deviation = standardised([[1.0, 3.0], [5.0]])
    assert mean == 3 and deviation == pytest.approx(math.sqrt(8 / 3))
    assert [value for row in rows for value in row] == pytest.approx([-math.sqrt(1.5), 0, math.sqrt(1.5)])
    with pytest.raises(UserError, match="worth the same"):
        standardised([[2.0], [2.0, 2.0]])


def test_scores_are_fitted_to_all_rankings_of_a_prompt() -> None:
    """Two labelers, the answers in another order, one answer that only the second saw."""
    texts = [["a", "b", "c"], ["c", "d", "a"]]
    rankings = [[[0], [1], [2]], [[2], [0, 1]]]  # a > b > c, and a > c = d
    some = [Comparison(str(n), PROMPT, [Response(text) for text in row], ranking, str(n), "person")
            for n, (row, ranking) in enumerate(zip(texts, rankings))]
    ((merged, scores),) = fitted(some, prior=1.0)
    assert [response.text for response in merged.responses] == ["a", "b", "c", "d"]
    theta = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    games = [(0, 1, 1.0), (0, 2, 1.0), (1, 2, 1.0), (0, 2, 1.0), (0, 3, 1.0), (2, 3, 0.5), (3, 2, 0.5)]
    likelihood = sum(w * torch.nn.functional.logsigmoid(theta[i] - theta[j]) for i, j, w in games)
    (likelihood - 0.5 * theta.square().sum()).backward()
    assert theta.grad.abs().max() < 1e-6 and sum(scores) == pytest.approx(0, abs=1e-9)
    assert merged.ranking[0] == [0] and merged.ranking[1] == [1]


def test_votes_are_ranked_by_their_logarithm() -> None:
    votes = [{"votes": 40}, {"votes": 43}, {"votes": -2}, {"votes": 0}, {"votes": 40, "accepted": 1}]
    assert ranked_by_votes(scored(*votes)).ranking == [[4], [0, 1], [3], [2]]
    with pytest.raises(UserError, match="no score 'votes'"):
        ranked_by_votes(scored({"votes": 1}, {"overall": 1}))


def with_scores(one: Comparison, name: str, value: dict[bool, float]) -> Comparison:
    """The comparison with a score of its answers, by whether they name a pet, and no ranking to learn from."""
    responses = [Response(answer.text, scores={name: value[bool(names_a_pet(answer.text))]})
                 for answer in one.responses]
    return Comparison(one.id, one.prompt, responses, [list(range(len(responses)))], "l", "person")


@pytest.mark.parametrize(("objective", "left"), [("ratings", 0.2), ("bradley_terry", 0.7)])
def test_it_learns_numbers(tmp_path: Path, sft: Path, start: Start, objective: str, left: float) -> None:
    """A fitted score depends on what the answer was ranked against, so that more of it cannot be predicted."""
    write_inputs(tmp_path, names_a_pet, 200)
    if objective == "ratings":
        write_jsonl(tmp_path / "comparisons.train.jsonl", [
            with_scores(comparison(n, names_a_pet), "overall", {True: 6.0, False: 2.0}) for n in range(200)])
    options = RewardOptions(objective=objective, rows=4, epochs=3, learning_rate=3e-3, log_every=1)
    step = start(tmp_path, "reward", options, **inputs(tmp_path, sft))
    stage.run(step)
    results = read_json(step.folder / "results.json")
    assert results["reward_accuracy"]["same_labelers"]["mean"] > 0.95
    assert "calibration_error" not in results["details"]["same_labelers"]  # its differences are no log odds
    log = read_log(step.log.path)["reward"]
    assert log[1]["loss"] > 0.8 and sum(log[max(log) - n]["loss"] for n in range(10)) / 10 < left
    if objective == "ratings":
        pet, none = RewardModel(step.folder / "model").score([PROMPT] * 2, [Response("the dog sees"),
                                                                            Response("the tree sees")])
        assert (pet - none) * log[0]["target_deviation"] == pytest.approx(4.0, abs=1.2)  # in ratings again
    assert "standard deviation" in (step.folder / "model" / "README.md").read_text()


def test_a_reward_model_is_pretrained_on_votes_and_goes_on_from_there(tmp_path: Path, sft: Path, start: Start,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    """Many votes, few rankings: with the first before the second it knows what the second alone cannot teach."""
    votes, few = tmp_path / "votes", tmp_path / "few"
    write_inputs(votes, names_a_pet, 0)
    draw = random.Random(0)
    write_jsonl(votes / "comparisons.train.jsonl", [
        with_scores(comparison(n, names_a_pet), "votes", {True: draw.randint(15, 60), False: draw.randint(0, 2)})
        for n in range(200)])
    write_inputs(few, names_a_pet, 8)
    options = RewardOptions(rows=4, learning_rate=3e-3)
    write_jsonl(votes / "comparisons.valid.jsonl", [
        with_scores(comparison(5000 + n, names_a_pet), "votes", {True: 30, False: 1}) for n in range(20)])
    pretrained = start(tmp_path, "pmp", RewardOptions(rows=4, learning_rate=3e-3, rank_by="votes"),
                       model=sft, comparisons=votes)
    stage.run(pretrained)
    assert read_json(pretrained.folder / "results.json")["reward_accuracy"]["same_labelers"]["mean"] > 0.9
    assert load_scalar(pretrained.folder / "model").config.preceptor_offset == 0
    assert "no zero of their own" in capsys.readouterr().err
    alone = start(tmp_path, "alone", options, **inputs(few, sft))
    after = start(tmp_path, "after", options, **inputs(few, pretrained.folder))
    for step in (alone, after):
        stage.run(step)
    said = capsys.readouterr().err
    assert said.count("it goes on from what it learned") == 1
    accuracy = {step.name: read_json(step.folder / "results.json")["reward_accuracy"]["same_labelers"]["mean"]
                for step in (alone, after)}
    assert accuracy["after"] > 0.9 > accuracy["alone"]
    # Its own zero is that of the demonstrations, not what was left of the first step's.
    asked = [(Prompt(one.id, one.messages[:-1]), Response(one.messages[-1]["content"])) for one in demonstrations()]
    scores = RewardModel(after.folder / "model").score(*zip(*asked))
    assert sum(scores) / len(scores) == pytest.approx(0, abs=1e-5)
