"""Claims 1 to 21: alignment. Some rest on committed runs with seeds (experiments/results), and say so."""

import math
import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ledger import policies, simulated
from ledger.claim import Claim, Finding, over_data, over_seeds
from ledger.simulated import logistic
from ledger.sources import RESULTS, data, demo
from preceptor.metrics.intervals import bootstrap_mean
from preceptor.run.files import read_json

RUNS = "Reuses experiments/results/demo_seeds.json: three whole runs of the recipe demo."


def order_of_preference(seeds: Sequence[int]) -> Finding:
    steps = [demo(f"win_rate/{pair}") for pair in ("base_prompted vs base", "sft vs base_prompted", "ppo vs sft")]
    last = demo("win_rate/ppo_ptx vs ppo")
    return over_seeds([min(values) - 0.5 for values in zip(*steps, strict=True)],
                      f"{RUNS} PPO-ptx against PPO: {sum(last) / len(last):.3f}.")


def tax_recovered(seeds: Sequence[int]) -> Finding:
    base, ppo, ptx, sft = (demo(f"perplexity/{model}") for model in ("base", "ppo", "ppo_ptx", "sft"))
    shares = [math.log(b / c) / math.log(b / a) for a, b, c in zip(base, ppo, ptx, strict=True)]
    already = [math.log(s / a) / math.log(b / a) for a, s, b in zip(base, sft, ppo, strict=True)]
    return over_seeds([share - 0.5 for share in shares], f"{RUNS} Share recovered: {sum(shares) / len(shares):.2f}. "
                      f"Supervised fine-tuning alone has {sum(already) / len(already):.2f} of the loss.")


def labelers_of_the_group(seeds: Sequence[int]) -> Finding:
    same, held = demo("reward_accuracy/same_labelers"), demo("reward_accuracy/heldout_labelers")
    return over_seeds([a - b for a, b in zip(same, held, strict=True)], RUNS)


def sft_teaches_to_invent(seeds: Sequence[int]) -> Finding:
    return over_seeds([after - before for before, after in zip(demo("false_assertions/base_prompted"),
                                                               demo("false_assertions/sft"), strict=True)], RUNS)


def rl_teaches_not_to_invent(seeds: Sequence[int]) -> Finding:
    return over_seeds([before - after for before, after in zip(demo("false_assertions/sft"),
                                                               demo("false_assertions/ppo"), strict=True)], RUNS)


def more_truthful_than_base(seeds: Sequence[int]) -> Finding:
    return over_seeds([before - after for before, after in zip(demo("false_assertions/base_prompted"),
                                                               demo("false_assertions/ppo_ptx"), strict=True)], RUNS)


def bent_reward(seeds: Sequence[int]) -> Finding:
    found = read_json(RESULTS / "labelers.json")
    lost = found["lost"]
    accuracy = found["accuracy"]
    return Finding(lost["mean"], lost["low"], lost["high"], lost["n"],
                   f"Reuses experiments/results/labelers.json: 8 of 40 simulated labelers are bad. Accuracy "
                   f"{accuracy['unweighted']:.3f} with them, {accuracy['weighted']:.3f} with each labeler weighed by "
                   f"trust, {accuracy['clean']:.3f} without them.")


def length_is_favoured(seeds: Sequence[int]) -> Finding:
    rows = [row for row in data("pref/hh_rlhf.train.jsonl.gz") if row["subset"].startswith("helpful")
            and len(row["chosen"]) != len(row["rejected"])]
    won = [float(len(row["chosen"]) > len(row["rejected"])) for row in rows]
    return over_data(bootstrap_mean(won, [str(row["prompt"][0]) for row in rows]), "conversations", zero=0.5)


def machine_like_a_person(seeds: Sequence[int]) -> Finding:
    """GPT-4 against each worker in turn, both measured by the strict majority of the other workers of the pair."""
    gains, items = [], []
    for row in data("pref/llmfao_crowd.train.jsonl.gz"):
        people = [one["label"] for one in row["annotations"] if not one["annotator"].startswith("ai_")]
        machine = [one["label"] for one in row["annotations"] if one["annotator"] == "ai_gpt4"]
        for place, said in enumerate(people):
            others = people[:place] + people[place + 1:]
            best = max("ab", key=others.count)
            if machine and others.count(best) * 2 > len(others):
                gains.append(float(machine[0] == best) - float(said == best))
                items.append(row["id"])
    return over_data(bootstrap_mean(gains, items), "pairs of answers",
                     note="GPT-4 on 13 prompts (LLMFAO), labels of 2023.")


