"""What a model costs to run: its bytes on disk, its tokens a second one answer at a time, and its peak of memory."""

import multiprocessing
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from preceptor.generate.continuation import continuations
from preceptor.generate.local import vocabulary_size
from preceptor.generate.onnx import load_for_decoding
from preceptor.models.causal import context_length, weight_bytes
from preceptor.run.machine import peak_rss_mb, threads, tune_allocator
from preceptor.run.progress import Progress

PROMPT, WARM, REPEATS = 16, 8, 3


def costs(folders: Mapping[str, Path], tokens: int, rounds: int, progress: Progress) -> dict[str, dict[str, float]]:
    """`bytes`, `tokens_per_second` and `memory_mb` of each model folder.

    Each measurement is a process of its own, so that none starts on what another left in memory, and the models take
    turns: what else the machine does falls on all of them. Figures are medians over the rounds. All models are run by
    the same decoder, with the threads that any command has.
    """
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in folders}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "onnxruntime"])  # imported once, and no part of a model's memory
    for number in range(rounds):
        for place, (name, folder) in enumerate(folders.items(), start=1):
            with ProcessPoolExecutor(1, mp_context=context) as pool:  # max_tasks_per_child can hang (CPython #115634)
                measured[name].append(pool.submit(measure, folder, tokens).result())
            progress.update(number * len(folders) + place)
    return {name: {"bytes": weight_bytes(folders[name]),
                   "tokens_per_second": statistics.median(speed for speed, _ in found),
                   "memory_mb": statistics.median(memory for _, memory in found)} for name, found in measured.items()}


def measure(folder: Path, tokens: int) -> tuple[float, float]:
    """Tokens a second of greedy decoding at batch 1, the reading of `PROMPT` tokens before them included; and the
    megabytes that loading and decoding took at their peak, beyond what the process held before."""
    torch.set_num_threads(threads())
    tune_allocator()
    before = peak_rss_mb()
    model = load_for_decoding(folder).eval()
    tokens = min(tokens, context_length(model) - PROMPT)
    generator = torch.Generator().manual_seed(0)
    prompt = torch.randint(vocabulary_size(model), (PROMPT,), generator=generator).tolist()
    continuations(model, [prompt], WARM)
    return tokens / statistics.median(_seconds(model, prompt, tokens) for _ in range(REPEATS)), peak_rss_mb() - before


def _seconds(model: torch.nn.Module, prompt: list[int], tokens: int) -> float:
    started = time.perf_counter()
    continuations(model, [prompt], tokens)
    return time.perf_counter() - started
