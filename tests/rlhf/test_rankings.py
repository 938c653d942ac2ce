"""Learning from rankings: likelihoods and gradients against one forward pass for each answer, and what is learned."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor.data.jsonl import write_jsonl
from preceptor.data.ranked import RankedBatches, RankedPrompt, collate_ranked
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.losses.preference import dpo
from preceptor.models.causal import load_causal, save_model
from preceptor.recipe.options import build_options
from preceptor.recipe.stages import STAGES
from preceptor.rlhf.algorithms import ilql, kto
from preceptor.rlhf.preference import log_ratios, pair_loss
from preceptor.rlhf.rankings import likelihoods
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path, read_json
from preceptor.run.log import read_log
from tests.rlhf.offline import ALGORITHMS, offline_step, run, write_rankings
from tests.rlhf.tiny import tiny_policy, word_tokenizer
from tests.rlhf.world import ANSWERS, PROMPT, SCORES, policy_of, probability

PAIRWISE = ("dpo", "ipo", "orpo", "simpo")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    save_model(tiny_policy(), word_tokenizer(), folder / "policy" / "model")
    write_rankings(folder, 240)
    return {"policy": folder / "policy", "comparisons": folder}


def ranked_prompts(reference: bool = True) -> list[RankedPrompt]:
    """Prompts and answers of several lengths, with ties; the reference is another policy's."""
    made = [([5, 6], [[7, 8, 0], [9], [10, 0]], [0, 1, 1]), ([6], [[7, 0], [5, 5, 5, 0]], [1, 0]),
            ([5, 6, 7, 8], [[8, 0], [9, 9], [11, 6, 0], [6]], [2, 0, 1, 0])]
    tables = [{"reference": [-3.0, -2.0, -2.5, -4.0][:len(answers)]} if reference else {} for _, answers, _ in made]
    return [RankedPrompt(str(n), *parts, table) for n, (parts, table) in enumerate(zip(made, tables))]


def alone(policy: nn.Module, prompt: list[int], answer: list[int]) -> Tensor:
    """log pi(answer | prompt) by transformers' own forward pass of that document."""
    logits = policy(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1:-1]
    return logits.log_softmax(-1)[range(len(answer)), answer].sum()


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])


def options_of(algorithm: str, **changes: Any) -> Any:
    return build_options(STAGES["rlhf"].stages[algorithm].options_class(), {"algorithm": algorithm, **changes}, "step")


def loss_of(algorithm: str) -> Any:
    from importlib import import_module
    return import_module(f"preceptor.rlhf.algorithms.{algorithm}").loss


def test_likelihoods_are_those_of_each_answer_alone() -> None:
    policy, prompts = tiny_policy(), ranked_prompts()
    found = likelihoods(policy, collate_ranked(prompts, 1))
    for r, one in enumerate(prompts):
        for k, answer in enumerate(one.answers):
            expected = alone(policy, one.prompt, answer)
            assert found.log_probs[r, k].item() == pytest.approx(expected.item(), abs=1e-5)
            assert found.means[r, k].item() == pytest.approx(expected.item() / len(answer), abs=1e-5)
        assert found.log_probs[r, len(one.answers):].abs().sum() == 0


