"""Pretraining throughput against Hugging Face `Trainer` and a plain loop, same weights, rows and number of steps.

    make peers
    .venv/bin/python benchmarks/training.py --json

Each side runs in a process of its own (the allocator is set before anything is allocated), the sides take turns, and a
figure is the median over rounds of our tokens per second over theirs; more than 1 means ours is faster. The first
step's losses of all sides must agree to 1e-2 (Trainer rounds what it logs), or the comparison is void.

    vs_trainer_fp32, vs_trainer_bf16   `Trainer` with its defaults, and with `bf16=True`
    vs_best_peer                       the faster, round by round, of these and a loop as nanoGPT's on a processor
                                       (autocast to bf16, fused AdamW, clipping, no compilation)
    share_of_peak                      our operations a second over those of bf16 matrix products, measured beside it
    sft_packing                        fine-tuning on long-tailed lengths (M): tokens that count a second, of our packed
                                       rows over padded batches of `Trainer` in bf16
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Vocabulary, width, layers, heads, feed-forward, rows a batch, tokens a row: the sizes of docs/performance.md.
SIZES = {"S": (4096, 128, 4, 4, 352, 16, 256), "M": (8192, 256, 6, 4, 704, 8, 256),
         "L": (16384, 512, 8, 8, 1408, 4, 512)}
ROOT = Path(__file__).parent.parent
PEERS = os.environ.get("PRECEPTOR_PEERS", str(ROOT / ".venv-peers/bin/python"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object of ratios as the last line")
    parser.add_argument("--quick", action="store_true", help="size S only, three rounds, no packing")
    parser.add_argument("--worker", nargs=3, metavar=("SIDE", "SIZE", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        side, size, model = options.worker
        print(json.dumps(SIDES[side][1](size, Path(model))))
        return
    if not Path(PEERS).exists():
        sys.exit("The peers are not installed.\nRun: make peers, or name their Python in PRECEPTOR_PEERS.")
    figures: dict[str, Any] = {"vs_trainer_fp32": {}, "vs_trainer_bf16": {}, "vs_best_peer": {}, "share_of_peak": {}}
    for size in ["S"] if options.quick else SIZES:
        for name, figure in compare(size, rounds=3 if options.quick else 5).items():
            figures[name][size] = figure
    if not options.quick:
        figures["sft_packing"] = compare_packing(rounds=5)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def compare(size: str, rounds: int) -> dict[str, float]:
    """The figures of one size: medians over rounds in which every side has its turn."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_model(size, Path(folder))
        for _ in range(rounds):
            seen = {side: run_side(side, size, folder) for side in ("ours", "trainer_fp32", "trainer_bf16", "plain")}
            ours = seen.pop("ours")
            rates = {side: one["tokens_per_second"] for side, one in seen.items()}
            for side, one in seen.items():
                assert abs(ours["loss"] - one["loss"]) < 1e-2, f"first losses differ: {ours} {side} {one}"
            figures = {f"vs_{side}": ours["tokens_per_second"] / rates[side]
                       for side in ("trainer_fp32", "trainer_bf16")}
            figures |= {"vs_best_peer": ours["tokens_per_second"] / max(rates.values()),
                        "share_of_peak": ours["share_of_peak"]}
            say(size, ours["tokens_per_second"], rates, figures)
            for name, figure in figures.items():
                found.setdefault(name, []).append(figure)
    return {name: round(statistics.median(values), 3) for name, values in found.items()}


