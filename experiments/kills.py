"""Is a run that is killed again and again, at random instants, the run that was left alone, to the bit?

    python experiments/kills.py [--kills 30] [--json] [--quick]

Two tiny recipes on a generated village: PPO-ptx, and two rounds of iterated RLHF with a ladder. Each is run once
without interruption. Then it is run in fresh folders, killed with SIGKILL after a random time, started again with the
same command, killed again, until it ends by itself; this is repeated until there were as many kills as asked for.
Every other kill waits for a file that is being written (checkpoints are most of what is written) and strikes then.
Compared are the SHA-256 of all models, moving averages, rankings and results. The last line with --json is
{recipe: {"kills", "inside_writes", "runs", "different"}}: `different` counts the runs that did not end alike.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from preceptor.run.files import hash_path

IMPORTED = ("torch", "transformers.models.llama.modeling_llama", "transformers.models.auto.modeling_auto",
            "transformers.models.auto.tokenization_auto", "preceptor.recipe.runner", "preceptor.cli.main",
            "preceptor.rlhf.stage", "preceptor.reward.stage", "preceptor.sft.stage", "preceptor.evaluate.ladder",
            "preceptor.report.page")
COMPARED = ("model/*.safetensors", "ema/*.safetensors", "comparisons.*.jsonl", "rankings.jsonl", "results.json")
BEGINNING = """
steps:
  - name: village
    stage: village
    options: {people: 20, documents: 120, demonstrations: 24, valid_demonstrations: 4, train_prompts: 24,
              valid_prompts: 8, test_prompts: 8, users: 12}
  - {name: tokenizer, stage: tokenizer, needs: {corpus: village/corpus.jsonl}, options: {vocabulary: 400}}
  - name: base
    stage: pretrain
    needs: {corpus: village/corpus.jsonl, tokenizer: tokenizer}
    options: {width: 32, layers: 1, heads: 2, feed_forward: 48, context: 160, rows: 2, steps: 12, checkpoint_every: 4}
  - name: sft
    stage: sft
    needs: {model: base, demonstrations: village/demonstrations.train.jsonl}
    options: {rows: 2, epochs: 1, checkpoint_every: 4}
"""
COMPARISONS = "k_min: 3, k_max: 3, max_tokens: 8, prompts: 10, heldout_prompts: 4"
PPO = "episodes: 8, minibatches: 2, max_tokens: 8, checkpoint_every: 2"
RECIPES = {
    "ppo": BEGINNING + f"""
  - name: comparisons
    stage: comparisons
    needs: {{model: sft, prompts: village/prompts.train.jsonl, heldout: village/prompts.valid.jsonl, village: village}}
    options: {{{COMPARISONS}}}
  - {{name: reward, stage: reward, needs: {{model: sft, comparisons: comparisons}}, options: {{rows: 2}}}}
  - name: ppo
    stage: rlhf
    needs: {{policy: sft, reward: reward, prompts: village/prompts.train.jsonl, corpus: village/corpus.jsonl}}
    options: {{{PPO}, iterations: 8, ptx_coefficient: 0.5, ptx_rows: 2}}
""",
    "iterated": BEGINNING + f"""
  - rounds: 2
    begin: {{policy: sft, comparisons: null}}
    steps:
      - name: comparisons
        stage: comparisons
        needs: {{model: last.policy, earlier: before.policy, before: last.comparisons, village: village,
                 prompts: village/prompts.train.jsonl, heldout: village/prompts.valid.jsonl}}
        options: {{round: round.number, {COMPARISONS}}}
      - {{name: reward, stage: reward, needs: {{model: sft, comparisons: comparisons}}, options: {{rows: 2}}}}
      - name: policy
        stage: rlhf
        needs: {{policy: last.policy, reward: reward, prompts: village/prompts.train.jsonl}}
        options: {{{PPO}, iterations: 4}}
  - name: ladder
    stage: ladder
    needs: {{model: last.policy, earlier: before.policy, comparisons: last.comparisons, village: village,
             prompts: village/prompts.test.jsonl}}
    options: {{max_tokens: 8, resamples: 20}}
"""}


def start(recipe: Path, run: Path) -> int:
    """The id of a process that brings the run up to date; forked, as a fresh one needs seconds for its imports."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        with (run.parent / "output.txt").open("a") as file, contextlib.redirect_stderr(file), \
                contextlib.redirect_stdout(file):
            from preceptor.cli.main import main
            from preceptor.run import machine
            machine.cores = lambda: 1
            code = main(["run", str(recipe), "--out", str(run)])
    finally:
        os._exit(code)


def ended(process: int) -> int | None:
    """The exit code of a process, None while it runs."""
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def being_written(run: Path) -> bool:
    return any(run.glob("*/.*.writing")) or any(run.glob("*/checkpoints/.*.writing"))


def kill_at(process: int, run: Path, seconds: float, in_a_write: bool) -> int | None:
    """Kill a process after a time, or at the first write after it; returns its exit code where it ended before."""
    until = time.monotonic() + seconds
    while (code := ended(process)) is None:
        if time.monotonic() >= until and (not in_a_write or being_written(run)):
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None
        time.sleep(0.0005)
    return code


def made(run: Path) -> dict[str, str]:
    """SHA-256 of what a run made, by path."""
    return {str(path.relative_to(run)): hash_path(path) for name in COMPARED for path in sorted(run.glob(f"*/{name}"))}


def torture(name: str, kills: int, folder: Path) -> dict[str, int]:
    """Run a recipe undisturbed, then killed `kills` times, and count what ended otherwise."""
    recipe = folder / f"{name}.yaml"
    recipe.write_text(f"name: {name}\n{RECIPES[name]}")
    begun = time.monotonic()
    _finish(start(recipe, folder / "whole"), folder)
    span, wanted, draw = time.monotonic() - begun, made(folder / "whole"), random.Random(name)
    found = {"kills": 0, "inside_writes": 0, "runs": 0, "different": 0}
    while found["kills"] < kills:
        run = folder / f"run{found['runs']}"
        found["runs"] += 1
        while found["kills"] < kills:
            code = kill_at(start(recipe, run), run, draw.uniform(0, span), in_a_write=found["kills"] % 2 == 1)
            if code is not None:
                _check(code, folder)
                break
            found["kills"] += 1
            found["inside_writes"] += being_written(run)
        else:
            _finish(start(recipe, run), folder)
        found["different"] += made(run) != wanted
        print(f"{name}: {found}", file=sys.stderr)
    return found


def _finish(process: int, folder: Path) -> None:
    _check(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), folder)


def _check(code: int, folder: Path) -> None:
    if code:
        sys.exit(f"A run ended with {code}:\n{(folder / 'output.txt').read_text()[-2000:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="of each recipe (30)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="three kills of each recipe")
    options = parser.parse_args()
    for module in IMPORTED:
        import_module(module)
    figures = {}
    for name in RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = torture(name, 3 if options.quick else options.kills, Path(folder))
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))
    return int(any(one["different"] for one in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
