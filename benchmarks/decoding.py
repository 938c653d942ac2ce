"""Decoding against Hugging Face `generate`: same weights, same prompts, same tokens.

    python benchmarks/decoding.py --json

The sides alternate in one process with the same number of threads, and each figure is the median over pairs of their
seconds over ours; more than 1 means ours is faster. Greedy answers must be equal token by token, or the comparison
is void. `S` and `M` (docs/performance.md) are by batch size, 64 tokens after a prompt of 64, with fixed weights in
ONNX Runtime; `pytorch` is the same with the decoder's PyTorch network. `rollouts`: the weights change before every
batch of 64 answers (48 tokens after 32), and packing them is counted; tracing the graph once is `trace_seconds` and
is not. `continuous`: 64 requests whose lengths have a long tail, against the library's continuous batching.
`n_answers`: 8 drawn answers of one prompt of 512 tokens. `contrastive`: against the published program's way, which
copies the cache for each candidate. `share_of_limit`: the arithmetic of a step of M at batch 64 over what the time of
that step would allow at the speed of this machine's products.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from preceptor.run.machine import tune_allocator

# Vocabulary, width, layers, heads, feed-forward: the sizes of docs/performance.md.
SIZES = {"S": (4096, 128, 4, 4, 352), "M": (8192, 256, 6, 4, 704)}
PROMPT, ANSWER, CONTEXT = 64, 64, 1024
LENGTHS = [min(256, 8 + int(8 * 1.06 ** number)) for number in range(64)]  # 16 to 256 tokens, half of them below 60
NEVER = -1
Tokens = list[list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object of ratios as the last line")
    parser.add_argument("--quick", action="store_true", help="size S only, two pairs")
    options = parser.parse_args()
    tune_allocator()
    sizes, pairs = (["S"], 2) if options.quick else (list(SIZES), 5)
    figures: dict[str, Any] = {"pytorch": {}, "trace_seconds": {}}
    for size in sizes:
        model, traced = fixed_weights(size, pairs, figures)
    figures["rollouts"] = rollouts(model, traced, pairs)
    figures["n_answers"] = several_answers(model, traced.packed(), pairs)
    figures["contrastive"] = contrastive(model, pairs)
    figures["continuous"] = continuous(model, traced.packed(), pairs)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def network(size: str) -> nn.Module:
    """The model as the library loads it, with its own choice of attention."""
    from preceptor.models.causal import build_llama
    vocabulary, width, layers, heads, feed_forward = SIZES[size]
    torch.manual_seed(0)
    model = build_llama(vocabulary=vocabulary, width=width, layers=layers, heads=heads, feed_forward=feed_forward,
                        context=CONTEXT, end=0, pad=1).eval()
    model.set_attn_implementation("sdpa")
    model.generation_config.eos_token_id = None
    return model


def prompts_of(model: nn.Module, count: int, length: int, seed: int = 1) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, model.config.vocab_size, (count, length), generator=generator).tolist()


def theirs(model: nn.Module, prompts: Tokens, length: int, **options: Any) -> Tokens:
    """`generate`, which never ends early here."""
    tokens = torch.tensor(prompts)
    out = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=length, pad_token_id=1,
                         **{"do_sample": False, **options})
    return out[:, len(prompts[0]):].tolist()


def compare(name: str, ours: Callable[[], Tokens], other: Callable[[], Tokens], pairs: int,
            equal: bool = True) -> float:
    """The median of their seconds over ours; the first run of each side is not timed."""
    left, right = ours(), other()
    assert not equal or left == right, f"{name}: the sides wrote different tokens"
    assert sum(map(len, left)) == sum(map(len, right)), f"{name}: the sides wrote different numbers of tokens"
    ratios, rates = [], []
    for _ in range(pairs):
        seconds = []
        for side in (ours, other):
            started = time.perf_counter()
            side()
            seconds.append(time.perf_counter() - started)
        ratios.append(seconds[1] / seconds[0])
        rates.append(sum(map(len, left)) / seconds[0])
    ratio = statistics.median(ratios)
    print(f"{name}: {statistics.median(rates):.0f} tokens/s, ratio {ratio:.2f} (of {pairs}: "
          f"{min(ratios):.2f} to {max(ratios):.2f})", file=sys.stderr, flush=True)
    return round(ratio, 3)


def fixed_weights(size: str, pairs: int, figures: dict[str, Any]) -> tuple[nn.Module, Any]:
    """Greedy answers at batch 1, 16 and 64 into the figures; returns the model, and its graph for other weights."""
    from preceptor.generate.continuation import continuations
    from preceptor.generate.onnx import OnnxPolicy
    model = network(size)
    started = time.perf_counter()
    policy = OnnxPolicy(model)
    traced = policy.packed()
    figures["trace_seconds"][size] = round(time.perf_counter() - started, 1)
    figures[size], figures["pytorch"][size] = {}, {}
    for batch in (1, 16, 64):
        prompts = prompts_of(model, batch, PROMPT)
        for into, ours, name in ((figures, traced, "ONNX"), (figures["pytorch"], model, "PyTorch")):
            into[size][str(batch)] = compare(
                f"{size} batch {batch} {name}", lambda ours=ours, prompts=prompts: continuations(ours, prompts, ANSWER),
                lambda prompts=prompts: theirs(model, prompts, ANSWER), pairs)
    if size == "M":
        figures["share_of_limit"] = share_of_limit(model, traced)
    return model, policy


def share_of_limit(model: nn.Module, traced: nn.Module) -> float:
    """Operations of writing 64 x 64 tokens over those that the machine's products could do in the time."""
    from preceptor.generate.continuation import continuations
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    prompts = prompts_of(model, 64, PROMPT)

    def seconds(work: Callable[[], Any]) -> float:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    peak = 2 * 1024**3 / seconds(lambda: left @ right)
    long, short = (seconds(lambda length=length: continuations(traced, prompts, length)) for length in (ANSWER, 1))
    operations = 2 * sum(weight.numel() for weight in model.parameters()) * 64 * (ANSWER - 1)
    return round(operations / (long - short) / peak, 3)