def rankings_beat_scores(seeds: Sequence[int]) -> Finding:
    """Labelers give the same noisy utility as a ranking of 4, or as a score on a scale of their own; a linear reward is
    fitted to the differences of pairs (ranking) or to the scores, and orders fresh pairs."""
    return over_seeds([_ranking_minus_score(seed) for seed in seeds],
                      "Simulated: 60 labelers whose scales have a log-normal slope (0.5) and a normal offset (1), "
                      "600 prompts.")


def _ranking_minus_score(seed: int, prompts: int = 600, k: int = 4, features: int = 24, labelers: int = 60) -> float:
    draw = np.random.default_rng(seed)
    weights = draw.normal(size=features) / math.sqrt(features)
    answers = draw.normal(size=(prompts, k, features))
    felt = answers @ weights + draw.gumbel(size=(prompts, k)) * 0.6
    who = draw.integers(0, labelers, prompts)
    slope, offset = np.exp(0.5 * draw.normal(size=labelers)), draw.normal(size=labelers)
    scores = np.clip(np.round(4 + slope[who, None] * felt + offset[who, None]), 1, 7)
    by_score = _ridge(answers.reshape(-1, features), (scores - scores.mean()).reshape(-1))
    first, second = map(list, zip(*combinations(range(k), 2), strict=True))
    gaps = (answers[:, first] - answers[:, second]).reshape(-1, features)
    won = (felt[:, first] > felt[:, second]).reshape(-1)
    by_rank = logistic(gaps, won)
    fresh = draw.normal(size=(20_000, features))
    return float(np.mean((fresh @ by_rank > 0) == (fresh @ weights > 0))
                 - np.mean((fresh @ by_score > 0) == (fresh @ weights > 0)))


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)


def kwise_overfits_less(seeds: Sequence[int]) -> Finding:
    """A network that can learn its noisy rankings of K = 6 by heart is trained for six epochs: each batch holds 8
    whole rankings (120 pairs), or 120 pairs of any prompts. Over-fitting is the best accuracy on fresh pairs less the
    last."""
    whole, mixed = ([_accuracies(seed, kind) for seed in seeds] for kind in (True, False))
    first = [a[0] - b[0] for a, b in zip(whole, mixed, strict=True)]
    return over_seeds([(max(b) - b[-1]) - (max(a) - a[-1]) for a, b in zip(whole, mixed, strict=True)],
                      "A network of 32-512-1 on 200 simulated rankings, six epochs of Adam at 2e-3. After one epoch "
                      f"the accuracy with whole rankings is {sum(first) / len(first):+.3f} against shuffled pairs.")


def _accuracies(seed: int, whole: bool, prompts: int = 200, k: int = 6, features: int = 32) -> list[float]:
    """The accuracy on fresh pairs after each epoch."""
    import torch
    torch.manual_seed(seed)
    truth = torch.nn.Linear(features, 1)
    answers = torch.randn(prompts, k, features)
    with torch.no_grad():
        felt = truth(answers).squeeze(-1) * 2 - torch.log(-torch.log(torch.rand(prompts, k)))
    pairs = [[(prompt, *(couple if felt[prompt, couple[0]] > felt[prompt, couple[1]] else couple[::-1]))
              for couple in combinations(range(k), 2)] for prompt in range(prompts)]
    net = torch.nn.Sequential(torch.nn.Linear(features, 512), torch.nn.ReLU(), torch.nn.Linear(512, 1))
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    one, other = torch.randn(2, 8000, features)
    draw, found = random.Random(seed), []
    for _ in range(6):
        flat = [pair for some in draw.sample(pairs, len(pairs)) for pair in some]
        if not whole:
            draw.shuffle(flat)
        for first in range(0, len(flat), 120):
            prompt, better, worse = torch.tensor(flat[first:first + 120]).T
            loss = torch.nn.functional.softplus(net(answers[prompt, worse]) - net(answers[prompt, better])).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            found.append(float(((net(one) > net(other)) == (truth(one) > truth(other))).float().mean()))
    return found


