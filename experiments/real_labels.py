"""Does the labeler model foretell what real labelers say, better than counting all alike?

    PRECEPTOR_DATA=... python experiments/real_labels.py [--json] [--quick]

Four public packs with several judgements of the same answers: LLMFAO (124 crowd workers, pairs), PandaLM (three
annotators, pairs), the experts of Tulu (pairs), MQM (ten translations, three of eight raters each). For each:

    agreement   share of pairs that two labelers order alike, ties out; alpha is Krippendorff's over pairs, with ties
    gain        mean log-likelihood of a held-out judgement under signed-trust Plackett-Luce, less that of the same
                model with every beta held at 1, in nats, with a 95 % interval that draws items; five folds, each
                judgement is held out once, its item and its labeler keeping others. Each model's utilities are scaled
                by the factor that fits the other folds best, as the fit alone is too sure of itself. Above 0 the trust
                model is better.

And one with flags in place of rankings: ConvAbuse (eight annotators say of what users write to chatbots whether it is
abusive; severity below 0). There the model is Dawid and Skene's, and the gain is over the same model with one confusion
matrix for all annotators; an annotator's second judgement of a text counts as another.

The last line with --json is {pack: {"labelers", "judgements", "agreement", "alpha", "gain": interval}}.
"""

import argparse
import json
import math
import os
import random
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from preceptor.data.jsonl import read_rows
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.flags import Vote, dawid_skene
from preceptor.feedback.trust import Rankings, as_arrays, fit_trust, stages
from preceptor.metrics.agreement import krippendorff_alpha, pair_units
from preceptor.metrics.intervals import bootstrap_mean
from preceptor.metrics.rankings import labeler_agreement

FOLDS = 5
FACTORS = [2 ** (power / 4) for power in range(-16, 5)]
Row = dict[str, Any]


def from_pairs(row: Row) -> Iterator[Comparison]:
    """Judgements a, b or tie of two answers."""
    said = [Response("a: " + row["response_a"]), Response("b: " + row["response_b"])]
    prompt = Prompt(row["id"], [{"role": "user", "content": row.get("prompt") or row.get("instruction") or "?"}])
    people = [one for one in row["annotations"] if not str(one["annotator"]).startswith("ai_")]
    for number, one in enumerate(people):
        ranking = {"a": [[0], [1]], "b": [[1], [0]], "tie": [[0, 1]]}[one["label"]]
        yield Comparison(f"{row['id']}.{number}", prompt, said, ranking, str(one["annotator"]), "person")


def from_penalties(row: Row) -> Iterator[Comparison]:
    """Penalties of translations, the lowest the best."""
    said = [Response(f"{one['system']}: {one['text']}") for one in row["candidates"]]
    prompt = Prompt(row["id"], [{"role": "user", "content": row["prompt"]}])
    for number, one in enumerate(row["ratings"]):
        levels = sorted(set(one["penalty"]))
        ranking = [[i for i, penalty in enumerate(one["penalty"]) if penalty == level] for level in levels]
        yield Comparison(f"{row['id']}.{number}", prompt, said, ranking, str(one["annotator"]), "person")


PACKS: dict[str, tuple[str, Callable[[Row], Iterator[Comparison]]]] = {
    "llmfao": ("llmfao_crowd.train.jsonl.gz", from_pairs),
    "pandalm": ("pandalm_3annotators.train.jsonl.gz", from_pairs),
    "tulu": ("tulu_expert_eval.train.jsonl.gz", from_pairs), "mqm": ("mqm_zhen_k10.train.jsonl.gz", from_penalties)}
FLAGS = "convabuse_8annotators.train.jsonl.gz"


def gain(judgements: list[Comparison], seed: int = 0) -> dict[str, float]:
    """The mean gain in log-likelihood of held-out judgements that set something apart, clustered by item."""
    names = {name: n for n, name in enumerate(sorted({one.labeler for one in judgements}))}
    items = {id: n for n, id in enumerate(dict.fromkeys(one.prompt.id for one in judgements))}
    rows = [(names[one.labeler], items[one.prompt.id], one.ranking) for one in judgements]
    fold_of = [random.Random(f"{seed}/{one.id}").randrange(FOLDS) for one in judgements]
    folds = []
    for fold in range(FOLDS):
        train = [row for row, place in zip(rows, fold_of) if place != fold]
        seen = ({row[0] for row in train}, {row[1] for row in train})
        test = [row for row, place in zip(rows, fold_of)
                if place == fold and row[0] in seen[0] and row[1] in seen[1] and len(row[2]) > 1]
        held = as_arrays(test)
        folds.append((held, [_utilities(as_arrays(train), held, len(names), spread) for spread in (None, 1e-3)]))
    gains, clusters = [], []
    for fold, (held, utilities) in enumerate(folds):
        others = [other for number, other in enumerate(folds) if number != fold]
        ours, alike = (stages(held, _sharpness(others, model) * utilities[model])[0] for model in (0, 1))
        gains += (ours - alike).tolist()
        clusters += held.item.tolist()
    return bootstrap_mean(gains, clusters).to_dict()


