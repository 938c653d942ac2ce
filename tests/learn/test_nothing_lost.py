"""Checkpoints: complete in every precision and optimiser, kept by policy, whole on a full disk, cured after a spike."""

import errno
from pathlib import Path

import pytest
import torch

from preceptor.data.batches import Batch
from preceptor.learn import checkpoint
from preceptor.learn.checkpoint import load_checkpoint
from preceptor.learn.language import language_loss
from preceptor.learn.precision import GROWTH, LossScale
from preceptor.learn.watch import Watch, said_twice
from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from preceptor.run.log import read_log
from tests.learn.test_fit import batches, tiny_model, train, weights


def stop_at(call: int, loss=language_loss):
    """A loss that is interrupted at its `call`-th call."""
    calls = 0

    def stopping(model, batch):
        nonlocal calls
        calls += 1
        if calls == call:
            raise InterruptedError
        return loss(model, batch)

    return stopping


@pytest.mark.parametrize("options", [{"optimiser": "muon", "schedule": "wsd"}, {"optimiser": "lamb"},
                                     {"optimiser": "lars", "learning_rate": 1.0}, {"optimiser": "sgd"},
                                     {"precision": "fp16"}], ids=lambda options: next(iter(options.values())))
def test_every_optimiser_and_precision_resumes_to_the_same_bits(tmp_path: Path, options: dict) -> None:
    whole, stopped, resumed = tiny_model(), tiny_model(), tiny_model()
    train(whole, tmp_path / "whole", batches(ramp=4), **options)
    with pytest.raises(InterruptedError):
        train(stopped, tmp_path / "stopped", batches(ramp=4), loss=stop_at(6), **options)
    train(resumed, tmp_path / "stopped", batches(ramp=4), **options)
    assert torch.equal(weights(resumed), weights(whole))
    assert not torch.equal(weights(whole), weights(tiny_model()))


def test_resumed_with_other_micro_batches_it_differs_by_rounding(tmp_path: Path) -> None:
    whole, stopped, resumed = tiny_model(), tiny_model(), tiny_model()
    train(whole, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        train(stopped, tmp_path / "stopped", loss=stop_at(4))
    train(resumed, tmp_path / "stopped", micro_batches=3)
    torch.testing.assert_close(weights(resumed), weights(whole), atol=1e-5, rtol=0)


def test_checkpoints_are_kept_by_policy(tmp_path: Path) -> None:
    scores = {1: 3.0, 2: 2.0, 3: 2.5, 4: 1.5, 5: 1.6, 6: 1.7}
    train(tiny_model(), tmp_path, keep_last=3, keep_every=3, keep_best="score", checkpoint_every=1,
          after_step=lambda number: {"score": scores[number]})
    assert sorted(path.name[-1] for path in (tmp_path / "checkpoints").iterdir()) == ["4", "5", "6"]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["best", "step-00000003", "step-00000006"]
    best = torch.load(tmp_path / "kept/best/state.pt", weights_only=True)
    assert best["steps"] == 4 and best["best"] == 1.5


def test_a_best_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no measure 'scorn'"):
        train(tiny_model(), tmp_path, keep_best="scorn", after_step=lambda number: {"score": 1.0})


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, full, resumed = tiny_model(), tiny_model(), tiny_model()
    train(whole, tmp_path / "whole")
    save, calls = torch.save, []

    def half_written(state, path):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(state, path)

    monkeypatch.setattr(checkpoint.torch, "save", half_written)
    with pytest.raises(OSError, match="No space left"):
        train(full, tmp_path / "full")
    assert load_checkpoint(tmp_path / "full/checkpoints")[0] == 2
    monkeypatch.setattr(checkpoint.torch, "save", save)
    train(resumed, tmp_path / "full")
    assert torch.equal(weights(resumed), weights(whole))


def test_an_overflow_of_fp16_costs_no_step_and_no_batch(tmp_path: Path) -> None:
    """The loss overflows until its scale has come down to 2^13; then the step is the one that fp32 takes."""
    scales = []

    def overflowing(model, batch: Batch):
        total, count, _ = language_loss(model, batch)
        total.register_hook(lambda gradient: scales.append(float(gradient) * batch_count) or (
            gradient * float("inf") if float(gradient) * batch_count > 2 ** 13 + 1 else gradient))
        return total, count, {}

    supply = batches(steps=1)
    batch_count = next(batches(steps=1)).count
    scaled, plain = tiny_model(), tiny_model()
    train(scaled, tmp_path / "scaled", supply, loss=overflowing, precision="fp16")
    train(plain, tmp_path / "plain", batches(steps=1), precision="fp16")
    assert scales == pytest.approx([2 ** 16, 2 ** 15, 2 ** 14, 2 ** 13], rel=1e-3)
    assert read_log(tmp_path / "scaled/log.jsonl")["s"][1]["loss_scale"] == 2 ** 13
    torch.testing.assert_close(weights(scaled), weights(plain), atol=2e-3, rtol=0)


def test_the_loss_scale_doubles_after_calm_and_never_changes_without_fp16() -> None:
    scale, plain = LossScale.of("fp16"), LossScale.of("bf16")
    for _ in range(GROWTH):
        scale.step()
        plain.step()
    assert scale.value == 2 ** 17 and plain.value == 1.0 and not plain.lower()


def poisoned(numbers: set[int], value: float):
    """The tiny supply, whose batches with these numbers make `poisonous` multiply their loss by `value`."""
    class Poisoned(type(batches())):
        def __next__(self) -> Batch:
            batch = super().__next__()
            bad = value if self.drawn - 1 in numbers else 1.0
            batch.tensors["poison"] = torch.full((len(batch.counts),), bad)
            return batch

    clean = batches(steps=60)
    clean.__class__ = Poisoned
    return clean


def poisonous(model, batch: Batch):
    total, count, _ = language_loss(model, batch)
    return total * batch["poison"][0], count, {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 100.0])
