"""PPO against TRL's PPOTrainer (trl 1.12.0, the last release that has one): same weights, prompts and optimiser steps.

    make peers
    .venv/bin/python benchmarks/ppo.py --json

An iteration is 64 answers (16 with --quick) to prompts of 32 tokens and four epochs of one optimiser step over all of
them, with policy, value network, reference and reward model of one size; TRL has gradient accumulation 1, where it
takes every step that is due. Ratios are ours over TRL's:

    fixed_fp32     episodes per second, answers of 48 tokens, separate networks, both in fp32
    fixed_bf16     the same with our update in bf16, against TRL in fp32
    long_tail      useful tokens (of answers, their end included) per second; answers end by themselves after 32 tokens
                   on average, 256 at most
    shared_trunk   as fixed_bf16, with the lower two thirds of the blocks frozen and shared on our side
    memory         TRL's peak resident memory over ours in fixed_fp32; `memory_shared` over ours with the shared trunk

Before anything is timed, both sides learn once from the same answers (TRL's, which our side replays): the scores, the
entropy, the value loss and the policy loss of the first optimiser step must agree.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from sides import SIZES, alternate, check, make_policy, make_scalar, parsed, peak_megabytes, run_side, text, words, work

PROMPT, ANSWER, LONGEST, MEAN, EPOCHS = 32, 48, 256, 32, 4
RATE = 1e-6  # so small that the policy, and so the lengths of answers, stay as they are


def main() -> None:
    options = parsed(__doc__)
    if options.worker:
        work(options, {"ours": ours, "trl": trl})
        return
    size = "S" if options.quick else "M"
    updates = 1 if options.quick else 3
    fixed = {"episodes": 16 if options.quick else 64, "longest": ANSWER, "updates": updates, "precision": "fp32",
             "frozen": 0, "seed": 0}
    frozen = {"frozen": SIZES[size][2] * 2 // 3, "precision": "auto"}
    with tempfile.TemporaryDirectory() as name:
        folder, tail = Path(name) / "fixed", Path(name) / "tail"
        make_models(size, folder, fixed["episodes"])
        make_models(size, tail, fixed["episodes"], MEAN)
        agree(folder, fixed, options.threads)
        both = ("episodes_per_second", "small_memory")
        fp32 = alternate(__file__, folder, {**fixed, "name": "fixed_fp32"}, options, both)
        bf16 = alternate(__file__, folder, {**fixed, "name": "fixed_bf16", "precision": "bf16"}, options, both[:1])
        shared = alternate(__file__, folder, {**fixed, **frozen, "name": "shared_trunk"}, options, both)
        long = alternate(__file__, tail, {**fixed, "name": "long_tail", "precision": "auto", "longest": LONGEST},
                         options, ("tokens_per_second",))
    figures = {"fixed_fp32": fp32[both[0]], "fixed_bf16": bf16[both[0]], "long_tail": long["tokens_per_second"],
               "shared_trunk": shared[both[0]], "memory": fp32[both[1]], "memory_shared": shared[both[1]]}
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def make_models(size: str, folder: Path, prompts: int, tokens_an_answer: float = float("inf")) -> None:
    """policy/, reward/ and prompts.jsonl."""
    from preceptor.data.jsonl import write_jsonl
    from preceptor.data.records import Prompt
    make_policy(size, folder / "policy", tokens_an_answer)
    make_scalar(folder / "policy", folder / "reward")
    write_jsonl(folder / "prompts.jsonl", [  # the template adds two tokens
        Prompt(f"p{n}", [{"role": "user", "content": text(words(SIZES[size][0], PROMPT - 2, n))}])
        for n in range(prompts)])


def agree(folder: Path, fixed: dict[str, Any], threads: int) -> None:
    """One optimiser step of both sides on the answers that TRL sampled."""
    case = {**fixed, "updates": 0, "replay": str(folder / "answers.json"), "name": "check"}
    theirs = run_side(__file__, "trl", folder, case, threads)["first"]
    found = run_side(__file__, "ours", folder, case, threads)["first"]
    check("mean score", found["shaped_score"], theirs["objective/scores"], 1e-4)
    check("entropy of an answer", found["entropy"] * ANSWER, theirs["objective/entropy"], 1e-2)
    check("value loss", found["value_loss"], theirs["loss/value_avg"], 1e-4)
    check("policy loss", found["policy_loss"], theirs["loss/policy_avg"], 1e-4)


def ours(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """The stage as a recipe runs it, timed by the lines of its log."""
    from preceptor.rlhf import stage
    from preceptor.rlhf.options import PpoOptions
    from preceptor.run.log import Log, read_log
    from preceptor.run.step import Step
    checking = "replay" in case
    epochs = 1 if checking else EPOCHS
    options = PpoOptions(iterations=1 + case["updates"], episodes=case["episodes"], max_tokens=case["longest"],
                         minibatches=1, inner_epochs=epochs, learning_rate=RATE, value_learning_rate=RATE,
                         kl_coefficient=0.05, warmup=0.0, precision=case["precision"], frozen_layers=case["frozen"],
                         ema=0.0, checkpoint_every=10**9)
    if checking:
        stage.LocalDecoder = replayed(json.loads(Path(case["replay"]).read_text()))
    with tempfile.TemporaryDirectory() as out:
        step = Step("ppo", Path(out), {"policy": folder / "policy", "reward": folder / "reward",
                                       "prompts": folder / "prompts.jsonl"}, options, case["seed"],
                    Log(Path(out) / "log.jsonl", "ppo", 1))
        ends, memory = {}, []
        log_write = Log.write

        def write(log: Log, at: int, **metrics: Any) -> None:
            ends[at] = time.perf_counter()
            memory.append(peak_megabytes())  # before the last checkpoint is written
            log_write(log, at, **metrics)

        Log.write = write
        stage.run(step)
        lines = read_log(step.log.path)["ppo"]
    if checking:
        return {"first": lines[1]}
    seconds = ends[(1 + case["updates"]) * epochs] - ends[epochs]
    lengths = [lines[1 + update * epochs]["answer_length"] for update in range(1, 1 + case["updates"])]
    return figures(seconds, case, sum(lengths) / len(lengths), memory[-1])


def figures(seconds: float, case: dict[str, Any], tokens_an_answer: float, megabytes: float) -> dict[str, float]:
    episodes = case["episodes"] * case["updates"] / seconds
    return {"episodes_per_second": episodes, "tokens_per_second": episodes * tokens_an_answer,
            "answer_length": tokens_an_answer, "small_memory": 1 / megabytes}


def replayed(kept: list[dict[str, list[int]]]) -> Any:
    """A decoder that gives these answers, with the log-probabilities that the policy gives their tokens."""
    import torch

    from preceptor.generate.local import LocalDecoder

    class Replay(LocalDecoder):
        def generate(self, requests: Any) -> Any:
            answers = {tuple(one["prompt"]): one["answer"] for one in kept}
            for number, request in enumerate(requests):
                prompt = self.prompt_tokens(request)
                answer = answers[tuple(prompt)]
                with torch.no_grad():
                    logits = self.model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1:-1]
                log_probs = logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]
                yield number, self.answer(request, prompt, answer, log_probs.tolist())

    return Replay


def trl(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """PPOTrainer with the same options; gradient checkpointing off."""
    from datasets import Dataset
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        TrainerCallback,
    )
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer
    checking = "replay" in case
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    prompts = [json.loads(line) for line in (folder / "prompts.jsonl").read_text().splitlines()]
    rows = [tokenizer.apply_chat_template(one["messages"], add_generation_prompt=True, tokenize=False)
            for one in prompts]
    data = Dataset.from_dict({"input_ids": [tokenizer(row, add_special_tokens=False)["input_ids"] for row in rows]})
    lines: list[dict[str, float]] = []
    ends, lengths, kept = [], [], []

    class Clock(TrainerCallback):
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            ends.append(time.perf_counter())

        def on_log(self, arguments: Any, state: Any, control: Any, logs: Any = None, **named: Any) -> None:
            lines.append(dict(logs or {}))

    generation = ppo_trainer.batch_generation

    def watched(model: Any, queries: Any, *arguments: Any) -> Any:
        found = generation(model, queries, *arguments)
        answers = found[0][:, queries.shape[1]:]
        lengths.append(float((answers != tokenizer.pad_token_id).sum(1).float().mean()))
        kept.extend({"prompt": query, "answer": answer}
                    for query, answer in zip(queries.tolist(), answers.tolist(), strict=True))
        return found

    ppo_trainer.batch_generation = watched
    with tempfile.TemporaryDirectory() as out:
        arguments = PPOConfig(
            output_dir=out, per_device_train_batch_size=case["episodes"], gradient_accumulation_steps=1,
            num_mini_batches=1, num_ppo_epochs=1 if checking else EPOCHS,
            total_episodes=case["episodes"] * (1 + case["updates"]),
            local_rollout_forward_batch_size=case["episodes"], response_length=case["longest"], temperature=1.0,
            kl_coef=0.05, missing_eos_penalty=1.0, learning_rate=RATE, lr_scheduler_type="constant",
            stop_token="eos" if case["longest"] == LONGEST else None, num_sample_generations=0, report_to=[],
            save_strategy="no", logging_strategy="steps", logging_steps=1, bf16=False, gradient_checkpointing=False,
            use_cpu=True, disable_tqdm=True, seed=case["seed"])
        policy, reference = (AutoModelForCausalLM.from_pretrained(folder / "policy") for _ in range(2))
        reward, value = (AutoModelForSequenceClassification.from_pretrained(folder / "reward") for _ in range(2))
        PPOTrainer(args=arguments, processing_class=tokenizer, model=policy, ref_model=reference, reward_model=reward,
                   value_model=value, train_dataset=data, eval_dataset=data, callbacks=[Clock()]).train()
    if checking:
        Path(case["replay"]).write_text(json.dumps(kept))
        return {"first": next(line for line in lines if "loss/value_avg" in line)}
    return figures(ends[-1] - ends[0], case, sum(lengths[1:]) / len(lengths[1:]), peak_megabytes())


if __name__ == "__main__":
    main()
