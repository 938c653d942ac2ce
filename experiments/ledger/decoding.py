"""Claims 22 to 30: repetition and decoding, on small models of English novels."""

from collections.abc import Sequence
from typing import Any

import torch

from ledger.claim import Claim, Finding, between, over_seeds
from ledger.small import ROWS, novelist, passages, tokenizer
from ledger.sources import RESULTS
from preceptor.data.records import Prompt
from preceptor.evaluate.few_shot import verbatim
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.metrics.intervals import interval_over_seeds
from preceptor.metrics.repetition import seq_rep_n
from preceptor.run.files import read_json

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


def table(objective: str, decoding: str, figure: str) -> dict[str, float]:
    """A figure of experiments/degeneration.py, with its interval over seeds."""
    return next(row[figure] for row in read_json(RESULTS / "degeneration.json")["rows"]
                if (row["objective"], row["decoding"]) == (objective, decoding))


RUNS = ("Reuses experiments/results/degeneration.json: base models and fine-tunings of three seeds "
        "(docs/repetition.md); the interval takes the two sides as independent.")


def unlikelihood_helps(seeds: Sequence[int]) -> Finding:
    before, after = (table(name, "greedy", "seq_rep_4") for name in ("MLE", "UL-seq"))
    token = table("UL-token", "greedy", "seq_rep_4")
    return between(before, after, f"{RUNS} {before['mean']:.3f} and {after['mean']:.3f}; the token form alone has "
                                  f"{token['mean']:.3f}.")


def token_form_costs_more(seeds: Sequence[int]) -> Finding:
    token, sequence = (table(name, "greedy", "perplexity") for name in ("UL-token", "UL-seq"))
    plain = table("MLE", "greedy", "perplexity")
    return between(token, sequence, f"{RUNS} {token['mean']:.1f} and {sequence['mean']:.1f}, {plain['mean']:.1f} "
                                    "without either.")


def diverse_as_people(seeds: Sequence[int]) -> Finding:
    found, human = table("SimCTG", "contrastive", "diversity"), table("human", "-", "diversity")
    aim = {name: value if name == "n" else value - 0.1 for name, value in human.items()}
    return between(found, aim, f"{RUNS} {found['mean']:.3f}, people {human['mean']:.3f}; contrastive search without "
                               f"that training {table('MLE', 'contrastive', 'diversity')['mean']:.3f}.")


def coherent(seeds: Sequence[int]) -> Finding:
    found, nucleus = (table("SimCTG", decoding, "coherence") for decoding in ("contrastive", "nucleus 0.95"))
    return between(found, nucleus, f"{RUNS} Nats a token under a stranger model: {found['mean']:.2f} and "
                                   f"{nucleus['mean']:.2f}; people {table('human', '-', 'coherence')['mean']:.2f}.")


def causes(share: float, objective: str, figure: str) -> dict[str, float]:
    """A figure of experiments/repetition_causes.py, with its interval over seeds."""
    return next(row[figure] for row in read_json(RESULTS / "repetition_causes.json")["rows"]
                if (row["repeated_share"], row["objective"]) == (share, objective))


SHARE = 0.3
CAUSED = ("Reuses experiments/results/repetition_causes.json: models of 0.1 million weights on generated prose, greedy "
          "continuations of 120 inputs; the interval takes the two sides as independent.")
# By likelihood alone nearly every greedy continuation loops, whatever the corpus: nothing is left to grow.
PLAIN, SPARED = "likelihood", "token unlikelihood"


def repeated_data_repeat(seeds: Sequence[int]) -> Finding:
    with_it, without = (causes(share, SPARED, "loop_rate") for share in (SHARE, 0.0))
    plain = [causes(share, PLAIN, "loop_rate")["mean"] for share in (SHARE, 0.0)]
    return between(with_it, without, f"{CAUSED} With token unlikelihood {with_it['mean']:.2f} and "
                                     f"{without['mean']:.2f}; by likelihood alone {plain[0]:.2f} and {plain[1]:.2f}.")


def unlikely_inputs_loop(seeds: Sequence[int]) -> Finding:
    unlikely, likely = (causes(0.0, SPARED, f"loop_rate_{kind}_inputs") for kind in ("unlikely", "likely"))
    return between(unlikely, likely, f"{CAUSED} With token unlikelihood {unlikely['mean']:.2f} and "
                                     f"{likely['mean']:.2f}, no text repeating itself.")


