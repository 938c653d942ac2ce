"""Claims 22 to 30: repetition and decoding, on small models of English novels."""

from collections.abc import Sequence
from typing import Any

import torch

from ledger.claim import Claim, Finding, over_seeds
from ledger.small import ROWS, novelist, passages, tokenizer
from preceptor.data.records import Prompt
from preceptor.evaluate.few_shot import verbatim
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.metrics.intervals import interval_over_seeds
from preceptor.metrics.repetition import seq_rep_n

PREFIX, LENGTH, PROMPTS = 80, 48, 24  # letters of the beginning, tokens that follow it, texts
MODELS = "Models of 0.15 million weights, 240 steps on novels; 24 beginnings of held-out passages, 48 tokens."


def continued(seed: int, **options: Any) -> list[list[int]]:
    """What the model of this seed writes after the beginnings of held-out passages."""
    decoder = LocalDecoder(novelist(seed), verbatim(tokenizer()), rows=4 * ROWS)
    sampling = Sampling(max_tokens=LENGTH, **options)
    beginnings = [text[:PREFIX] for text in passages()[1][:PROMPTS]]
    requests = [Request(Prompt(str(number), [{"role": "user", "content": text}]), sampling, 1000 * seed + number)
                for number, text in enumerate(beginnings)]
    return [answer.response.token_ids for answer in decoder.answers(requests)]


def repeated(seed: int, n: int = 4, **options: Any) -> float:
    """seq-rep-n of the continuations."""
    return seq_rep_n(continued(seed, **options), n) or 0.0


def human(n: int = 4) -> float:
    """seq-rep-n of as many tokens of the passages themselves."""
    return seq_rep_n([tokenizer()(text[PREFIX:])["input_ids"][:LENGTH] for text in passages()[1][:PROMPTS]], n) or 0.0


def greedy_repeats(seeds: Sequence[int]) -> Finding:
    return over_seeds([repeated(seed, temperature=0.0) - human() for seed in seeds],
                      f"{MODELS} People: {human():.3f}.")


def penalty_helps(seeds: Sequence[int]) -> Finding:
    with_it = [repeated(seed, temperature=0.0, repetition_penalty=1.2) for seed in seeds]
    return over_seeds([repeated(seed, temperature=0.0) - after for seed, after in zip(seeds, with_it, strict=True)],
                      f"{MODELS} With the penalty: {interval_over_seeds(with_it).mean:.3f}. Ours divides positive "
                      "logits and multiplies negative ones.")


def penalty_without_sign(seeds: Sequence[int]) -> Finding:
    """The corrected claim: greedy continuations repeat more where negative logits are divided too."""
    naive = [seq_rep_n(divided(seed), 4) or 0.0 for seed in seeds]
    right = [repeated(seed, temperature=0.0, repetition_penalty=1.2) for seed in seeds]
    return over_seeds([a - b for a, b in zip(naive, right, strict=True)],
                      f"{MODELS} {interval_over_seeds(naive).mean:.3f} against {interval_over_seeds(right).mean:.3f}.")


@torch.no_grad()
def divided(seed: int, penalty: float = 1.2) -> list[list[int]]:
    """Greedy continuations under the usual formula: the logits of what was said, divided whatever their sign."""
    model, written = novelist(seed), []
    for text in passages()[1][:PROMPTS]:
        tokens = tokenizer()(text[:PREFIX])["input_ids"]
        length = len(tokens)
        for _ in range(LENGTH):
            logits = model(torch.tensor([tokens])).logits[0, -1]
            said = list(set(tokens))
            logits[said] /= penalty
            tokens = [*tokens, int(logits.argmax())]
        written.append(tokens[length:])
    return written


def beams_repeat(seeds: Sequence[int]) -> Finding:
    """The corrected claim: beam search repeats more than greedy decoding."""
    return over_seeds([repeated(seed, temperature=0.0, num_beams=4) - repeated(seed, temperature=0.0)
                       for seed in seeds], MODELS + " Four beams.")


def sampling_is_diverse(seeds: Sequence[int]) -> Finding:
    return over_seeds([repeated(seed, temperature=0.5, n=2) - repeated(seed, temperature=1.0, n=2) for seed in seeds],
                      MODELS)


def no_repeat_stops_loops(seeds: Sequence[int]) -> Finding:
    forced = [repeated(seed, temperature=0.0, no_repeat_ngram_size=4) for seed in seeds]
    return over_seeds([repeated(seed, temperature=0.0) - after for seed, after in zip(seeds, forced, strict=True)],
                      f"{MODELS} With it: {max(forced):.3f}, by construction.")


HOLTZMAN = "Holtzman et al. 2020, arXiv 1904.09751"
CLAIMS = [
    Claim(number=22, statement="Maximum-likelihood models under greedy search repeat far more than people.",
          source=HOLTZMAN + "; Welleck et al. 2020, arXiv 1908.04319",
          effect="seq-rep-4 of greedy continuations less that of the human ones", test=greedy_repeats),
    Claim(number=23, statement="Unlikelihood training lowers repetition; the token form raises perplexity more than "
          "the sequence form.", source="Welleck et al. 2020, arXiv 1908.04319", testable=True, core=False,
          reason="Both losses exist (docs/repetition.md); sequence unlikelihood costs too much for the core subset."),
    Claim(number=24, statement="Repetition grows with repeated training data, with inputs of high perplexity, and "
          "through induction heads.", source="Xu et al. 2022, arXiv 2206.02369; Olsson et al. 2022, arXiv 2209.11895",
          testable=True, core=False,
          reason="experiments/repetition_causes.py tests it; only its form with one seed was run."),
    Claim(number=25, part="a", statement="A repetition penalty near 1.2 lowers repetition.",
          source="Keskar et al. 2019, arXiv 1909.05858",
          effect="seq-rep-4 of greedy continuations less that with the penalty", test=penalty_helps),
    Claim(number=25, part="b", statement="The repetition penalty divides the logits of what was said by 1.2.",
          source="Keskar et al. 2019, arXiv 1909.05858",
          corrected="Dividing a negative logit makes its token likelier; negative ones must be multiplied.",
          effect="seq-rep-4 under the usual formula less that under ours (the corrected statement)",
          test=penalty_without_sign),
    Claim(number=26, statement="Contrastive training with contrastive search keeps coherence and reaches human-like "
          "diversity.", source="Su et al. 2022, arXiv 2202.06417",
          corrected="It separates the representations of distinct positions, not of equal tokens.", testable=True,
          core=False, reason="Both exist (docs/repetition.md); no seeds are committed."),
    Claim(number=27, statement="Beam search lowers repetition somewhat.", source="tutorials",
          corrected="It usually raises it: the likeliest long text is a loop.",
          effect="seq-rep-4 under 4 beams less that of greedy decoding (the corrected statement)", test=beams_repeat),
    Claim(number=28, statement="Temperature trades diversity for control.", source=HOLTZMAN,
          effect="seq-rep-2 at temperature 0.5 less that at 1", test=sampling_is_diverse),
    Claim(number=29, statement="No-repeat n-grams stop loops by force.", source="Paulus et al. 2017, arXiv 1705.04304",
          effect="seq-rep-4 of greedy continuations less that without repeated 4-grams", test=no_repeat_stops_loops),
    Claim(number=30, statement="Rewriting or splitting the prompt restores a degenerate translation.",
          source="tutorials", reason="Needs a model that translates.", core=False),
]
