"""Signs and the dashboard: variances by enumeration, each fault named and nobody else, and gold questions."""

from dataclasses import replace
from functools import cache
from itertools import permutations

import numpy as np
import pytest

from experiments.labelers import calibrated_noise, make_crowd
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.quality import (
    agreement,
    agreement_by_category,
    answers_of,
    gold_accuracy,
    labeler_table,
)
from preceptor.feedback.screening import passes_screening
from preceptor.feedback.signs import company_signs, position_signs, tau_variance
from preceptor.metrics.rankings import kendall_tau_b

FAULTS = ["random", "reversed", "lazy", "length", *["colluding"] * 4]  # the colluding ones stand at 4 to 7


@cache
def _crowd() -> list[Comparison]:
    return make_crowd(FAULTS + ["honest"] * 32, rankings=30, noise=calibrated_noise(), seed=3).comparisons


def test_the_variance_of_tau_is_that_of_all_orders() -> None:
    for k in (2, 3, 5):
        taus = [kendall_tau_b(range(k), order) for order in permutations(range(k))]
        assert np.var(taus) == pytest.approx(tau_variance(k))


def test_every_fault_is_named_and_nobody_else_is_suspected() -> None:
    rows = labeler_table(_crowd())
    table = {row.labeler: row for row in rows}
    said = {n: table[f"l{n:02d}"].reasons for n in range(40)}
    assert "random" in said[0] and "reversed" in said[1] and "position" in said[2] and "length" in said[3]
    assert all("company" in said[n] for n in (4, 5, 6, 7))
    assert not any(said[n] for n in range(8, 40))
    assert table["l04"].company[0] in {"l05", "l06", "l07"} and table["l04"].company[1].tau > 0.8
    assert table["l02"].position.tau == 1 and table["l01"].trust < -0.5
    trusts = [row.trust for row in rows]
    assert trusts == sorted(trusts) and np.median(trusts) == pytest.approx(1)


def test_few_rankings_are_held_against_nobody() -> None:
    crowd = make_crowd(FAULTS[:4] + ["honest"] * 8, rankings=20, noise=calibrated_noise(), seed=0).comparisons
    few = [one for one in crowd if one.labeler != "l01"] + [one for one in crowd if one.labeler == "l01"][:4]
    table = {row.labeler: row for row in labeler_table(few)}
    assert table["l01"].reasons == () and table["l01"].trust < 0 and "random" in table["l00"].reasons
    assert labeler_table([]) == []


def test_agreement_is_what_the_noise_was_set_to() -> None:
    honest = [one for one in _crowd() if int(one.labeler[1:]) >= 8]
    found = agreement(honest)
    assert found.pairs.low < 0.73 < found.pairs.high and found.rankings == len(honest)
    assert found.alpha == pytest.approx(2 * found.pairs.mean - 1, abs=0.02)  # two even classes: chance is one half
    assert found.tau == pytest.approx(2 * found.pairs.mean - 1, abs=0.02) and found.likert_alpha is None
    named = [replace(one, prompt=replace(one.prompt, category="chat" if n % 2 else None))
             for n, one in enumerate(honest)]
    assert set(agreement_by_category(named)) == {"", "chat"}
    assert agreement([]).pairs is None


def _ranked(labeler: str, ranking: list[list[int]], **fields: object) -> Comparison:
    said = [Response("a"), Response("b", flags=["sexual"]), Response("c")]
    return Comparison(f"{labeler}{fields}", Prompt("p", [{"role": "user", "content": "?"}]), said, ranking, labeler,
                      "person", **fields)


def test_nobody_agrees_with_himself() -> None:
    """Who said the same twice, as with thumbs and again in a ranking, is one labeler and not two who agree."""
    twice = [_ranked("x", [[0], [1], [2]], seconds=1.0), _ranked("x", [[0], [1], [2]], seconds=2.0)]
    assert agreement(twice).tau is None and agreement(twice).alpha is None
    assert agreement([*twice, _ranked("y", [[2], [1], [0]])]).tau == -1


def test_signs_of_single_rankings_by_hand() -> None:
    [sign] = position_signs([_ranked("x", [[2], [0], [1]], shown=[2, 0, 1])]).values()
    assert sign.tau == 1 and sign.z == pytest.approx(1 / tau_variance(3) ** 0.5) and sign.n == 1
    assert position_signs([_ranked("x", [[0, 1, 2]], shown=[0, 1, 2]), _ranked("y", [[0], [1], [2]])]) == {}
    company = company_signs([_ranked("x", [[0], [1], [2]]), _ranked("y", [[0], [1], [2]])],
                            {"p": {"a": 0.0, "b": 0.0, "c": 0.0}})  # a consensus that explains nothing
    assert company["x"]["y"] == company["y"]["x"] and company["x"]["y"].tau == 1


def test_gold_questions_and_the_screening() -> None:
    right, wrong = _ranked("x", [[0], [1, 2]]), _ranked("y", [[2], [1], [0]])
    gold = {answers_of(right): {"a": 0, "b": 1, "c": 1}}
    sensitive = {("p", "a"): False, ("p", "b"): True}
    assert gold_accuracy([right], gold) == 1 and gold_accuracy([wrong], gold) == 0
    assert gold_accuracy([_ranked("z", [[0, 1, 2]])], gold) == 0.5 and gold_accuracy([right], {}) is None
    assert passes_screening([right], gold, sensitive) == {"ranking": 1, "sensitive": 1, "passes": True}
    assert passes_screening([wrong], gold, {("p", "a"): True}) == {"ranking": 0, "sensitive": 0, "passes": False}
    assert passes_screening([right], {}, {})["passes"] is None
