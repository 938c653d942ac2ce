"""Training a reward model against TRL's RewardTrainer: pairs per second, prompts of 128 tokens, answers of 64.

    make peers
    .venv/bin/python benchmarks/reward_model.py --json

A ranking of K answers is K(K-1)/2 pairs. TRL reads each pair as two whole texts, 16 pairs a step; here a prompt is read
once with its K answers, 8 prompts a step. Ratios are ours (in the precision that it chooses) over TRL's:

    k9, k4        TRL as it comes: bf16, gradient checkpointing on
    k9_vs_bf16    TRL in bf16 with gradient checkpointing off, K = 9

Before anything is timed both sides give the loss of one ranking, in fp32: it must be the same.
"""

import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from sides import SIZES, alternate, check, make_policy, make_scalar, parsed, run_side, words, work

PROMPT, ANSWER, PROMPTS_A_STEP, PAIRS_A_STEP = 128, 64, 8, 16
WARM = 1  # steps before the clock starts


def main() -> None:
    options = parsed(__doc__)
    if options.worker:
        work(options, {"ours": ours, "trl": trl})
        return
    size = "S" if options.quick else "M"
    case = {"vocabulary": SIZES[size][0], "steps": 1 if options.quick else 4, "checkpointing": True, "prompts": 0}
    cases = {"k9": {**case, "k": 9}, "k4": {**case, "k": 4}, "k9_vs_bf16": {**case, "k": 9, "checkpointing": False}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_policy(size, folder / "policy")
        make_scalar(folder / "policy", folder / "reward")
        for k in (9, 4):
            one = {**case, "k": k, "steps": 0, "prompts": 1}
            found, theirs = (run_side(__file__, side, folder, one, options.threads) for side in ("ours", "trl"))
            check(f"the loss of a ranking of {k}", found["loss"], theirs["loss"], 2e-4)
        figures = {name: alternate(__file__, folder, {**one, "name": name}, options, ("pairs_per_second",))
                   ["pairs_per_second"] for name, one in cases.items()}
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def rankings(case: dict[str, Any], count: int) -> list[tuple[list[int], list[list[int]]]]:
    """Prompts, and K answers to each, the best first."""
    vocabulary = case["vocabulary"]
    return [(words(vocabulary, PROMPT, n), [words(vocabulary, ANSWER, 1000 * n + k)
                                           for k in range(1, 1 + case["k"])]) for n in range(count)]


def ours(folder: Path, case: dict[str, Any]) -> dict[str, float]:
    """The reward stage's loss in the loop."""
    from preceptor.data.ranked import RankedBatches, RankedPrompt
    from preceptor.learn.fit import fit
    from preceptor.learn.options import FitOptions
    from preceptor.models.scalar import load_scalar
    from preceptor.reward.loss import ranking_loss
    from preceptor.run.log import Log, read_log
    from preceptor.run.progress import Progress
    steps, rows = WARM + case["steps"], case["prompts"] or PROMPTS_A_STEP
    prompts = [RankedPrompt(str(n), prompt, answers, list(range(len(answers))))
               for n, (prompt, answers) in enumerate(rankings(case, steps * rows))]
    batches = RankedBatches(prompts[:rows] if case["prompts"] else prompts, rows=rows, epochs=1, pad=1, seed=0)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        log = Log(Path(out) / "log.jsonl", "benchmark", 1)
        options = FitOptions(checkpoint_every=10**9, precision="fp32" if case["prompts"] else "auto")
        fit(load_scalar(folder / "reward"), batches, ranking_loss, options, folder=Path(out), log=log,
            progress=Progress("benchmark", steps), after_step=lambda number: times.append(time.perf_counter()))
        loss = read_log(log.path)["benchmark"][1]["loss"]
    pairs = case["steps"] * rows * case["k"] * (case["k"] - 1) / 2
    return {"loss": loss, "pairs_per_second": pairs / (times[-1] - times[WARM - 1]) if case["steps"] else 0.0}


def trl(folder: Path, case: dict[str, Any]) -> dict[str, float]:
    """RewardTrainer over the pairs, shuffled, as a user of K-wise data has to give them to it."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
    from trl import RewardConfig, RewardTrainer
    steps = WARM + case["steps"]
    pairs = [{"chosen_ids": prompt + answers[i], "rejected_ids": prompt + answers[j]}
             for prompt, answers in rankings(case, case["prompts"] or steps * PAIRS_A_STEP)
             for i in range(case["k"]) for j in range(i + 1, case["k"])]
    random.Random(0).shuffle(pairs)
    rows = len(pairs) if case["prompts"] else PAIRS_A_STEP
    times, losses = [], []

    class Clock(TrainerCallback):
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            times.append(time.perf_counter())

        def on_log(self, arguments: Any, state: Any, control: Any, logs: Any = None, **named: Any) -> None:
            losses.append((logs or {}).get("loss"))

    exact = {"bf16": False, "gradient_checkpointing": False} if case["prompts"] else {}
    with tempfile.TemporaryDirectory() as out:
        arguments = RewardConfig(
            output_dir=out, per_device_train_batch_size=rows, max_steps=steps, report_to=[], save_strategy="no",
            logging_strategy="steps", logging_steps=1, use_cpu=True, disable_tqdm=True,
            **{"gradient_checkpointing": case["checkpointing"], **exact})
        RewardTrainer(model=AutoModelForSequenceClassification.from_pretrained(folder / "reward"), args=arguments,
                      train_dataset=Dataset.from_list(pairs[:steps * rows]), callbacks=[Clock()],
                      processing_class=AutoTokenizer.from_pretrained(folder / "reward")).train()
    measured = case["steps"] * rows / (times[-1] - times[WARM - 1]) if case["steps"] else 0.0
    return {"loss": losses[0], "pairs_per_second": measured}


if __name__ == "__main__":
    main()