def compare_packing(rounds: int) -> float:
    """The median over rounds of tokens that count a second, packed over padded."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        make_model("M", Path(folder))
        for _ in range(rounds):
            rates = {side: run_side(side, "M", folder)["tokens_per_second"] for side in ("packed", "padded")}
            ratios.append(rates["packed"] / rates["padded"])
            say("M", rates["packed"], rates, {"sft_packing": ratios[-1]})
    return round(statistics.median(ratios), 3)


def say(size: str, ours: float, rates: dict[str, float], figures: dict[str, float]) -> None:
    beside = ", ".join(f"{side} {rate:.0f}" for side, rate in rates.items())
    print(f"{size}: ours {ours:.0f} tokens/s, {beside}; " +
          ", ".join(f"{name} {figure:.2f}" for name, figure in figures.items()), file=sys.stderr, flush=True)


def run_side(side: str, size: str, folder: str) -> dict[str, float]:
    command = [SIDES[side][0], __file__, "--worker", side, size, folder]
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


STEPS = {"S": 12, "M": 8, "L": 6}
WARM = 3  # steps before the clock starts


def ours(size: str, folder: Path) -> dict[str, float]:
    """Our loop as a stage calls it; it chooses its precision itself."""
    from preceptor.data.batches import Example
    from preceptor.data.packing import PackedBatches
    steps, rows = STEPS[size] + WARM, rows_of(size)
    batches = PackedBatches([Example.of_text(str(n), row) for n, row in enumerate(rows)], rows=len(rows),
                            length=len(rows[0]), pad=1, seed=0, steps=steps)
    seconds, loss, weights = fitted(folder, batches, steps)
    rate = STEPS[size] * len(rows) * len(rows[0]) / seconds
    return {"tokens_per_second": rate, "loss": loss, "share_of_peak": 6 * weights * rate / bf16_peak()}


def packed(size: str, folder: Path) -> dict[str, float]:
    """Long-tailed lengths in packed rows, in our loop: an epoch of as many tokens a step as `padded` has at most."""
    from preceptor.data.batches import Example
    from preceptor.data.packing import PackedBatches
    examples = [Example.of_text(str(n), row) for n, row in enumerate(long_tailed(size))]
    *_, rows, context = SIZES[size]
    counted, batches = (PackedBatches(examples, rows=rows, length=context, pad=1, seed=0, epochs=3) for _ in range(2))
    counts = [batch.count for batch in counted]
    seconds, _, _ = fitted(folder, batches, len(counts))
    return {"tokens_per_second": sum(counts[WARM:]) / seconds}


def fitted(folder: Path, batches: Any, steps: int) -> tuple[float, float, int]:
    """Seconds of all steps but the first `WARM`, the loss of the first step, and how many weights the model has."""
    from preceptor.learn.fit import fit
    from preceptor.learn.language import language_loss
    from preceptor.learn.options import FitOptions
    from preceptor.models.causal import load_causal
    from preceptor.run.log import Log, read_log
    from preceptor.run.machine import prepare
    from preceptor.run.progress import Progress
    prepare(0)
    model = load_causal(folder)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        log = Log(Path(out) / "log.jsonl", "benchmark", 1)
        fit(model, batches, language_loss, FitOptions(checkpoint_every=10**9), folder=Path(out), log=log,
            progress=Progress("benchmark", steps), after_step=lambda number: times.append(time.perf_counter()))
        loss = read_log(log.path)["benchmark"][1]["loss"]
    return times[-1] - times[WARM - 1], loss, sum(one.numel() for one in model.parameters())


def bf16_peak() -> float:
    """Operations a second of the best of ten bf16 matrix products, 1,024 wide, with the threads of this process."""
    import torch
    one = torch.ones(1024, 1024, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - started)
    return 2 * 1024 ** 3 / best


def long_tailed(size: str) -> list[list[int]]:
    """128 samples of log-normal lengths, at most a row long: a mean of about 60 tokens."""
    import torch
    vocabulary, *_, context = SIZES[size]
    draw = torch.Generator().manual_seed(2)
    lengths = torch.exp(3.7 + 0.85 * torch.randn(128, generator=draw)).long().clamp(4, context).tolist()
    return [torch.randint(2, vocabulary, (length,), generator=draw).tolist() for length in lengths]


def trainer_fp32(size: str, folder: Path) -> dict[str, float]:
    """`Trainer` with its defaults."""
    return trained(rows_of(size), STEPS[size] + WARM, folder, bf16=False)


def trainer_bf16(size: str, folder: Path) -> dict[str, float]:
    """`Trainer` with `bf16=True`."""
    return trained(rows_of(size), STEPS[size] + WARM, folder, bf16=True)


def padded(size: str, folder: Path) -> dict[str, float]:
    """Long-tailed lengths in `Trainer`, each batch padded to its longest, in bf16: an epoch, then two more."""
    rows = long_tailed(size)
    batch = SIZES[size][-2]
    return trained(rows, 3 * -(-len(rows) // batch), folder, bf16=True, batch=batch)


def trained(rows: list[list[int]], steps: int, folder: Path, bf16: bool, batch: int | None = None) -> dict[str, float]:
    """The tokens that `Trainer` learns from a second, after its first `WARM` steps, and the loss of its first."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
    model = AutoModelForCausalLM.from_pretrained(folder)
    times, losses, counts = [], [], []

    class Clock(TrainerCallback):
        def on_step_end(self, *arguments, **named):
            times.append(time.perf_counter())

        def on_log(self, arguments, state, control, logs=None, **named):
            losses.append((logs or {}).get("loss"))

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out, per_device_train_batch_size=batch or len(rows), max_steps=steps, bf16=bf16,
            report_to=[], save_strategy="no", logging_strategy="steps", logging_steps=1, logging_first_step=True,
            use_cpu=True, disable_tqdm=True, learning_rate=1e-3, lr_scheduler_type="cosine")
        data = Dataset.from_dict({"input_ids": rows})
        Trainer(model=model, args=arguments, train_dataset=data, data_collator=lambda some: collated(some, counts),
                callbacks=[Clock()]).train()
    return {"tokens_per_second": sum(counts[WARM:steps]) / (times[-1] - times[WARM - 1]), "loss": losses[0]}


def collated(some: list[dict[str, list[int]]], counts: list[int]) -> dict[str, Any]:
    """Rows padded to the longest, pads masked and not learned; `counts` gets how many tokens are learned."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    rows = [torch.tensor(one["input_ids"]) for one in some]
    counts.append(sum(len(row) for row in rows))
    return {"input_ids": pad_sequence(rows, batch_first=True, padding_value=1),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
            "labels": pad_sequence(rows, batch_first=True, padding_value=-100)}


def plain(size: str, folder: Path) -> dict[str, float]:
    """A loop as nanoGPT's where it does not compile: autocast to bf16, clipping, fused AdamW."""
    import torch
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(folder)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    rows = torch.tensor(rows_of(size))
    times, losses = [], []
    for _ in range(STEPS[size] + WARM):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=rows, labels=rows).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
        times.append(time.perf_counter())
    return {"tokens_per_second": STEPS[size] * rows.numel() / (times[-1] - times[WARM - 1]), "loss": losses[0]}


SIDES = {"ours": (sys.executable, ours), "packed": (sys.executable, packed), "trainer_fp32": (PEERS, trainer_fp32),
         "trainer_bf16": (PEERS, trainer_bf16), "plain": (PEERS, plain), "padded": (PEERS, padded)}

if __name__ == "__main__":
    main()
