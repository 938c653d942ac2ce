"""What a run shows of itself: speed, share of peak, and trackers that never ask."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from preceptor.learn import speed as speeds
from preceptor.learn.speed import Speed, matrix_peak, thousands
from preceptor.learn.track import open_tracker
from preceptor.run.errors import UserError
from preceptor.run.log import read_log
from tests.learn.test_fit import tiny_model, train


def test_numbers_are_short() -> None:
    assert [thousands(value) for value in (7, 950, 12_345, 4_560_000, 2e9)] == ["7", "950", "12.3k", "4.56M", "2G"]


def test_the_share_of_peak_is_operations_over_the_measured_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    weights = sum(parameter.numel() for parameter in model.parameters())
    monkeypatch.setattr(speeds, "matrix_peak", lambda device, precision: 1e6)
    monkeypatch.setattr(speeds, "WORTH_MEASURING", 6 * weights * 100 * 10)
    clock = iter([0.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(speeds.time, "monotonic", lambda: next(clock))
    speed = Speed(model, "fp32", steps=10)
    speed.add(100)
    assert speed.metrics() == {"tokens_per_second": 50.0, "share_of_peak": pytest.approx(6 * weights * 50 / 1e6)}
    small = Speed.__new__(Speed)
    small.weights, small.steps, small.tokens, small.peak = weights, 9, 0, 0.0
    small.add(100)
    assert small.peak == 0.0


def test_the_peak_of_this_machine_is_positive() -> None:
    assert matrix_peak("cpu", "fp32") > 1e6


def test_tensorboard_holds_what_the_log_holds(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    train(tiny_model(), tmp_path, track="tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    logged = {at: line["loss"] for at, line in read_log(tmp_path / "log.jsonl")["s"].items()}
    assert {event.step: event.value for event in events.Scalars("s/loss")} == pytest.approx(logged)


def test_wandb_is_offline_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, logged = [], {}
    run = SimpleNamespace(log=lambda metrics, step: logged.update({step: metrics}))
    fake = SimpleNamespace(init=lambda **named: begun.append(named) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    open_tracker("wandb", tmp_path, "base", 0)(3, {"loss": 1.5})
    assert begun[0]["mode"] == "offline" and logged == {3: {"loss": 1.5}}
    monkeypatch.setenv("WANDB_API_KEY", "k")
    open_tracker("wandb", tmp_path, "base", 0)
    assert begun[1]["mode"] == "online"


def test_an_unknown_tracker_is_refused_before_any_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tracker 'nowhere.at:all'"):
        train(tiny_model(), tmp_path, track="nowhere.at:all")