def elo_as_a_target(seeds: Sequence[int]) -> Finding:
    """Strengths of 59 models from half of the judgements foretell the other half: Elo's share right less
    Bradley and Terry's, and the margin of 1 point by which it may be worse."""
    from preceptor.metrics.strengths import bradley_terry, elo
    rows = data("pref/llmfao_crowd.train.jsonl.gz")
    models = sorted({row[f"model_{side}"] for row in rows for side in "ab"})
    names = {name: number for number, name in enumerate(models)}
    games = [(names[row["model_a"]], names[row["model_b"]], {"a": 1.0, "b": 0.0, "tie": 0.5}[one["label"]])
             for row in rows for one in row["annotations"] if not one["annotator"].startswith("ai_")]
    values = []
    for seed in seeds:
        mixed = random.Random(seed).sample(games, len(games))
        train, test = mixed[:len(mixed) // 2], [game for game in mixed[len(mixed) // 2:] if game[2] != 0.5]
        wins = np.zeros((len(names), len(names)))
        for a, b, outcome in train:
            wins[a, b] += outcome
            wins[b, a] += 1 - outcome
        right = [sum((strengths[a] > strengths[b]) == (outcome == 1) for a, b, outcome in test) / len(test)
                 for strengths in (elo(train, len(names)), bradley_terry(wins, prior=1.0))]
        values.append(right[0] - right[1] + 0.01)
    return over_seeds(values, "59 models judged by 124 people (LLMFAO).")


def best_of_n_overfits(seeds: Sequence[int]) -> Finding:
    """Gold reward of the best of n by a proxy: its peak over n less its value at the largest n; the proxy is the gold
    reward plus an error with heavy tails (Student's t with 2 degrees of freedom)."""
    values = [_gold_lost(seed, heavy=True) for seed in seeds]
    light = [_gold_lost(seed, heavy=False) for seed in seeds]
    return over_seeds(values, "Simulated best of n up to 4096 (KL = log n - (n-1)/n). With a Gaussian error of the "
                      f"same median size the loss is {sum(light) / len(light):.3f}: the fall needs errors that reach "
                      "further than quality does.")


def _gold_lost(seed: int, heavy: bool, draws: int = 400) -> float:
    draw = np.random.default_rng(seed)
    means = []
    for n in (1, 4, 16, 64, 256, 1024, 4096):
        gold = draw.normal(size=(draws, n))
        error = draw.standard_t(2, size=(draws, n)) if heavy else draw.normal(size=(draws, n)) * 1.21
        means.append(float(np.take_along_axis(gold, (gold + error).argmax(1)[:, None], 1).mean()))
    return max(means) - means[-1]


INSTRUCT = "Ouyang et al. 2022, arXiv 2203.02155"
CLAIMS = [
    Claim(number=1, statement="A small aligned model is preferred to a base model a hundred times its size.",
          source=INSTRUCT, reason="Needs two models whose sizes differ a hundredfold, both trained to the end.",
          core=False),
    Claim(number=2, statement="Order of preference: base < prompted base < SFT < PPO, about equal to PPO-ptx.",
          source=INSTRUCT, effect="the smallest of the three win rates of a model over the one before, less 1/2",
          test=order_of_preference),
    Claim(number=3, statement="PPO alone loses on general language; mixing pretraining gradients recovers most of it.",
          source=INSTRUCT, effect="share of the rise of log-perplexity over the base that PPO-ptx takes back, less 1/2",
          test=tax_recovered, corrected="Here most of the loss comes with supervised fine-tuning, and PPO adds to it."),
    Claim(number=4, statement="Without the KL penalty the policy drifts into text that fools the reward model.",
          source="Stiennon et al. 2020, arXiv 2009.01325; " + INSTRUCT, test=simulated.penalty_holds,
          effect="gold reward with the penalty less that without"),
    Claim(number=5, part="a", statement="SFT over-fits the validation loss after one epoch.", source=INSTRUCT,
          effect="bits a byte of held-out demonstrations after 16 epochs less those after one", trains=True,
          test=policies.over_fits),
    Claim(number=5, part="b", statement="Yet more epochs of SFT raise the reward model's score.", source=INSTRUCT,
          effect="score after 16 epochs less that after one", trains=True, test=policies.more_epochs_please),
    Claim(number=6, statement="All comparisons of a prompt as one batch element over-fit less than shuffled pairs.",
          source=INSTRUCT, test=kwise_overfits_less,
          effect="over-fitting (best accuracy less the last) with shuffled pairs less that with whole rankings",
          corrected="It over-fits less over several epochs; it is no more accurate after one. (A first form of this "
          "experiment, 400 rankings and one epoch, had whole rankings 0.019 [0.014, 0.025] behind.)"),
    Claim(number=7, statement="Rankings train a better reward model than absolute scores, because scales differ.",
          source="Ziegler et al. 2019, arXiv 1909.08593", effect="accuracy from rankings less that from scores",
          test=rankings_beat_scores),
    Claim(number=8, statement="A reward model agrees less with held-out labelers than with its own.", source=INSTRUCT,
          effect="accuracy on rankings of its own labelers less that on those of held-out ones",
          test=labelers_of_the_group),
    Claim(number=9, statement="Policy and reward model may differ in size; a reward model needs ability comparable to "
          "the text that it judges.", source="Stiennon et al. 2020; " + INSTRUCT, test=simulated.able_reward_models,
          effect="gold reward of a policy pushed against an able reward model less that against a plain one"),
    Claim(number=10, statement="As the policy moves, the reward model's data stop covering its outputs; iterated "
          "collection helps.", source=INSTRUCT, test=simulated.iterated_collection,
          effect="gold reward with rankings collected in four rounds less that with as many collected at once"),
    Claim(number=11, part="a", statement="Supervised fine-tuning teaches a model to invent what it does not know.",
          source="Schulman 2023 (lecture); " + INSTRUCT,
          effect="false assertions after SFT less those of the prompted base", test=sft_teaches_to_invent),
    Claim(number=11, part="b", statement="RL teaches it to say that it does not know.",
          source="Schulman 2023 (lecture)", effect="false assertions after SFT less those after PPO",
          test=rl_teaches_not_to_invent),
    Claim(number=12, statement="Fine-tuning on reward-model data, or on loss weighted by reward, could replace RL.",
          source="Rafailov et al. 2023, arXiv 2305.18290", trains=True, test=policies.tuning_replaces_rl,
          effect="reward gained by tuning on the best of n less 0.9 of what RL gains"),
    Claim(number=13, statement="InstructGPT is more truthful than its base.", source=INSTRUCT,
          effect="false assertions of the prompted base less those of PPO-ptx", test=more_truthful_than_base),
    Claim(number=14, statement="Aligned models write long, because labelers favour length.", source=INSTRUCT,
          effect="share of helpfulness judgements in which the longer answer won, less 1/2", test=length_is_favoured),
    Claim(number=15, statement="Preference-model pretraining makes better use of few comparisons.",
          source="Askell et al. 2021, arXiv 2112.00861", reason="The pretraining set (votes of forums) is not here.",
          core=False),
    Claim(number=16, statement="AI feedback can match human feedback.", source="Lee et al. 2023, arXiv 2309.00267",
          effect="agreement of GPT-4 with the majority of the other labelers less that of a single person",
          test=machine_like_a_person),
    Claim(number=17, statement="A few adversarial or careless labelers bend the reward model.",
          source=INSTRUCT, effect="accuracy lost to a fifth of bad labelers", test=bent_reward,
          corrected="They cost little accuracy, and weighing labelers by trust gives it back; filtering of single "
          "examples was not compared."),
    Claim(number=18, statement="Feedback from a narrow group over-fits to that group.",
          source="Bai et al. 2022, arXiv 2204.05862", core=False,
          reason="See 8, which looks at simulated groups; no pack names a group of its labelers."),
    Claim(number=19, statement="Elo ranks of answers, normalised, are good training targets.",
          source="tutorials", effect="share of held-out judgements that Elo foretells, less Bradley and Terry's, plus "
          "the margin 0.01", test=elo_as_a_target,
          corrected="Elo depends on the order of the games; Bradley and Terry's fit does not, and costs no more."),
    Claim(number=20, statement="Parameter-efficient tuning (LoRA, freezing) suffices for RL.",
          source="Hu et al. 2021, arXiv 2106.09685", trains=True, test=policies.adapters_suffice,
          effect="reward gained with LoRA less 0.9 of what all weights gain"),
    Claim(number=21, statement="Gold reward rises, then falls with the root of KL.",
          source="Gao et al. 2022, arXiv 2210.10760", effect="gold reward at its peak less that at n = 4096",
          test=best_of_n_overfits, corrected="Whether it falls depends on the tails of the reward model's error."),
]
