"""Poison at known places in the data of a small model: how much of it the watch finds, and what is left of the harm.

    .venv/bin/python experiments/spikes.py --json

A byte-level model of 30 thousand weights learns the village's English corpus three times a seed: clean and watched,
poisoned and watched, poisoned and unwatched. The poison is four spans of batches: garbage (random bytes),
duplicated (one text in every row), noise (targets of other positions), overflow (a loss beyond fp32).

    found               share of the poisoned batches that were cut out
    false_per_10k       rescues that cut nothing poisoned, in 10,000 steps of the watched runs
    bits_per_byte_gap   relative difference of held-out bits per byte, cured to clean run (mean of seeds)
    by_kind             `found` of each kind
    unwatched_gap       what the gap is without the watch (its overflow left out: the run would end there)
    extra_steps         gradients taken a second time or for a probe, as a share of the steps
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from math import log
from pathlib import Path
from typing import Any

KINDS = ("garbage", "duplicated", "noise", "overflow")
SPAN = 6        # batches of poison in a row
START = 200     # batches before the first poison may come
END, PAD, BYTES = 256, 257, 258


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="one seed, 600 steps")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    from preceptor.run.files import write_json
    from preceptor.run.machine import prepare
    prepare(0)
    seeds, steps = ([0], 600) if options.quick else (options.seeds, options.steps)
    figures = over_seeds([one_seed(seed, steps) for seed in seeds], steps)
    if options.out:
        write_json(options.out, figures)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def over_seeds(results: list[dict[str, Any]], steps: int) -> dict[str, Any]:
    mean = {key: sum(one[key] for one in results) / len(results) for key in ("gap", "unwatched_gap", "extra_steps")}
    by_kind = {kind: sum(one["found"][kind] for one in results) / len(results) for kind in KINDS}
    return {"found": sum(by_kind.values()) / len(KINDS),
            "false_per_10k": sum(one["false"] for one in results) * 1e4 / (2 * steps * len(results)),
            "bits_per_byte_gap": mean["gap"], "by_kind": by_kind, "unwatched_gap": mean["unwatched_gap"],
            "extra_steps": mean["extra_steps"], "seeds": len(results), "steps": steps,
            "gaps": [one["gap"] for one in results],
            "unwatched_gaps": [one["unwatched_gap"] for one in results]}


def one_seed(seed: int, steps: int) -> dict[str, Any]:
    """The three runs of one seed."""
    train, held_out = texts(seed)
    draw = random.Random(seed)
    places = [START + n * (steps - START - 60) // len(KINDS) + draw.randrange((steps - START) // 8)
              for n in range(len(KINDS))]
    poison = {place + n: kind for place, kind in zip(places, draw.sample(KINDS, len(KINDS))) for n in range(SPAN)}
    harmless = {number: kind for number, kind in poison.items() if kind != "overflow"}
    clean, clean_ledger, _ = learn(train, held_out, seed, steps, {}, rescues=100)
    cured, ledger, taken = learn(train, held_out, seed, steps, poison, rescues=100)
    harmed, _, _ = learn(train, held_out, seed, steps, harmless, rescues=0)
    cut = {number for rescue in ledger for number in rescue["batches"]}
    false = len(clean_ledger) + sum(not set(rescue["batches"]) & set(poison) for rescue in ledger)
    found = {kind: sum(number in cut for number, one in poison.items() if one == kind) / SPAN for kind in KINDS}
    print(f"seed {seed}: clean {clean:.4f}, cured {cured:.4f}, unwatched {harmed:.4f} bits per byte; found {found}, "
          f"false {false}; " + "; ".join(f"{one['step']}: {one['cause']}" for one in clean_ledger), file=sys.stderr,
          flush=True)
    return {"found": found, "false": false, "gap": cured / clean - 1, "unwatched_gap": harmed / clean - 1,
            "extra_steps": taken / steps - 1}


def texts(seed: int) -> tuple[list[str], list[str]]:
    """The village's corpus and its held-out documents."""
    from preceptor.village.corpus import draw_corpus
    from preceptor.village.options import VillageOptions
    from preceptor.village.prompts import core_filter
    from preceptor.village.realizer import Realizer
    from preceptor.village.stage import load_languages
    from preceptor.village.world import build_world
    options = VillageOptions(documents=3000)
    languages = load_languages("en")
    realizer = Realizer(languages["en"], build_world(options, seed, languages["en"].words))
    train, valid = draw_corpus(options, seed, [realizer], core_filter({}))
    return [document.text for document in train], [document.text for document in valid][:100]


