"""The ledger of claims: whole, by one rule, and its page is what the results say."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "experiments"))

import claims  # noqa: E402
from ledger import architecture, reader, simulated  # noqa: E402
from ledger.claim import Finding, between, over_data, over_seeds  # noqa: E402
from torch import Generator, nn, ones, zeros  # noqa: E402

from preceptor.data.records import Prompt, Response  # noqa: E402
from preceptor.metrics.intervals import bootstrap_mean  # noqa: E402

VERDICTS = {"confirmed", "refuted", "depends on scale", "not testable here", "not tested yet"}


def test_every_claim_is_there_once_and_has_a_test_or_a_reason() -> None:
    assert {claim.number for claim in claims.CLAIMS} == set(range(1, 55))
    assert len({claim.name for claim in claims.CLAIMS}) == len(claims.CLAIMS)
    for claim in claims.CLAIMS:
        assert claim.source and bool(claim.test) != bool(claim.reason), claim.name
        assert bool(claim.effect) == bool(claim.test), claim.name


def test_the_verdict_follows_from_the_interval() -> None:
    for low, high, verdict in ((0.1, 0.2, "confirmed"), (-0.2, -0.1, "refuted"), (-0.1, 0.1, "depends on scale"),
                               (0.0, 1.0, "depends on scale")):
        assert Finding(0.0, low, high, 3).verdict == verdict
    assert over_seeds([1.0, 1.1, 0.9]).verdict == "confirmed" and over_seeds([1.0, -1.0, 0.1]).verdict == (
        "depends on scale")
    found = over_data(bootstrap_mean([1.0, 0.0] * 50), "prompts", zero=0.9)
    assert found.verdict == "refuted" and found.seeds == 0 and found.note == "n = 100 prompts."


def test_the_difference_of_two_intervals_is_as_wide_as_both_together() -> None:
    found = between({"mean": 3.0, "low": 0.0, "high": 6.0, "n": 3}, {"mean": 1.0, "low": -3.0, "high": 5.0, "n": 3})
    assert (found.effect, found.low, found.high, found.seeds) == (2.0, -3.0, 7.0, 3)


def test_only_pictures_wait_for_their_experiments() -> None:
    """Whatever else this machine can test has an experiment."""
    waiting = {claim.number for claim in claims.CLAIMS if claim.test is None and claim.testable}
    assert waiting <= set(range(48, 55))


def test_a_pushed_policy_ends_where_reward_and_penalty_balance() -> None:
    """E[w . x] - b |m|^2 / 2 is highest at m = w / b."""
    reward = nn.Linear(simulated.FEATURES, 1, bias=False)
    nn.init.constant_(reward.weight, 0.1)
    mean = simulated.push(reward.requires_grad_(False), 0.5, zeros(simulated.FEATURES), seed=0)
    assert mean.sub(0.2).abs().max() < 0.05


def test_the_simulated_reader_pays_for_its_taste_until_an_answer_is_too_long() -> None:
    world = simulated.World(0)
    short, long = ones(simulated.FEATURES), 3 * ones(simulated.FEATURES)
    assert world.gold(short) == pytest.approx(float(world.weights.sum()))
    assert world.gold(long) == pytest.approx(3 * float(world.weights.sum()) - 0.5 * 8 ** 2, rel=1e-4)


def test_a_simulated_reward_model_learns_the_order_of_ordinary_answers() -> None:
    world = simulated.World(1)
    reward = simulated.reward_model(*world.ranked(zeros(simulated.FEATURES), 200), seed=1, epochs=15)
    fresh, _ = world.ranked(zeros(simulated.FEATURES), 500)
    said, true = reward(fresh).squeeze(-1), world.gold(fresh)
    right = (said[:, 0] > said[:, 1]) == (true[:, 0] > true[:, 1])
    assert right.float().mean() > 0.75


def test_a_key_asked_for_has_the_value_that_stood_with_it() -> None:
    tokens, targets = architecture.pairs(Generator().manual_seed(0), rows=5, count=6)
    for row, wanted in zip(tokens.tolist(), targets.tolist(), strict=True):
        known = {(token - 2) // architecture.VALUES: (token - 2) % architecture.VALUES for token in row[:6]}
        asked = [token - 2 - architecture.KEYS * architecture.VALUES for token in row[6:]]
        assert sorted(asked) == sorted(known) and wanted == [-100] * 6 + [known[key] for key in asked]


def test_the_letter_reader_and_the_reward_model_of_tokens() -> None:
    assert reader.letters(Prompt("p", [{"role": "user", "content": "?"}]), Response("Eels")) == 5.0
    weights = simulated.logistic(np.array([[1.0, 0.0], [2.0, 1.0], [1.0, -1.0]]), np.ones(3))
    assert weights[0] > 0.5 and abs(weights[1]) < 0.2


def test_the_page_is_what_the_results_say() -> None:
    results = json.loads(claims.RESULTS.read_text(encoding="utf-8"))
    assert (ROOT / "docs" / "claims.md").read_text(encoding="utf-8") == claims.page(results)
    for name, one in results.items():
        found = Finding(*(one[key] for key in ("effect", "low", "high", "seeds", "note", "unit")))
        assert one["verdict"] == found.verdict, name
        assert found.seeds == 0 or 3 <= found.seeds <= 5, name


def test_the_last_line_has_a_verdict_for_every_claim(tmp_path: Path) -> None:
    """One claim that takes a second, measured by the command in a copy of the scripts."""
    copy = tmp_path / "experiments"
    subprocess.run(["cp", "-r", str(ROOT / "experiments"), str(copy)], check=True)
    done = subprocess.run([sys.executable, "experiments/claims.py", "--claim", "38", "--seeds", "5", "--json"],
                          cwd=tmp_path, text=True, capture_output=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {claim.name for claim in claims.CLAIMS}
    assert {one["verdict"] for one in found.values()} <= VERDICTS
    assert set(found["38"]) == {"verdict", "effect", "low", "high", "seeds"} and found["38"]["seeds"] == 5
    assert found["38"]["effect"] == pytest.approx(json.loads(claims.RESULTS.read_text())["38"]["effect"], rel=1e-3)
