"""Whether the stages of text align a system that sees: answers to questions about pictures, before and after.

    python experiments/picture_rlhf.py --out FOLDER [--seeds 0,1,2] [--quick] [--json]

Runs the recipe `picture_rlhf` with the first seed, and with each other one again from the step `compared` on, with the
first one's album: the seeds are those of the alignment, from one start. What is there is not redone. `right` is the
share of test questions answered word by word, `blind` the same with the picture of another question; `reward` is how
often the reward model, which learned from rankings, prefers the right one of two answers. Every figure is a mean over
questions; with several seeds `over_seeds` has means over them with Student's intervals.
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
from preceptor.recipe.load import Recipe, load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.run.files import read_json, write_json
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.vision.examine import elsewhere

POLICIES = ("album", "by_rankings", "by_answers")
QUICK = ["book.train_scenes=120", "book.valid_scenes=20", "book.test_scenes=20", "base.steps=60", "tower.steps=10",
         "minigpt_v2.steps=40", "compared.prompts=60", "by_rankings.iterations=2",
         "by_answers.iterations=2"]


def main() -> None:
    options = parsed()
    found: dict[str, dict[str, Any]] = {}
    first, *others = options.seeds.split(",")
    for seed in (first, *others):
        folder = options.out / f"seed-{seed}"
        steps = recipe(options, int(seed), None if seed == first else options.out / f"seed-{first}")
        run_recipe(steps, folder)
        found[seed] = measured(folder, options.out / f"seed-{first}", int(seed))
        spent = read_json(folder / "run.json")["steps"]
        found[seed]["minutes"] = sum(spent[step.name]["core_seconds"] for step in steps.steps) / 60
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


def recipe(options: argparse.Namespace, seed: int, start: Path | None) -> Recipe:
    """The whole recipe, or its last steps with the album and the known answers of the run in `start`."""
    whole = load_recipe("picture_rlhf", sets=[f"seed={seed}", *(QUICK if options.quick else [])])
    if start is None:
        return whole
    there = {name: str(folder_of(start, name)) for name in ("album", "known")}
    names = [step.name for step in whole.steps]
    steps = [replace(step, needs={key: "/".join([there.get(name, name), *rest]) for key, source in step.needs.items()
                                  for name, *rest in [source.split("/")]})
             for step in whole.steps[names.index("compared"):]]
    return replace(whole, steps=tuple(steps))


def measured(folder: Path, start: Path, seed: int) -> dict[str, Any]:
    """Ask each policy of a run the test questions, seen and blind."""
    asked = read_jsonl(folder_of(start, "album") / "demonstrations.test.jsonl", Conversation)
    places = {name: folder_of(start if name == "album" else folder, name) for name in POLICIES}
    found: dict[str, Any] = {name: answered(model_folder(place), asked, seed) for name, place in places.items()}
    results = read_json(folder_of(folder, "reward") / "results.json")
    [found["reward"]] = results["reward_accuracy"].values()
    return found


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
