"""What the comparisons with TRL share: the sizes, the models and the words they know, and how two sides take turns.

Each side runs in a process of its own, the sides alternate, and a figure is the median over pairs of processes. The
models are Llama-shaped with random weights. Two tokens have a place of their own in them (`make_policy`): padding is
never said, and how often an answer ends is chosen, so that lengths are those that the comparison is about.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Vocabulary, width, layers, heads, feed-forward, context: the sizes of docs/performance.md.
SIZES = {"S": (4096, 128, 4, 4, 352, 512), "M": (8192, 256, 6, 4, 704, 1024)}
ROOT = Path(__file__).parent.parent
PYTHONS = {"ours": sys.executable, "trl": os.environ.get("PRECEPTOR_PEERS", str(ROOT / ".venv-peers/bin/python"))}
SPECIALS = ("<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>")
END, PAD = 0, 1

Worker = Callable[..., dict[str, Any]]


def parsed(description: str | None) -> argparse.Namespace:
    """The options of every script here; a worker is a process that this one starts."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object of ratios as the last line")
    parser.add_argument("--quick", action="store_true", help="size S and one pair: shows that it runs")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of processes behind each figure")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of both sides")
    parser.add_argument("--worker", nargs=3, metavar=("SIDE", "FOLDER", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.worker and not Path(PYTHONS["trl"]).exists():
        sys.exit("The peers are not installed.\nRun: make peers, or name their Python in PRECEPTOR_PEERS.")
    return options


def work(options: argparse.Namespace, workers: dict[str, Worker]) -> None:
    """Be a worker: prepare the process as its side would, and print what was measured."""
    side, folder, case = options.worker
    import torch
    if side == "ours":
        from preceptor.run.machine import prepare
        prepare(0)
    torch.set_num_threads(options.threads)
    print(json.dumps(workers[side](Path(folder), json.loads(case))))


def run_side(script: str, side: str, folder: Path, case: dict[str, Any], threads: int) -> dict[str, Any]:
    command = [PYTHONS[side], script, "--threads", str(threads), "--worker", side, str(folder), json.dumps(case)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "0"}
    if side == "trl":
        environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"The worker '{side}' failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def alternate(script: str, folder: Path, case: dict[str, Any], options: argparse.Namespace,
              figures: Sequence[str]) -> dict[str, float]:
    """The median over pairs of ours over TRL's, for each figure, more being better.

    Each pair has a `seed` of its own in its case: what is sampled would else be the same answers every time.
    """
    ratios: dict[str, list[float]] = {name: [] for name in figures}
    for seed in range(1 if options.quick else options.pairs):
        ours, theirs = (run_side(script, side, folder, {**case, "seed": seed}, options.threads)
                        for side in ("ours", "trl"))
        for name in figures:
            ratios[name].append(ours[name] / theirs[name])
            print(f"{case['name']}: {name} ours {ours[name]:.4g}, TRL {theirs[name]:.4g}, ratio {ratios[name][-1]:.2f}",
                  file=sys.stderr, flush=True)
    return {name: round(statistics.median(values), 3) for name, values in ratios.items()}


def check(what: str, ours: float, theirs: float, tolerance: float) -> None:
    """Refuse a comparison whose sides do not compute the same."""
    print(f"first update: {what} ours {ours:.6f}, TRL {theirs:.6f}", file=sys.stderr, flush=True)
    if not abs(ours - theirs) <= tolerance:
        sys.exit(f"The two sides disagree in {what} by {abs(ours - theirs):.2g}: nothing is compared.")


def make_tokenizer(vocabulary: int, folder: Path) -> None:
    """One token a word: w5, w6, ... are the tokens of these numbers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from preceptor.tokenizer.chat import TEMPLATE
    names = {name: n for n, name in enumerate((*SPECIALS, *(f"w{n}" for n in range(len(SPECIALS), vocabulary))))}
    words = Tokenizer(models.WordLevel(names, unk_token="w5"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=SPECIALS[END], pad_token=SPECIALS[PAD],
                                        additional_special_tokens=list(SPECIALS[2:]))
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


def make_policy(size: str, folder: Path, tokens_an_answer: float = math.inf) -> None:
    """A causal model whose answers end with chance 1 / `tokens_an_answer` at each token, and its tokenizer.

    Every token's embedding has a common part u, so that every state has a share s of it. Embeddings are tied: all
    logits grow by s alike, but for that of the end, whose embedding is a multiple b of u, and of padding, which is -5u.
    """
    import torch

    from preceptor.models.causal import build_llama
    vocabulary, width, layers, heads, feed_forward, context = SIZES[size]
    torch.manual_seed(0)
    model = build_llama(vocabulary=vocabulary, width=width, layers=layers, heads=heads, feed_forward=feed_forward,
                        context=context, end=END, pad=PAD)
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        u = torch.nn.functional.normalize(torch.randn(width), dim=0) * 0.4
        table += u
        table[END] = table[PAD] = -5 * u
        if math.isfinite(tokens_an_answer):
            tokens = torch.randint(5, vocabulary, (8, 64))
            states = model.base_model(input_ids=tokens).last_hidden_state[:, 32:].flatten(0, 1)
            others, share = model.get_output_embeddings()(states).logsumexp(-1), states @ u
            low, high = 0.0, 100.0
            for _ in range(50):
                b = (low + high) / 2
                too_often = (b * share - others).sigmoid().mean() > 1 / tokens_an_answer
                low, high = (low, b) if too_often else (b, high)
            table[END] = b * u
    model.save_pretrained(folder)
    make_tokenizer(vocabulary, folder)


def make_scalar(policy: Path, folder: Path) -> None:
    """A reward model with the policy's trunk and a random head."""
    from preceptor.models.scalar import scalar_from_causal
    model = scalar_from_causal(policy, seed=1)
    model.config.pad_token_id = PAD
    model.save_pretrained(folder)
    make_tokenizer(model.config.vocab_size, folder)


def words(vocabulary: int, count: int, seed: int) -> list[int]:
    """Random tokens that are words."""
    import random
    draw = random.Random(seed)
    return [draw.randrange(len(SPECIALS), vocabulary) for _ in range(count)]


def text(tokens: Sequence[int]) -> str:
    return " ".join(f"w{token}" for token in tokens)


def peak_megabytes() -> float:
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
