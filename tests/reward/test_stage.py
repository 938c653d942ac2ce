"""The reward stage on rankings with a known rule: what it learns, its offset, its exported folder, and a resume."""

import random
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Comparison, Conversation, Prompt, Response
from preceptor.models.reward_model import RewardModel
from preceptor.reward import stage
from preceptor.reward.options import RewardOptions
from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from preceptor.run.log import read_log
from preceptor.run.step import Step
from preceptor.village.labelers import noise_ceiling
from preceptor.village.stage import load_oracle, load_panel

Start = Callable[..., Step]
WORDS = "the a dog cat house tree walks sees finds old new red small".split()


def comparison(seed: int, quality: Callable[[str], int]) -> Comparison:
    """Four to six answers of random words, ranked by a rule, with its ties."""
    draw = random.Random(seed)
    prompt = Prompt(f"p{seed}", [{"role": "user", "content": " ".join(draw.choices(WORDS, k=5))}])
    texts = {" ".join(draw.choices(WORDS, k=draw.randint(1, 8))) for _ in range(draw.randint(4, 6))}
    responses = [Response(text) for text in sorted(texts)]
    grades = [quality(response.text) for response in responses]
    ranking = [[n for n, grade in enumerate(grades) if grade == best] for best in sorted(set(grades), reverse=True)]
    return Comparison(f"c{seed}", prompt, responses, ranking, "judge", "program")


def names_a_pet(text: str) -> int:
    return bool({"dog", "cat"} & set(text.split()))


def write_inputs(folder: Path, quality: Callable[[str], int], count: int) -> None:
    write_jsonl(folder / "comparisons.train.jsonl", [comparison(n, quality) for n in range(count)])
    write_jsonl(folder / "comparisons.valid.jsonl", [comparison(10_000 + n, quality) for n in range(40)])
    write_jsonl(folder / "demonstrations.jsonl", demonstrations())


def demonstrations() -> list[Conversation]:
    draw = random.Random(1)
    return [Conversation(f"d{n}", [{"role": "user", "content": " ".join(draw.choices(WORDS, k=4))},
                                   {"role": "assistant", "content": " ".join(draw.choices(WORDS, k=6))}])
            for n in range(30)]


def inputs(folder: Path, sft: Path) -> dict[str, Path]:
    return {"model": sft, "comparisons": folder, "demonstrations": folder / "demonstrations.jsonl"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, sft: Path, start: Start) -> Step:
    """A reward model of the rule "an answer that names a pet is better"."""
    folder = tmp_path_factory.mktemp("pets")
    write_inputs(folder, names_a_pet, 240)
    step = start(folder, "reward", RewardOptions(rows=4, learning_rate=3e-3, log_every=1), **inputs(folder, sft))
    stage.run(step)
    return step


def test_it_learns_a_known_preference(trained: Step) -> None:
    measured = read_json(trained.folder / "results.json")["reward_accuracy"]["same_labelers"]
    assert measured["mean"] > 0.95 and measured["low"] <= measured["mean"] <= measured["high"]
    curve = read_log(trained.log.path)["reward"]
    # 0.693 is a model that knows nothing; a fresh head of deviation 1 starts above it.
    assert curve[1]["loss"] > 0.5 and curve[max(curve)]["loss"] < 0.2
    assert curve[max(curve)]["accuracy"] > 0.95


def test_demonstrations_average_zero(trained: Step) -> None:
    reward = RewardModel(trained.folder / "model")
    asked = [Prompt(one.id, one.messages[:-1]) for one in demonstrations()]
    written = [Response(one.messages[-1]["content"]) for one in demonstrations()]
    scores = reward.score(asked, written)
    assert sum(scores) / len(scores) == pytest.approx(0, abs=1e-5)
    assert max(scores) - min(scores) > 1  # the zero is not that of a constant


def test_the_exported_folder_opens_elsewhere_and_says_what_the_offset_is(trained: Step, tokenizer: Any) -> None:
    from transformers import AutoModelForSequenceClassification
    folder = trained.folder / "model"
    card = (folder / "README.md").read_text()
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert f"{model.config.preceptor_offset:.6f}" in card and "preceptor_offset" in card
    prompt, response = Prompt("p", [{"role": "user", "content": "the old tree"}]), Response("a cat walks")
    # What the card tells people to do gives the score that our loader gives.
    messages = [*prompt.messages, {"role": "assistant", "content": response.text}]
    text = tokenizer.apply_chat_template(messages, tokenize=False).rstrip()
    text = text.removesuffix(tokenizer.eos_token) + tokenizer.eos_token
    tokens = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        score = model(input_ids=tokens["input_ids"]).logits.item() + model.config.preceptor_offset
    assert RewardModel(folder).score([prompt], [response])[0] == pytest.approx(score, abs=1e-5)


class Stopped(Exception):
    """Stands for a kill."""


