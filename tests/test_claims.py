"""The ledger of claims: whole, by one rule, and its page is what the results say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "experiments"))

import claims  # noqa: E402
from ledger.claim import Finding, over_data, over_seeds  # noqa: E402

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
