"""How a policy stands on a village beside the model that it began from, and what it took to train it.

    gold          mean of the oracle's overall score of its answers to test prompts, 1 to 7
    win_rate      how often the oracle puts its answer above that of the model it began from, ties one half
    kl            nats an answer by which it has gone from there (k1, over its own answers)
    perplexity    of held-out pretraining text; `tax` is its logarithm less that of the model it began from
    seconds       of processor time that its training took, the start of its process included
    megabytes     the most memory that the process of its training held, libraries and all
"""

import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from math import log
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from foundation import folder_of

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Document, Prompt
from preceptor.evaluate.likelihood import divergence, text_likelihood
from preceptor.generate.decoder import Answer, Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.metrics.intervals import win_rate
from preceptor.models.causal import load_causal
from preceptor.run.files import read_json, write_json, write_text
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.village.stage import load_oracle

TEMPERATURE = 0.7


def answered(folder: Path, prompts: Sequence[Prompt], samples: int, seed: int) -> list[Answer]:
    """`samples` answers to each prompt, prompt by prompt, at the temperature of training."""
    requests = [Request(prompt, Sampling(temperature=TEMPERATURE), seed * 1_000_003 + number)
                for number, prompt in enumerate(prompt for prompt in prompts for _ in range(samples))]
    return LocalDecoder(load_causal(folder), load_tokenizer(folder)).answers(requests)


class Village:
    """What every policy of one world is asked, and who judges; `start` is the model that all begin from."""

    def __init__(self, base: Path, seed: int, prompts: int) -> None:
        folder = folder_of(base, "village")
        self.start, self.seed = folder_of(base, "select") / "model", seed
        self.oracle = load_oracle(folder)
        self.prompts = read_jsonl(folder / "prompts.test.jsonl", Prompt)[:prompts]
        self.documents = read_jsonl(folder / "corpus_valid.jsonl", Document)
        self.before = self.oracle.score(self.prompts, [answer.response for answer in self.answers(self.start)])
        self.perplexity = self._perplexity(self.start)

    def answers(self, folder: Path) -> list[Answer]:
        """One answer to each prompt, at the temperature of training."""
        return answered(folder, self.prompts, 1, self.seed)

    def _perplexity(self, folder: Path) -> float:
        return text_likelihood(load_causal(folder), load_tokenizer(folder), self.documents)["perplexity"]

    def standing(self, folder: Path) -> dict[str, float]:
        """The figures of the policy in `folder`."""
        answers, pad = self.answers(folder), load_tokenizer(folder).pad_token_id
        gold = self.oracle.score(self.prompts, [answer.response for answer in answers])
        perplexity = self._perplexity(folder)
        return {"gold": fmean(gold),
                "win_rate": win_rate(gold, self.before, [prompt.id for prompt in self.prompts]).mean,
                "kl": divergence(load_causal(self.start), answers, TEMPERATURE, pad).mean,
                "perplexity": perplexity, "tax": log(perplexity / self.perplexity)}


def trained(folder: Path, step: dict[str, Any], seed: int) -> dict[str, float]:
    """Train one step in a process of its own, so that its memory and time are its own. A run that was cut short begins
    anew: half of it would have half of the time."""
    shutil.rmtree(folder, ignore_errors=True)
    recipe = {"name": step["name"], "description": "One policy.", "seed": seed, "steps": [step]}
    write_text(folder / "recipe.yaml", yaml.safe_dump(recipe, sort_keys=False))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "preceptor.cli.main", "run", str(folder / "recipe.yaml"), "--out",
                    str(folder)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "megabytes": read_json(folder / "run.json")["steps"][step["name"]]["peak_rss_mb"]}


def stood(village: Village, folder: Path, step: dict[str, Any], seed: int) -> dict[str, float]:
    """Train a step, and say how its policy stands; one that is done is not done again."""
    path = folder / "standing.json"
    if not path.exists():
        cost = trained(folder, step, seed)
        write_json(path, {**village.standing(folder_of(folder, step["name"]) / "model"), **cost})
    return read_json(path)


def needs(base: Path, names: Sequence[str]) -> dict[str, str]:
    """The inputs of a step of stage `rlhf`, from a run of the demo."""
    every = {"policy": folder_of(base, "select"), "reward": folder_of(base, "reward"),
             "prompts": folder_of(base, "village") / "prompts.train.jsonl",
             "comparisons": folder_of(base, "comparisons"), "corpus": folder_of(base, "village") / "corpus.jsonl"}
    return {name: str(every[name].resolve()) for name in names}
