"""Whether the stages of text align a system that sees: answers to questions about pictures, before and after.

    python experiments/picture_rlhf.py --out FOLDER [--seeds 0,1,2] [--quick] [--json]

Runs the recipe `picture_rlhf` once for each seed, and goes on with runs that are there. `right` is the share of test
questions answered word by word, `blind` the same with the picture of another question; `reward` is how often the
reward model, which learned from rankings, prefers the right one of two answers. Every figure is a mean over questions;
with several seeds the last object has means over seeds with Student's intervals.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from foundation import folder_of

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Conversation, Prompt, image_urls
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.metrics.intervals import interval_over_seeds, wilson
from preceptor.models.causal import load_causal, model_folder
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.run.files import read_json, write_json
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.vision.examine import elsewhere

POLICIES = ("album", "ppo", "grpo")
QUICK = ["book.train_scenes=120", "book.valid_scenes=20", "book.test_scenes=20", "base.steps=60", "tower.steps=10",
         "minigpt_v2.steps=40", "compared.prompts=60", "ppo.iterations=2", "grpo.iterations=2"]


def main() -> None:
    options = parsed()
    found: dict[str, dict[str, Any]] = {}
    for seed in options.seeds.split(","):
        found[seed] = measured(options.out / f"seed-{seed}", int(seed), options.quick)
        print(f"seed {seed}  " + "  ".join(f"{name} {figure:.3f}" for name, figure in plain(found[seed]).items()),
              flush=True)
    seeds = [plain(one) for one in found.values()]
    result: dict[str, Any] = {"seeds": found}
    if len(seeds) > 1:
        result["over_seeds"] = {name: interval_over_seeds([one[name] for one in seeds]).to_dict() for name in seeds[0]}
    write_json(options.out / "picture_rlhf.json", result)
    if options.json:
        print(json.dumps(result))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; the same folder goes on")
    parser.add_argument("--seeds", default="0,1,2", help="by commas")
    parser.add_argument("--quick", action="store_true", help="a few steps of everything")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    return parser.parse_args()


def measured(folder: Path, seed: int, quick: bool) -> dict[str, Any]:
    """Run the recipe and ask each policy the test questions, seen and blind."""
    run_recipe(load_recipe("picture_rlhf", sets=[f"seed={seed}", *(QUICK if quick else [])]), folder)
    asked = read_jsonl(folder_of(folder, "album") / "demonstrations.test.jsonl", Conversation)
    found: dict[str, Any] = {name: answered(model_folder(folder_of(folder, name)), asked, seed) for name in POLICIES}
    results = read_json(folder_of(folder, "reward") / "results.json")
    [found["reward"]] = results["reward_accuracy"].values()
    steps = read_json(folder / "run.json")["steps"].values()
    return found | {"minutes": sum(step["core_seconds"] for step in steps) / 60}


@torch.no_grad()
def answered(folder: Path, asked: Sequence[Conversation], seed: int) -> dict[str, Any]:
    """Shares of right answers, the likeliest token after the other, with Wilson's intervals."""
    decoder = LocalDecoder(load_causal(folder), load_tokenizer(folder))
    sampling = Sampling(temperature=0, max_tokens=8)
    others = [asked[place] for place in elsewhere(len(asked), seed)]
    found = {}
    for way, shown in (("right", asked), ("blind", others)):
        prompts = [Prompt(one.id, with_picture(one, other).messages[:1]) for one, other in zip(asked, shown)]
        said = [one.response.text.strip() for one in decoder.answers([Request(one, sampling, 0) for one in prompts])]
        right = sum(text == one.messages[-1]["content"].strip() for text, one in zip(said, asked))
        found[way] = wilson(right, len(asked)).to_dict()
    return found


def with_picture(record: Conversation, other: Conversation) -> Conversation:
    """The record's question about the picture of another."""
    [url] = image_urls(other.messages)
    first = record.messages[0]
    content = [part if part["type"] == "text" else {"type": "image_url", "image_url": {"url": url}}
               for part in first["content"]]
    return replace(record, messages=[first | {"content": content}, *record.messages[1:]])


def plain(found: dict[str, Any]) -> dict[str, float]:
    """The means, with what each policy gained over the one that it began as."""
    means = {f"{name}_{way}": found[name][way]["mean"] for name in POLICIES for way in ("right", "blind")}
    gains = {f"{name}_gain": means[f"{name}_right"] - means["album_right"] for name in POLICIES[1:]}
    return means | gains | {"reward": found["reward"]["mean"], "minutes": found["minutes"]}


if __name__ == "__main__":
    main()
