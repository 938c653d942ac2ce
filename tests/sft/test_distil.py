"""Context distillation: the student without the context comes to speak as the teacher does with it."""

from pathlib import Path

import pytest
import torch

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Conversation, Prompt, Response
from preceptor.models.causal import load_causal, save_model
from preceptor.recipe.load import load_recipe
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path
from preceptor.run.log import Log, read_log
from preceptor.run.step import Step
from preceptor.sft.distil import CONTEXT, collate_taught, distillation_loss, run, taught_answer, with_context
from preceptor.sft.options import DistillationOptions
from tests.rlhf.tiny import tiny_policy, tiny_prompts, word_tokenizer


def step(folder: Path, **options: object) -> Step:
    """A step whose context is one word; `inputs` are made beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder.parent / "model").exists():
        save_model(tiny_policy(), word_tokenizer(), folder.parent / "model")
        write_jsonl(folder.parent / "prompts.jsonl", tiny_prompts(6))
        (folder.parent / "context.txt").write_text("up good good\n", encoding="utf-8")
    inputs = {name: folder.parent / file for name, file in (
        ("model", "model"), ("prompts", "prompts.jsonl"), ("context", "context.txt"))}
    chosen = {"answers": 8, "max_tokens": 5, "rows": 4, "epochs": 12, "learning_rate": 1e-2, "log_every": 1}
    return Step("distil", folder, inputs, DistillationOptions(**{**chosen, **options}), 0,
                Log(folder / "log.jsonl", "distil", 1))


def test_the_loss_is_the_divergence_at_each_token_of_the_answers() -> None:
    tokenizer, teacher, student = word_tokenizer(), tiny_policy(0), tiny_policy(1)
    said = [Response("", token_ids=ids) for ids in ([5, 6, 0], [7], [8, 9, 10, 5])]
    taught = [taught_answer(tokenizer, prompt, "up", answer) for prompt, answer in zip(tiny_prompts(3), said)]
    loss, count, _ = distillation_loss(student, collate_taught(taught, 1), teacher)
    expected = 0.0
    for one in taught:
        length = one.student.count
        p, q = (model(torch.tensor([example.tokens])).logits[0, -length - 1:-1].log_softmax(-1)
                for model, example in ((teacher, one.teacher), (student, one.student)))
        expected += (p.exp() * (p - q)).sum().item()
        assert one.teacher.tokens[-length:] == one.student.tokens[-length:] and one.width > len(one.student.tokens)
    assert count == 8 and loss.item() == pytest.approx(expected, abs=1e-4)
    parts = [distillation_loss(student, micro, teacher)[0].item() for micro in collate_taught(taught, 1).split(3)]
    assert sum(parts) == pytest.approx(loss.item(), abs=1e-5)


def test_the_student_learns_the_context_and_a_second_attempt_draws_nothing_anew(tmp_path: Path) -> None:
    one = step(tmp_path / "a")
    run(one)
    log = read_log(tmp_path / "a" / "log.jsonl")["distil"]
    assert log[0]["plan"]["answers"] == 48 and log[1]["loss"] > 0.05
    assert sum(log[max(log) - n]["loss"] for n in range(12)) / 12 < 0.3 * log[1]["loss"]
    tokenizer, teacher = word_tokenizer(), load_causal(tmp_path / "model")
    answers = read_jsonl(tmp_path / "a" / "answers.jsonl", Response)
    other = Prompt("new", [{"role": "user", "content": "blue red"}])  # not among those it learned from
    batch = collate_taught([taught_answer(tokenizer, other, "up good good", answer) for answer in answers[:12]], 1)
    before, after = (distillation_loss(load_causal(folder), batch, teacher)[0].item()
                     for folder in (tmp_path / "model", tmp_path / "a" / "model"))
    assert after < 0.5 * before
    again = step(tmp_path / "b")
    (tmp_path / "b" / "answers.jsonl").write_bytes((tmp_path / "a" / "answers.jsonl").read_bytes())
    run(again)
    assert hash_path(tmp_path / "a" / "model") == hash_path(tmp_path / "b" / "model")


def test_a_system_message_of_the_prompt_follows_the_context() -> None:
    prompt = Prompt("p", [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": "Hi"}])
    assert with_context(prompt, "Be kind.").messages == [{"role": "system", "content": "Be kind.\n\nRhyme."},
                                                         {"role": "user", "content": "Hi"}]
    assert "harmless" in CONTEXT.read_text(encoding="utf-8")


def test_what_does_not_fit_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = step(tmp_path / "a", epochs=1)
    long = Prompt("long", [{"role": "user", "content": "red " * 26}])
    write_jsonl(tmp_path / "prompts.jsonl", [*tiny_prompts(2), long])
    run(one)
    assert "8 of 24 answers left out" in capsys.readouterr().err
    write_jsonl(tmp_path / "prompts.jsonl", [long])
    with pytest.raises(UserError, match="No answer with its prompt and the context fits"):
        run(step(tmp_path / "b"))
    (tmp_path / "context.txt").write_text(" \n")
    with pytest.raises(UserError, match="with 0 letters of context"):
        run(step(tmp_path / "c"))


def test_the_shipped_recipe_is_one(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "p.jsonl", [Conversation("c", [{"role": "user", "content": "Hi"}])])
    sets = [f"base.needs.model={tmp_path}", f"distilled.needs.prompts={tmp_path / 'p.jsonl'}"]
    assert [one.stage for one in load_recipe("context_distillation", sets=sets).steps] == ["adopt",
                                                                                           "context_distillation"]
