"""Episodes in rows and numbers by token: every number stands where its token is predicted, and nowhere else."""

import io
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.batches import IGNORE
from preceptor.losses.advantages import gae
from preceptor.rlhf.experience import Episodes, Experience
from preceptor.rlhf.options import A2cOptions, OnlineOptions, PpoOptions
from tests.rlhf.tiny import estimate, tiny_episodes, tiny_experience, tiny_options

ragged = st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=7), min_size=1, max_size=9)


def test_an_episode_is_laid_out_as_the_picture_says() -> None:
    episodes = Episodes(["e"], [[7, 8]], [[9, 10, 11, 0]], pad=1)
    batch, order = episodes.packed([0])
    assert batch["tokens"].tolist() == [[7, 8, 9, 10, 11]]
    assert batch["targets"].tolist() == [[IGNORE, 9, 10, 11, 0]]  # the end of text is an action like any other
    assert (batch.count, order) == (4, [0])


@settings(max_examples=40, deadline=None)
@given(ragged, st.randoms(use_true_random=False))
def test_numbers_follow_their_tokens_through_packing(answers, random) -> None:
    episodes = tiny_episodes(answers)
    name = {(e, t): 100.0 * e + t for e, answer in enumerate(answers) for t in range(len(answer))}
    table = episodes.padded([[name[e, t] for t in range(len(answer))] for e, answer in enumerate(answers)])
    experience = replace(tiny_experience(episodes, tiny_options()), values=table)
    chosen = list(range(len(answers)))
    random.shuffle(chosen)
    chosen = chosen[: 1 + len(chosen) // 2]
    batch = experience.minibatch(chosen, tiny_options())
    found = {}
    for r, row in enumerate(batch.documents):
        segments = batch["segments"][r].tolist()
        for number, id in enumerate(row, start=1):
            e = int(id[1:])
            start = segments.index(number) + len(episodes.prompts[e]) - 1
            for t, token in enumerate(answers[e]):
                assert batch["targets"][r, start + t] == token
                found[e, t] = batch["values"][r, start + t].item()
    assert found == {key: value for key, value in name.items() if key[0] in chosen}
    assert (batch["values"][batch["targets"] == IGNORE] == 0).all()
    assert batch.count == len(found)


@settings(max_examples=40, deadline=None)
@given(ragged, st.integers(1, 5))
def test_measure_returns_numbers_in_the_order_of_the_episodes(answers, parts) -> None:
    episodes = tiny_episodes(answers)
    found = episodes.measure(lambda batch: batch["targets"][batch["targets"] != IGNORE] + 0.5, parts)
    expected = torch.zeros(len(answers), max(map(len, answers)))
    for e, answer in enumerate(answers):
        expected[e, : len(answer)] = torch.tensor(answer) + 0.5
    assert torch.equal(found, expected)


def test_the_score_is_paid_at_the_last_real_token_and_the_divergence_at_every_token() -> None:
    """Not on padding (a known bug elsewhere), and the end-of-text token is not masked away."""
    episodes = tiny_episodes([[9, 0], [9, 10, 11, 5]])
    log_probs = episodes.padded([[-1.0, -2.0], [-1.0, -1.0, -1.0, -1.0]])
    reference = episodes.padded([[-1.5, -1.0], [-1.0, -2.0, -1.0, -1.5]])
    found = estimate(episodes, tiny_options(kl_coefficient=0.1, gae_lambda=1.0), paid=torch.tensor([3.0, 3.0]),
                     log_probs=log_probs, reference_log_probs=reference)
    expected = torch.tensor([[-0.05, 3.1, 0.0, 0.0], [0.0, -0.1, 0.0, 3.0 - 0.05]])
    torch.testing.assert_close(found.rewards, expected)
    # With lambda 1 and no discount a return is the sum of what is still to come.
    torch.testing.assert_close(found.returns, torch.tensor([[3.05, 3.1, 0.0, 0.0], [2.85, 2.85, 2.95, 2.95]]))


def test_discount_and_lambda_stand_where_they_belong() -> None:
    """By hand for two tokens: delta_2 = r_2 - V_2, A_1 = r_1 + 0.9 V_2 - V_1 + 0.9 * 0.5 delta_2."""
    episodes = tiny_episodes([[9, 0]])
    found = estimate(episodes, tiny_options(discount=0.9, gae_lambda=0.5), scores=torch.tensor([2.0]),
                     values=torch.tensor([[0.5, 0.8]]))
    second = 2 - 0.8
    first = 0.9 * 0.8 - 0.5 + 0.45 * second
    torch.testing.assert_close(found.returns, torch.tensor([[first + 0.5, second + 0.8]]))


def test_advantages_are_whitened_over_the_iteration_and_returns_are_not() -> None:
    episodes = tiny_episodes([[9, 10, 0], [9, 0], [9, 10, 11, 5], [0]])
    options = tiny_options()
    experience = tiny_experience(episodes, options)
    parts = [experience.minibatch(chosen, options) for chosen in ([0, 1], [2, 3])]
    pieces = [part["advantages"][part["targets"] != IGNORE] for part in parts]
    together = torch.cat(pieces)
    assert together.mean().item() == pytest.approx(0, abs=1e-6)
    assert together.var(unbiased=False).item() == pytest.approx(1, abs=1e-5)
    assert all(abs(piece.mean().item()) > 0.05 for piece in pieces)  # whitened by minibatch, both would be 0
    before, returns = gae(experience.rewards, experience.values, episodes.mask, 1.0, 0.95)
    torch.testing.assert_close(experience.returns, returns)
    raw = before[episodes.mask]
    torch.testing.assert_close(experience.advantages[episodes.mask], (raw - raw.mean()) / raw.std(unbiased=False))


@pytest.mark.parametrize("kind", [PpoOptions, A2cOptions])
def test_rewards_may_be_scaled_with_their_mean_kept(kind: type[OnlineOptions]) -> None:
    """Ziegler et al. 2019: a reward that is always positive stays so. `rewards` themselves are logged as they were."""
    episodes = tiny_episodes([[9, 10, 0], [9, 0], [9, 10, 11, 5], [0]])
    plain = tiny_experience(episodes, tiny_options(kind))
    scaled = tiny_experience(episodes, tiny_options(kind, whiten_rewards=True))
    mask, rewards = episodes.mask, plain.rewards[episodes.mask]
    expected = torch.zeros(mask.shape)
    expected[mask] = (rewards - rewards.mean()) / rewards.std(unbiased=False) + rewards.mean()
    torch.testing.assert_close(scaled.returns, gae(expected, plain.values, mask, 1.0, 0.95)[1], atol=1e-5, rtol=1e-5)
    assert torch.equal(scaled.rewards, plain.rewards) and not torch.allclose(scaled.returns, plain.returns)


def test_metrics_by_hand() -> None:
    episodes = tiny_episodes([[9, 0], [9, 10, 11, 5]])
    experience = estimate(
        episodes, tiny_options(kl_coefficient=0.1), scores=torch.tensor([3.0, 5.0]), paid=torch.tensor([3.0, 3.0]),
        ended=torch.tensor([True, False]), log_probs=episodes.padded([[-1.0, -2.0], [-1.0, -1.0, -1.0, -1.0]]),
        reference_log_probs=episodes.padded([[-1.5, -1.0], [-1.0, -2.0, -1.0, -1.5]]))
    metrics = experience.metrics()
    assert (metrics["score"], metrics["shaped_score"], metrics["kl_coefficient"]) == (4, 3, 0.1)
    assert metrics["kl_k1"] == pytest.approx((0.5 - 1 + 1 + 0.5) / 2)
    ratios = torch.tensor([0.5, -1, 1, 0.5])
    assert metrics["kl_k3"] == pytest.approx(float((torch.exp(-ratios) - 1 + ratios).sum() / 2))
    assert metrics["reward"] == pytest.approx(4 - 1 - 0.1 * metrics["kl_k1"])  # score, penalty, divergence
    assert metrics["entropy"] == pytest.approx(7 / 6)
    assert (metrics["answer_length"], metrics["ended"]) == (3, 0.5)
    assert metrics["explained_variance"] == pytest.approx(0, abs=1e-6)  # a constant explains nothing


def test_explained_variance_is_1_for_the_returns_themselves() -> None:
    experience = tiny_experience(tiny_episodes([[9, 10, 0], [9, 0], [5]]), tiny_options())
    assert replace(experience, values=experience.returns).metrics()["explained_variance"] == pytest.approx(1)


def test_experience_survives_a_checkpoint() -> None:
    experience = tiny_experience(tiny_episodes([[9, 10, 0], [9, 0], [5]]), tiny_options())
    file = io.BytesIO()
    torch.save(experience.state(), file)
    file.seek(0)
    restored = Experience.restore(torch.load(file, weights_only=True))
    assert restored.episodes == experience.episodes
    for name in set(experience.__slots__) - {"episodes"}:
        torch.testing.assert_close(getattr(restored, name), getattr(experience, name), atol=0, rtol=0)
