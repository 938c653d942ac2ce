"""The labeler models: derivatives and likelihood against brute force, and labelers whose faults are known."""

import math
from itertools import permutations

import numpy as np
import pytest

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.flags import dawid_skene, flag_consensus
from preceptor.feedback.trust import Rankings, as_arrays, fit_trust, stages, trust


def test_the_likelihood_is_that_of_plackett_and_luce() -> None:
    """Over all orders of three answers the probabilities add up to one, and each is the product of its choices."""
    utility = np.array([0.4, -1.1, 0.3])
    orders = list(permutations(range(3)))
    arrays = as_arrays([(0, 0, [[i] for i in order]) for order in orders])
    logs = stages(arrays, utility[arrays.answer])[0]
    assert np.exp(logs).sum() == pytest.approx(1)
    i, j, k = orders[1]
    u = np.exp(utility)
    assert logs[1] == pytest.approx(math.log(u[i] / u.sum() * u[j] / (u[j] + u[k])))


def test_derivatives_are_those_of_the_likelihood_with_ties_and_missing_answers() -> None:
    arrays = as_arrays([(0, 0, [[0, 1], [2]]), (1, 0, [[3], [0, 2], [1]]), (0, 0, [[1], [3]]), (1, 0, [[2, 3]])])
    u = np.random.default_rng(0).normal(size=arrays.answer.shape)
    _, gradient, curvature = stages(arrays, u)
    for place in range(4):
        step = np.eye(4)[place] * 1e-5
        (up, up_gradient, _), (down, down_gradient, _) = stages(arrays, u + step), stages(arrays, u - step)
        np.testing.assert_allclose((up - down) / 2e-5, gradient[:, place], atol=1e-8)
        np.testing.assert_allclose((down_gradient - up_gradient) / 2e-5, curvature[:, :, place], atol=1e-8)
    assert (gradient[~arrays.present] == 0).all()


def _crowd(betas: list[float], items: int, overlap: int, k: int = 7, seed: int = 0) -> tuple[Rankings, np.ndarray]:
    draw = np.random.default_rng(seed)
    theta = draw.normal(size=(items, k)) * 1.5
    rankings = []
    for item in range(items):
        for labeler in draw.choice(len(betas), overlap, replace=False):
            u = betas[labeler] * theta[item] + draw.gumbel(size=k)
            rankings.append((int(labeler), item, [[int(i)] for i in np.argsort(-u)]))
    return as_arrays(rankings), theta


def test_reversed_and_random_labelers_are_told_from_good_ones() -> None:
    betas = [1.0] * 14 + [0.0] * 3 + [-1.0] * 3
    arrays, truth = _crowd(betas, items=130, overlap=3)
    quality, beta, errors = fit_trust(arrays, 20)
    assert np.abs(beta[:14] - 1).max() < 0.5 and abs(beta[14:17]).max() < 0.35 and beta[17:].max() < -0.5
    assert 0.03 < errors.min() and errors.max() < 0.2
    found = np.corrcoef(quality.ravel(), truth.ravel())[0, 1]
    plain = fit_trust(arrays, 20, spread=1e-3)[0]  # everyone is trusted alike
    assert found > 0.75 and found > np.corrcoef(plain.ravel(), truth.ravel())[0, 1] + 0.05


def test_trust_of_records_matches_answers_by_their_text() -> None:
    draw, records = np.random.default_rng(1), []
    for n in range(60):
        quality = draw.normal(size=5) * 2
        prompt = Prompt(f"p{n}", [{"role": "user", "content": "?"}])
        for name, sign in (("ann", 1), ("bo", 1), ("cy", 1), ("eve", -1)):
            shuffled = draw.permutation(5)
            shuffled = shuffled[:5 - n % 3]  # not every labeler saw every answer
            said = [Response(f"answer {i}") for i in shuffled]
            ranking = [[int(i)] for i in np.argsort(-(sign * quality[shuffled] + draw.gumbel(size=len(said))))]
            records.append(Comparison(f"{n}{name}", prompt, said, ranking, name, "person"))
    found = trust(records)
    assert found.beta["eve"] < -0.5 and min(found.beta[name] for name in ("ann", "bo", "cy")) > 0.5
    assert set(found.quality["p0"]) == {f"answer {i}" for i in range(5)}


def test_dawid_and_skene_find_truth_and_faults() -> None:
    draw = np.random.default_rng(0)
    truth = draw.random(400) < 0.3
    right = [0.9, 0.85, 0.9, 0.5, 0.1]  # the last says the reverse
    votes = [(task, labeler, int(is_so if draw.random() < p else not is_so))
             for task, is_so in enumerate(truth) for labeler, p in enumerate(right)]
    found = dawid_skene(votes, 400, 5)
    ours = ((found.truth[:, 1] > 0.5) == truth).mean()
    majority = np.zeros(400)
    np.add.at(majority, [task for task, _, _ in votes], [vote for _, _, vote in votes])
    assert ours > ((majority > 2.5) == truth).mean() + 0.05 and ours > 0.93
    np.testing.assert_allclose(np.diagonal(found.confusion, axis1=1, axis2=2).mean(1), right, atol=0.07)


def test_one_round_of_dawid_and_skene_by_hand() -> None:
    """Two tasks, two labelers who agree: the posterior is certain, and a single vote is believed."""
    found = dawid_skene([(0, 0, 1), (0, 1, 1), (1, 0, 0), (1, 1, 0), (2, 0, 1)], 3, 2)
    assert found.truth.argmax(1).tolist() == [1, 0, 1] and found.truth.max(1).min() > 0.8


def test_flags_of_records() -> None:
    prompt = Prompt("p", [{"role": "user", "content": "?"}])
    said = [Response("kind"), Response("rude", flags=["inappropriate"])]
    records = [Comparison(str(n), prompt, said, [[0], [1]], f"l{n}", "person") for n in range(3)]
    found = flag_consensus(records, "inappropriate")
    assert found["p", "rude"] > 0.9 and found["p", "kind"] < 0.1 and flag_consensus([], "opinion") == {}
