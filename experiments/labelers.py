"""Are bad labelers found, and does weighing labelers by trust give back what they spoil?

    python experiments/labelers.py [--json] [--quick]

Simulated labelers rank K = 7 answers; an answer has 16 features, its quality is linear in them, and it has a length
that has nothing to do with quality. The noise of an honest labeler (Gumbel) is set by bisection so that two honest
labelers agree on 73 % of pairs, as InstructGPT's do. Every item is ranked by four labelers.

AUC: 40 labelers with 20 rankings each (50 for the half-lazy), eight of them bad, all of one kind; the share of (bad,
honest) couples in which the sign for that kind is larger for the bad one, over 5 seeds.

    random     orders by chance                               sign: minus trust
    reversed   the worst first                                sign: minus trust
    half_lazy  orders by chance half of the time              sign: minus trust
    lazy       ranks as shown                                 sign: |z| of position
    position   sees the earlier answers in a better light     sign: |z| of position
    length     sees longer answers in a better light          sign: |z| of length
    colluding  four by four hand in one ranking, made up      sign: z of company

Recovered: of a crowd of 40 with 20 % bad labelers of all kinds, a linear reward model learns from all rankings alike
(unweighted), from all with each labeler's trust as weight (weighted), and from those of the honest ones alone (clean);
its accuracy is the share of 20,000 fresh pairs that it orders rightly. recovered = (weighted - unweighted) / (clean -
unweighted), each a mean over 5 seeds, stated only where clean is above unweighted by more than its 95 % interval.
The last line with --json is {"auc": {kind: value}, "recovered": share, ...}.
"""

import argparse
import json
import sys
from dataclasses import dataclass

import numpy as np

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.policies import fit_utility
from preceptor.feedback.signs import company_signs, length_signs, position_signs
from preceptor.feedback.trust import Trust, trust
from preceptor.metrics.intervals import interval_over_seeds

LABELERS, BAD, K, OVERLAP, FEATURES, AGREEMENT = 40, 8, 7, 4, 16, 0.73
KINDS = ("random", "reversed", "half_lazy", "lazy", "position", "length", "colluding")
MIXED = ("random", "random", "reversed", "reversed", "lazy", "position", "length", "half_lazy")


@dataclass(frozen=True)
class Crowd:
    """Who is what, the features of each answer [items, K, d], its true quality, and the rankings."""

    kinds: list[str]
    x: np.ndarray
    quality: np.ndarray
    weights: np.ndarray
    comparisons: list[Comparison]


