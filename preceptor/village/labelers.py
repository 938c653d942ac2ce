"""A panel of simulated labelers, who see what the oracle sees through own weights and noise.

A labeler's utility has the oracle's form with weights of his own, u = 1 + 6 · n · [w₀ + r · (w₁ + a · (w₂ + w₃ · c))],
less his own penalty for rudeness, plus Gaussian noise for every text that he reads. Utilities closer than `TIE` are
tied. The standard deviation of the noise is solved for, by bisection, so that two labelers agree on the wanted share
of the pairs that neither of them ties (72.6 % and 77.3 % in InstructGPT, table in its appendix on labelers).
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.data.reward import Reward
from preceptor.run.errors import UserError
from preceptor.village.options import VillageOptions
from preceptor.village.oracle import Oracle, Verdict

BASE_WEIGHTS = (0.15, 0.20, 0.40, 0.25)     # near to, but not, those of the oracle
WEIGHT_SPREAD = 0.35                        # of the logarithm of a weight, from labeler to labeler
RUDENESS = (1.0, 3.0)                       # range of the penalty
TIE = 0.25                                  # on the scale of 1 to 7
MOST_NOISE = 12.0                           # at this noise agreement is chance
BISECTIONS = 12                             # to a three-thousandth


@dataclass(frozen=True)
class Labeler:
    """One labeler. `manner` is "honest", or on request "lazy" (ranks as shown), "random" or "reversed"."""

    name: str
    weights: tuple[float, float, float, float]
    rudeness: float
    manner: str = "honest"

    def utility(self, verdict: Verdict) -> float:
        """What an answer is worth to this labeler before noise, 1 to 7 (less where it is rude)."""
        a, r, n, c = verdict.axes()
        w = self.weights
        return 1 + 6 * n * (w[0] + r * (w[1] + a * (w[2] + w[3] * c))) - (not verdict.harmless) * self.rudeness


def draw_labelers(options: VillageOptions, seed: int) -> tuple[list[Labeler], list[Labeler]]:
    """The training labelers and the held-out ones, who are all honest.

    Raises:
        UserError: more dishonest labelers are asked for than there are labelers.
    """
    rng = random.Random(f"village/{seed}/labelers")
    manners = ["lazy"] * options.lazy_labelers + ["random"] * options.random_labelers
    manners += ["reversed"] * options.reversed_labelers
    if len(manners) > options.labelers:
        raise UserError(f"{len(manners)} lazy, random or reversed labelers are more than all {options.labelers}.",
                        "Raise 'labelers' or ask for fewer of them.")
    manners += ["honest"] * (options.labelers - len(manners))
    drawn = []
    for number, manner in enumerate([*manners, *["honest"] * options.heldout_labelers]):
        raw = [weight * rng.lognormvariate(0, WEIGHT_SPREAD) for weight in BASE_WEIGHTS]
        weights = tuple(weight / sum(raw) for weight in raw)
        drawn.append(Labeler(f"labeler{number:02d}", weights, rng.uniform(*RUDENESS), manner))
    return drawn[:options.labelers], drawn[options.labelers:]


class Panel:
    """Labelers with a common level of noise. As a `Reward` it is the mean utility of its honest training labelers."""

    def __init__(self, oracle: Oracle, training: Sequence[Labeler], heldout: Sequence[Labeler], noise: float,
                 seed: int) -> None:
        self.oracle, self.noise, self.seed = oracle, noise, seed
        self._by_name = {labeler.name: labeler for labeler in (*training, *heldout)}
        self.training = tuple(labeler.name for labeler in training)
        self.heldout = tuple(labeler.name for labeler in heldout)

    def rank(self, prompt: Prompt, responses: Sequence[Response], labeler: str, id: str) -> Comparison:
        """The ranking of one labeler, with ties, and the scores that he gave. The same arguments give the same ranking.

        Raises:
            UserError: the panel has no such labeler, or the prompt is not of this village.
        """
        if labeler not in self._by_name:
            raise UserError(f"The panel has no labeler '{labeler}'.", f"Choose one of: {', '.join(self._by_name)}.")
        rng = random.Random(f"village/{self.seed}/{labeler}/{id}")
        shown = rng.sample(range(len(responses)), len(responses))
        verdicts = [self.oracle.judge(prompt, response.text) for response in responses]
        utilities = self._utilities(rng, self._by_name[labeler], verdicts, [one.text for one in responses], shown)
        scored = [replace(response, scores=self._scores(rng, verdict, utility))
                  for response, verdict, utility in zip(responses, verdicts, utilities)]
        return Comparison(id=id, prompt=prompt, responses=scored, ranking=group_ties(utilities), labeler=labeler,
                          kind="program", shown=shown)

    def _utilities(self, rng: random.Random, labeler: Labeler, verdicts: Sequence[Verdict], texts: Sequence[str],
                   shown: Sequence[int]) -> list[float]:
        if labeler.manner == "lazy":
            return [7 - 6 * shown.index(index) / len(shown) for index in range(len(shown))]
        if labeler.manner == "random":
            return [rng.uniform(1, 7) for _ in verdicts]
        # Noise belongs to the text read: two copies of one answer are worth the same to one labeler.
        noise = {text: rng.gauss(0, self.noise) for text in dict.fromkeys(texts)}
        utilities = [labeler.utility(verdict) + noise[text] for verdict, text in zip(verdicts, texts)]
        return [8 - utility for utility in utilities] if labeler.manner == "reversed" else utilities

    def _scores(self, rng: random.Random, verdict: Verdict, utility: float) -> dict[str, float]:
        """Whole Likert scores: the overall one follows the ranking, the axes have noise of their own."""
        scores = {"overall": float(min(7, max(1, round(utility))))}
        for name in ("accuracy", "relevance", "naturalness", "concision"):
            noisy = getattr(verdict, name) + rng.gauss(0, self.noise / 2)
            scores[name] = float(min(5, max(1, round(noisy))))
        return scores

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """Mean utility over the honest training labelers, without noise."""
        honest = [labeler for name in self.training if (labeler := self._by_name[name]).manner == "honest"]
        verdicts = [self.oracle.judge(prompt, response.text)
                    for prompt, response in zip(prompts, responses, strict=True)]
        return [sum(labeler.utility(verdict) for labeler in honest) / len(honest) for verdict in verdicts]


def group_ties(utilities: Sequence[float]) -> list[list[int]]:
    """Indices in groups, the best first; a group holds what lies within `TIE` of its best."""
    groups: list[list[int]] = []
    for index in sorted(range(len(utilities)), key=lambda index: -utilities[index]):
        if groups and utilities[groups[-1][0]] - utilities[index] <= TIE:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def agreement(comparisons: Sequence[Comparison]) -> float:
    """Share of pairs of answers on which two labelers agree, of those that neither ties.

    Comparisons are matched by prompt and texts. NaN where no two labelers ranked the same answers.
    """
    by_answers: dict[tuple[str, ...], list[list[int]]] = {}
    for one in comparisons:
        key = (one.prompt.id, *(response.text for response in one.responses))
        by_answers.setdefault(key, []).append(one.ranks())
    same = total = 0
    for rankings in by_answers.values():
        for one, other in itertools.combinations(rankings, 2):
            agreed, judged = _agreed(one, other)
            same, total = same + agreed, total + judged
    return same / total if total else float("nan")


def _agreed(one: Sequence[int], other: Sequence[int]) -> tuple[int, int]:
    """Pairs ranked alike and pairs tied by neither."""
    signs = [(one[i] - one[j]) * (other[i] - other[j]) for i, j in itertools.combinations(range(len(one)), 2)]
    return sum(sign > 0 for sign in signs), sum(sign != 0 for sign in signs)


def expected_agreement(labelers: Sequence[Labeler], answers: Sequence[Sequence[Verdict]], noise: float,
                       seed: int) -> float:
    """Agreement of honest labelers, up to four drawn for every list of verdicts, at a level of noise.

    The draws depend on the seed alone, so that agreement falls with the noise almost without a jump.
    """
    rng = random.Random(f"village/{seed}/agreement")
    same = total = 0
    for verdicts in answers:
        ranks = []
        for labeler in rng.sample(list(labelers), min(4, len(labelers))):
            utilities = [labeler.utility(verdict) + noise * rng.gauss(0, 1) for verdict in verdicts]
            rank_of = {index: rank for rank, group in enumerate(group_ties(utilities)) for index in group}
            ranks.append([rank_of[index] for index in range(len(verdicts))])
        for one, other in itertools.combinations(ranks, 2):
            agreed, judged = _agreed(one, other)
            same, total = same + agreed, total + judged
    return same / total if total else float("nan")


def calibrate_noise(labelers: Sequence[Labeler], answers: Sequence[Sequence[Verdict]], target: float,
                    seed: int) -> float:
    """The noise at which two honest labelers agree on `target` of the pairs of typical answers.

    `answers` holds, for each of some hundred prompts, the verdicts on different answers to it.

    Raises:
        UserError: fewer than two honest labelers, or the target is out of reach.
    """
    honest = [labeler for labeler in labelers if labeler.manner == "honest"]
    if len(honest) < 2:
        raise UserError("Agreement needs at least two honest labelers.", "Raise 'labelers' or 'heldout_labelers'.")
    low, high = 0.0, MOST_NOISE
    most, least = (expected_agreement(honest, answers, noise, seed) for noise in (low, high))
    if not least < target < most:
        raise UserError(f"Labelers cannot agree on {target:.1%} of these pairs, only on {least:.1%} to {most:.1%}.",
                        "Set 'agreement' inside this range.")
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if expected_agreement(honest, answers, middle, seed) > target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def noise_ceiling(comparisons: Sequence[Comparison], knower: Reward) -> float:
    """Accuracy against noisy rankings of one who knows the scores: the oracle, or the panel's mean utility.

    Counted over the pairs that the labeler did not tie; a pair to which the knower gives equal scores counts one half.
    NaN where there is no such pair.
    """
    right = total = 0.0
    for one in comparisons:
        scores = knower.score([one.prompt] * len(one.responses), one.responses)
        ranks = one.ranks()
        for i, j in itertools.combinations(range(len(scores)), 2):
            if ranks[i] != ranks[j]:
                product = (scores[i] - scores[j]) * (ranks[j] - ranks[i])
                right += 0.5 if product == 0 else product > 0
                total += 1
    return right / total if total else float("nan")