def test_the_loss_of_a_batch_is_that_of_its_pairs_one_by_one() -> None:
    policy, prompts = tiny_policy(), ranked_prompts()
    total = torch.zeros(())
    for one in prompts:
        ratio = [alone(policy, one.prompt, answer) - h for answer, h in zip(one.answers, one.tables["reference"])]
        pairs = [(ratio[i], ratio[j]) for i, a in enumerate(one.ranks) for j, b in enumerate(one.ranks) if a < b]
        total = total - sum(nn.functional.logsigmoid(0.3 * (w - x)) for w, x in pairs) / len(pairs)
    total.backward()
    expected = gradient(policy)
    policy.zero_grad()
    loss, count, metrics = loss_of("dpo")(policy, collate_ranked(prompts, 1), options_of("dpo", beta=0.3))
    loss.backward()
    assert count == 3 and loss.item() == pytest.approx(total.item(), abs=1e-5)
    torch.testing.assert_close(gradient(policy), expected, atol=1e-5, rtol=1e-4)
    assert 0 <= float(metrics["accuracy"]) <= 3 and float(metrics["chosen"]) != float(metrics["rejected"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("order", "pad", "parts"), [([2, 0, 1], 1, 1), ([0, 1, 2], 7, 2), ([1, 2, 0], 4, 3)])
def test_order_padding_and_micro_batches_change_nothing(algorithm: str, order: list[int], pad: int,
                                                        parts: int) -> None:
    model: nn.Module = tiny_policy()
    prompts = ranked_prompts()
    if algorithm == "ilql":
        torch.manual_seed(0)
        model, prompts = ilql.ValuedModel(model), [ilql.rewarded(one) for one in prompts]

    def of(chosen: list[int], pad: int, parts: int) -> tuple[Tensor, int]:
        model.zero_grad()
        batch, counted = collate_ranked([prompts[n] for n in chosen], pad), 0
        batch.tensors["divergence"] = torch.full((len(chosen),), 0.3)
        for micro in batch.split(parts):
            loss, count, _ = loss_of(algorithm)(model, micro, options_of(algorithm))
            loss.backward()
            assert count == micro.count
            counted += count
        return gradient(model), counted

    expected, due = of([0, 1, 2], 1, 1)
    found, counted = of(order, pad, parts)
    assert counted == due and expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_through_the_network_dpo_reaches_the_optimum_of_the_regularised_objective() -> None:
    """All that a vocabulary of 3 can say: were the end of text, the shift or the reference wrong, pi* would be too."""
    policy, beta = tiny_policy(0, vocab_size=3), 0.7
    reference = probability(policy_of(policy)).detach().log()
    prompt = RankedPrompt("all", PROMPT, ANSWERS, [0] * len(ANSWERS), {"reference": reference.tolist()})
    batch = collate_ranked([prompt], 1)
    rates = torch.sigmoid(SCORES[:, None] - SCORES[None, :]).fill_diagonal_(0)
    optimiser = torch.optim.Adam(policy.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.99)
    for _ in range(220):
        optimiser.zero_grad()
        ratio = log_ratios(policy, batch)[0]
        (rates * dpo(ratio[:, None], ratio[None, :], beta)).sum().backward()
        optimiser.step()
        schedule.step()
    expected = (reference + SCORES / beta).softmax(0)
    torch.testing.assert_close(probability(policy_of(policy)).detach(), expected, atol=1e-3, rtol=0)


LEARNS = {"dpo": {}, "ipo": {}, "kto": {}, "orpo": {"odds_weight": 1.0}, "simpo": {}, "ilql": {"epochs": 3}}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_separates_held_out_pairs(tmp_path: Path, inputs: dict[str, Path], algorithm: str) -> None:
    step = offline_step(tmp_path, inputs, algorithm, rows=8, log_every=1, **LEARNS[algorithm])
    run(step)
    measured = read_json(tmp_path / "results.json")["preference_accuracy"]["same_labelers"]
    assert measured["mean"] > 0.9 and measured["n"] == 40
    log = read_log(tmp_path / "log.jsonl")["step"]
    assert log[0]["plan"]["prompts"] == 240 and max(log) == log[0]["plan"]["optimiser_steps"]
    assert log[0]["preference_accuracy"]["same_labelers"] == measured
    # The written model itself, opened anew, prefers what was preferred.
    before, after = load_causal(inputs["policy"] / "model"), load_causal(tmp_path / "model")
    gain = [alone(after, [2, 3, 5, 4], [word]) - alone(before, [2, 3, 5, 4], [word]) for word in (5, 6)]
    assert gain[0] > gain[1] + 0.3


def test_before_training_the_policy_is_its_own_reference(tmp_path: Path, inputs: dict[str, Path]) -> None:
    run(offline_step(tmp_path, inputs, "dpo", log_every=1))
    first = read_log(tmp_path / "log.jsonl")["step"][1]
    assert first["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert first["chosen"] == pytest.approx(0, abs=1e-5) and first["rejected"] == pytest.approx(0, abs=1e-5)
    kept = [json.loads(line) for line in (tmp_path / "reference.jsonl").read_text().splitlines()]
    assert len(kept) == 240 and kept[7]["id"] == "c7" and all(value < 0 for value in kept[7]["log_probs"])


class Stopped(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("algorithm", ["dpo", "kto", "orpo", "ilql"])
def test_a_resume_gives_the_same_bits(tmp_path: Path, inputs: dict[str, Path], algorithm: str,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    from preceptor.learn import fit
    write_rankings(tmp_path, 24, 6)
    places = {**inputs, "comparisons": tmp_path}
    options = {"rows": 4, "epochs": 2, "checkpoint_every": 3}
    whole, broken = (offline_step(tmp_path / name, places, algorithm, **options) for name in ("a", "b"))
    torch.manual_seed(1)
    run(whole)
    original, calls = fit.take_gradients, 0

    def dies(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise Stopped
        return original(*arguments)

    monkeypatch.setattr(fit, "take_gradients", dies)
    torch.manual_seed(1)
    with pytest.raises(Stopped):
        run(broken)
    torch.manual_seed(1)
    run(broken)
    assert calls == 8 + 12 - 6  # 12 optimiser steps, the first 6 of which the checkpoint held
    assert hash_path(whole.folder / "model") == hash_path(broken.folder / "model")
    assert read_json(whole.folder / "results.json") == read_json(broken.folder / "results.json")


def test_what_is_left_out_is_said(tmp_path: Path, inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_rankings(tmp_path, 12, 0)
    lines = (tmp_path / "comparisons.train.jsonl").read_text()
    prompt = Prompt("p", [{"role": "user", "content": "red"}])
    tied = Comparison("tied", prompt, [Response("good"), Response("bad")], [[0, 1]], "judge", "program")
    long = Comparison("long", prompt, [Response("good"), Response("bad " * 40)], [[0], [1]], "judge", "program")
    write_jsonl(tmp_path / "comparisons.train.jsonl", [tied, long])
    (tmp_path / "comparisons.train.jsonl").write_text(lines + (tmp_path / "comparisons.train.jsonl").read_text())
    run(offline_step(tmp_path / "a", {**inputs, "comparisons": tmp_path}, "simpo"))
    said = capsys.readouterr().err
    assert "1 of 14 rankings of comparisons.train.jsonl left out, with all their answers tied" in said
    assert "1 of 14 rankings of comparisons.train.jsonl left out, with an answer that leaves no room" in said
    assert "nothing is measured" in said and read_json(tmp_path / "a" / "results.json") == {"preference_accuracy": {}}
    write_jsonl(tmp_path / "comparisons.train.jsonl", [tied])
    with pytest.raises(UserError, match="No ranking sets two answers apart"):
        run(offline_step(tmp_path / "b", {**inputs, "comparisons": tmp_path}, "dpo"))


def test_labels_that_are_wrong_half_the_time_are_refused(tmp_path: Path, inputs: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="says nothing"):
        run(offline_step(tmp_path, inputs, "dpo", label_smoothing=0.5))


def test_kto_takes_winners_for_good_and_losers_for_bad() -> None:
    ranks = torch.tensor([[0, 1, 2, 0], [0, 1, 0, 0], [1, 0, 1, 0]])
    present = torch.arange(4) < torch.tensor([[3], [2], [4]])
    assert kto.verdicts(ranks, present).tolist() == [[1, 0, -1, 0], [1, -1, 0, 0], [-1, 1, -1, 1]]


def test_kto_pairs_each_prompt_with_an_answer_to_another() -> None:
    prompts = ranked_prompts(reference=False)
    found = kto.foreign_answers(prompts, context=6, seed=0)
    assert found == kto.foreign_answers(prompts, context=6, seed=0)
    for one, foreign in zip(prompts, found):
        own = [other.answers for other in prompts if other.prompt == one.prompt]
        assert foreign.answers[0] not in own[0] and len(foreign.prompt) + len(foreign.answers[0]) <= 6
        assert foreign.prompt == one.prompt[-len(foreign.prompt):]
    with pytest.raises(UserError, match="rankings are of one prompt"):
        kto.foreign_answers([prompts[0], prompts[0]], 6, 0)


def test_the_divergence_of_kto_is_of_the_whole_step_and_of_the_policy_as_it_then_is() -> None:
    policy, prompts = tiny_policy(), ranked_prompts()
    foreign = [RankedPrompt(one.id, one.prompt, [answer], [0], {"reference": [-9.0]})
               for one, answer in zip(prompts, ([9, 0], [8], [10, 11, 0]))]
    batches = kto.KtoBatches(RankedBatches(prompts, rows=2, epochs=2, pad=1, seed=0), foreign, policy, "fp32")
    while batches.batches.drawn < batches.batches.planned:
        batch = next(batches)
        rows = [int(id) for row in batch.documents for id in row]
        ratios = [alone(policy, foreign[n].prompt, foreign[n].answers[0]) + 9 for n in rows]
        expected = max(0.0, sum(ratio.item() for ratio in ratios) / len(rows))
        assert batch["divergence"].tolist() == pytest.approx([expected] * len(rows), abs=1e-5) and expected > 0
        with torch.no_grad():
            policy.get_output_embeddings().weight.mul_(1.01)
    assert batches.total == 4


def test_ilql_pays_the_place_in_the_ranking_at_the_last_token() -> None:
    one = ilql.rewarded(RankedPrompt("a", [5], [[6, 0], [7], [8, 0]], [0, 1, 1]))
    assert one.tables["reward"] == [1.0, -0.5, -0.5] and one.count == 5
    batch = collate_ranked([one], 1)
    torch.manual_seed(0)
    model = ilql.ValuedModel(tiny_policy())
    _, count, metrics = ilql.loss(model, batch, options_of("ilql", discount=0.9))
    q, v = (lambda prompt: model["q"](model["policy"].model(torch.tensor([prompt])).last_hidden_state[0, -1])
            .view(2, -1)), 0.0  # V starts at 0
    expected = 0.0
    for answer, paid in (([6, 0], 1.0), ([7], -0.5), ([8, 0], -0.5)):
        for t, token in enumerate(answer):
            target = paid if t == len(answer) - 1 else 0.9 * v
            expected += sum((target - q([5, *answer[:t]])[h, token].item()) ** 2 for h in range(2))
    assert count == 5 and metrics["q_loss"].item() == pytest.approx(expected, abs=1e-5)


def test_ilql_values_follow_the_lesser_of_the_slow_heads() -> None:
    """Not of the heads that learn: the target would run away with what it is the target of."""
    torch.manual_seed(0)
    model = ilql.ValuedModel(tiny_policy())
    torch.nn.init.normal_(model["target"].weight)
    torch.nn.init.normal_(model["value"].weight)
    _, _, metrics = ilql.loss(model, collate_ranked([ilql.rewarded(RankedPrompt("a", [5], [[6, 0], [7]], [0, 1]))], 1),
                              options_of("ilql", expectile=0.9))
    expected = 0.0
    for before, token in (([5], 6), ([5, 6], 0), ([5], 7)):
        state = model["policy"].model(torch.tensor([before])).last_hidden_state[0, -1]
        error = (model["target"](state).view(2, -1)[:, token].min() - model["value"](state)).item()
        expected += (0.9 if error > 0 else 0.1) * error ** 2
    assert metrics["value_loss"].item() == pytest.approx(expected, rel=1e-4)


def test_the_loss_of_kto_is_that_of_its_answers_one_by_one() -> None:
    policy, prompts, z = tiny_policy(), ranked_prompts(), 0.4
    batch = collate_ranked(prompts, 1)
    batch.tensors["divergence"] = torch.full((3,), z)
    total = 0.0
    for one, verdicts in zip(prompts, ([1, -1, -1], [-1, 1], [-1, 1, -1, 1])):
        ratios = [(alone(policy, one.prompt, answer) - h).item()
                  for answer, h in zip(one.answers, one.tables["reference"])]
        losses = [torch.sigmoid(torch.tensor(-0.3 * sign * (ratio - z))).item() * (1.5 if sign > 0 else 0.7)
                  for ratio, sign in zip(ratios, verdicts) if sign]
        total += sum(losses) / len(losses)
    found, count, _ = kto.loss(policy, batch, options_of("kto", beta=0.3, good_weight=1.5, bad_weight=0.7))
    assert found.item() == pytest.approx(total, abs=1e-5) and count == 3


def test_the_written_model_of_ilql_is_the_datas_policy_tilted_by_q() -> None:
    torch.manual_seed(0)
    model = ilql.ValuedModel(tiny_policy())
    torch.nn.init.normal_(model["target"].weight)
    tokens = torch.tensor([[5, 6, 7]])
    logits = model["policy"](tokens).logits
    q = model["target"](model["policy"].model(tokens).last_hidden_state).unflatten(-1, (2, -1)).mean(-2)
    embedding = model["policy"].get_input_embeddings().weight.clone()
    policy = ilql.merged(model, 3.0)
    torch.testing.assert_close(policy(tokens).logits, logits + 3 * q, atol=1e-4, rtol=1e-5)
    assert torch.equal(policy.get_input_embeddings().weight, embedding)


def test_pair_loss_of_absent_answers_is_finite() -> None:
    prompts = ranked_prompts()
    scores = torch.full((3, 4), float("nan"))
    for r, one in enumerate(prompts):
        scores[r, :len(one.answers)] = torch.arange(float(len(one.answers)))
    loss, _, _ = pair_loss(scores, collate_ranked(prompts, 1), lambda w, x: dpo(w, x, 1.0))
    assert loss.isfinite()
