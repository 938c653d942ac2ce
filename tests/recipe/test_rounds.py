"""A block of rounds stands for ordinary steps; an iterated run climbs, waits for people, and can die at any instant."""

import shutil
import signal
from pathlib import Path

import pytest

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Comparison
from preceptor.feedback.assign import next_item
from preceptor.feedback.judgements import Judgement, submit
from preceptor.feedback.labelers import add_labeler
from preceptor.feedback.machines import in_order
from preceptor.feedback.store import open_store
from preceptor.recipe.identity import identity_parts
from preceptor.recipe.load import Recipe, load_recipe
from preceptor.recipe.rounds import expand
from preceptor.recipe.runner import run_recipe
from preceptor.run import machine
from preceptor.run.errors import UserError, Waiting
from preceptor.run.files import read_json
from preceptor.run.manifest import read_manifest
from tests.processes import Kill, preceptor
from tests.recipe.iterated import iterated_recipe, made

BLOCK = {"rounds": 2, "begin": {"policy": "sft", "labels": None}, "steps": [
    {"name": "labels", "stage": "s", "needs": {"model": "last.policy", "old": "before.policy", "past": "last.labels"},
     "options": {"round": "round.number"}},
    {"name": "policy", "stage": "s", "needs": {"reward": "labels/model", "policy": "last.policy", "data": "world/x"}}]}
AFTER = {"name": "ladder", "stage": "s", "needs": {"model": "last.policy/model", "old": "before.policy"},
         "options": {"round": "round.number"}}


def test_a_block_stands_for_the_steps_of_its_rounds() -> None:
    steps, left, count = expand([{"name": "sft", "stage": "s"}, BLOCK, AFTER], [("sft.x", 1)])
    assert left == [("sft.x", 1)] and count == 2
    assert [(step["name"], step.get("needs")) for step in steps] == [
        ("sft", None),
        ("labels_1", {"model": "sft", "past": None}),
        ("policy_1", {"reward": "labels_1/model", "policy": "sft", "data": "world/x"}),
        ("labels_2", {"model": "policy_1", "old_0": "sft", "past": "labels_1"}),
        ("policy_2", {"reward": "labels_2/model", "policy": "policy_1", "data": "world/x"}),
        ("ladder", {"model": "policy_2/model", "old_0": "sft", "old_1": "policy_1"})]
    assert [step["options"]["round"] for step in steps if "round" in step.get("options", {})] == [1, 2, 3]


def test_a_change_of_a_step_of_the_block_is_one_in_every_round_and_one_of_a_round_in_that_alone() -> None:
    recipe = load_recipe("rounds", sets=["reward_2.epochs=3", "reward.epochs=2", "rounds=3", "policy.needs.policy=sft"])
    steps = {step.name: step for step in recipe.steps}
    assert [steps[f"reward_{number}"].options.epochs for number in (1, 2, 3)] == [2, 3, 2]
    assert {steps[f"policy_{number}"].needs["policy"] for number in (1, 2, 3)} == {"sft"}


def test_one_round_more_disturbs_none_before_it(tmp_path: Path) -> None:
    two, three = (load_recipe("rounds", sets=[f"rounds={number}"]) for number in (2, 3))
    before, after = identity_parts(two), identity_parts(three)
    assert {name: parts for name, parts in after.items() if name in before and name not in ("ladder", "evaluate")} \
        == {name: parts for name, parts in before.items() if name not in ("ladder", "evaluate")}
    assert before["ladder"] != after["ladder"]
    (tmp_path / "again.yaml").write_text(three.to_yaml(), encoding="utf-8")
    assert identity_parts(load_recipe(str(tmp_path / "again.yaml"))) == after


@pytest.mark.parametrize(("block", "error"), [
    ({**BLOCK, "rounds": 0}, "cannot have 0 rounds"),
    ({**BLOCK, "rounds": True}, "cannot have True rounds"),
    ({**BLOCK, "steps": []}, "no steps"),
    ({**BLOCK, "begins": {}}, "Unknown key 'begins'"),
    ({**BLOCK, "begin": {"policy": "sft"}}, "does not say what 'labels' is before the first round"),
    ({**BLOCK, "steps": [{"name": "a", "needs": {"x": "last.b"}}]}, "no step 'b' in the block"),
])
def test_a_malformed_block_is_refused(block: dict, error: str) -> None:
    with pytest.raises(UserError, match=error):
        expand([block, AFTER], [])
    with pytest.raises(UserError, match="more than one block"):
        expand([block, BLOCK], [])


def test_only_several_inputs_take_a_number() -> None:
    with pytest.raises(UserError, match="Unknown key 'model_1' in the needs of step 'ladder'"):
        load_recipe("rounds", sets=["ladder.needs.model_1=sft"])


# ---- an iterated run -------------------------------------------------------------------------------------------------