def learn(train: list[str], held_out: list[str], seed: int, steps: int, poison: dict[int, str],
          rescues: int) -> tuple[float, list[dict[str, Any]], int]:
    """One run; returns held-out bits per byte, the ledger, and how many gradients it took."""
    import torch

    from preceptor.data.batches import Example
    from preceptor.learn.fit import fit
    from preceptor.learn.language import language_loss, total_nats
    from preceptor.learn.options import FitOptions
    from preceptor.models.causal import build_llama
    from preceptor.run.files import read_json
    from preceptor.run.log import Log
    from preceptor.run.progress import Progress

    def example(number: int, text: str) -> Example:
        return Example.of_text(str(number), [END, *text.encode(), END])

    gradients = 0

    def loss(model: Any, batch: Any) -> Any:
        nonlocal gradients
        gradients += 1
        total, count, metrics = language_loss(model, batch)
        return (total * float("inf") if "overflow" in batch.documents[0] else total), count, metrics

    torch.manual_seed(seed)
    model = build_llama(vocabulary=BYTES, width=32, layers=2, heads=2, feed_forward=88, context=96, end=END, pad=PAD)
    examples = [example(number, text) for number, text in enumerate(train)]
    supply = poisoned(poison, seed)(examples, rows=8, length=96, pad=PAD, seed=seed, steps=steps)
    with tempfile.TemporaryDirectory() as name, redirect_stderr(StringIO()):
        folder = Path(name)
        fit(model, supply, loss, FitOptions(learning_rate=3e-3, warmup=0.05, checkpoint_every=25, keep_last=4),
            folder=folder, log=Log(folder / "log.jsonl", "spikes", 1), progress=Progress("spikes", steps),
            rescues=rescues)
        ledger = read_json(folder / "rescues.json") if (folder / "rescues.json").exists() else []
    nats, _ = total_nats(model, [example(number, text) for number, text in enumerate(held_out)], rows=16, length=96,
                         pad=PAD)
    return nats / log(2) / sum(len(text.encode()) for text in held_out), ledger, gradients


def poisoned(poison: dict[int, str], seed: int) -> Callable[..., Any]:
    """Packed batches of which those with the numbers in `poison` are poisoned with the kind that it names."""
    import torch

    from preceptor.data.batches import IGNORE, Batch, collate
    from preceptor.data.packing import PackedBatches

    class Poisoned(PackedBatches):
        def __next__(self) -> Batch:
            batch = super().__next__()
            kind = poison.get(self.drawn - 1)
            if kind is None:
                return batch
            tensors = {name: tensor.clone() for name, tensor in batch.tensors.items()}
            draw = torch.Generator().manual_seed(seed * 1_000 + self.drawn)
            counts, shape = batch.counts, tensors["tokens"].shape
            if kind == "garbage":
                tensors["tokens"] = torch.randint(0, 256, shape, generator=draw)
                tensors["targets"] = torch.where(tensors["targets"] == IGNORE, IGNORE, tensors["tokens"].roll(-1, 1))
            elif kind == "noise":
                mixed = torch.randint(0, 256, shape, generator=draw)
                tensors["targets"] = torch.where(tensors["targets"] == IGNORE, IGNORE, mixed)
            elif kind == "duplicated":  # the same row of this span in all its batches
                first = min(number for number, one in poison.items() if one == kind)
                again = self._row(first)
                tensors = {name: tensor.expand(len(counts), -1).contiguous() for name, tensor in again.tensors.items()}
                counts = again.counts * len(counts)
            return Batch(tensors, counts, [[kind] for _ in counts])

        def _row(self, number: int) -> Batch:
            plan = self._plan(0)
            return collate([[self.pieces[index] for index in plan[number % len(plan)][0]]], self.pad)

    return Poisoned


if __name__ == "__main__":
    main()
