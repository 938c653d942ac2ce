"""Pretraining throughput against Hugging Face `Trainer`, same weights, same rows, same number of optimiser steps.

    make peers
    .venv/bin/python benchmarks/training.py --json

Each side runs in a process of its own (the allocator is set before anything is allocated), the sides alternate, and
the figure is the median over pairs of our tokens per second over theirs; more than 1 means ours is faster. The first
step's losses of the two sides must agree to 1e-2 (Trainer rounds what it logs), or the comparison is void.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Vocabulary, width, layers, heads, feed-forward, rows a batch, tokens a row: the sizes of docs/performance.md.
SIZES = {"S": (4096, 128, 4, 4, 352, 16, 256), "M": (8192, 256, 6, 4, 704, 8, 256)}
ROOT = Path(__file__).parent.parent
PYTHONS = {"ours": sys.executable, "trainer": str(ROOT / ".venv-peers/bin/python")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object of ratios as the last line")
    parser.add_argument("--quick", action="store_true", help="size S only, three pairs")
    parser.add_argument("--worker", nargs=4, metavar=("SIDE", "PRECISION", "SIZE", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        side, precision, size, model = options.worker
        print(json.dumps(WORKERS[side](precision, size, Path(model))))
        return
    if not Path(PYTHONS["trainer"]).exists():
        sys.exit("The peers are not installed.\nRun: make peers")
    figures: dict[str, dict[str, float]] = {"vs_trainer_fp32": {}, "vs_trainer_bf16": {}}
    for size in ["S"] if options.quick else SIZES:
        for precision in ("fp32", "bf16"):
            figures[f"vs_trainer_{precision}"][size] = compare(size, precision, pairs=3 if options.quick else 5)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def compare(size: str, precision: str, pairs: int) -> float:
    """Median ratio of ours (in the precision that it chooses) to `Trainer` in `precision`, over alternated pairs."""
    with tempfile.TemporaryDirectory() as folder:
        make_model(size, Path(folder))
        ratios = []
        for _ in range(pairs):
            ours, trainer = (run_side(side, precision, size, folder) for side in ("ours", "trainer"))
            assert abs(ours["loss"] - trainer["loss"]) < 1e-2, f"first losses differ: {ours} {trainer}"
            ratios.append(ours["tokens_per_second"] / trainer["tokens_per_second"])
            print(f"{size} {precision}: ours {ours['tokens_per_second']:.0f}, Trainer "
                  f"{trainer['tokens_per_second']:.0f} tokens/s, ratio {ratios[-1]:.2f}", file=sys.stderr)
    return round(statistics.median(ratios), 3)


def run_side(side: str, precision: str, size: str, folder: str) -> dict[str, float]:
    command = [PYTHONS[side], __file__, "--worker", side, precision, size, folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"The worker '{side}' failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def make_model(size: str, folder: Path) -> None:
    import torch

    from preceptor.models.causal import build_llama
    vocabulary, width, layers, heads, feed_forward, _, context = SIZES[size]
    torch.manual_seed(0)
    build_llama(vocabulary=vocabulary, width=width, layers=layers, heads=heads, feed_forward=feed_forward,
                context=context, end=0, pad=1).save_pretrained(folder)


def rows_of(size: str) -> list[list[int]]:
    """The token rows of one step; every step sees the same ones, so that no side waits for data."""
    import torch
    vocabulary, *_, rows, context = SIZES[size]
    return torch.randint(2, vocabulary, (rows, context), generator=torch.Generator().manual_seed(1)).tolist()


STEPS = {"S": 12, "M": 8}
WARM = 3  # steps before the clock starts


def ours(precision: str, size: str, folder: Path) -> dict[str, float]:
    """Our loop as a stage calls it; it chooses its precision itself."""
    from preceptor.data.batches import Example
    from preceptor.data.packing import PackedBatches
    from preceptor.learn.fit import fit
    from preceptor.learn.language import language_loss
    from preceptor.learn.options import FitOptions
    from preceptor.models.causal import load_causal
    from preceptor.run.log import Log, read_log
    from preceptor.run.machine import prepare
    from preceptor.run.progress import Progress
    prepare(0)
    model = load_causal(folder)
    steps, rows = STEPS[size] + WARM, rows_of(size)
    batches = PackedBatches([Example.of_text(str(n), row) for n, row in enumerate(rows)], rows=len(rows),
                            length=len(rows[0]), pad=1, seed=0, steps=steps)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        log = Log(Path(out) / "log.jsonl", "benchmark", 1)
        fit(model, batches, language_loss, FitOptions(checkpoint_every=10**9), folder=Path(out), log=log,
            progress=Progress("benchmark", steps), after_step=lambda number: times.append(time.perf_counter()))
        first = read_log(log.path)["benchmark"][1]["loss"]
    return {"tokens_per_second": STEPS[size] * len(rows) * len(rows[0]) / (times[-1] - times[WARM - 1]), "loss": first}


def trainer(precision: str, size: str, folder: Path) -> dict[str, float]:
    """`Trainer` with its defaults, in fp32 or with `bf16=True`."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
    model = AutoModelForCausalLM.from_pretrained(folder)
    rows = rows_of(size)
    steps, times, losses = STEPS[size] + WARM, [], []

    class Clock(TrainerCallback):
        def on_step_end(self, *arguments, **named):
            times.append(time.perf_counter())

        def on_log(self, arguments, state, control, logs=None, **named):
            losses.append((logs or {}).get("loss"))

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out, per_device_train_batch_size=len(rows), max_steps=steps, bf16=precision == "bf16",
            report_to=[], save_strategy="no", logging_strategy="steps", logging_steps=1, logging_first_step=True,
            use_cpu=True, disable_tqdm=True, learning_rate=1e-3, lr_scheduler_type="cosine")
        data = Dataset.from_dict({"input_ids": rows, "labels": rows})
        Trainer(model=model, args=arguments, train_dataset=data, callbacks=[Clock()]).train()
    rate = STEPS[size] * len(rows) * len(rows[0]) / (times[-1] - times[WARM - 1])
    return {"tokens_per_second": rate, "loss": losses[0]}


WORKERS = {"ours": ours, "trainer": trainer}

if __name__ == "__main__":
    main()
