"""Training and decoding against repetition, side by side: the tables of Welleck et al. 2020 and Su et al. 2022, small.

    PRECEPTOR_DATA=... python experiments/degeneration.py --out experiments/results/degeneration.json --json

For each seed a small model learns real English prose by maximum likelihood (MLE). Five copies of it then learn on for
equally many optimiser steps: with MLE alone (the control: a longer training changes repetition by itself), with token
unlikelihood, sequence unlikelihood, both, and SimCTG's contrastive loss. Each goes on from the same held-out prefixes.

Columns, per model: perplexity of held-out text, and Welleck's accuracy, rep/128, wrep/128. Per model and decoding:
seq-rep-4 and uniq-seq (model tokens), rep-2 to 4 and diversity, loop rate, coherence (mean log-probability under a
model that wrote none of the texts), MAUVE with that model's states. The means over seeds have 95 % intervals. `paper`
stands beside what a paper prints (Welleck et al.: WikiText-103, 16 layers; Su et al.: WikiText-103, gpt2): compare the
order, not the size.
"""

import argparse
import copy
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from preceptor.data.batches import Example
from preceptor.data.jsonl import read_rows
from preceptor.data.packing import PackedBatches
from preceptor.data.records import Prompt
from preceptor.generate.continuation import continuations
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.learn.degeneration import degeneration_terms
from preceptor.learn.fit import fit
from preceptor.learn.language import language_objective, total_nats
from preceptor.learn.options import LanguageOptions
from preceptor.metrics.diversity import uniq_seq
from preceptor.metrics.intervals import interval_over_seeds
from preceptor.metrics.language import coherence
from preceptor.metrics.loops import loop_rate
from preceptor.metrics.mauve import mauve
from preceptor.metrics.prediction import prediction
from preceptor.metrics.repetition import repetition
from preceptor.models.causal import build_llama
from preceptor.run.log import Log
from preceptor.run.machine import prepare
from preceptor.run.progress import Progress
from preceptor.tokenizer.train import train_bpe

CONTEXT, PREFIX, LENGTH = 128, 32, 96
ROWS = 8
OBJECTIVES: dict[str, dict[str, float]] = {
    "MLE": {}, "UL-token": {"unlikelihood": 1.0}, "UL-seq": {"unlikelihood_sequence": 1.0},
    "UL-token+seq": {"unlikelihood": 1.0, "unlikelihood_sequence": 1.0}, "SimCTG": {"simctg_margin": 0.5}}
DECODINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0}, "beam 4": {"temperature": 0.0, "num_beams": 4}, "nucleus 0.95": {"top_p": 0.95},
    "contrastive": {"temperature": 0.0, "penalty_alpha": 0.6, "top_k": 5}}
WRITTEN = {"MLE": tuple(DECODINGS), "UL-token": ("greedy",), "UL-seq": ("greedy",), "UL-token+seq": ("greedy",),
           "SimCTG": ("greedy", "nucleus 0.95", "contrastive")}
PAPER: dict[tuple[str, str], dict[str, float]] = {  # seq-rep-4 and perplexity: Welleck; diversity: Su
    ("MLE", "greedy"): {"seq_rep_4": 0.442, "perplexity": 25.64, "diversity": 0.04},
    ("MLE", "beam 4"): {"seq_rep_4": 0.523}, ("MLE", "nucleus 0.95"): {"seq_rep_4": 0.016, "diversity": 0.94},
    ("MLE", "contrastive"): {"diversity": 0.24}, ("UL-token", "greedy"): {"seq_rep_4": 0.283, "perplexity": 26.91},
    ("UL-seq", "greedy"): {"seq_rep_4": 0.137, "perplexity": 25.42},
    ("UL-token+seq", "greedy"): {"seq_rep_4": 0.058, "perplexity": 26.72},
    ("SimCTG", "greedy"): {"diversity": 0.05, "perplexity": 23.82}, ("SimCTG", "nucleus 0.95"): {"diversity": 0.94},
    ("SimCTG", "contrastive"): {"diversity": 0.95}, ("human", "-"): {"seq_rep_4": 0.006, "diversity": 0.95}}


@dataclass(frozen=True)
class Size:
    """How much is done."""

    base_steps: int
    more_steps: int
    prefixes: int
    seeds: int
    width: int = 128
    layers: int = 3