def induction_grows(seeds: Sequence[int]) -> Finding:
    with_it, without = (causes(share, PLAIN, "induction") for share in (SHARE, 0.0))
    return between(with_it, without, f"{CAUSED} The largest mean attention of a head to the token behind the first "
                                     f"copy is {with_it['mean']:.3f} and {without['mean']:.3f}.")


HOLTZMAN = "Holtzman et al. 2020, arXiv 1904.09751"
WELLECK = "Welleck et al. 2020, arXiv 1908.04319"
CAUSES = "Xu et al. 2022, arXiv 2206.02369; Olsson et al. 2022, arXiv 2209.11895"
SU = "Su et al. 2022, arXiv 2202.06417"
CLAIMS = [
    Claim(number=22, statement="Maximum-likelihood models under greedy search repeat far more than people.",
          source=f"{HOLTZMAN}; {WELLECK}",
          effect="seq-rep-4 of greedy continuations less that of the human ones", trains=True,
          test=greedy_repeats),
    Claim(number=23, part="a", statement="Unlikelihood training lowers repetition; its sequence form alone is enough.",
          source=WELLECK, effect="seq-rep-4 of greedy continuations less that after sequence unlikelihood",
          test=unlikelihood_helps),
    Claim(number=23, part="b", statement="Token unlikelihood raises perplexity more than the sequence form.",
          source=WELLECK, effect="perplexity after token unlikelihood less that after the sequence form",
          test=token_form_costs_more),
    Claim(number=24, part="a", statement="Repetition grows with repeated training data.", source=CAUSES,
          effect="loop rate of greedy continuations with 30 % of the texts repeating themselves less that with none",
          test=repeated_data_repeat),
    Claim(number=24, part="b", statement="Inputs of high perplexity make a model repeat.", source=CAUSES,
          effect="loop rate after the third of the inputs that is least likely less that after the likeliest third",
          test=unlikely_inputs_loop),
    Claim(number=24, part="c", statement="Repetition comes through induction heads.", source=CAUSES,
          effect="induction score with 30 % of the texts repeating themselves less that with none",
          test=induction_grows,
          corrected="Whether they cause it is not tested; that they grow with it is."),
    Claim(number=25, part="a", statement="A repetition penalty near 1.2 lowers repetition.",
          source="Keskar et al. 2019, arXiv 1909.05858",
          effect="seq-rep-4 of greedy continuations less that with the penalty", trains=True,
          test=penalty_helps),
    Claim(number=25, part="b", statement="The repetition penalty divides the logits of what was said by 1.2.",
          source="Keskar et al. 2019, arXiv 1909.05858",
          corrected="Dividing a negative logit makes its token likelier; negative ones must be multiplied.",
          effect="seq-rep-4 under the usual formula less that under ours (the corrected statement)",
          trains=True,
          test=penalty_without_sign),
    Claim(number=26, part="a", statement="Contrastive training with contrastive search reaches human-like diversity.",
          source=SU, effect="diversity less people's, plus the margin 0.1", test=diverse_as_people,
          corrected="The training separates the representations of distinct positions, not of equal tokens."),
    Claim(number=26, part="b", statement="It keeps coherence.", source=SU, test=coherent,
          effect="log-likelihood a token of what it writes less that of nucleus sampling"),
    Claim(number=27, statement="Beam search lowers repetition somewhat.", source="tutorials",
          corrected="It usually raises it: the likeliest long text is a loop.",
          effect="seq-rep-4 under 4 beams less that of greedy decoding (the corrected statement)", trains=True,
          test=beams_repeat),
    Claim(number=28, statement="Temperature trades diversity for control.", source=HOLTZMAN,
          effect="seq-rep-2 at temperature 0.5 less that at 1", trains=True,
          test=sampling_is_diverse),
    Claim(number=29, statement="No-repeat n-grams stop loops by force.", source="Paulus et al. 2017, arXiv 1705.04304",
          effect="seq-rep-4 of greedy continuations less that without repeated 4-grams", trains=True,
          test=no_repeat_stops_loops),
    Claim(number=30, statement="Rewriting or splitting the prompt restores a degenerate translation.",
          source="tutorials", reason="Needs a model that translates.", core=False),
]