def make_crowd(kinds: list[str], rankings: int, noise: float, seed: int) -> Crowd:
    """Labelers of these kinds with `rankings` each, `OVERLAP` on every item."""
    draw = np.random.default_rng(seed)
    items = len(kinds) * rankings // OVERLAP
    x = draw.normal(size=(items, K, FEATURES))
    weights = draw.normal(size=FEATURES)
    weights /= np.linalg.norm(weights)  # so that quality has the variance for which the noise was set
    quality, lengths = x @ weights, draw.integers(20, 400, size=(items, K))
    made_up = draw.normal(size=(items, LABELERS // 4, K))
    places = np.concatenate([draw.permutation(len(kinds)) for _ in range(rankings)])
    found = []
    for item in range(items):
        prompt = Prompt(f"p{item}", [{"role": "user", "content": str(item)}])
        said = [Response(f"{k}:".ljust(lengths[item, k], "x")) for k in range(K)]
        for labeler in places[item * OVERLAP:(item + 1) * OVERLAP]:
            shown = draw.permutation(K)
            liked = _liked(draw, kinds[labeler], quality[item], noise, shown, lengths[item],
                           made_up[item, labeler // 4])
            found.append(Comparison(f"c{item}.{labeler}", prompt, said, [[int(i)] for i in np.argsort(-liked)],
                                    f"l{labeler:02d}", "program", shown=[int(i) for i in shown]))
    return Crowd(kinds, x, quality, weights, found)


def _liked(draw: np.random.Generator, kind: str, quality: np.ndarray, noise: float, shown: np.ndarray,
           lengths: np.ndarray, made_up: np.ndarray) -> np.ndarray:
    honest = quality + noise * draw.gumbel(size=K)
    earliness = -np.argsort(shown) / (K - 1)
    longness = (lengths - 210) / 110
    return {"honest": honest, "random": draw.random(K), "reversed": -honest, "lazy": earliness,
            "half_lazy": honest if draw.random() < 0.5 else draw.random(K), "position": honest + 2 * earliness,
            "length": honest + 0.6 * longness, "colluding": made_up}[kind]


def calibrated_noise() -> float:
    """The scale of the noise at which two honest labelers agree on 73 % of pairs."""
    draw = np.random.default_rng(0)
    quality = draw.normal(size=(20_000, 2))
    one, other = draw.gumbel(size=(2, 20_000, 2))
    low, high = 0.0, 5.0
    for _ in range(30):
        middle = (low + high) / 2
        orders = [np.sign(np.diff(quality + middle * noise)) for noise in (one, other)]
        low, high = (middle, high) if (orders[0] == orders[1]).mean() > AGREEMENT else (low, middle)
    return (low + high) / 2


def suspicion(crowd: Crowd, kind: str, fitted: Trust) -> dict[str, float]:
    """The sign for a kind of fault, by labeler."""
    if kind in ("lazy", "position"):
        return {name: abs(sign.z) for name, sign in position_signs(crowd.comparisons).items()}
    if kind == "length":
        return {name: abs(sign.z) for name, sign in length_signs(crowd.comparisons, fitted.quality).items()}
    if kind == "colluding":
        return {name: max(sign.z for sign in signs.values())
                for name, signs in company_signs(crowd.comparisons, fitted.quality).items()}
    return {name: -beta for name, beta in fitted.beta.items()}


def auc(kind: str, noise: float, seed: int) -> float:
    kinds = [kind] * BAD + ["honest"] * (LABELERS - BAD)
    crowd = make_crowd(kinds, 50 if kind == "half_lazy" else 20, noise, seed)
    signs = suspicion(crowd, kind, trust(crowd.comparisons))
    bad, good = ([signs[f"l{n:02d}"] for n in span] for span in (range(BAD), range(BAD, LABELERS)))
    return float(np.mean([(b > g) + 0.5 * (b == g) for b in bad for g in good]))


def accuracies(noise: float, seed: int) -> dict[str, float]:
    """Accuracy of the reward models that learn from all alike, from all by trust, and from the honest alone."""
    kinds = [*MIXED, *["honest"] * (LABELERS - len(MIXED))]
    crowd = make_crowd(kinds, 20, noise, 1000 + seed)
    beta = trust(crowd.comparisons).beta
    weighing = {"unweighted": lambda labeler: 1.0, "weighted": lambda labeler: float(np.clip(beta[labeler], -1, 1)),
                "clean": lambda labeler: float(kinds[int(labeler[1:])] == "honest")}
    rows, owners = [], []
    for one in crowd.comparisons:
        x = crowd.x[int(one.prompt.id[1:])][[index for (index,) in one.ranking]]
        better, worse = np.triu_indices(K, 1)
        rows.append(x[better] - x[worse])
        owners += [one.labeler] * len(better)
    fresh = np.random.default_rng(10_000 + seed).normal(size=(20_000, FEATURES))
    found = {}
    for name, weigh in weighing.items():
        weights = 2 / K * np.array([weigh(labeler) for labeler in owners])
        w = fit_utility(np.concatenate(rows), weights).mean
        found[name] = float((np.sign(fresh @ w) == np.sign(fresh @ crowd.weights)).mean())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="one seed: about a minute")
    options = parser.parse_args()
    seeds = range(2 if options.quick else 5)
    noise = calibrated_noise()
    figures = {"auc": {}}
    for kind in KINDS:
        figures["auc"][kind] = round(float(np.mean([auc(kind, noise, seed) for seed in seeds])), 4)
        print(f"{kind:<10} AUC {figures['auc'][kind]:.3f}", file=sys.stderr)
    found = [accuracies(noise, seed) for seed in seeds]
    means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    lost = interval_over_seeds([one["clean"] - one["unweighted"] for one in found])
    if lost.low > 0:
        figures["recovered"] = round((means["weighted"] - means["unweighted"]) / lost.mean, 4)
    figures |= {"accuracy": {name: round(mean, 4) for name, mean in means.items()}, "lost": lost.to_dict(),
                "seeds": len(seeds), "noise": round(noise, 4)}
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
