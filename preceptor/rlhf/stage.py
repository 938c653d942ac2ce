"""The reinforcement-learning stage: PPO and PPO-ptx as one call of the training loop."""

from functools import partial
from importlib import import_module
from typing import Any

from torch import nn

from preceptor.data.jsonl import read_jsonl
from preceptor.data.packing import PackedBatches
from preceptor.data.records import Document, Prompt
from preceptor.generate.local import LocalDecoder
from preceptor.learn.fit import Term, fit
from preceptor.models.causal import context_length, load_causal, model_folder, parameter_count, save_model
from preceptor.models.reward_model import RewardModel
from preceptor.models.scalar import load_scalar, scalar_from_causal
from preceptor.rlhf.batches import RolloutBatches
from preceptor.rlhf.loss import ActorCritic, load_average, ptx_loss
from preceptor.rlhf.options import PpoOptions
from preceptor.rlhf.rollouts import Rollouts
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.chat import encode_document, encode_prompt, load_tokenizer
from preceptor.tokenizer.fingerprint import fingerprint


def run(step: Step) -> None:
    """Read `policy`, `reward`, `prompts` (and `corpus`), write `model/` and the moving average `ema/`."""
    options: PpoOptions = step.options
    _check_options(step)
    algorithm = import_module(f"preceptor.rlhf.algorithms.{options.algorithm}")
    folder = model_folder(step.input("policy"))
    tokenizer = load_tokenizer(folder)
    reference = load_causal(folder).requires_grad_(False).eval()
    model = ActorCritic(load_causal(folder), _value_network(step, tokenizer))
    prompts = read_jsonl(step.input("prompts"), Prompt)
    _report_long_prompts(step, prompts, tokenizer, reference)
    rollouts = Rollouts(model, reference, LocalDecoder(model["policy"], tokenizer, rows=options.episodes),
                        RewardModel(model_folder(step.input("reward"))), algorithm, options, tokenizer.pad_token_id)
    batches = RolloutBatches(rollouts, prompts, options, step.seed)
    step.plan(policy_parameters=parameter_count(model["policy"]), value_parameters=parameter_count(model["value"]),
              prompts=len(prompts), iterations=options.iterations, episodes=options.iterations * options.episodes,
              optimiser_steps_an_iteration=batches.steps_per_iteration, optimiser_steps=batches.total)

    def report(number: int) -> dict[str, float] | None:
        return {"iteration": batches.iteration, **batches.experience.metrics()} if batches.fresh else None

    average = fit(model, batches, partial(algorithm.loss, options=options), options, folder=step.folder, log=step.log,
                  progress=step.progress(batches.total), extra=_pretraining_mix(step, tokenizer, model, batches.total),
                  rates={"value": options.value_learning_rate}, after_step=report)
    save_model(model["policy"], tokenizer, step.folder / "model")
    if average is not None:
        load_average(model, average)
        save_model(model["policy"], tokenizer, step.folder / "ema")


def _check_options(step: Step) -> None:
    options: PpoOptions = step.options
    if options.temperature <= 0:
        raise UserError(f"Step '{step.name}' cannot sample at temperature {options.temperature:g}: PPO needs answers "
                        "that are drawn, not looked up.", f"Set {step.name}.temperature above 0.")
    if not 1 <= options.minibatches <= options.episodes:
        raise UserError(f"Step '{step.name}' cannot split {options.episodes} episodes into {options.minibatches} "
                        "minibatches.", f"Set {step.name}.minibatches between 1 and {options.episodes}.")
    if options.ptx_coefficient and "corpus" not in step.inputs:
        raise UserError(f"Step '{step.name}' mixes in pretraining text (ptx_coefficient {options.ptx_coefficient:g}) "
                        "but has no corpus.", f"Add 'corpus' to its needs, or set {step.name}.ptx_coefficient=0.")
    if "corpus" in step.inputs and not options.ptx_coefficient:
        step.say("the corpus is not read, because ptx_coefficient is 0")


def _value_network(step: Step, tokenizer: Any) -> nn.Module:
    """The reward model as the value network's beginning (InstructGPT, C.4), where it reads the policy's tokens."""
    folder = model_folder(step.input("reward"))
    if fingerprint(load_tokenizer(folder)) == fingerprint(tokenizer):
        return load_scalar(folder)
    step.say("the reward model has another vocabulary, so the value network starts from the policy")
    return scalar_from_causal(model_folder(step.input("policy")), step.seed)


def _report_long_prompts(step: Step, prompts: list[Prompt], tokenizer: Any, policy: nn.Module) -> None:
    room = context_length(policy) - step.options.max_tokens
    long = sum(len(encode_prompt(tokenizer, prompt)) > room for prompt in prompts)
    if long:
        step.say(f"{long} of {len(prompts)} prompts are longer than {room} tokens and lose their beginning")


def _pretraining_mix(step: Step, tokenizer: Any, model: ActorCritic, steps: int) -> list[Term]:
    """The second loss of PPO-ptx: its gradient is added to that of PPO before each optimiser step."""
    options: PpoOptions = step.options
    if not options.ptx_coefficient:
        return []
    examples = [encode_document(tokenizer, document) for document in read_jsonl(step.input("corpus"), Document)]
    batches = PackedBatches(examples, rows=options.ptx_rows, length=context_length(model["policy"]),
                            pad=tokenizer.pad_token_id, seed=step.seed, steps=steps)
    return [Term("ptx", batches, ptx_loss, options.ptx_coefficient)]
