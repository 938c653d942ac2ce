"""Claims 36 and 43 to 47: vocabularies, longer texts, recall, and cheaper attention and feed-forward blocks."""

from collections.abc import Sequence
from functools import cache
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ledger.claim import Claim, Finding, over_seeds
from ledger.small import ROWS, SHAPE, cost, examples, fresh, passages, train
from preceptor.learn.objectives import balanced_loss
from preceptor.models.build import build
from preceptor.models.options import ArchitectureOptions

BRIEF = 100  # steps of a model that is only compared with another
SIZE = "Models of 0.15 million weights on novels"


def brief(model: nn.Module, seed: int) -> float:
    """Bits a byte of held-out passages after a short training."""
    return cost(train(model, passages()[0], seed, steps=BRIEF), passages()[1])


@cache
def plain(seed: int) -> float:
    """What the model without any change reaches."""
    return brief(fresh(seed), seed)


VOCABULARIES = (400, 3200)
WIDTHS = {24: 60, 96: 240}  # width: width of the feed-forward blocks


def small_models_want_small_vocabularies(seeds: Sequence[int]) -> Finding:
    """What the larger vocabulary costs the narrow model, less what it costs the wide one, over the same text."""
    values, table = [], []
    few, many = VOCABULARIES
    tokens = {entries: sum(one.count for one in examples(passages()[0], entries)) for entries in VOCABULARIES}
    steps = {entries: round(BRIEF * tokens[entries] / tokens[few]) for entries in VOCABULARIES}  # to read the same text
    for seed in seeds:
        costs = {}
        for width, feed_forward in WIDTHS.items():
            for entries in VOCABULARIES:
                model = fresh(seed, entries, width=width, feed_forward=feed_forward)
                train(model, passages()[0], seed, steps=steps[entries], entries=entries)
                costs[width, entries] = cost(model, passages()[1], entries=entries)
        losses = [costs[width, many] - costs[width, few] for width in WIDTHS]
        table.append(losses)
        values.append(losses[0] - losses[1])
    narrow, wide = (fmean(column) for column in zip(*table, strict=True))
    return over_seeds(values, f"Models of width 24 and 96 on the same text of novels ({steps[few]} and {steps[many]} "
                      f"steps); {many} entries in place of {few} change bits a byte by {narrow:+.3f} and {wide:+.3f}.")


TRAINED, READ = 48, 192  # tokens


def rise(seed: int, **architecture: Any) -> tuple[nn.Module, float]:
    """A model trained on short rows, and by how much bits a byte rise where it reads four times as much at once."""
    model = fresh(seed, context=READ, **architecture)
    train(model, passages()[0], seed, length=TRAINED, steps=BRIEF)
    return model, cost(model, joined(), READ) - cost(model, joined(), TRAINED)


def joined() -> list[str]:
    """Held-out passages, four in a row."""
    return ["".join(passages()[1][start:start + 4]) for start in range(0, 60, 4)]


def rotary_beyond_its_length(seeds: Sequence[int]) -> Finding:
    """Bits a byte of passages read in pieces of 4 times the trained length, less those in pieces of that length."""
    values, mended = [], []
    for seed in seeds:
        model, rose = rise(seed)
        values.append(rose)
        before = cost(model, joined(), TRAINED)
        model.base_model.rotary_emb.inv_freq /= READ // TRAINED
        longer = ["".join(passages()[0][start:start + 4]) for start in range(0, 1200, 4)]
        train(model, longer, seed, length=READ, steps=30, rate=1e-3)
        mended.append(cost(model, joined(), READ) - before)
    return over_seeds(values, f"{SIZE}, 100 steps, trained at 48 tokens, read at 192. With positions divided by 4 and "
                      f"30 steps of tuning the difference is {fmean(mended):+.3f}.")


def alibi_extrapolates(seeds: Sequence[int]) -> Finding:
    """0.01 bits a byte, less what reading in pieces of 4 times the trained length costs."""
    rises = [rise(seed, family="mpt", feed_forward=None)[1] for seed in seeds]
    return over_seeds([0.01 - value for value in rises], f"{SIZE} (MPT), 100 steps, trained at 48 tokens, read at 192; "
                      f"bits a byte change by {fmean(rises):+.3f}.")


KEYS, VALUES = 8, 8
RECALL = {"width": 32, "layers": 2, "feed_forward": 64}


def pairs(draw: torch.Generator, rows: int, count: int) -> tuple[Tensor, Tensor]:
    """Tokens (rows, 2 count) and targets: `count` pairs of a key and a value, a token each, and then every key alone,
    where its value is the target (-100 elsewhere). Tokens 0 and 1 are free."""
    keys = torch.stack([torch.randperm(KEYS, generator=draw)[:count] for _ in range(rows)])
    values = torch.randint(0, VALUES, (rows, count), generator=draw)
    order = torch.stack([torch.randperm(count, generator=draw) for _ in range(rows)])
    tokens = torch.cat([keys * VALUES + values, KEYS * VALUES + keys.gather(1, order)], 1) + 2
    targets = torch.cat([torch.full_like(values, -100), values.gather(1, order)], 1)
    return tokens, targets


def memory(seed: int, context: int = 2 * KEYS, **architecture: Any) -> nn.Module:
    """An untrained network for `pairs`."""
    torch.manual_seed(seed)
    options = {**RECALL, "context": context, **architecture}
    chosen = ArchitectureOptions(**{name: value for name, value in options.items() if value is not None})
    return build(chosen, vocabulary=2 + KEYS * VALUES + KEYS, end=0, pad=1)


