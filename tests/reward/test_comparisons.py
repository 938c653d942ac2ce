"""The comparisons stage: K answers to each prompt, ranked by the right labelers, sampled once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.generate import answers as generate_answers
from preceptor.reward import comparisons
from preceptor.reward.options import ComparisonsOptions
from preceptor.run.errors import UserError
from preceptor.run.log import read_log
from preceptor.run.step import Step
from preceptor.village.stage import load_panel

Start = Callable[..., Step]


def read(step: Step, name: str) -> list[Comparison]:
    return read_jsonl(step.folder / f"comparisons.{name}.jsonl", Comparison)


def test_every_prompt_is_ranked_by_the_right_labelers(compared: Step, village: Path) -> None:
    panel = load_panel(village)
    train, valid, held_out = (read(compared, name) for name in ("train", "valid", "heldout"))
    assert [one.prompt.id for one in train] == [one.id for one in read_jsonl(village / "prompts.train.jsonl", Prompt)]
    assert len(valid) == len(held_out) == 7
    assert [one.labeler for one in train] == [panel.training[n % len(panel.training)] for n in range(len(train))]
    assert {one.labeler for one in valid} <= set(panel.training)
    assert {one.labeler for one in held_out} <= set(panel.heldout)
    for one, other in zip(valid, held_out):
        assert one.prompt == other.prompt
        assert [answer.text for answer in one.responses] == [answer.text for answer in other.responses]
    assert any(one.ranking != other.ranking for one, other in zip(valid, held_out))


def test_answers_are_distinct_and_k_varies(compared: Step) -> None:
    sizes = set()
    for one in read(compared, "train"):
        texts = [answer.text for answer in one.responses]
        assert len(set(texts)) == len(texts) and 2 <= len(texts) <= 5
        assert all(answer.model == "sft" and answer.tokenizer and answer.scores for answer in one.responses)
        assert len({answer.sampling["seed"] for answer in one.responses}) == len(texts)
        sizes.add(len(texts))
    assert len(sizes) > 1


def test_nothing_is_sampled_twice(compared: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("comparisons.train.jsonl", "comparisons.valid.jsonl", "comparisons.heldout.jsonl")
    before = [(compared.folder / name).read_bytes() for name in names]
    for name in names:
        (compared.folder / name).unlink()
    monkeypatch.setattr(generate_answers, "LocalDecoder", None)
    comparisons.run(compared)
    assert [(compared.folder / name).read_bytes() for name in names] == before


def test_identical_answers_are_kept_once_and_counted(compared: Step, capsys: pytest.CaptureFixture[str]) -> None:
    asked = comparisons._asked(compared, [Prompt(id, [{"role": "user", "content": "Hi"}]) for id in ("a", "b")])
    answers = [Response("same" if one.request.prompt.id == "a" else f"text {n % 3}") for n, one in enumerate(asked)]
    found = comparisons._rankable(compared, "made", asked, answers)
    assert [(prompt.id, [answer.text for answer in kept]) for prompt, kept in found] == [
        ("b", list(dict.fromkeys(answer.text for answer in answers if answer.text != "same")))]
    kept = 1 + len(found[0][1])
    assert f"{len(answers)} answers, {len(answers) - kept} dropped as identical" in capsys.readouterr().err
    logged = read_log(compared.log.path)["comparisons"][0]
    assert logged["made_duplicates"] == len(answers) - kept and logged["made_prompts_with_one_answer"] == 1


def test_bad_input(tmp_path: Path, compared: Step, start: Start) -> None:
    same = {**compared.inputs, "heldout": compared.inputs["prompts"]}
    with pytest.raises(UserError, match="16 prompts are both in 'prompts' and in 'heldout'"):
        comparisons.run(start(tmp_path, "a", compared.options, **same))
    for low, high in ((1, 4), (5, 4)):
        with pytest.raises(UserError, match="cannot be ranked"):
            comparisons.run(start(tmp_path, "b", ComparisonsOptions(k_min=low, k_max=high), **compared.inputs))
