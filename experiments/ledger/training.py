"""Claims 31 to 47: architecture, training from scratch, and long text, on small models of English novels."""

import math
import random
from collections.abc import Sequence

import torch
from torch import nn

from ledger import architecture
from ledger.architecture import BRIEF, SIZE, brief, plain
from ledger.claim import Claim, Finding, over_seeds
from ledger.small import cost, fresh, novelist, passages, train
from ledger.sources import RESULTS, data
from preceptor.run.files import read_json


def embedding_norm_hurts(seeds: Sequence[int]) -> Finding:
    """Bits a byte with a LayerNorm after the embedding less those without, both after 100 steps."""
    def normed(seed: int) -> nn.Module:
        model = fresh(seed)
        embedding = model.base_model.embed_tokens
        norm = nn.LayerNorm(embedding.embedding_dim)
        model.embedding_norm = norm
        embedding.register_forward_hook(lambda module, given, found: norm(found))
        return model
    return over_seeds([brief(normed(seed), seed) - plain(seed) for seed in seeds], f"{SIZE}, 100 steps.")


def no_biases(seeds: Sequence[int]) -> Finding:
    def biased(seed: int) -> nn.Module:
        model = fresh(seed)
        for module in [one for one in model.base_model.modules() if isinstance(one, nn.Linear)]:
            module.bias = nn.Parameter(torch.zeros(module.out_features))
        return model
    return over_seeds([brief(biased(seed), seed) - plain(seed) for seed in seeds], f"{SIZE}, 100 steps.")


def adamw_is_not_l2(seeds: Sequence[int]) -> Finding:
    """How far apart two weights of equal size are after 200 steps of decay alone, when their gradients differ a
    hundredfold in size: |log(w1/w2)| under Adam with an L2 term less that under AdamW (which decays both alike)."""
    def spread(decoupled: bool, seed: int) -> float:
        draw = torch.Generator().manual_seed(seed)
        weight = nn.Parameter(torch.ones(2))
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        optimiser = kind([weight], lr=1e-3, weight_decay=0.1)
        for noise in torch.randn(200, 1, generator=draw):
            weight.grad = torch.cat([noise, 0.01 * noise])
            optimiser.step()
        return abs(math.log(float(weight[0].detach() / weight[1].detach())))
    return over_seeds([spread(False, seed) - spread(True, seed) for seed in seeds],
                      "Two weights, gradients of mean 0 that differ a hundredfold in size.")


def initialisation(seeds: Sequence[int]) -> Finding:
    """|log10| of the gradient's norm at the input of 30 ReLU layers over that at their output: with weights N(0, 0.01),
    less that with He's N(0, 2/128)."""
    def orders(seed: int, scale: float) -> float:
        torch.manual_seed(seed)
        given = torch.randn(64, 128, dtype=torch.float64, requires_grad=True)
        states = given
        for _ in range(30):
            states = torch.relu(states @ (scale * torch.randn(128, 128, dtype=torch.float64)))
        wanted = torch.randn_like(states)
        (states * wanted).sum().backward()
        return abs(math.log10(float(given.grad.norm() / wanted.norm())))
    he = [orders(seed + 1000, math.sqrt(2 / 128)) for seed in seeds]  # weights of their own: else no seed differs
    return over_seeds([orders(seed, 0.01) - mine for seed, mine in zip(seeds, he, strict=True)],
                      f"30 ReLU layers of 128; with He's initialisation {sum(he) / len(he):.2f} orders of magnitude.")


def small_weights_lose_little(seeds: Sequence[int]) -> Finding:
    """0.02 bits a byte, less what 8-bit weights cost (each row of a matrix scaled to whole numbers up to 127)."""
    values = []
    for seed in seeds:
        model = novelist(seed)
        before = cost(model, passages()[1])
        with torch.no_grad():
            for weight in [one for one in model.parameters() if one.ndim == 2]:
                step = weight.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
                weight.copy_((weight / step).round() * step)
        values.append(0.02 - (cost(model, passages()[1]) - before))
    return over_seeds(values, f"{SIZE}; weights only, rounded to nearest.")


