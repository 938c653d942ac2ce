"""Learning from preferences against TRL: DPO in steps per second, GRPO in episodes per second.

    make peers
    .venv/bin/python benchmarks/preference.py --json

Both sides in fp32 without gradient checkpointing, with the same weights, data, batches and optimiser. Ratios are ours
over TRL's:

    dpo     16 pairs a step, prompts of 128 tokens and answers of 64, one pass: TRL runs the reference in every step,
            we read it once before training, and the time of that is in our figure. The losses of every step must agree.
    grpo    64 answers of 48 tokens, 8 to each prompt of 32 tokens, one optimiser step an iteration; the reward is a
            function that costs nothing. The loss of the first step must agree.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from sides import SIZES, SPECIALS, alternate, check, make_policy, parsed, run_side, text, words, work

PROMPT, ANSWER, PAIRS_A_STEP = 128, 64, 16
GROUPS, GROUP, QUESTION, REPLY = 8, 8, 32, 48
RATE = 1e-4
WARM = 1  # steps before the clock starts


def main() -> None:
    options = parsed(__doc__)
    if options.worker:
        work(options, {"ours": ours, "trl": trl})
        return
    size = "S" if options.quick else "M"
    case = {"vocabulary": SIZES[size][0], "steps": 2 if options.quick else 5}
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_policy(size, folder / "policy")
        write_prompts(folder, case["vocabulary"])
        for algorithm in ("dpo", "grpo"):
            one = {**case, "name": algorithm}
            found, theirs = (run_side(__file__, side, folder, one, options.threads) for side in ("ours", "trl"))
            for number, pair in enumerate(zip(found["losses"], theirs["losses"], strict=True)):
                if algorithm == "dpo" or number == 0:  # what GRPO samples after its first step differs
                    check(f"the loss of {algorithm}, step {number + 1}", *pair, 2e-3)
            figures |= {algorithm: alternate(__file__, folder, one, options, ("steps_per_second",))["steps_per_second"]}
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def ours(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    return {"dpo": our_dpo, "grpo": our_grpo}[case["name"]](folder, case)


def trl(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    return {"dpo": trl_dpo, "grpo": trl_grpo}[case["name"]](folder, case)


def pair_of(case: dict[str, Any], number: int) -> list[list[int]]:
    """A prompt's words, and those of the better and of the worse answer; the template and the end make up the rest."""
    counts = (PROMPT - 2, ANSWER - 1, ANSWER - 1)
    return [words(case["vocabulary"], count, 3 * number + part) for part, count in enumerate(counts)]


