"""The language objective: its parts add up, a model learns from a teacher, and a user's loss takes their place."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from preceptor.learn.language import language_loss, language_objective, load_teacher, named_loss
from preceptor.learn.options import LanguageOptions
from preceptor.losses.soft_targets import distillation_sum, smoothed_cross_entropy_sum
from preceptor.models.causal import hidden_states, save_model
from preceptor.run.errors import UserError
from preceptor.run.log import read_log
from tests.learn.test_fit import batches, tiny_model, train
from tests.rlhf.tiny import tiny_policy, word_tokenizer


def test_the_parts_add_up() -> None:
    model, teacher, batch = tiny_model(), tiny_model(), next(batches())
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    options = LanguageOptions(label_smoothing=0.1, distillation=0.3, distillation_temperature=2.0)
    total, count, metrics = language_objective(options, teacher)(model, batch)
    logits, taught = (one.get_output_embeddings()(hidden_states(one, batch)) for one in (model, teacher))
    smoothed, _ = smoothed_cross_entropy_sum(logits, batch["targets"], 0.1)
    distance = distillation_sum(logits, taught, batch["targets"] != -100, 2.0)
    torch.testing.assert_close(total, 0.7 * smoothed + 0.3 * distance)
    torch.testing.assert_close(metrics["likelihood"], language_loss(model, batch)[0])
    assert count == batch.count and float(distance) > 0.01


def test_a_model_learns_what_its_teacher_says(tmp_path: Path) -> None:
    """The teacher's predictions are of no text, so only the distance can teach them."""
    teacher = tiny_model()
    with torch.no_grad():
        teacher.get_output_embeddings().weight.mul_(20)
    options = LanguageOptions(distillation=1.0)
    train(tiny_model(), tmp_path, batches(steps=80), loss=language_objective(options, teacher), checkpoint_every=80,
          learning_rate=3e-2)
    distances = [line["distance"] for line in read_log(tmp_path / "log.jsonl")["s"].values()]
    assert distances[-1] < 0.3 * distances[0]


def test_a_loss_of_the_users_own_takes_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = SimpleNamespace(loss=lambda model, batch: (torch.tensor(7.0), batch.count, {}))
    monkeypatch.setitem(sys.modules, "my_losses", mine)
    assert language_objective(LanguageOptions(loss="my_losses:loss", label_smoothing=0.1)) is mine.loss
    for path in ("my_losses:lost", "no_such_module:loss", "my_losses", ""):
        with pytest.raises(UserError, match="cannot be imported"):
            named_loss(path)


def test_a_teacher_is_asked_for_whole_and_must_share_the_vocabulary(tmp_path: Path) -> None:
    def step(distillation: float, **inputs: Path) -> SimpleNamespace:
        return SimpleNamespace(name="base", options=LanguageOptions(distillation=distillation), inputs=inputs,
                               input=lambda name: inputs[name])

    save_model(tiny_policy(), word_tokenizer(), tmp_path / "model")
    assert load_teacher(step(0.0, model=tmp_path)) is None
    for half in (step(0.5, model=tmp_path), step(0.0, model=tmp_path, teacher=tmp_path)):
        with pytest.raises(UserError, match="only with an input 'teacher'"):
            load_teacher(half)
    teacher = load_teacher(step(0.5, model=tmp_path, teacher=tmp_path))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    other = word_tokenizer()
    other.add_tokens(["elsewhere"])
    policy = tiny_policy()
    policy.resize_token_embeddings(len(other))
    save_model(policy, other, tmp_path / "other/model")
    with pytest.raises(UserError, match="another vocabulary"):
        load_teacher(step(0.5, model=tmp_path, teacher=tmp_path / "other"))
