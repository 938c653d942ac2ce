"""`preceptor tune decoding`: which decoding strategy suits a model, every family with the same number of trials.

An advantage that appears only when one family is tuned harder than another is none (arXiv 2506.13681 on min-p), so each
family has the same number of settings, and each setting answers the same prompts with the same seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from preceptor.data.batches import Example, collate
from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Prompt
from preceptor.generate.decoder import Answer, Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.losses.likelihood import token_log_probs
from preceptor.metrics.intervals import Interval, bootstrap_mean
from preceptor.metrics.loops import loop_rate
from preceptor.metrics.repetition import diversity
from preceptor.models.causal import hidden_states, load_causal, model_folder
from preceptor.models.reward_model import RewardModel
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.tokenizer.fingerprint import fingerprint

FAMILIES: dict[str, list[dict[str, Any]]] = {
    "temperature": [{"temperature": t} for t in (0.5, 0.7, 0.85, 1.0)],
    "top_k": [{"top_k": k} for k in (5, 10, 30, 80)],
    "top_p": [{"top_p": p} for p in (0.7, 0.8, 0.9, 0.95)],
    "min_p": [{"min_p": p} for p in (0.3, 0.2, 0.1, 0.05)],
    "typical_p": [{"typical_p": p} for p in (0.3, 0.5, 0.8, 0.95)],
    "greedy, penalised": [{"temperature": 0.0, "repetition_penalty": p} for p in (1.0, 1.1, 1.2, 1.4)],
    "contrastive search": [{"temperature": 0.0, "top_k": k, "penalty_alpha": a}
                           for k, a in ((4, 0.3), (4, 0.6), (8, 0.4), (8, 0.6))],
    "beam search": [{"temperature": 0.0, "num_beams": n, "no_repeat_ngram_size": size}
                    for n, size in ((2, 0), (4, 0), (2, 4), (4, 4))],
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting and what its answers are like; intervals are over prompts."""

    family: str
    options: dict[str, Any]
    diversity: Interval
    quality: Interval
    loop_rate: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


def tune(folder: Path, prompts: Path, *, reference: Path | None = None, reward: Path | None = None,
         max_tokens: int = 64, rows: int = 64, seed: int = 0, progress: Any = None) -> tuple[str, list[Trial]]:
    """Try every setting; returns what quality means here, and the trials.

    Quality is the reward model's score where `reward` is given, else the mean log-probability of the answer's tokens
    under `reference` (coherence; another model of the same tokenizer, and without one the model itself, which flatters
    what is likely).

    Raises:
        UserError: a model cannot be loaded, the reference has another tokenizer, or there are fewer than two prompts.
    """
    source = model_folder(folder)
    tokenizer = load_tokenizer(source)
    decoder = LocalDecoder(load_causal(source), tokenizer, rows=rows)
    asked = read_jsonl(prompts, Prompt)
    if len(asked) < 2:
        raise UserError(f"'{prompts}' has one prompt, and an interval needs several.", "Give some dozens of prompts.")
    judge, meaning = _judge(decoder, reference, reward)
    trials = []
    settings = [(family, options) for family, several in FAMILIES.items() for options in several]
    for number, (family, options) in enumerate(settings, start=1):
        sampling = Sampling(max_tokens=max_tokens, **options)
        answers = decoder.answers([Request(prompt, sampling, seed + n) for n, prompt in enumerate(asked)])
        trials.append(_trial(family, options, answers, judge(asked, answers)))
        if progress:
            progress.update(number, family)
    return meaning, trials


def recommended(trials: Sequence[Trial], least: float = 0.9) -> tuple[Trial, list[Trial]]:
    """The trial of the best quality among those of enough diversity, and those that are not clearly worse.

    Enough is `least` times the largest diversity of any trial. Not clearly worse: of enough diversity, and the
    interval of the quality reaches the best one's.
    """
    enough = [trial for trial in trials if trial.diversity.mean >= least * max(one.diversity.mean for one in trials)]
    best = max(enough, key=lambda trial: trial.quality.mean)
    return best, [trial for trial in enough if trial is not best and trial.quality.high >= best.quality.low]


def _trial(family: str, options: dict[str, Any], answers: Sequence[Answer], quality: Sequence[float | None]) -> Trial:
    texts = [answer.response.token_ids for answer in answers]
    measured = [value for text in texts if (value := diversity([text])) is not None]
    known = [value for value in quality if value is not None]
    if not measured or not known:
        raise UserError(f"With {options} no answer has four tokens, so there is nothing to compare.",
                        "Give a model that answers at more length, or a larger --max-tokens.")
    return Trial(family, options, bootstrap_mean(measured), bootstrap_mean(known), loop_rate(texts))


def _judge(decoder: LocalDecoder, reference: Path | None, reward: Path | None) -> tuple[Any, str]:
    """How answers are judged: a function of prompts and answers, and its name."""
    if reward is not None:
        model = RewardModel(model_folder(reward), rows=decoder.rows)
        return lambda prompts, answers: model.score(prompts, [answer.response for answer in answers]), "reward"
    judge = decoder.model
    if reference is not None:
        judge = load_causal(model_folder(reference))
        if fingerprint(load_tokenizer(model_folder(reference))) != decoder.fingerprint:
            raise UserError(f"The reference '{reference}' has another tokenizer than the model.",
                            "Take a reference of the same family, or judge by --reward.")
    name = "coherence under the reference" if reference else "coherence under the model itself"
    return lambda prompts, answers: [coherence_of(judge, answer, decoder.tokenizer.pad_token_id)
                                     for answer in answers], name


@torch.no_grad()
def coherence_of(model: nn.Module, answer: Answer, pad: int) -> float | None:
    """The mean log-probability of the answer's tokens given prompt and answer before; None where it has no token."""
    tokens = answer.response.token_ids
    if not tokens:
        return None
    batch = collate([[Example.of_text("answer", [*answer.prompt_tokens, *tokens])]], pad)
    states = hidden_states(model.eval(), batch.to(str(next(model.parameters()).device)))[0]
    states = states[len(answer.prompt_tokens) - 1:-1]
    log_probs = token_log_probs(model.get_output_embeddings()(states), torch.tensor(tokens, device=states.device))
    return math.fsum(log_probs.tolist()) / len(tokens)