def pruning_loses_little(seeds: Sequence[int]) -> Finding:
    """0.1 bits a byte, less what leaving out the smaller half of every matrix's weights costs without retraining."""
    values = []
    for seed in seeds:
        model = novelist(seed)
        before = cost(model, passages()[1])
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim == 2 and "embed" not in name:
                    weight[weight.abs() < weight.abs().median()] = 0
        values.append(0.1 - (cost(model, passages()[1]) - before))
    return over_seeds(values, f"{SIZE}; magnitude pruning of half the weights, embeddings whole.")


def tuning_forgets(seeds: Sequence[int]) -> Finding:
    """What tuning on lists and code of a manual costs on novels, where it gains on the manual (else minus that)."""
    manual = [row["text"] for row in data("text/en.train.jsonl.gz") if "rust-lang" in row["source"]]
    cut = [text[start:start + 480] for text in manual for start in range(0, len(text) - 480, 480)]
    there, here = cut[-100:], passages()[1]
    values, gains = [], []
    for seed in seeds:
        model = novelist(seed)
        before = cost(model, here), cost(model, there)
        train(model, cut[:600], seed, steps=80, rate=1e-3)
        lost, won = cost(model, here) - before[0], before[1] - cost(model, there)
        values.append(lost if won > 0 else -abs(lost))
        gains.append(won)
    return over_seeds(values, f"{SIZE}, 80 steps on the Rust book, where the gain is {sum(gains) / len(gains):.2f}.")


def memory_of_training(seeds: Sequence[int]) -> Finding:
    """Bytes a weight of a training step with AdamW in fp32: weights, gradients and both moments, less 15."""
    values = []
    for seed in seeds:
        model = fresh(seed)
        optimiser = torch.optim.AdamW(model.parameters())
        train_loss = model(torch.zeros(1, 8, dtype=torch.long)).logits.sum()
        train_loss.backward()
        optimiser.step()
        count = sum(one.numel() for one in model.parameters())
        held = sum(one.numel() * one.element_size() + one.grad.numel() * one.grad.element_size()
                   for one in model.parameters())
        held += sum(state.numel() * state.element_size() for states in optimiser.state.values()
                    for state in states.values() if state.ndim)
        values.append(held / count - 15)
    return over_seeds(values, "16 bytes a weight, counted; activations come on top and make the rest.")


def spikes_are_cured(seeds: Sequence[int]) -> Finding:
    """What poisoned batches cost, as a share of the bits a byte of a run without any: without the watch of
    learn/watch.py, less with it."""
    found = read_json(RESULTS / "spikes.json")
    gaps = list(zip(found["unwatched_gaps"], found["gaps"], strict=True))
    return over_seeds([harmed - cured for harmed, cured in gaps],
                      f"Reuses experiments/results/spikes.json: {found['steps']} steps of 30 thousand weights, four "
                      f"spans of poison. Rise {found['unwatched_gap']:.1%} without the watch (its overflow left out: "
                      f"the run would end) and {found['bits_per_byte_gap']:.1%} with it. Found: "
                      + ", ".join(f"{kind} {share:.0%}" for kind, share in found["by_kind"].items()) + ".")


def clean_text_is_better(seeds: Sequence[int]) -> Finding:
    """Bits a byte on clean passages after training on text of which a third is spoilt (repeated lines, boilerplate,
    letters in disorder), less those after the same number of tokens of clean text."""
    values = []
    for seed in seeds:
        draw = random.Random(seed)
        dirty = [spoilt(text, draw) if draw.random() < 1 / 3 else text for text in passages()[0]]
        values.append(cost(train(fresh(seed), dirty, seed, steps=BRIEF), passages()[1]) - plain(seed))
    return over_seeds(values, f"{SIZE}, 100 steps; a third of the passages spoilt on purpose.")


