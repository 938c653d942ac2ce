"""How often 95 % intervals of model scores cover the truth: drawing pairs again, against drawing prompts again.

    python experiments/interval_coverage.py [--json] [--quick]

Eight models of known strength; each of 150 prompts has K of them ranked once (Plackett–Luce: strength plus Gumbel
noise, of which Bradley–Terry over all pairs is a consistent estimate). An interval is the percentile bootstrap of each
model's log-strength around the mean. `pairs` takes the C(K, 2) pairs of a ranking for independent and draws them again;
`clustered` draws the prompts again, as `feedback.scores` does. The last line with --json is
{"K": {"pairs": share, "clustered": share}} for K = 2, 4, 7.
"""

import argparse
import json
import sys

import numpy as np

from preceptor.metrics.strengths import bradley_terry

MODELS, PROMPTS = 8, 150
PRIOR = 0.01


def coverage(k: int, simulations: int, resamples: int, seed: int) -> dict[str, float]:
    """Share of the intervals, over models and simulations, that hold the true strength."""
    draw = np.random.default_rng([seed, k])
    truth = np.linspace(-1, 1, MODELS)
    held = {"pairs": 0, "clustered": 0}
    for _ in range(simulations):
        wins = simulate(draw, truth, k)
        for way, drawn in (("clustered", by_prompt(draw, wins, resamples)), ("pairs", by_pair(draw, wins, resamples))):
            again = np.array([bradley_terry(one, PRIOR) for one in drawn])
            low, high = np.quantile(again, [0.025, 0.975], axis=0)
            held[way] += int(((low <= truth) & (truth <= high)).sum())
    return {way: round(count / simulations / MODELS, 4) for way, count in held.items()}


def simulate(draw: np.random.Generator, truth: np.ndarray, k: int) -> np.ndarray:
    """[prompts, n, n]: who beat whom in the ranking of each prompt."""
    wins = np.zeros((PROMPTS, MODELS, MODELS))
    for one in wins:
        shown = draw.permutation(MODELS)[:k]
        order = shown[np.argsort(-(truth[shown] + draw.gumbel(size=k)))]
        for place, better in enumerate(order):
            one[better, order[place + 1:]] = 1
    return wins


def by_prompt(draw: np.random.Generator, wins: np.ndarray, resamples: int) -> np.ndarray:
    counts = draw.multinomial(PROMPTS, np.full(PROMPTS, 1 / PROMPTS), size=resamples)
    return np.tensordot(counts.astype(float), wins, 1)


def by_pair(draw: np.random.Generator, wins: np.ndarray, resamples: int) -> np.ndarray:
    """The same number of games, drawn one by one; those between the same two in the same direction are alike."""
    total = wins.sum(0).ravel()
    games = int(total.sum())
    return draw.multinomial(games, total / games, size=resamples).reshape(-1, MODELS, MODELS).astype(float)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="fewer simulations: under a minute")
    options = parser.parse_args()
    simulations, resamples = (20, 80) if options.quick else (200, 200)
    found = {}
    for k in (2, 4, 7):
        found[str(k)] = coverage(k, simulations, resamples, seed=0)
        print(f"K = {k}: pairs {found[str(k)]['pairs']:.1%}, clustered {found[str(k)]['clustered']:.1%} "
              f"of {simulations * MODELS:,} intervals", file=sys.stderr)
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