@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models this small are ten times slower where threads wait for one another on a busy machine."""
    monkeypatch.setattr(machine, "cores", lambda: 1)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return iterated_recipe(tmp_path_factory.mktemp("iterated"))


@pytest.fixture(scope="module")
def uninterrupted(recipe: Path) -> Path:
    run = recipe.parent / "whole"
    done = preceptor(["run", str(recipe), "--out", str(run)], recipe.parent)
    assert done.code == 0, done.output
    return run


def test_each_round_asks_about_all_policies_and_the_ladder_is_climbed(uninterrupted: Path) -> None:
    first, second = (read_jsonl(uninterrupted / folder / "comparisons.train.jsonl", Comparison)
                     for folder in ("00-comparisons_1", "03-comparisons_2"))
    assert second[:len(first)] == first and {one.round for one in second[len(first):]} == {2}
    assert {one.prompt.id for one in first}.isdisjoint(one.prompt.id for one in second[len(first):])
    assert {response.model for one in first for response in one.responses} == {"start"}
    new = [{response.model for response in one.responses} for one in second[len(first):]]
    assert sum(models == {"start", "policy_1"} for models in new) > len(new) / 2
    ladder = read_json(uninterrupted / "06-ladder" / "results.json")
    assert ladder["policies"] == ["start", "policy_1", "policy_2"] and ladder["prompts"] == 12
    strength = {model: found["bradley_terry"] for model, found in ladder["scores"].items()}
    assert strength["policy_1"]["mean"] > strength["start"]["mean"]
    assert strength["policy_2"]["low"] > strength["start"]["high"]
    assert list(ladder["rounds"]) == ["2"] and set(ladder["rounds"]["2"]) == {"start", "policy_1"}


@pytest.mark.parametrize("kill", [
    Kill("preceptor.reward.comparisons", "written", 3),   # in the second round, before it has answers
    Kill("torch", "save", 4),                             # while a policy's checkpoint is written
    Kill("preceptor.evaluate.ladder", "write_json", 1),   # at the end, the answers judged and no figures yet
], ids=["between_rounds", "in_a_checkpoint", "in_the_ladder"])
def test_a_killed_run_resumes_to_the_same_bits(recipe: Path, uninterrupted: Path, tmp_path: Path, kill: Kill) -> None:
    command = ["run", str(recipe), "--out", str(tmp_path / "run")]
    assert preceptor(command, tmp_path, kill).code == -signal.SIGKILL
    resumed = preceptor(command, tmp_path)
    assert resumed.code == 0 and "goes on" in resumed.output, resumed.output
    assert made(tmp_path / "run") == made(uninterrupted)


def _rank_all(place: Path) -> int:
    """A person who likes what the judge likes; how many rankings she gave."""
    store = open_store(place)
    add_labeler(store, "ann")
    done = 0
    while held := next_item(store, "ann"):
        submit(store, "ann", held.item, Judgement(in_order([one.text.split().count("good") for one in held.responses])))
        done += 1
    store.close()
    return done


def test_a_run_stops_for_people_and_goes_on_after_them(tmp_path: Path, uninterrupted: Path) -> None:
    path = iterated_recipe(tmp_path, "people", rounds=1)
    run, recipe = tmp_path / "run", load_recipe(str(path), sets=["ladder.prompts=5"])
    assert _waits(recipe, run) == ("comparisons_1", 16)
    assert _waits(recipe, run) == ("comparisons_1", 16)  # nobody came
    assert _rank_all(run / "feedback.sqlite") == 16
    assert _waits(recipe, run) == ("ladder", 5)
    assert _rank_all(run / "feedback.sqlite") == 5
    run_recipe(recipe, run)
    assert {entry["status"] for entry in read_manifest(run)["steps"].values()} == {"done"}
    mine = read_jsonl(run / "00-comparisons_1" / "comparisons.train.jsonl", Comparison)
    assert {(one.labeler, one.kind, one.round) for one in mine} == {("ann", "person", 1)}
    judged = read_jsonl(uninterrupted / "00-comparisons_1" / "comparisons.train.jsonl", Comparison)
    assert {one.prompt.id for one in mine} == {one.prompt.id for one in judged}
    shutil.rmtree(run)


def _waits(recipe: Recipe, run: Path) -> tuple[str, int]:
    with pytest.raises(Waiting) as error:
        run_recipe(recipe, run)
    [(name, entry)] = [(name, entry) for name, entry in read_manifest(run)["steps"].items()
                       if entry["status"] == "waiting"]
    assert entry["waits_for"] == error.value.left and f"waits for {error.value.left}" in error.value.cause
    return name, error.value.left


def test_part_of_the_rankings_can_be_enough(tmp_path: Path) -> None:
    path = iterated_recipe(tmp_path, "people", rounds=1)
    run, recipe = tmp_path / "run", load_recipe(str(path), sets=["comparisons.enough=0.5", "comparisons.overlap=2"])
    assert _waits(recipe, run) == ("comparisons_1", 16)
    assert _rank_all(run / "feedback.sqlite") == 16  # one of the two that each prompt was to get
    assert _waits(recipe, run)[0] == "ladder"
    with pytest.raises(UserError, match="above 0, at most 1"):
        run_recipe(load_recipe(str(path), sets=["comparisons.enough=0"]), run)