def _utilities(train: Rankings, held: Rankings, labelers: int, spread: float | None) -> np.ndarray:
    m, beta, _ = fit_trust(train, labelers, spread)
    known = np.vstack([m, np.zeros((int(held.item.max()) + 1, m.shape[1]))])  # items that no training ranking has: 0
    return beta[held.labeler, None] * known[held.item[:, None], held.answer]


def _sharpness(folds: list[tuple[Rankings, list[np.ndarray]]], model: int) -> float:
    """The factor of a model's utilities that foretells the judgements of these folds best."""
    return max(FACTORS, key=lambda factor: sum(stages(held, factor * utilities[model])[0].sum()
                                               for held, utilities in folds))


def flag_votes(rows: list[Row]) -> list[Vote]:
    """(text, annotator, abusive or not) of every judgement."""
    names: dict[str, int] = {}
    return [(task, names.setdefault(str(one["annotator"]), len(names)), int(one["severity"] < 0))
            for task, row in enumerate(rows) for one in row["annotations"]]


def flags(rows: list[Row], seed: int = 0) -> dict[str, Any]:
    """The figures of a pack of flags."""
    votes = flag_votes(rows)
    draw = random.Random(seed)
    fold_of = [draw.randrange(FOLDS) for _ in votes]
    annotators = 1 + max(labeler for _, labeler, _ in votes)
    gains, clusters = [], []
    for fold in range(FOLDS):
        train = [vote for vote, place in zip(votes, fold_of) if place != fold]
        seen = {task for task, _, _ in train}
        held = [vote for vote, place in zip(votes, fold_of) if place == fold and vote[0] in seen]
        own = dawid_skene(train, len(rows), annotators)
        alike = dawid_skene([(task, 0, said) for task, _, said in train], len(rows), 1)
        for task, labeler, said in held:
            chances = own.truth[task] @ own.confusion[labeler, :, said], alike.truth[task] @ alike.confusion[0, :, said]
            gains.append(math.log(chances[0] / chances[1]))
            clusters.append(task)
    pairs = [(task, one == other) for task, said in _by_text(votes).items()
             for (who, one), (whom, other) in combinations(said, 2) if who != whom]
    return {"labelers": annotators, "judgements": len(votes),
            "agreement": bootstrap_mean([float(alike) for _, alike in pairs], [task for task, _ in pairs]).to_dict(),
            "alpha": krippendorff_alpha([said for _, said in some] for some in _by_text(votes).values()),
            "gain": bootstrap_mean(gains, clusters).to_dict()}


def _by_text(votes: list[Vote]) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for task, labeler, said in votes:
        found.setdefault(task, []).append((labeler, said))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="100 items of each pack")
    options = parser.parse_args()
    data = os.environ.get("PRECEPTOR_DATA")
    if not data:
        sys.exit("The variable PRECEPTOR_DATA names no folder of data packs.\nSet it to the folder that holds pref/.")
    figures = {}
    for name, (file, reader) in PACKS.items():
        rows = [row for _, row in read_rows(Path(data) / "pref" / file)]
        judgements = [one for row in rows[:100 if options.quick else None] for one in reader(row)]
        agreed = labeler_agreement(judgements)
        figures[name] = {"labelers": len({one.labeler for one in judgements}), "judgements": len(judgements),
                         "agreement": agreed.to_dict() if agreed else None,
                         "alpha": krippendorff_alpha(pair_units(judgements).values()), "gain": gain(judgements)}
        print(name, figures[name], file=sys.stderr)
    rows = [row for _, row in read_rows(Path(data) / "pref" / FLAGS)]
    figures["convabuse"] = flags(rows[:100 if options.quick else None])
    print("convabuse", figures["convabuse"], file=sys.stderr)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