def our_dpo(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """Every step sees the same 16 pairs, as TRL's does."""
    from functools import partial

    from preceptor.data.ranked import RankedBatches, RankedPrompt
    from preceptor.learn.fit import fit
    from preceptor.models.causal import load_causal
    from preceptor.rlhf.algorithms.dpo import loss
    from preceptor.rlhf.offline_options import DpoOptions
    from preceptor.rlhf.rankings import with_reference
    from preceptor.run.log import Log, read_log
    from preceptor.run.progress import Progress
    from preceptor.run.step import Step
    steps = WARM + case["steps"]
    prompts = []
    for number in range(PAIRS_A_STEP):
        prompt, better, worse = pair_of(case, number)
        prompts.append(RankedPrompt(str(number), [3, *prompt, 4], [[*better, 0], [*worse, 0]], [0, 1]))
    options = DpoOptions(rows=PAIRS_A_STEP, epochs=steps, learning_rate=RATE, schedule="constant", warmup=0.0,
                         beta2=0.999, checkpoint_every=10**9, log_every=1)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        step = Step("dpo", Path(out), {}, options, 0, Log(Path(out) / "log.jsonl", "dpo", 1))
        policy = load_causal(folder / "policy")
        started = time.perf_counter()
        ready = with_reference(step, policy, prompts, 1, Path(out) / "reference.jsonl")
        reference = time.perf_counter() - started  # of as many pairs as one step has: once for each step of a pass
        batches = RankedBatches(ready, rows=options.rows, epochs=steps, pad=1, seed=0)
        fit(policy, batches, partial(loss, options=options), options, folder=Path(out), log=step.log,
            progress=Progress("dpo", steps), after_step=lambda number: times.append(time.perf_counter()))
        lines = read_log(step.log.path)["dpo"]
    seconds = (times[-1] - times[WARM - 1]) / case["steps"] + reference
    return {"losses": [lines[number]["loss"] for number in range(1, 1 + steps)], "steps_per_second": 1 / seconds}


def trl_dpo(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer
    rows = []
    for number in range(PAIRS_A_STEP):
        prompt, better, worse = map(text, pair_of(case, number))
        rows.append({"prompt": f"{SPECIALS[3]} {prompt}{SPECIALS[4]}", "chosen": f" {better}", "rejected": f" {worse}"})
    with tempfile.TemporaryDirectory() as out:
        arguments = DPOConfig(per_device_train_batch_size=PAIRS_A_STEP, beta=0.1, **common(out, case))
        return timed(DPOTrainer(model=AutoModelForCausalLM.from_pretrained(folder / "policy"), args=arguments,
                                train_dataset=Dataset.from_list(rows),
                                processing_class=AutoTokenizer.from_pretrained(folder / "policy")), case)


def write_prompts(folder: Path, vocabulary: int) -> None:
    from preceptor.data.jsonl import write_jsonl
    from preceptor.data.records import Prompt
    from preceptor.run.files import write_json
    write_jsonl(folder / "prompts.jsonl", [
        Prompt(f"p{n}", [{"role": "user", "content": text(words(vocabulary, QUESTION - 2, n))}])
        for n in range(GROUPS)])
    (folder / "reward").mkdir()
    (folder / "reward" / "even.py").write_text(
        "def score(prompt, response):\n"
        "    return sum(token % 2 == 0 for token in response.token_ids) / len(response.token_ids)\n")
    write_json(folder / "reward" / "reward.json", {"kind": "program", "function": "even:score", "code": "even.py"})


def our_grpo(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """The stage as a recipe runs it, timed by the lines of its log."""
    from preceptor.rlhf import stage
    from preceptor.rlhf.options import GrpoOptions
    from preceptor.run.log import Log, read_log
    from preceptor.run.step import Step
    steps = WARM + case["steps"]
    options = GrpoOptions(iterations=steps, episodes=GROUPS * GROUP, answers_per_prompt=GROUP, max_tokens=REPLY,
                          minibatches=1, learning_rate=RATE, warmup=0.0, beta2=0.999, missing_end_penalty=0.0,
                          ema=0.0, checkpoint_every=10**9)
    times: dict[int, float] = {}
    log_write = Log.write

    def write(log: Log, at: int, **metrics: Any) -> None:
        times[at] = time.perf_counter()
        log_write(log, at, **metrics)

    Log.write = write
    with tempfile.TemporaryDirectory() as out:
        stage.run(Step("grpo", Path(out), {"policy": folder / "policy", "reward": folder / "reward",
                                           "prompts": folder / "prompts.jsonl"}, options, 0,
                       Log(Path(out) / "log.jsonl", "grpo", 1)))
        lines = read_log(Path(out) / "log.jsonl")["grpo"]
    return {"losses": [lines[number]["loss"] for number in range(1, 1 + steps)],
            "steps_per_second": case["steps"] / (times[steps] - times[WARM])}


def trl_grpo(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    prompts = [json.loads(line) for line in (folder / "prompts.jsonl").read_text().splitlines()]
    rows = [{"prompt": tokenizer.apply_chat_template(one["messages"], add_generation_prompt=True, tokenize=False)}
            for one in prompts]

    def even(completion_ids: list[list[int]], **named: Any) -> list[float]:
        return [sum(token % 2 == 0 for token in tokens) / len(tokens) for tokens in completion_ids]

    with tempfile.TemporaryDirectory() as out:
        arguments = GRPOConfig(per_device_train_batch_size=GROUPS * GROUP, num_generations=GROUP, beta=0.04,
                               max_completion_length=REPLY, loss_type="grpo", temperature=1.0, num_iterations=1,
                               steps_per_generation=1, **common(out, case))
        return timed(GRPOTrainer(model=AutoModelForCausalLM.from_pretrained(folder / "policy"), args=arguments,
                                 reward_funcs=[even], train_dataset=Dataset.from_list(rows),
                                 processing_class=tokenizer), case)


def common(out: str, case: dict[str, Any]) -> dict[str, Any]:
    return {"output_dir": out, "max_steps": WARM + case["steps"], "learning_rate": RATE,
            "lr_scheduler_type": "constant", "report_to": [], "save_strategy": "no", "logging_strategy": "steps",
            "logging_steps": 1, "bf16": False, "gradient_checkpointing": False, "use_cpu": True, "disable_tqdm": True,
            "adam_beta1": 0.9, "adam_beta2": 0.999, "weight_decay": 0.0, "max_grad_norm": 1.0}


def timed(trainer: Any, case: dict[str, Any]) -> dict[str, Any]:
    """Train, and say how long a step took and what its loss was."""
    from transformers import TrainerCallback
    times: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            times.append(time.perf_counter())

        def on_log(self, arguments: Any, state: Any, control: Any, logs: Any = None, **named: Any) -> None:
            if "loss" in (logs or {}):
                losses.append(logs["loss"])

    trainer.add_callback(Clock())
    trainer.train()
    return {"losses": losses, "steps_per_second": case["steps"] / (times[-1] - times[WARM - 1])}


if __name__ == "__main__":
    main()
