"""How many labels does informed choice save on the village, at equal accuracy of the reward model?

    python experiments/active_selection.py [--json] [--quick]

A generated village gives prompts with four to nine answers each, written as its demonstrators write; its simulated
labelers, who agree on 73 % of pairs, rank what a policy chooses, 20 prompts at a time, until 300 of 600 are ranked.
After each 20 a linear reward model (hashed words, length and overlap, `feedback.policies`) is fitted to all rankings so
far; its accuracy is the share of the oracle's pairs on 200 prompts of other users that it orders rightly. Policies are
those of the labelling page, one choice in five at random. labels_needed is, for each policy, the first number of
rankings at which its mean accuracy over seeds reaches that of the random policy with all 300, as a share of the 300;
more than 1 is written as null: never within them. labels_needed_interval are the percentiles of the same figure when
the seeds are drawn again. The last line with --json is {"labels_needed": {policy: share}, ...}.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence

import numpy as np

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.machines import in_order
from preceptor.feedback.policies import CONTROL, POLICIES, LinearUtility, fit_utility, hashed_words, ranked_pairs
from preceptor.metrics.intervals import interval_over_seeds
from preceptor.village.demonstrations import answer, draw_style
from preceptor.village.labelers import Panel, calibrate_noise, draw_labelers
from preceptor.village.language import load_language
from preceptor.village.options import VillageOptions
from preceptor.village.oracle import Oracle
from preceptor.village.prompts import Asked, draw_prompts
from preceptor.village.realizer import Realizer
from preceptor.village.stage import typical_verdicts
from preceptor.village.world import build_world

POOL, TEST, MOST, BATCH = 600, 200, 300, 20
RESAMPLES = 2000
Answered = list[tuple[Prompt, list[Response]]]


def make_village(seed: int, pool: int, test: int) -> tuple[Panel, Answered, Answered]:
    """The panel, and prompts with different answers, of training users and of others."""
    options = VillageOptions(language="en", train_prompts=pool, valid_prompts=test)
    language = load_language("en")
    world = build_world(options, seed, language.words)
    prompts = draw_prompts(options, seed, [Realizer(language, world)])
    oracle = Oracle(world, [asked.draft.task for split in prompts.values() for asked in split], ["en"])
    training, heldout = draw_labelers(options, seed)
    verdicts = typical_verdicts(options, seed, oracle, prompts["train"][:300], {"en": language})
    noise = calibrate_noise([*training, *heldout], verdicts, options.agreement, seed)
    draw = random.Random(f"active/{seed}")

    def answered(asked: Sequence[Asked]) -> Answered:
        found = []
        for one in asked:
            styles = (draw_style(draw, options, one.draft) for _ in range(draw.randint(4, 9)))
            texts = dict.fromkeys(answer(draw, language, one.draft, style) for style in styles)
            if len(texts) > 1:
                found.append((one.prompt, [Response(text) for text in texts]))
        return found

    return Panel(oracle, training, heldout, noise, seed), answered(prompts["train"]), answered(prompts["valid"])


def curve(policy: str, panel: Panel, pool: Answered, test: list[tuple[np.ndarray, np.ndarray]], seed: int,
          most: int) -> list[float]:
    """Accuracy after each batch of rankings."""
    draw = random.Random(f"{policy}/{seed}")
    features = [hashed_words(prompt, responses) for prompt, responses in pool]
    left, rows, weights, found = list(range(len(pool))), [], [], []
    utility: LinearUtility | None = None
    while len(found) * BATCH < most:
        for place in chosen(policy, utility, features, left, draw):
            prompt, responses = pool[place]
            labeler = panel.training[place % len(panel.training)]
            pairs = ranked_pairs(panel.rank(prompt, responses, labeler, f"{prompt.id}/{labeler}"), features[place])
            rows.append(pairs)
            weights.append(np.full(len(pairs), 2 / len(responses)))
            left.remove(place)
        utility = fit_utility(np.concatenate(rows), np.concatenate(weights))
        right = [utility.chances(pairs) > 0.5 for pairs, _ in test]
        found.append(float(np.concatenate(right).mean()))
    return found


def chosen(policy: str, utility: LinearUtility | None, features: list[np.ndarray], left: list[int],
           draw: random.Random) -> list[int]:
    """The next batch, as `Selector` would offer it between two looks at the labels."""
    shuffled = draw.sample(left, len(left))
    if policy == "random" or utility is None:
        return shuffled[:BATCH]
    score = utility.uncertainty if policy == "uncertain" else utility.information
    best = iter(sorted(shuffled, key=lambda place: -score(features[place])))
    control = [place for place in shuffled[:BATCH] if draw.random() < CONTROL]
    return control + [place for place in best if place not in control][:BATCH - len(control)]


def oracle_pairs(panel: Panel, test: Answered) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each prompt, the differences in features of the pairs that the oracle sets apart."""
    found = []
    for prompt, responses in test:
        scores = panel.oracle.score([prompt] * len(responses), responses)
        ranked = Comparison(prompt.id, prompt, responses, in_order(scores), "oracle", "program")
        pairs = ranked_pairs(ranked, hashed_words(prompt, responses))
        if len(pairs):
            found.append((pairs, np.ones(len(pairs))))
    return found


def labels_needed(curves: dict[str, np.ndarray], seeds: Sequence[int]) -> dict[str, float]:
    """For each policy's curves [seeds, steps], the share of labels with which it reaches chance's; infinity: never."""
    means = {policy: rows[list(seeds)].mean(0) for policy, rows in curves.items()}
    reached = {policy: np.flatnonzero(mean >= means["random"][-1]) for policy, mean in means.items()}
    return {policy: float(first[0] + 1) / len(means[policy]) if len(first) else float("inf")
            for policy, first in reached.items()}


def finite(share: float) -> float | None:
    return round(share, 3) if np.isfinite(share) else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="one small village: under a minute")
    options = parser.parse_args()
    pool, test, most, seeds = (160, 40, 80, 2) if options.quick else (POOL, TEST, MOST, 5)
    curves: dict[str, list[list[float]]] = {policy: [] for policy in POLICIES}
    for seed in range(seeds):
        panel, train, valid = make_village(seed, pool, test)
        judged = oracle_pairs(panel, valid)
        for policy in POLICIES:
            curves[policy].append(curve(policy, panel, train, judged, seed, min(most, len(train) // BATCH * BATCH)))
            print(f"seed {seed} {policy:<12} {curves[policy][-1][-1]:.3f}", file=sys.stderr)
    tables = {policy: np.array(rows) for policy, rows in curves.items()}
    draw = np.random.default_rng(0)
    again = [labels_needed(tables, draw.integers(0, seeds, seeds)) for _ in range(RESAMPLES)]
    ends = {policy: np.quantile([one[policy] for one in again], [0.025, 0.975], method="nearest") for policy in tables}
    needed = labels_needed(tables, range(seeds))
    figures = {"labels_needed": {policy: finite(share) for policy, share in needed.items()},
               "labels_needed_interval": {policy: [finite(end) for end in pair] for policy, pair in ends.items()},
               "accuracy": {policy: interval_over_seeds([row[-1] for row in rows]).to_dict()
                            for policy, rows in curves.items()},
               "curves": {policy: [round(float(value), 4) for value in rows.mean(0)]
                          for policy, rows in tables.items()},
               "batch": BATCH, "seeds": seeds}
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
