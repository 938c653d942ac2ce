"""Does an exported causal model write what PyTorch writes? A thousand prompts, of every length that fits.

    python experiments/export_parity.py --json
    python experiments/export_parity.py --model runs/demo/03-sft --json

For each prompt (random tokens): the logits of what comes next, and 16 greedy tokens after it. `largest_difference` is
over all logits. An answer that differs is followed to its first other token: there PyTorch's two logits are compared
in a pass of their own, and the answer counts as `close_calls` where they are less than 1e-4 apart, as `wrong`
otherwise. `lengths` are the shortest and the longest prompt; every length between them occurs. Without --model, a
fresh network of size S of docs/performance.md is exported, with weights large enough that it has opinions.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

ANSWER, ROWS = 16, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="100 prompts")
    parser.add_argument("--model", type=Path, help="folder of a step or of a causal model")
    options = parser.parse_args()
    from preceptor.generate.onnx import OnnxCausal, OnnxPolicy
    from preceptor.models.causal import load_causal, model_folder
    if options.model:
        from preceptor.deploy.export import export
        model = load_causal(model_folder(options.model)).eval()
        with tempfile.TemporaryDirectory() as folder:
            export(options.model, Path(folder) / "onnx")
            traced = OnnxCausal.load(Path(folder) / "onnx")
    else:
        model = opinionated()
        traced = OnnxPolicy(model).packed()
    figures = compared(model, traced, 100 if options.quick else 1000)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def opinionated() -> nn.Module:
    """A fresh network whose next token is seldom a close call."""
    from preceptor.models.causal import build_llama
    torch.manual_seed(0)
    model = build_llama(vocabulary=4096, width=128, layers=4, heads=4, feed_forward=352, context=256, end=0, pad=1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4 if weight.ndim == 2 else 1)
    return model.eval()


@torch.inference_mode()
def compared(model: nn.Module, traced: nn.Module, count: int) -> dict[str, Any]:
    """The two sides on `count` prompts."""
    from preceptor.generate.continuation import continuations
    from preceptor.generate.rows import read_prompts
    from preceptor.models.causal import context_length
    longest = context_length(model) - ANSWER
    lengths = [1 + number * longest // count if count < longest else 1 + number % longest for number in range(count)]
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(model.config.vocab_size, (length,), generator=generator).tolist()
               for length in sorted(lengths)]
    largest, close, wrong = 0.0, 0, 0
    for first in range(0, count, ROWS):
        some = prompts[first:first + ROWS]
        (_, left), (_, right) = (read_prompts(side, some, pad=0) for side in (model, traced))
        largest = max(largest, float((left - right).abs().max()))
        written = [continuations(side, some, ANSWER) for side in (model, traced)]
        for prompt, ours, theirs in zip(some, *written):
            if ours != theirs:
                near = gap(model, prompt, ours, theirs) < 1e-4
                close, wrong = close + near, wrong + (not near)
        print(f"{first + len(some)} of {count} prompts, {close} close calls, {wrong} wrong", file=sys.stderr)
    return {"prompts": count, "lengths": [min(lengths), max(lengths)], "tokens": count * ANSWER,
            "largest_difference": largest, "close_calls": close, "wrong": wrong}


def gap(model: nn.Module, prompt: list[int], ours: list[int], theirs: list[int]) -> float:
    """How far apart the model's logits of the first two different tokens are."""
    place = next(number for number, (one, other) in enumerate(zip(ours, theirs)) if one != other)
    logits = model(torch.tensor([prompt + ours[:place]])).logits[0, -1]
    return float((logits[ours[place]] - logits[theirs[place]]).abs())


if __name__ == "__main__":
    main()
