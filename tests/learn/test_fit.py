"""The loop: invariance to micro-batches, several losses in one step, schedules, averages, checkpoints, bad numbers."""

from pathlib import Path

import pytest
import torch
from torch import nn

from preceptor.data.batches import Batch, Example
from preceptor.data.packing import PackedBatches
from preceptor.learn.checkpoint import load_checkpoint, save_checkpoint
from preceptor.learn.fit import Term, fit
from preceptor.learn.language import language_loss
from preceptor.learn.optimiser import decayed
from preceptor.learn.options import FitOptions
from preceptor.models.causal import build_llama
from preceptor.run.errors import UserError
from preceptor.run.log import Log, read_log
from preceptor.run.progress import Progress


def tiny_model() -> nn.Module:
    torch.manual_seed(0)
    return build_llama(vocabulary=30, width=16, layers=2, heads=2, feed_forward=24, context=16, end=0, pad=1)


def examples(seed: int = 0, count: int = 40) -> list[Example]:
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 14, (count,), generator=draw).tolist()
    return [Example.of_text(str(n), torch.randint(2, 30, (length,), generator=draw).tolist())
            for n, length in enumerate(lengths)]


def batches(seed: int = 0, **size: int) -> PackedBatches:
    return PackedBatches(examples(seed), **{"rows": 4, "length": 16, "pad": 1, "seed": 3, "steps": 6, **size})


def train(model: nn.Module, folder: Path, supply: PackedBatches | None = None, extra: tuple[Term, ...] = (),
          loss=language_loss, rescues: int = 0, after_step=None, **options) -> dict | None:
    # fp32, whatever the processor: in bf16 the rounding of other micro-batches is far above any tolerance
    defaults = {"learning_rate": 1e-2, "log_every": 1, "checkpoint_every": 2, "precision": "fp32"}
    options = FitOptions(**{**defaults, **options})
    folder.mkdir(exist_ok=True)
    return fit(model, supply or batches(), loss, options, folder=folder, log=Log(folder / "log.jsonl", "s", 1),
               progress=Progress("s", 6), extra=extra, rescues=rescues, after_step=after_step)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("micro_batches", [2, 3, 4, 9])
def test_micro_batches_change_nothing(tmp_path: Path, micro_batches: int) -> None:
    whole, split = tiny_model(), tiny_model()
    train(whole, tmp_path / "a")
    train(split, tmp_path / "b", micro_batches=micro_batches)
    torch.testing.assert_close(weights(split), weights(whole), atol=1e-5, rtol=0)


def test_packing_equals_one_document_at_a_time() -> None:
    model = tiny_model()
    packed = batches(rows=40, length=16, steps=1)
    total, count, _ = language_loss(model, next(packed))
    alone = 0.0
    for example in examples():
        logits = model(torch.tensor([example.tokens])).logits[0, :-1]
        alone += nn.functional.cross_entropy(logits, torch.tensor(example.tokens[1:]), reduction="sum").item()
    assert count == sum(example.count for example in examples())
    assert float(total) == pytest.approx(alone, rel=1e-5)


def test_one_step_is_the_gradient_of_the_weighted_means(tmp_path: Path) -> None:
    """With plain AdamW's first step known in closed form: p ← p − lr·(g/(|g| + ε) + decay·p)."""
    model, reference = tiny_model(), tiny_model()
    ptx = batches(seed=9, rows=2, steps=1)
    train(model, tmp_path, batches(steps=1), (Term("ptx", ptx, language_loss, 0.7),), clip_norm=0, epsilon=1e-3)
    first, second = next(batches(steps=1)), next(batches(seed=9, rows=2, steps=1))
    means = [total / count for total, count, _ in (language_loss(reference, first), language_loss(reference, second))]
    (means[0] + 0.7 * means[1]).backward()
    matrices = decayed(reference)
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            gradient = parameter.grad
            decay = 0.1 if name in matrices else 0.0
            parameter -= 1e-3 * (gradient / (gradient.abs() + 1e-3) + decay * parameter)  # last step: a tenth of 1e-2
    torch.testing.assert_close(weights(model), weights(reference), atol=1e-6, rtol=0)


def test_norms_and_embeddings_are_not_decayed() -> None:
    names = decayed(tiny_model())
    assert names and all("proj" in name for name in names)


def test_a_run_that_stops_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole, stopped = tiny_model(), tiny_model()
    average = train(whole, tmp_path / "whole", ema=0.5)
    calls = 0

    def stopping(model: nn.Module, batch: Batch):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise InterruptedError
        return language_loss(model, batch)

    with pytest.raises(InterruptedError):
        train(stopped, tmp_path / "stopped", loss=stopping, ema=0.5)
    resumed = tiny_model()
    average_resumed = train(resumed, tmp_path / "stopped", ema=0.5)
    assert torch.equal(weights(resumed), weights(whole))
    assert all(torch.equal(average[name], average_resumed[name]) for name in average)
    losses = [{at: line["loss"] for at, line in read_log(tmp_path / name / "log.jsonl")["s"].items()}
              for name in ("whole", "stopped")]
    assert losses[0] == losses[1]


def test_the_average_follows_its_recurrence(tmp_path: Path) -> None:
    model = tiny_model()
    start = weights(model)
    average = train(model, tmp_path, batches(steps=1), ema=0.9)
    expected = 0.9 * start + 0.1 * weights(model)
    torch.testing.assert_close(torch.cat([value.flatten() for value in average.values()]), expected)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2, 3):
        save_checkpoint(tmp_path, number, {"value": torch.tensor(number)}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
    damaged = tmp_path / "step-00000003" / "state.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    number, state = load_checkpoint(tmp_path)
    assert (number, int(state["value"])) == (2, 2)
    assert "step-00000003 is damaged" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    def broken(model: nn.Module, batch: Batch):
        total, count, _ = language_loss(model, batch)
        return total * float("nan"), count, {}

    model = tiny_model()
    before = weights(model)
    with pytest.raises(UserError, match="optimiser step 1"):
        train(model, tmp_path, loss=broken)
    assert torch.equal(weights(model), before)


def test_a_loss_that_counts_otherwise_is_refused(tmp_path: Path) -> None:
    def miscounting(model: nn.Module, batch: Batch):
        total, count, _ = language_loss(model, batch)
        return total, count - 1, {}

    with pytest.raises(AssertionError, match="counted"):
        train(tiny_model(), tmp_path, loss=miscounting)


def test_it_learns_a_known_answer(tmp_path: Path) -> None:
    """Counting upwards is predictable after the first token: the loss falls from log 30 to nearly nothing."""
    runs = [Example.of_text(str(n), [2 + (n + i) % 28 for i in range(10)]) for n in range(28)]
    model = tiny_model()
    train(model, tmp_path, PackedBatches(runs, rows=28, length=10, pad=1, seed=0, steps=150), checkpoint_every=150)
    losses = [line["loss"] for line in read_log(tmp_path / "log.jsonl")["s"].values()]
    assert losses[0] > 3.3 and losses[-1] < 0.1