def rollouts(model: nn.Module, traced: Any, pairs: int) -> float:
    """Weights that change before every batch; what packs them is in our time."""
    from preceptor.generate.continuation import continuations
    prompts = prompts_of(model, 64, 32)

    def ours() -> Tokens:
        return continuations(traced.packed(), prompts, 48)

    def other() -> Tokens:
        found = theirs(model, prompts, 48)
        with torch.no_grad():  # after both sides have written with the same weights
            model.get_input_embeddings().weight.mul_(1.001)
        return found

    return compare("rollouts", ours, other, pairs)


def several_answers(model: nn.Module, traced: nn.Module, pairs: int) -> float:
    """Eight drawn answers of one long prompt; what is drawn differs, how much does not."""
    prompt = prompts_of(model, 1, 512)[0]
    return compare("8 answers", lambda: drawn(traced, [prompt] * 8, [ANSWER] * 8),
                   lambda: theirs(model, [prompt], ANSWER, do_sample=True, top_k=0, num_return_sequences=8), pairs,
                   equal=False)


def drawn(model: nn.Module, prompts: Sequence[list[int]], lengths: Sequence[int], rows: int = 64,
          **sampling: Any) -> Tokens:
    """Answers of given lengths by the decoder's own batching, in the order of the prompts."""
    from preceptor.data.records import Prompt
    from preceptor.generate.call import RowCall
    from preceptor.generate.contrastive import ContrastiveSearch
    from preceptor.generate.decoder import Request, Sampling
    from preceptor.generate.drawing import Drawing
    from preceptor.generate.processors import Shaper
    asked = Prompt("prompt", [{"role": "user", "content": ""}])
    requests = [Request(asked, Sampling(max_tokens=length, **sampling), number)
                for number, length in enumerate(lengths)]
    writer = (ContrastiveSearch(model, requests, NEVER) if requests[0].sampling.strategy == "contrastive"
              else Drawing(model, Shaper(requests, prompts, None), NEVER))
    call = RowCall(Answers(model), requests, prompts, writer, rows)
    found: dict[int, list[int]] = {}
    while call.advance():
        found |= dict(call.finished())
    return [found[number] for number in range(len(requests))]


