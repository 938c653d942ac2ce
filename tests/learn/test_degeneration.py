"""Training against repetition: its parts add up, its batches resume, and a tiny model learns not to loop."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.cli.main import main
from preceptor.data.batches import Batch, Example, collate
from preceptor.data.packing import PackedBatches
from preceptor.generate.continuation import continuations
from preceptor.learn.degeneration import (
    Drawn,
    SequenceUnlikelihood,
    degeneration_terms,
    ditto_loss,
    prefix_batch,
    repeated_batch,
)
from preceptor.learn.fit import fit
from preceptor.learn.language import language_loss, language_objective
from preceptor.learn.options import LanguageOptions
from preceptor.losses.contrastive import simctg_sum
from preceptor.losses.unlikelihood import token_unlikelihood_sum
from preceptor.metrics.repetition import seq_rep_n
from preceptor.models.causal import build_llama, hidden_states
from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from preceptor.run.log import Log
from preceptor.run.progress import Progress
from preceptor.tokenizer.train import train_bpe

CONTEXT = 48


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_bpe(texts(), 300, 100_000)


def texts() -> list[str]:
    """Sentences of made-up words in random order: nothing tells a greedy model to leave a loop."""
    draw = random.Random(0)
    words = [f"{a}{b}" for a in "bdfgkl" for b in ("ado", "emi", "iru")]
    return [". ".join(" ".join(draw.choices(words, k=5)) for _ in range(8)) + "." for _ in range(60)]


@pytest.fixture(scope="module")
def examples(tokenizer: Any) -> list[Example]:
    return [Example.of_text(str(number), tokenizer(text)["input_ids"]) for number, text in enumerate(texts())]


def fresh(tokenizer: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_llama(vocabulary=len(tokenizer), width=32, layers=2, heads=2, feed_forward=64, context=CONTEXT,
                       end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)


def test_without_an_option_the_objective_is_the_likelihood_itself(examples: list[Example], tokenizer: Any) -> None:
    assert language_objective(LanguageOptions()) is language_loss
    assert degeneration_terms(LanguageOptions(), examples, tokenizer, continuations, rows=2, context=CONTEXT, total=3,
                              seed=0) == []


def test_the_objective_is_the_sum_of_its_parts_in_any_micro_batches(examples: list[Example], tokenizer: Any) -> None:
    model = fresh(tokenizer)
    batch = next(PackedBatches(examples, rows=4, length=CONTEXT, pad=0, seed=0, steps=1))
    objective = language_objective(LanguageOptions(unlikelihood=0.5, simctg_margin=0.7))
    total, count, metrics = objective(model, batch)
    states = hidden_states(model, batch)
    logits = model.get_output_embeddings()(states)
    expected = (language_loss(model, batch)[0] + simctg_sum(states, batch["targets"], batch["segments"], 0.7)
                + 0.5 * token_unlikelihood_sum(logits, batch["tokens"], batch["targets"], batch["segments"]))
    torch.testing.assert_close(total, expected)
    assert count == batch.count and set(metrics) == {"likelihood", "unlikelihood", "simctg"}
    parts = [objective(model, micro)[0] for micro in batch.split(3)]
    torch.testing.assert_close(sum(parts), total)


def test_continuations_are_the_library_s_greedy_ones(tokenizer: Any, examples: list[Example]) -> None:
    model = fresh(tokenizer)
    prefixes = [example.tokens[:7] for example in examples[:3]]
    written = model.generate(torch.tensor(prefixes), do_sample=False, max_new_tokens=9, eos_token_id=-1,
                             pad_token_id=0)[:, 7:]
    model.train()
    assert continuations(model, prefixes, 9) == written.tolist() and model.training


def test_sequence_unlikelihood_penalises_what_is_repeated(tokenizer: Any, examples: list[Example]) -> None:
    model = fresh(tokenizer)
    batch = prefix_batch(examples, 3, 6, 10)(torch.Generator().manual_seed(0))
    assert batch["tokens"].shape == (3, 6) and batch.counts == [10] * 3

    def loop(_: nn.Module, prefixes: list[list[int]], length: int) -> list[list[int]]:
        return [[5, 6, 7, 8, 5, 6, 7, 8, 9, 9], [*range(10, 20)], [5] * 10]

    total, count, metrics = SequenceUnlikelihood(loop, 6)(model, batch)
    assert count == 30 and int(metrics["repeated"]) == 4 + 0 + 9  # of ten equal tokens all but the first
    with torch.no_grad():
        tokens = torch.cat([batch["tokens"], torch.tensor(loop(model, [], 10))], dim=1)
        chances = model(tokens).logits[:, 5:-1].softmax(-1).gather(-1, tokens[:, 6:, None])[..., 0]
    expected = -(1 - chances[0, 4:8]).log().sum() - (1 - chances[2, 1:]).log().sum()
    torch.testing.assert_close(total, expected, atol=1e-4, rtol=1e-4)


def test_ditto_s_batches_repeat_sentences(tokenizer: Any, examples: list[Example]) -> None:
    batch = repeated_batch(examples, tokenizer, 4, CONTEXT)(torch.Generator().manual_seed(1))
    for row, period, count in zip(batch["tokens"].tolist(), batch["period"].tolist(), batch.counts):
        assert row[period:] == row[:-period] and count == CONTEXT - 1 - period and len(row) == CONTEXT
        assert tokenizer.decode(row[:period]).strip().endswith(".")
    total, count, _ = ditto_loss(fresh(tokenizer), batch)
    assert count == batch.count and total > 0


def test_drawn_batches_resume_and_skip(tokenizer: Any, examples: list[Example]) -> None:
    def batches() -> Drawn:
        return Drawn(prefix_batch(examples, 2, 5, 3), seed=4, total=9)

    whole = batches()
    expected = [next(whole)["tokens"].tolist() for _ in range(6)]
    assert len({str(tokens) for tokens in expected}) == 6
    first, second = batches(), batches()
    next(first), next(first)
    second.restore(first.state())
    assert next(second)["tokens"].tolist() == expected[2]
    third = batches()
    third.skip(range(1, 3))
    assert [next(third)["tokens"].tolist() for _ in range(3)] == [expected[0], *expected[3:5]]


def test_texts_too_short_are_refused(tokenizer: Any) -> None:
    short = [Example.of_text("s", [1, 2])]
    with pytest.raises(UserError, match="no text has as many"):
        prefix_batch(short, 1, 5, 5)
    with pytest.raises(UserError, match="the texts have none"):
        repeated_batch([Example.of_text("s", tokenizer("bado " * 40)["input_ids"])], tokenizer, 1, CONTEXT)


NOISE = [Example.of_text(str(n), torch.randint(2, 20, (32,), generator=torch.Generator().manual_seed(n)).tolist())
         for n in range(200)]
"""Texts of random tokens: nothing in the likelihood tells a greedy model to leave a loop."""


def trained(folder: Path, steps: int, **options: float) -> nn.Module:
    settings = LanguageOptions(learning_rate=1e-2, schedule="constant", weight_decay=0.0, precision="fp32", **options)
    torch.manual_seed(0)
    model = build_llama(vocabulary=20, width=32, layers=2, heads=2, feed_forward=64, context=32, end=0, pad=1)
    batches = PackedBatches(NOISE, rows=16, length=32, pad=1, seed=0, steps=steps)
    folder.mkdir()
    fit(model, batches, language_objective(settings), settings, folder=folder, log=Log(folder / "log.jsonl", "s", 1),
        progress=Progress("s", steps))
    return model


def greedy_repetition(model: nn.Module) -> float:
    return seq_rep_n(continuations(model, [example.tokens[:8] for example in NOISE[:40]], 24))


def test_with_token_unlikelihood_a_greedy_model_does_not_loop(tmp_path: Path) -> None:
    assert greedy_repetition(trained(tmp_path / "plain", 40)) > 0.8
    assert greedy_repetition(trained(tmp_path / "token", 80, unlikelihood=1.0)) < 0.2


def test_sequence_unlikelihood_makes_the_model_s_own_loop_less_likely(tmp_path: Path) -> None:
    model = trained(tmp_path / "plain", 40)
    batch = prefix_batch(NOISE, 4, 8, 16)(torch.Generator().manual_seed(0))
    loops = continuations(model, batch["tokens"].tolist(), 16)

    def nats() -> float:
        """How unlikely the loops are that the model wrote at first."""
        texts = [Example.of_text("x", prefix + loop) for prefix, loop in zip(batch["tokens"].tolist(), loops)]
        return float(language_loss(model, collate([[text] for text in texts], 1))[0].detach())

    before = nats()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(10):
        optimiser.zero_grad()
        SequenceUnlikelihood(continuations, 8)(model, batch)[0].backward()
        optimiser.step()
    assert nats() > before + 1.0 * sum(map(len, loops)) / 2


def test_ditto_halves_each_copy_of_a_sentence_known_by_heart(tokenizer: Any) -> None:
    """Beside the likelihood of the first copy, DITTO makes the second half as likely."""
    model = fresh(tokenizer)
    sentence = tokenizer("bado lemi kiru fado gemi. ", add_special_tokens=False)["input_ids"]
    example = Example.of_text("x", sentence * 2)
    ditto = Batch({"tokens": torch.tensor([example.tokens]), "period": torch.tensor([len(sentence)])},
                  [len(sentence) - 1], [["x"]])
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)

    def train(steps: int, loss: Any, batch: Batch) -> torch.Tensor:
        for _ in range(steps):
            optimiser.zero_grad()
            loss(model, batch)[0].backward()
            optimiser.step()
        with torch.no_grad():
            logits = model(ditto["tokens"]).logits[0, :-1]
        chances = logits.softmax(-1).gather(-1, torch.tensor(example.tokens[1:])[:, None])[:, 0]
        return chances[len(sentence):] / chances[:-len(sentence)]

    def both(model: nn.Module, _: Batch) -> tuple[torch.Tensor]:
        first = collate([[Example.of_text("x", sentence)]], 0)
        return (language_loss(model, first)[0] + ditto_loss(model, ditto)[0],)

    assert train(50, language_loss, collate([[example]], 0)).mean() > 0.9
    assert train(50, both, ditto).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("option, logged", [("unlikelihood=1.0", "unlikelihood"), ("simctg_margin=0.5", "simctg"),
                                            ("unlikelihood_sequence=0.5", "unlikelihood_sequence_repeated"),
                                            ("ditto=0.5", "ditto_loss")])
def test_a_recipe_mixes_them_in_with_one_option(tiny_recipe: Path, tmp_path: Path, option: str, logged: str) -> None:
    assert main(["run", str(tiny_recipe), "--out", str(tmp_path / "run"), "--set", "base.steps=3",
                 "--set", f"base.{option}"]) == 0
    lines = [line for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines() if '"base"' in line]
    assert any(f'"{logged}"' in line for line in lines)
    assert read_json(tmp_path / "run" / "run.json")["steps"]


def test_every_option_is_off_by_default() -> None:
    own = ({field.name for field in dataclasses.fields(LanguageOptions)}
           - {field.name for field in dataclasses.fields(LanguageOptions.__mro__[1])})
    assert not any(getattr(LanguageOptions(), name) for name in own - {"distillation_temperature"})