def test_a_resume_gives_the_same_bits(tmp_path: Path, sft: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inputs(tmp_path, len, 24)
    options = RewardOptions(rows=2, checkpoint_every=3)
    whole, broken = (start(tmp_path / name, "reward", options, **inputs(tmp_path, sft)) for name in ("a", "b"))
    stage.run(whole)
    calls = 0

    def dies(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise Stopped
        return ranking_loss(*arguments)

    ranking_loss = stage.ranking_loss
    monkeypatch.setattr(stage, "ranking_loss", dies)
    with pytest.raises(Stopped):
        stage.run(broken)
    stage.run(broken)
    assert calls == 8 + 12 - 6  # 12 optimiser steps, the first 6 of which the checkpoint held
    for name in ("model.safetensors", "config.json", "README.md"):
        assert (whole.folder / "model" / name).read_bytes() == (broken.folder / "model" / name).read_bytes()
    assert read_json(whole.folder / "results.json") == read_json(broken.folder / "results.json")


def test_rankings_of_ties_alone_are_counted_and_left_out(tmp_path: Path, sft: Path, start: Start,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    write_inputs(tmp_path, len, 6)
    tied = [comparison(100 + n, lambda text: 0) for n in range(3)]
    apart = [comparison(n, len) for n in range(4)]
    write_jsonl(tmp_path / "comparisons.train.jsonl", [*tied, *apart])
    step = start(tmp_path, "reward", RewardOptions(rows=2), **inputs(tmp_path, sft))
    stage.run(step)
    assert "3 of 7 rankings left out" in capsys.readouterr().err
    log = read_log(step.log.path)["reward"][0]
    assert log["tied_rankings"] == 3 and log["plan"]["prompts"] == 4 and log["plan"]["optimiser_steps"] == 2
    write_jsonl(tmp_path / "comparisons.train.jsonl", tied)
    with pytest.raises(UserError, match="No ranking sets two answers apart"):
        stage.run(start(tmp_path, "again", RewardOptions(), **inputs(tmp_path, sft)))


def write_rankings(compared: Step, folder: Path) -> None:
    """Rankings of answers that the oracle tells apart, unlike those of an untrained model."""
    village = compared.inputs["village"]
    panel = load_panel(village)
    texts = [one.messages[-1]["content"] for one in read_jsonl(village / "demonstrations.train.jsonl", Conversation)]
    responses = [Response(text) for text in ("I do not know.", "ug ug ug ug", *texts[:3])]
    for name, file, labelers in (("train", "prompts.train", panel.training), ("valid", "prompts.valid", panel.training),
                                 ("heldout", "prompts.valid", panel.heldout)):
        write_jsonl(folder / f"comparisons.{name}.jsonl",
                    [panel.rank(prompt, responses, labelers[n % len(labelers)], prompt.id)
                     for n, prompt in enumerate(read_jsonl(village / f"{file}.jsonl", Prompt))])


def village_step(tmp_path: Path, compared: Step, start: Start, folder: Path) -> Step:
    village = compared.inputs["village"]
    return start(tmp_path, "reward", RewardOptions(rows=4), model=compared.inputs["model"], village=village,
                 comparisons=folder, demonstrations=village / "demonstrations.train.jsonl")


def test_with_a_village_it_is_measured_against_held_out_labelers_and_the_oracle(tmp_path: Path, compared: Step,
                                                                              start: Start) -> None:
    village = compared.inputs["village"]
    write_rankings(compared, tmp_path)
    step = village_step(tmp_path, compared, start, tmp_path)
    stage.run(step)
    results = read_json(step.folder / "results.json")
    assert list(results["reward_accuracy"]) == ["same_labelers", "heldout_labelers", "oracle"]
    for measured in results["reward_accuracy"].values():
        assert set(measured) == {"mean", "low", "high", "n", "noise_ceiling"} and 0 <= measured["mean"] <= 1
    panel, oracle = load_panel(village), load_oracle(village)
    held_out = read_jsonl(tmp_path / "comparisons.heldout.jsonl", Comparison)
    assert results["reward_accuracy"]["heldout_labelers"]["noise_ceiling"] == pytest.approx(
        noise_ceiling(held_out, panel))
    # The oracle's pairs: those to which it gives different scores.
    right = pairs = 0.0
    for one in held_out:
        for a, b in combinations(one.responses, 2):
            truth = [oracle.judge(one.prompt, answer.text).overall for answer in (a, b)]
            ours = panel.score([one.prompt] * 2, [a, b])
            if abs(truth[0] - truth[1]) > 1e-6:
                product = (truth[0] - truth[1]) * (ours[0] - ours[1])
                right, pairs = right + (product > 0) + 0.5 * (product == 0), pairs + 1
    assert results["reward_accuracy"]["oracle"]["noise_ceiling"] == pytest.approx(right / pairs)
    assert read_log(step.log.path)["reward"][0]["reward_accuracy"] == results["reward_accuracy"]


def test_rankings_that_the_oracle_ties_have_no_accuracy(tmp_path: Path, compared: Step, start: Start,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    """To the oracle the babble of an untrained model is all the same."""
    step = village_step(tmp_path, compared, start, compared.folder)
    stage.run(step)
    assert "no accuracy oracle: all answers are tied in each of 7 rankings" in capsys.readouterr().err
    assert "oracle" not in read_json(step.folder / "results.json")["reward_accuracy"]