class Answers:
    """What a call needs of a decoder, for tokens without a text."""

    class tokenizer:
        pad_token_id = 1

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def answer(self, request: Any, prompt: list[int], tokens: list[int], log_probs: Sequence[float]) -> list[int]:
        """The tokens themselves."""
        return tokens


def continuous(model: nn.Module, traced: nn.Module, pairs: int) -> float:
    """Requests of 16 to 256 tokens, most of them short; at most 16 at a time on our side."""
    from transformers import ContinuousBatchingConfig, GenerationConfig
    prompts = prompts_of(model, len(LENGTHS), PROMPT)
    config = GenerationConfig(do_sample=False, eos_token_id=NEVER, pad_token_id=1)
    # By default it takes all free memory, and the time to do so: here two blocks of 256 tokens for each request.
    room = ContinuousBatchingConfig(num_blocks=2 * len(LENGTHS), max_batch_tokens=1024)

    def other() -> Tokens:
        with model.continuous_batching_context_manager(generation_config=config, continuous_batching_config=room,
                                                       block=True, timeout=5, warmup=False) as manager:
            names = [manager.add_request(prompt, max_new_tokens=length) for prompt, length in zip(prompts, LENGTHS)]
            done: dict[str, list[int]] = {}
            while len(done) < len(names):
                result = manager.get_result(timeout=1)
                if result is not None and result.is_finished():
                    done[result.request_id] = result.generated_tokens
        return [done[name] for name in names]

    return compare("continuous", lambda: drawn(traced, prompts, LENGTHS, rows=16, temperature=0.0), other, pairs)


def contrastive(model: nn.Module, pairs: int) -> float:
    """Contrastive search in PyTorch on both sides: our side by side candidates, and copies of the cache."""
    prompts = prompts_of(model, 8, PROMPT)
    return compare("contrastive", lambda: drawn(model, prompts, [ANSWER] * 8, temperature=0.0, penalty_alpha=0.6,
                                                top_k=5), lambda: published(model, prompts, ANSWER, 5, 0.6), pairs)


@torch.inference_mode()
def published(model: nn.Module, prompts: Tokens, length: int, k: int, alpha: float) -> Tokens:
    """Contrastive search as its published program does it: every candidate is a row with a copy of the cache."""
    from torch.nn.functional import normalize
    tokens = torch.tensor(prompts)
    rows = len(tokens)
    out = model(tokens, use_cache=True, output_hidden_states=True)
    cache, seen, logits = out.past_key_values, out.hidden_states[-1], out.logits[:, -1]
    written = []
    for _ in range(length):
        chances, candidates = logits.softmax(-1).topk(k)
        cache.batch_repeat_interleave(k)
        out = model(candidates.reshape(-1, 1), past_key_values=cache, use_cache=True, output_hidden_states=True)
        states = out.hidden_states[-1].view(rows, k, -1)
        likeness = (normalize(states, dim=-1) @ normalize(seen, dim=-1).transpose(1, 2)).amax(-1)
        choice = ((1 - alpha) * chances - alpha * likeness).argmax(-1)
        row = torch.arange(rows)
        cache.batch_select_indices(row * k + choice)
        seen = torch.cat([seen, states[row, choice][:, None]], dim=1)
        logits = out.logits.view(rows, k, -1)[row, choice]
        written.append(candidates[row, choice])
    return torch.stack(written, dim=1).tolist()


if __name__ == "__main__":
    main()