FULL, QUICK = Size(500, 80, 128, 3), Size(12, 3, 24, 1, 32, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="one seed, a few steps: to see that it works")
    parser.add_argument("--out", type=Path, help="write the object to this file, too, after each seed")
    options = parser.parse_args()
    if "PRECEPTOR_DATA" not in os.environ:
        sys.exit("There is no real text to learn from.\nSet PRECEPTOR_DATA to a folder with text/en.train.jsonl.gz.")
    size = QUICK if options.quick else FULL
    prepare(0)
    torch.set_num_threads(1)  # models this small lose time to every further thread
    text = Text(Path(os.environ["PRECEPTOR_DATA"]) / "text" / "en.train.jsonl.gz", size)
    judge = trained(text.fresh(1000, size), text, {}, size.base_steps, 3e-3, seed=1000)
    found = []
    for seed in range(size.seeds):
        found.append(dict(measured(seed, text, judge, size)))
        table = {"rows": rows_over_seeds(found), "seeds": len(found), "steps": [size.base_steps, size.more_steps]}
        if options.out:
            options.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    show(table["rows"])
    print(json.dumps(table) if options.json else "")


class Text:
    """The prose: a vocabulary, what is learned from, and held-out prefixes with what really follows them."""

    def __init__(self, path: Path, size: Size) -> None:
        texts = [row["text"] for _, row in read_rows(path)]
        self.tokenizer = train_bpe(texts, 2048, 2_000_000)
        held_out = [self.tokenizer(text)["input_ids"] for text in texts[::8]]
        self.examples = [Example.of_text(str(number), self.tokenizer(text)["input_ids"])
                         for number, text in enumerate(texts) if number % 8]
        windows = [tokens[start:start + CONTEXT] for tokens in held_out
                   for start in range(0, len(tokens) - CONTEXT + 1, CONTEXT)]
        step = len(windows) // size.prefixes
        self.windows = windows[::step][:size.prefixes]
        self.prefixes = [window[:PREFIX] for window in self.windows]
        self.human = [window[PREFIX:] for window in self.windows]

    def fresh(self, seed: int, size: Size) -> nn.Module:
        """A model with fresh weights."""
        torch.manual_seed(seed)
        return build_llama(vocabulary=len(self.tokenizer), width=size.width, layers=size.layers, heads=4,
                           feed_forward=size.width * 11 // 4, context=CONTEXT, end=self.tokenizer.eos_token_id,
                           pad=self.tokenizer.pad_token_id)