def test_a_spike_is_cut_out_and_the_run_is_one_that_never_saw_it(tmp_path: Path, value: float) -> None:
    bad = {41, 42, 43}
    cured, clean = tiny_model(), tiny_model()
    train(cured, tmp_path / "cured", poisoned(bad, value), loss=poisonous, rescues=2, checkpoint_every=8)
    supply = poisoned(bad, value)
    for number in bad:
        supply.skip(range(number, number + 1))
    train(clean, tmp_path / "clean", supply, loss=poisonous, checkpoint_every=8)
    [rescue] = read_json(tmp_path / "cured/rescues.json")
    assert (rescue["step"], rescue["batches"]) == (42, sorted(bad))
    named = {name for row in (batch for number, batch in enumerate(_drawn(60)) if number in bad) for name in row}
    assert set(rescue["documents"]) == named
    assert torch.equal(weights(cured), weights(clean))


def _drawn(steps: int) -> list[list[str]]:
    supply = batches(steps=steps)
    return [[name for row in next(supply).documents for name in row] for _ in range(steps)]


def test_a_killed_run_remembers_its_rescue(tmp_path: Path) -> None:
    whole, stopped, resumed = tiny_model(), tiny_model(), tiny_model()
    train(whole, tmp_path / "whole", poisoned({41}, 100.0), loss=poisonous, rescues=2, checkpoint_every=8)
    with pytest.raises(InterruptedError):
        train(stopped, tmp_path / "stopped", poisoned({41}, 100.0), loss=stop_at(52, poisonous), rescues=2,
              checkpoint_every=8)
    train(resumed, tmp_path / "stopped", poisoned({41}, 100.0), loss=poisonous, rescues=2, checkpoint_every=8)
    assert torch.equal(weights(resumed), weights(whole))
    assert len(read_json(tmp_path / "stopped/rescues.json")) == 1


def test_a_batch_that_says_one_text_again_and_again_is_cut_out(tmp_path: Path) -> None:
    """Text that is repeated shows in no loss before it is known by heart."""
    bad = {41, 42, 43}

    class Repeating(type(batches())):
        def __next__(self) -> Batch:
            batch = super().__next__()
            if self.drawn - 1 in bad:
                for tensor in batch.tensors.values():
                    tensor[:] = tensor[:1].clone()
                batch = Batch(batch.tensors, batch.counts[:1] * len(batch.counts), batch.documents)
            return batch

    supply = batches(steps=60, length=32)
    supply.__class__ = Repeating
    train(tiny_model(), tmp_path, supply, rescues=2, checkpoint_every=8)
    [rescue] = read_json(tmp_path / "rescues.json")
    assert rescue["batches"] == sorted(bad) and "said twice" in rescue["cause"]


def test_what_is_said_twice_counts_windows_without_padding() -> None:
    row, other = torch.arange(20), torch.arange(50, 70)
    segments = torch.ones(3, 20, dtype=torch.long)
    segments[2, 10:] = 0  # no whole window
    batch = Batch({"tokens": torch.stack([row, row, other]), "segments": segments}, [20, 20, 10], [["a"], ["b"], ["c"]])
    assert said_twice(batch) == pytest.approx(5 / 10)
    shifted = torch.stack([row, row.roll(-3), other])  # the same text from another place: windows 3 to 4 come again
    assert said_twice(Batch({**batch.tensors, "tokens": shifted}, batch.counts, batch.documents)) == pytest.approx(0.2)
    assert said_twice(Batch({"pixels": torch.zeros(2, 3)}, [1, 1], [["a"], ["b"]])) == 0


def test_rescues_are_limited(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 rescues are used up"):
        train(tiny_model(), tmp_path, poisoned({41, 55}, float("nan")), loss=poisonous, rescues=1, checkpoint_every=8)


def test_a_rescue_that_goes_back_behind_another_forgets_nothing(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint but the oldest is called restless, so that the second rescue goes back to before the first."""
    monkeypatch.setattr(Watch, "calm", lambda self: False)
    model = tiny_model()
    train(model, tmp_path, poisoned({41, 50}, float("nan")), loss=poisonous, rescues=2, checkpoint_every=8, keep_last=9)
    first, second = read_json(tmp_path / "rescues.json")
    assert (first["batches"], second["batches"]) == ([41], [50]) and first["back_to"] == second["back_to"] == 0
    with pytest.raises(UserError, match="2 rescues are used up"):
        train(tiny_model(), tmp_path / "more", poisoned({41, 50, 56}, float("nan")), loss=poisonous, rescues=2,
              checkpoint_every=8, keep_last=9)
