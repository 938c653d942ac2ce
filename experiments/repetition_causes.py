"""What makes a model loop: repeated text in its corpus, the objective, induction heads, the input?

    python experiments/repetition_causes.py --json

Small models learn from generated prose in which a share of the documents says one sentence again and again. For each
share and objective: the loop rate of greedy continuations (Holtzman's rule, metrics/loops.py), the induction-head
score (the largest mean attention of a head from a token of a repeated random sequence to the token after its first
copy; Olsson et al. 2022, arXiv 2209.11895), and the loop rate of the third of the inputs that the model finds
likeliest and of the third it finds least likely. The last line is one object; each row is the mean over seeds with a
95 % interval.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

SHARES = (0.0, 0.1, 0.3)
OBJECTIVES: dict[str, dict[str, float]] = {"likelihood": {}, "token unlikelihood": {"unlikelihood": 1.0}}
CONTEXT, PREFIX, LENGTH = 96, 24, 72


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="one seed, two shares, few steps: to see that it works")
    options = parser.parse_args()
    seeds, steps = (1, 60) if options.quick else (3, 600)
    rows = []
    for share in SHARES[::2] if options.quick else SHARES:
        for name, objective in OBJECTIVES.items():
            found = [measured(share, objective, steps, seed) for seed in range(seeds)]
            rows.append({"repeated_share": share, "objective": name, **over_seeds(found)})
            print(rows[-1], file=sys.stderr, flush=True)
    print(json.dumps({"rows": rows}) if options.json else json.dumps({"rows": rows}, indent=2))


def corpus(share: float, seed: int, count: int = 1500) -> list[str]:
    """Prose of which this share of the texts says one sentence again and again."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
    from guard_cases import prose, sentence
    draw = random.Random(seed)
    return [sentence(draw, False) * 9 if draw.random() < share else prose(draw, False, 9) for _ in range(count)]


def measured(share: float, objective: dict[str, float], steps: int, seed: int) -> dict[str, float]:
    """Train one model; returns what is measured of it."""
    from preceptor.data.batches import Example
    from preceptor.generate.continuation import continuations
    from preceptor.metrics.loops import final_loop
    from preceptor.tokenizer.train import train_bpe
    texts = corpus(share, seed)
    tokenizer = train_bpe(texts, 400, 1_000_000)
    examples = [Example.of_text(str(n), tokenizer(text)["input_ids"]) for n, text in enumerate(texts)]
    model = trained(tokenizer, examples, objective, steps, seed)
    honest = [tokenizer(text)["input_ids"][:PREFIX] for text in corpus(0.0, seed + 1000, 120)]
    loops = [final_loop(tokens) is not None for tokens in continuations(model, honest, LENGTH)]
    order = sorted(range(len(honest)), key=lambda number: nats(model, honest[number]))
    third = len(order) // 3

    def rate(numbers: Sequence[int]) -> float:
        return sum(loops[number] for number in numbers) / len(numbers)

    return {"loop_rate": rate(order), "induction": induction(model, len(tokenizer), seed),
            "loop_rate_likely_inputs": rate(order[:third]), "loop_rate_unlikely_inputs": rate(order[-third:]),
            "perplexity": math.exp(sum(nats(model, tokens) for tokens in honest) / len(honest))}


def trained(tokenizer: Any, examples: Sequence[Any], objective: dict[str, float], steps: int, seed: int) -> nn.Module:
    """A small Llama after `steps` steps of the objective."""
    from preceptor.data.packing import PackedBatches
    from preceptor.learn.language import language_objective
    from preceptor.learn.options import LanguageOptions
    from preceptor.models.causal import build_llama
    torch.manual_seed(seed)
    model = build_llama(vocabulary=len(tokenizer), width=64, layers=2, heads=4, feed_forward=128, context=CONTEXT,
                        end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    batches = PackedBatches(examples, rows=8, length=CONTEXT, pad=tokenizer.pad_token_id, seed=seed, steps=steps)
    loss = language_objective(LanguageOptions(**objective))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for batch in batches_of(batches, steps):
        optimiser.zero_grad()
        total, count, _ = loss(model, batch)
        (total / count).backward()
        optimiser.step()
    return model.eval()


def batches_of(batches: Any, steps: int) -> Any:
    """The first batches of an endless supply."""
    return (next(batches) for _ in range(steps))


@torch.no_grad()
def nats(model: nn.Module, tokens: Sequence[int]) -> float:
    """The mean loss of a text."""
    logits = model(torch.tensor([list(tokens)])).logits[0, :-1]
    return float(nn.functional.cross_entropy(logits, torch.tensor(tokens[1:])))


@torch.no_grad()
def induction(model: nn.Module, vocabulary: int, seed: int, length: int = 40, texts: int = 16) -> float:
    """The largest over heads of the mean attention from a second copy of random tokens to what followed the first."""
    half = torch.randint(5, vocabulary, (texts, length), generator=torch.Generator().manual_seed(seed))
    model.set_attn_implementation("eager")
    layers = model(torch.cat([half, half], dim=1), output_attentions=True).attentions
    query = torch.arange(length, 2 * length - 1)
    return max(float(layer[:, :, query, query - length + 1].mean((0, 2)).max()) for layer in layers)


def over_seeds(found: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The mean of each measure, with its interval where there are several seeds."""
    from preceptor.metrics.intervals import interval_over_seeds
    names = found[0]
    if len(found) == 1:
        return {name: found[0][name] for name in names}
    return {name: interval_over_seeds([row[name] for row in found]).to_dict() for name in names}


if __name__ == "__main__":
    main()