def trained(model: nn.Module, text: Text, objective: dict[str, float], steps: int, rate: float, seed: int) -> nn.Module:
    """The model after `steps` more optimiser steps of the objective."""
    options = LanguageOptions(learning_rate=rate, warmup=0.05, checkpoint_every=10**9, **objective)
    pad = text.tokenizer.pad_token_id
    batches = PackedBatches(text.examples, rows=ROWS, length=CONTEXT, pad=pad, seed=seed, steps=steps)
    terms = degeneration_terms(options, text.examples, text.tokenizer, continuations, rows=ROWS, context=CONTEXT,
                               total=steps, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        fit(model, batches, language_objective(options), options, folder=Path(folder),
            log=Log(Path(folder) / "log.jsonl", "train", 1), progress=Progress("train", steps), extra=terms)
    return model.eval()


Key = tuple[str, str]


def measured(seed: int, text: Text, judge: nn.Module, size: Size) -> Iterator[tuple[Key, dict[str, float]]]:
    """((objective, decoding), figures) of one seed, the human text among them."""
    human = features(judge, text, text.human)
    yield ("human", "-"), of_texts(text, judge, text.human, None) | prediction(
        [(window[1:], window[1:]) for window in text.windows])
    base = trained(text.fresh(seed, size), text, {}, size.base_steps, 3e-3, seed)
    for name, objective in OBJECTIVES.items():
        model = trained(copy.deepcopy(base), text, objective, size.more_steps, 1e-3, seed + 500)
        own = predictions(model, text)
        for decoding in WRITTEN[name]:
            figures = of_texts(text, judge, written(model, text, DECODINGS[decoding], seed), human)
            say(f"seed {seed} {name:13} {decoding:13} perplexity {own['perplexity']:.1f} seq-rep-4 "
                f"{figures['seq_rep_4']:.3f} diversity {figures['diversity']:.3f}")
            yield (name, decoding), own | figures


class Prefixes(LocalDecoder):
    """A decoder whose prompts are tokens of plain text, named by their number."""

    def __init__(self, model: nn.Module, text: Text) -> None:
        super().__init__(model, text.tokenizer)
        self.prefixes = text.prefixes

    def prompt_tokens(self, request: Request) -> list[int]:
        """The prefix of the request's number."""
        return self.prefixes[int(request.prompt.id)]


def written(model: nn.Module, text: Text, options: dict[str, Any], seed: int) -> list[list[int]]:
    """How the model goes on from each prefix."""
    sampling = Sampling(max_tokens=LENGTH, **options)
    requests = [Request(Prompt(str(number), [{"role": "user", "content": ""}]), sampling, 1000 * seed + number)
                for number in range(len(text.prefixes))]
    return [answer.response.token_ids for answer in Prefixes(model, text).answers(requests)]


def of_texts(text: Text, judge: nn.Module, found: Sequence[Sequence[int]],
             human: np.ndarray | None) -> dict[str, float]:
    """The figures of continuations."""
    distinct, _ = uniq_seq(found)
    likely = [log_probs(judge, prefix, tokens) for prefix, tokens in zip(text.prefixes, found)]
    figures = {**repetition(found), "loop_rate": loop_rate(found), "uniq_seq": distinct,
               "coherence": coherence(likely)}
    return figures | ({} if human is None else {"mauve": mauve(human, features(judge, text, found))})


@torch.inference_mode()
def predictions(model: nn.Module, text: Text) -> dict[str, float]:
    """Perplexity of the held-out windows, and what the model would say at each of their places."""
    examples = [Example.of_text(str(number), window) for number, window in enumerate(text.windows)]
    nats, count = total_nats(model, examples, rows=ROWS, length=CONTEXT, pad=text.tokenizer.pad_token_id)
    tokens = torch.tensor(text.windows)
    guesses = torch.cat([model(part).logits[:, :-1].argmax(-1) for part in tokens.split(ROWS)])
    return {"perplexity": math.exp(nats / count),
            **prediction([(window[1:], guess.tolist()) for window, guess in zip(text.windows, guesses)])}


@torch.inference_mode()
def log_probs(judge: nn.Module, prefix: list[int], tokens: Sequence[int]) -> list[float]:
    """log p of each token of a continuation under the judge."""
    logits = judge(torch.tensor([[*prefix, *tokens]])).logits[0, len(prefix) - 1:-1].float().log_softmax(-1)
    return logits.gather(-1, torch.tensor(list(tokens))[:, None])[:, 0].tolist()


@torch.inference_mode()
def features(judge: nn.Module, text: Text, found: Sequence[Sequence[int]]) -> np.ndarray:
    """The judge's last hidden state at the end of each prefix with its continuation."""
    states = [judge.base_model(torch.tensor([[*prefix, *tokens]])).last_hidden_state[0, -1]
              for prefix, tokens in zip(text.prefixes, found)]
    return torch.stack(states).float().numpy()


def rows_over_seeds(found: Sequence[dict[Key, dict[str, float]]]) -> list[dict[str, Any]]:
    """One row for each model and decoding: the mean of each figure over seeds, with its interval where there is one."""
    rows = []
    for key in found[0]:
        figures = {name: [seed[key][name] for seed in found] for name in found[0][key]}
        rows.append({"objective": key[0], "decoding": key[1], **{
            name: interval_over_seeds(values).to_dict() if len(found) > 1 else values[0]
            for name, values in figures.items()}, **({"paper": PAPER[key]} if key in PAPER else {})})
    return rows


def show(rows: Sequence[dict[str, Any]]) -> None:
    """The table for people."""
    columns = ("perplexity", "rep_128", "seq_rep_4", "uniq_seq", "diversity", "loop_rate", "coherence", "mauve")
    say(f"{'':28}" + "".join(f"{name:>12}" for name in columns) + "   paper")
    for row in rows:
        values = [row[name]["mean"] if isinstance(row.get(name), dict) else row.get(name, math.nan) for name in columns]
        beside = ", ".join(f"{name} {value}" for name, value in row.get("paper", {}).items())
        say(f"{row['objective']:14}{row['decoding']:14}" + "".join(f"{value:12.3f}" for value in values)
            + f"   {beside}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
