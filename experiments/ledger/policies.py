"""Claims 5, 12 and 20: small models of novels learn from demonstrations and from a reader's reward.

What learns from the reward are stages of a recipe, run in a folder that ends with the process.
"""

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import yaml
from foundation import folder_of

from ledger import reader
from ledger.claim import Finding, over_seeds
from ledger.simulated import logistic
from ledger.small import ROWS, cost, novelist, passages, tokenizer, train
from ledger.sources import data
from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Prompt, Response
from preceptor.evaluate.few_shot import verbatim
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.models.causal import load_causal, save_model
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.run.files import write_text

PREFIX, LENGTH = 60, 24  # letters of the beginning, tokens that follow it
ASKED, TESTED = 96, 96  # beginnings to learn from, others to measure on
SHARED = {"stage": "rlhf", "max_tokens": LENGTH, "missing_end_penalty": 0.0}
GRPO = {**SHARED, "algorithm": "grpo", "iterations": 10, "episodes": 64, "answers_per_prompt": 4, "minibatches": 2,
        "ema": 0.0, "checkpoint_every": 1000, "learning_rate": 1e-3}
WAYS = {"full": GRPO, "lora": {**GRPO, "adapter": "lora", "learning_rate": 1e-2},
        "best_of_n": {**SHARED, "algorithm": "best_of_n", "answers": 7, "learning_rate": 1e-3}}
PUSHED = ("Models of 0.15 million weights, paid for the letter e in what follows the beginnings of 96 passages; "
          "measured on 96 others.")


@cache
def _workplace() -> Any:
    return tempfile.TemporaryDirectory(prefix="ledger-")


def prompts() -> tuple[list[Prompt], list[Prompt]]:
    """Beginnings of held-out passages: those to learn from, and others."""
    every = [Prompt(f"p{number}", [{"role": "user", "content": text[:PREFIX]}])
             for number, text in enumerate(passages()[1])]
    return every[:ASKED], every[ASKED:ASKED + TESTED]


def answers(model: Any, asked: Sequence[Prompt], seed: int, length: int = LENGTH) -> list[Response]:
    """One answer to each, drawn at temperature 1."""
    decoder = LocalDecoder(model, verbatim(tokenizer()), rows=4 * ROWS)
    requests = [Request(prompt, Sampling(max_tokens=length), seed * 1_000_003 + n) for n, prompt in enumerate(asked)]
    return [answer.response for answer in decoder.answers(requests)]


@cache
def gained(seed: int, way: str) -> float:
    """How much more of the reward the model gets after it has learned in one of WAYS."""
    folder = Path(_workplace().name) / str(seed) / way
    save_model(novelist(seed), verbatim(tokenizer()), folder / "start" / "model")
    write_jsonl(folder / "prompts.jsonl", prompts()[0])
    options = dict(WAYS[way])
    steps = [{"name": "taste", "stage": "program", "needs": {"code": reader.__file__},
              "options": {"function": "reader:letters"}},
             {"name": "policy", "stage": options.pop("stage"), "options": options,
              "needs": {"policy": str(folder / "start"), "reward": "taste", "prompts": str(folder / "prompts.jsonl")}}]
    recipe = folder / "recipe.yaml"
    write_text(recipe, yaml.safe_dump({"name": way, "description": "One way to learn.", "steps": steps}))
    run_recipe(load_recipe(str(recipe), sets=[f"seed={seed}"]), folder / "run")
    before, after = (fmean(reader.letters(prompt, answer) for prompt, answer in zip(
        prompts()[1], answers(model, prompts()[1], seed + 1), strict=True))
        for model in (novelist(seed), load_causal(folder_of(folder / "run", "policy") / "model")))
    return after - before


def adapters_suffice(seeds: Sequence[int]) -> Finding:
    full, lora = ([gained(seed, way) for seed in seeds] for way in ("full", "lora"))
    return over_seeds([b - 0.9 * a for a, b in zip(full, lora, strict=True)],
                      f"{PUSHED} GRPO with 640 answers; LoRA of rank 8 at ten times the learning rate. "
                      f"Gains: {fmean(lora):.3f} and {fmean(full):.3f} (ten times the share of e).")


def tuning_replaces_rl(seeds: Sequence[int]) -> Finding:
    full, best = ([gained(seed, way) for seed in seeds] for way in ("full", "best_of_n"))
    return over_seeds([b - 0.9 * a for a, b in zip(full, best, strict=True)],
                      f"{PUSHED} Two passes over the best of 7 answers to each of 96 beginnings, against GRPO with as "
                      f"many answers (640). Gains: {fmean(best):.3f} and {fmean(full):.3f}.")


EPOCHS = (1, 4, 16)
CUT, DEMONSTRATIONS, CONTINUED = 480, 40, 48  # letters of a demonstration, how many there are, tokens of an answer


@cache
def tuned(seed: int) -> dict[int, tuple[float, float]]:
    """{epochs: bits a byte of held-out demonstrations, score of the model's own writing by a reward model}.

    Demonstrations are pieces of a manual. The reward model is a logistic one of token counts, fitted to pairs of a
    piece that nobody was trained on with what the model wrote before tuning.
    """
    manual = [row["text"] for row in data("text/en.train.jsonl.gz") if "rust-lang" in row["source"]]
    cut = [text[start:start + CUT] for text in manual for start in range(0, len(text) - CUT, CUT)]
    shown, held, liked = cut[:DEMONSTRATIONS], cut[-100:], cut[200:296]
    asked = [Prompt(f"d{n}", [{"role": "user", "content": text[:PREFIX]}]) for n, text in enumerate(cut[300:364])]
    taste = reward_model(liked, [one.text for one in answers(novelist(seed), prompts()[0], seed, length=CONTINUED)])
    found = {}
    for epochs in EPOCHS:
        model = train(novelist(seed), shown, seed, steps=11 * epochs, rate=1e-3)  # 11 batches hold them once
        found[epochs] = cost(model, held), float(np.mean(
            [counts(answer.text) @ taste for answer in answers(model, asked, seed + 1, length=CONTINUED)]))
    return found


def counts(text: str) -> np.ndarray:
    """Shares of a text's tokens, in hundreds."""
    tokens = tokenizer()(text)["input_ids"]
    return np.bincount(tokens, minlength=len(tokenizer())) * 100 / max(1, len(tokens))


def reward_model(better: Sequence[str], worse: Sequence[str]) -> np.ndarray:
    """Weights of token shares that set the one side above the other."""
    gaps = np.stack([counts(a) - counts(b) for a, b in zip(better, worse, strict=True)])
    return logistic(gaps, np.ones(len(gaps)))


TUNED = ("Models of 0.15 million weights, trained on novels, then tuned on 40 pieces of a manual, each number of "
         "epochs with a schedule of its own.")


def over_fits(seeds: Sequence[int]) -> Finding:
    rows = [tuned(seed) for seed in seeds]
    told = ", ".join(f"{epochs}: {fmean(row[epochs][0] for row in rows):.3f}" for epochs in EPOCHS)
    return over_seeds([row[EPOCHS[-1]][0] - row[1][0] for row in rows], f"{TUNED} Bits a byte by epochs: {told}.")


def more_epochs_please(seeds: Sequence[int]) -> Finding:
    rows = [tuned(seed) for seed in seeds]
    told = ", ".join(f"{epochs}: {fmean(row[epochs][1] for row in rows):.2f}" for epochs in EPOCHS)
    return over_seeds([row[EPOCHS[-1]][1] - row[1][1] for row in rows],
                      f"{TUNED} The reward model knows token counts alone. Score by epochs: {told}.")