def recalled(model: nn.Module, seed: int, steps: int = 200) -> float:
    """Share of the values of eight pairs that the model gives after learning from one to eight pairs at a time."""
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * min(1.0, (step + 1) / 30) * (1 - 0.9 * step / steps)
        tokens, targets = pairs(draw, 64, int(torch.randint(1, KEYS + 1, (), generator=draw)))
        loss = nn.functional.cross_entropy(model(tokens).logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    with torch.no_grad():
        tokens, targets = pairs(draw, 256, KEYS)
        asked = targets >= 0
        return float((model(tokens).logits.argmax(-1) == targets)[asked].float().mean())


def recurrence_forgets(seeds: Sequence[int]) -> Finding:
    """Recall of attention less that of RWKV, of one width and depth, after as many steps."""
    rows = [(recalled(memory(seed, heads=2), seed), recalled(memory(seed, family="rwkv"), seed)) for seed in seeds]
    attention, recurrent = (fmean(column) for column in zip(*rows, strict=True))
    return over_seeds([a - b for a, b in rows], f"Eight keys with a value each, 2 blocks of width 32, 200 steps: Llama "
                      f"{attention:.2f}, RWKV {recurrent:.2f}, by chance {1 / VALUES:.2f}.")


def recurrence_is_linear(seeds: Sequence[int]) -> Finding:
    """Matrix operations a token at 8 times the length, over those at the length: attention's less Mamba-2's."""
    def growth(seed: int, **architecture: Any) -> float:
        model, counted = memory(seed, context=2048, **architecture), []
        model.set_attn_implementation("eager")  # the counter knows no fused attention of the processor
        for length in (256, 2048):
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                model(torch.full((1, length), 2))
            counted.append(counter.get_total_flops() / length)
        return counted[1] / counted[0]

    rows = [(growth(seed, heads=2), growth(seed, family="mamba2", heads=2, feed_forward=None)) for seed in seeds]
    attention, recurrent = (fmean(column) for column in zip(*rows, strict=True))
    return over_seeds([a - b for a, b in rows], "Counted, 2 blocks of width 32, 256 and 2 048 tokens: a token costs "
                      f"{attention:.2f} times as much in Llama, {recurrent:.2f} times in Mamba-2.")


def multi_query_loses_little(seeds: Sequence[int]) -> Finding:
    """0.05 bits a byte, less what one head of keys and values in place of four costs."""
    losses = [brief(fresh(seed, kv_heads=1), seed) - plain(seed) for seed in seeds]
    return over_seeds([0.05 - value for value in losses], f"{SIZE}, 100 steps. The loss is {fmean(losses):+.3f}; the "
                      "cache that decoding reads for each token is a quarter. Time is not measured.")


def experts_pay(seeds: Sequence[int]) -> Finding:
    """Bits a byte of the dense model, less those with four experts of which a token goes through two of half the
    width: as many operations a token but for the choice."""
    half = SHAPE["feed_forward"] // 2
    values = []
    for seed in seeds:
        model = fresh(seed, family="mixtral", experts=4, experts_used=2, feed_forward=half)
        train(model, passages()[0], seed, steps=BRIEF, loss=balanced_loss(0.01))
        values.append(plain(seed) - cost(model, passages()[1]))
    return over_seeds(values, f"{SIZE}, 100 steps of {ROWS} rows; Mixtral with 4 experts of half the width, 2 used.")


CLAIMS = [
    Claim(number=36, statement="Sub-word vocabularies of 30-50 K are right; smaller models want smaller ones.",
          source="Tao et al. 2024, arXiv 2407.13623", test=small_models_want_small_vocabularies, trains=True,
          corrected="Only the second half can be seen here.",
          effect="bits a byte that a larger vocabulary costs a narrow model less those that it costs a wide one"),
    Claim(number=43, statement="Rotary positions allow any length in principle; quality falls beyond the trained "
          "length; interpolation with short tuning restores it.", source="Chen et al. 2023, arXiv 2306.15595",
          effect="bits a byte at 4 times the trained length less those at it", test=rotary_beyond_its_length,
          trains=True),
    Claim(number=44, statement="ALiBi extrapolates without training.", source="Press et al. 2021, arXiv 2108.12409",
          effect="0.01 bits a byte less the loss at 4 times the trained length", test=alibi_extrapolates, trains=True),
    Claim(number=45, part="a", statement="Linear attention and recurrent models lose some recall.",
          source="Arora et al. 2023, arXiv 2312.04927", test=recurrence_forgets, trains=True,
          effect="share of values recalled by attention less that by a recurrence"),
    Claim(number=45, part="b", statement="Linear attention and recurrent models scale linearly.",
          source="Dao and Gu 2024, arXiv 2405.21060", test=recurrence_is_linear, trains=True,
          effect="growth of the operations a token from 256 to 2 048 tokens of attention less that of a recurrence"),
    Claim(number=46, statement="Multi-query attention speeds decoding at little loss.",
          source="Shazeer 2019, arXiv 1911.02150", effect="0.05 bits a byte less the loss",
          test=multi_query_loses_little, trains=True),
    Claim(number=47, statement="Mixture of experts buys quality at equal compute.",
          source="Fedus et al. 2021, arXiv 2101.03961", test=experts_pay, trains=True,
          effect="bits a byte of a dense model less those of a mixture of equal compute"),
]
