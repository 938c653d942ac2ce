"""The recipe `own` on real public text, instructions and human comparisons, in English and Chinese.

    PRECEPTOR_DATA=FOLDER .venv/bin/python experiments/own_data.py --json

Prints, of the run and of what it is measured against:

    wall_seconds        of each step and altogether; at most 1800 on two cores is asked for
    perplexity          on held-out text, by model and language (what PPO-ptx costs, and what it gives back)
    reward_accuracy     on human comparisons of conversations that no training saw, with a 95 % interval that draws
                        prompts, beside two baselines on the same pairs: "the longer answer wins", and a logistic
                        regression on hashed words, trained on the same comparisons
    reward              mean score of each model's answers to held-out prompts; PPO was trained to raise it

`--quick` reads the smoke packs and trains almost nothing: it shows that the pipeline holds, its figures mean nothing.
The same command goes on where it was killed. The data are read where they lie and are no part of this project.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Comparison
from preceptor.metrics.rankings import accuracy
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from preceptor.run.manifest import read_manifest, step_folder

ROOT = Path(__file__).parent.parent
PACKS = {
    "text": ["text/en.train.jsonl.gz", "text/zh.train.jsonl.gz", "text/tinyshakespeare.txt"],
    "validation_text": ["text/en.valid.jsonl.gz", "text/zh.valid.jsonl.gz"],
    "demonstrations": ["instruct/en.train.jsonl.gz", "instruct/zh.train.jsonl.gz"],
    "comparisons": ["pref/hh_rlhf.train.jsonl.gz", "pref/oasst_zh_kway.train.jsonl.gz",
                    "pref/oasst_en_kway.train.jsonl.gz"],
    "validation_comparisons": ["pref/hh_rlhf.valid.jsonl.gz"]}
SMOKE_PACKS = {
    "text": ["smoke/text_en.valid.jsonl", "smoke/text_zh.train.jsonl"],
    "demonstrations": ["smoke/instruct_en.train.jsonl", "smoke/instruct_zh.train.jsonl"],
    "comparisons": ["smoke/pref_hh_rlhf.train.jsonl", "smoke/pref_oasst_zh_kway.train.jsonl"]}
SMOKE_SETS = ["data.held_out=0.2", "tokenizer.vocabulary=512", "base.steps=20", "base.width=32", "base.layers=2",
              "base.feed_forward=64", "sft.epochs=1", "select.prompts=8", "ppo_ptx.iterations=2",
              "ppo_ptx.episodes=8", "evaluate.prompts=8"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object of figures as the last line")
    parser.add_argument("--quick", action="store_true", help="the smoke packs and tiny sizes: about a minute")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/own_data or runs/own_data_quick)")
    options = parser.parse_args()
    data = os.environ.get("PRECEPTOR_DATA")
    if not data:
        sys.exit("The variable PRECEPTOR_DATA names no folder of data packs.\nSet it to the folder that holds text/.")
    out = options.out or ROOT / "runs" / ("own_data_quick" if options.quick else "own_data")
    try:
        sources = link_packs(Path(data), out, SMOKE_PACKS if options.quick else PACKS)
        sets = [f"data.needs.{name}={folder}" for name, folder in sources.items()]
        run_recipe(load_recipe("own", sets=sets + (SMOKE_SETS if options.quick else [])), out)
    except UserError as error:
        print(f"{error.cause}\n{error.cure}", file=sys.stderr)
        return 2
    found = figures(out)
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))
    return 0


def link_packs(data: Path, out: Path, packs: dict[str, list[str]]) -> dict[str, Path]:
    """One folder of links for each input of the import stage: data stay where they lie."""
    folders = {}
    for name, files in packs.items():
        folders[name] = out / "packs" / name
        folders[name].mkdir(parents=True, exist_ok=True)
        for file in files:
            if not (data / file).is_file():
                raise UserError(f"There is no pack '{file}' in '{data}'.", "Check PRECEPTOR_DATA.")
            link = folders[name] / Path(file).name
            if not link.is_symlink():
                link.symlink_to((data / file).resolve())
    return folders


def figures(out: Path) -> dict[str, Any]:
    """What the finished run measured, and the baselines on the same comparisons."""
    manifest = read_manifest(out)
    evaluated = read_json(step_folder(out, "evaluate") / "results.json")
    records = {side: read_jsonl(step_folder(out, "data") / f"comparisons.{side}.jsonl", Comparison)
               for side in ("train", "valid")}
    seconds = {name: step["wall_seconds"] for name, step in manifest["steps"].items()}
    trained = read_json(step_folder(out, "reward") / "results.json")["reward_accuracy"]["same_labelers"]
    return {
        "wall_seconds": {**seconds, "total": round(sum(seconds.values()), 1)},
        "records": {side: len(some) for side, some in records.items()},
        "perplexity": {model: {"all": perplexity, **evaluated["perplexity_by_language"][model]}
                       for model, perplexity in evaluated["perplexity"].items()},
        "reward_accuracy": {"reward_model": trained,
                            "longer_wins": measured(records["valid"], length_scores(records["valid"])),
                            "bag_of_words": measured(records["valid"], bag_of_words_scores(**records))},
        "reward": evaluated["reward"], "reward_win_rate": evaluated["reward_win_rate"], "kl": evaluated["kl"],
        "machine": manifest["machine"], "versions": manifest["versions"], "seed": manifest["seed"]}


def measured(comparisons: Sequence[Comparison], scores: Sequence[Sequence[float]]) -> dict[str, float]:
    return accuracy(comparisons, scores).to_dict()


def length_scores(comparisons: Sequence[Comparison]) -> list[list[float]]:
    """An answer's characters: what a judge would say who prefers the longer one."""
    return [[float(len(response.text)) for response in one.responses] for one in comparisons]


def bag_of_words_scores(train: Sequence[Comparison], valid: Sequence[Comparison]) -> list[list[float]]:
    """A linear score w·x, x the hashed words and pairs of words of an answer, Chinese by characters.

    w is the logistic regression on differences x(better) - x(worse) of all pairs that a ranking sets apart: Bradley
    and Terry's model, as in the reward model, without order or context. Each pair stands in both directions, so that
    no constant can be learned.
    """
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    vectorizer = HashingVectorizer(n_features=2**18, ngram_range=(1, 2), norm="l2", alternate_sign=False,
                                   token_pattern=r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+")
    differences = []
    for comparison in train:
        rows = vectorizer.transform([response.text for response in comparison.responses])
        for (first, rank_a), (second, rank_b) in combinations(enumerate(comparison.ranks()), 2):
            if rank_a != rank_b:
                better, worse = (first, second) if rank_a < rank_b else (second, first)
                differences.append(rows[better] - rows[worse])
    x = vstack([*differences, *(-row for row in differences)]).tocsr()
    y = [1] * len(differences) + [0] * len(differences)
    model = LogisticRegression(C=1.0, max_iter=1000, fit_intercept=False).fit(x, y)
    return [model.decision_function(vectorizer.transform([response.text for response in one.responses])).tolist()
            for one in valid]


if __name__ == "__main__":
    sys.exit(main())