def spoilt(text: str, draw: random.Random) -> str:
    """A passage as a careless crawl might hold it."""
    kind = draw.randrange(3)
    if kind == 0:
        return (text[:60] + "\n") * 8
    if kind == 1:
        return "Home | About | Contact | Log in\nAccept all cookies\nShare this page\n" * 7
    letters = list(text)
    draw.shuffle(letters)
    return "".join(letters)


CLAIMS = [
    Claim(number=31, part="a", statement="A norm after the embedding hurts.", source="Le Scao et al. 2022, 2210.15424",
          effect="bits a byte with a LayerNorm after the embedding less those without", test=embedding_norm_hurts,
          trains=True),
    Claim(number=31, part="b", statement="Models without biases train better.",
          source="Chowdhery et al. 2022, arXiv 2204.02311", effect="bits a byte with biases less those without",
          test=no_biases, trains=True),
    Claim(number=32, statement="Causal decoders with a language-modelling objective have the best zero- and few-shot "
          "behaviour.", source="Wang et al. 2022, arXiv 2204.05832", core=False,
          reason="Zero-shot behaviour needs models far larger than this machine trains."),
    Claim(number=33, statement="AdamW is Adam with an L2 term.", source="tutorials",
          corrected="AdamW decays all weights at one rate; in Adam an L2 term decays least where gradients are large.",
          effect="spread of two decayed weights under Adam with L2 less that under AdamW (the corrected statement)",
          test=adamw_is_not_l2),
    Claim(number=34, statement="Large and growing batches pay; LAMB and LARS help large batches.",
          source="Brown et al. 2020, arXiv 2005.14165; You et al. 2019, arXiv 1904.00962", core=False,
          reason="Batches of millions of tokens are more than the models here ever see."),
    Claim(number=35, statement="After a loss spike, restarting from a calm checkpoint and skipping the data cures it.",
          source="Chowdhery et al. 2022, arXiv 2204.02311", test=spikes_are_cured,
          effect="relative rise of bits a byte by poisoned batches without the cure less that with it"),
    architecture.CLAIMS[0],
    Claim(number=37, statement="Cleaning improves a model at equal tokens.",
          source="Penedo et al. 2023, arXiv 2306.01116",
          effect="bits a byte on clean text after dirty text less those after clean text", test=clean_text_is_better,
          trains=True),
    Claim(number=38, statement="Xavier and He initialisation avoid vanishing and exploding gradients.",
          source="He et al. 2015, arXiv 1502.01852",
          effect="orders of magnitude that the gradient loses with N(0, 0.01), less those with He's",
          test=initialisation),
    Claim(number=39, part="a", statement="8-bit quantisation shrinks a model with little loss.",
          source="Dettmers et al. 2022, arXiv 2208.07339", effect="0.02 bits a byte less the loss",
          test=small_weights_lose_little, trains=True),
    Claim(number=39, part="b", statement="Pruning shrinks a model with little loss.",
          source="Han et al. 2015, arXiv 1506.02626",
          effect="0.1 bits a byte less the loss", test=pruning_loses_little, trains=True),
    Claim(number=40, statement="A model fine-tuned on a domain gains there and forgets elsewhere.",
          source="tutorials", effect="bits a byte lost on novels after tuning on a manual", test=tuning_forgets,
          trains=True),
    Claim(number=41, statement="A BERT-class encoder equals a large language model on classification, entities and "
          "extraction at a thousandth of the cost.", source="tutorials", core=False,
          reason="Needs a large language model to compare with."),
    Claim(number=42, statement="Full fine-tuning of an n-billion model needs 16-20 n GB.", source="tutorials",
          effect="bytes a weight held by a step of AdamW in fp32, less 15", test=memory_of_training,
          corrected="16 n GB hold weights, gradients and moments; activations depend on batch and length."),
    *architecture.CLAIMS[1:],
]
