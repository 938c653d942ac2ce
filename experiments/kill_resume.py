"""Kill a run again and again, at random instants over all its stages, and compare what it makes in the end.

    .venv/bin/python experiments/kill_resume.py --kills 100 --json

A small InstructGPT (vocabulary, base model, fine-tuning, comparisons, reward model, PPO with pretraining mix) on a
small village runs once undisturbed. Then runs of the same recipe are killed with SIGKILL, `CHAIN` times each, and left
to finish.
Every second kill comes after a random time; the others come at a random call of a function that writes or steps, inside
the writing of a checkpoint among them. After each kill every checkpoint in its place is read and its checksum compared.

    kills       how many processes died so
    identical   those of them in runs whose models, in the end, have the SHA-256 of the undisturbed run's
    unreadable  checkpoints that could not be read after a kill
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from preceptor.run.files import hash_path, write_json
from tests.processes import Kill, preceptor

CHAIN = 10
PLACES = [("torch", "save", 8), ("preceptor.learn.checkpoint", "hash_path", 8), ("os", "fsync", 60),
          ("preceptor.learn.fit", "take_gradients", 12), ("pathlib.Path", "replace", 20),
          ("pathlib.Path", "rename", 12)]
VILLAGE = """
name: village
steps:
  - {name: village, stage: village, options: {documents: 200, train_prompts: 24, demonstrations: 60}}
"""
RECIPE = """
name: killed
steps:
  - {name: tokenizer, stage: tokenizer, needs: {corpus: VILLAGE/corpus.jsonl}, options: {vocabulary: 300}}
  - name: base
    stage: pretrain
    needs: {corpus: VILLAGE/corpus.jsonl, tokenizer: tokenizer}
    options: {rows: 2, checkpoint_every: 3, layers: 1, width: 16, heads: 2, feed_forward: 24, context: 192,
                     steps: 20, ema: 0.0}
  - name: sft
    stage: sft
    needs: {model: base, demonstrations: VILLAGE/demonstrations.train.jsonl}
    options: {rows: 8, epochs: 2, checkpoint_every: 3}
  - name: comparisons
    stage: comparisons
    needs: {model: sft, prompts: VILLAGE/prompts.train.jsonl, heldout: VILLAGE/prompts.valid.jsonl, village: VILLAGE}
    options: {prompts: 8, heldout_prompts: 4, max_tokens: 8}
  - name: reward
    stage: reward
    needs: {model: sft, comparisons: comparisons}
    options: {rows: 2, checkpoint_every: 2}
  - name: ppo_ptx
    stage: rlhf
    needs: {policy: sft, reward: reward, prompts: VILLAGE/prompts.train.jsonl, corpus: VILLAGE/corpus.jsonl}
    options: {iterations: 2, episodes: 4, max_tokens: 8, minibatches: 2, ptx_coefficient: 1.0, ptx_rows: 1,
              checkpoint_every: 1}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="five kills")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = kill_and_resume(5 if options.quick else options.kills, random.Random(options.seed), Path(folder))
    if options.out:
        write_json(options.out, figures)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def kill_and_resume(kills: int, draw: random.Random, folder: Path) -> dict[str, int]:
    """Run undisturbed, then in chains of kills; every chain ends in a run that is let finish."""
    village, recipe = folder / "village.yaml", folder / "killed.yaml"
    village.write_text(VILLAGE, encoding="utf-8")
    recipe.write_text(RECIPE.replace("VILLAGE", str(folder / "world/00-village")), encoding="utf-8")
    ended = preceptor(["run", str(village), "--out", str(folder / "world")], folder)
    if ended.code:
        sys.exit(ended.output)
    started = time.monotonic()
    ended = preceptor(["run", str(recipe), "--out", str(folder / "whole")], folder)
    if ended.code:
        sys.exit(ended.output)
    seconds = time.monotonic() - started
    expected, made = models(folder / "whole"), folder / "run"
    done = identical = unreadable = 0
    while done < kills:
        chain = min(CHAIN, kills - done)
        died = 0
        while died < chain:
            kill, limit = instant(draw, (done + died) % 2 == 0, seconds / chain)
            ended = preceptor(["run", str(recipe), "--out", str(made)], folder, kill, limit)
            if ended.code == -signal.SIGKILL:
                died += 1
                unreadable += damaged(made)
            elif ended.code:
                sys.exit(ended.output)
            else:  # it came through before its instant
                _remove(made)
        ended = preceptor(["run", str(recipe), "--out", str(made)], folder)
        if ended.code:
            sys.exit(ended.output)
        unreadable += ended.output.count("is damaged")
        same = models(made) == expected
        done, identical = done + died, identical + died * same
        print(f"{done} kills, {identical} identical, {unreadable} unreadable", file=sys.stderr, flush=True)
        _remove(made)
    return {"kills": done, "identical": identical, "unreadable": unreadable}


def instant(draw: random.Random, by_time: bool, seconds: float) -> tuple[Kill | None, float | None]:
    """A kill after up to twice `seconds`, or at a random call of a function."""
    if by_time:
        return None, draw.uniform(0, 2 * seconds)
    module, function, most = draw.choice(PLACES)
    return Kill(module, function, draw.randint(1, most)), None


def models(run: Path) -> dict[str, str]:
    """The SHA-256 of every model's weights."""
    return {str(path.relative_to(run)): hash_path(path) for path in sorted(run.glob("[0-9][0-9]-*/**/*.safetensors"))}


def damaged(run: Path) -> int:
    """Checkpoints in their places that cannot be read, or whose checksum does not fit."""
    import torch
    count = 0
    for path in run.glob("*/checkpoints/step-*"):
        try:
            torch.load(path / "state.pt", weights_only=True)
            count += hash_path(path / "state.pt") != (path / "state.sha256").read_text()
        except Exception:
            count += 1
    return count


def _remove(run: Path) -> None:
    import shutil
    shutil.rmtree(run)


if __name__ == "__main__":
    main()
