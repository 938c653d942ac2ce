"""The online half of the stage: one call of the training loop, whatever the algorithm."""

from importlib import import_module
from typing import Any

from torch import nn

from preceptor.data.jsonl import read_jsonl
from preceptor.data.packing import PackedBatches
from preceptor.data.records import Document, Prompt
from preceptor.feedback.rewards import open_reward
from preceptor.generate.local import LocalDecoder
from preceptor.learn.adapting import adapt
from preceptor.learn.fit import Term, fit
from preceptor.learn.parallel import refuse_shards
from preceptor.models.adapters import carries_adapter
from preceptor.models.causal import context_length, load_causal, model_folder, parameter_count, save_model
from preceptor.models.rewards import trained_folder
from preceptor.models.scalar import load_scalar, scalar_from_causal
from preceptor.models.trunk import freeze_lower, has_lower_part_of, share_trunk
from preceptor.rlhf.batches import RolloutBatches
from preceptor.rlhf.experience import Algorithm
from preceptor.rlhf.loss import ptx_loss
from preceptor.rlhf.networks import Networks, load_average
from preceptor.rlhf.nucleus import MaskedPolicy, NucleusMask
from preceptor.rlhf.options import CriticOptions, NlpoOptions, OnlineOptions
from preceptor.rlhf.rollouts import Rollouts
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.chat import encode_document, encode_prompt, load_tokenizer
from preceptor.tokenizer.fingerprint import fingerprint


def run(step: Step) -> None:
    """Read `policy`, `reward`, `prompts` (and `corpus`), write `model/` and the moving average `ema/`."""
    options: OnlineOptions = step.options
    _check_options(step)
    algorithm: Algorithm = import_module(f"preceptor.rlhf.algorithms.{options.algorithm}")
    folder = model_folder(step.input("policy"))
    tokenizer = load_tokenizer(folder)
    networks = _networks(step, tokenizer)
    prompts = read_jsonl(step.input("prompts"), Prompt)
    _report_long_prompts(step, prompts, tokenizer, networks.policy)
    writer = MaskedPolicy(networks.policy, networks.mask) if networks.mask else networks.policy
    rollouts = Rollouts(networks, LocalDecoder(writer, tokenizer, rows=options.episodes),
                        open_reward(step.input("reward"), say=step.say), algorithm, options, tokenizer.pad_token_id)
    batches = RolloutBatches(rollouts, prompts, options, step.seed)
    step.plan(**{f"{name}_parameters": parameter_count(network) for name, network in networks.named_children()},
              learned_parameters=sum(one.numel() for one in networks.parameters() if one.requires_grad),
              prompts=len(prompts), iterations=options.iterations, episodes=options.iterations * options.episodes,
              optimiser_steps_an_iteration=batches.steps_per_iteration, optimiser_steps=batches.total)
    average = fit(networks, batches, batches.loss, options, folder=step.folder, log=step.log,
                  progress=step.progress(batches.total),
                  extra=_pretraining_mix(step, tokenizer, networks, batches.total),
                  rates={"value": options.value_learning_rate} if networks.value else {},
                  after_step=lambda number: batches.end_step())
    save_model(networks.policy, tokenizer, step.folder / "model")
    if average is not None:
        load_average(networks, average)
        save_model(networks.policy, tokenizer, step.folder / "ema")


def _check_options(step: Step) -> None:
    """Refuse what cannot work, before anything is loaded."""
    options: OnlineOptions = step.options
    group = options.answers_per_prompt
    refuse_shards(step)
    if options.temperature <= 0:
        raise UserError(f"Step '{step.name}' cannot sample at temperature {options.temperature:g}: the policy learns "
                        "from answers that are drawn, not looked up.", f"Set {step.name}.temperature above 0.")
    if not 1 <= options.minibatches <= options.episodes:
        raise UserError(f"Step '{step.name}' cannot split {options.episodes} episodes into {options.minibatches} "
                        "minibatches.", f"Set {step.name}.minibatches between 1 and {options.episodes}.")
    if group < 1 or options.episodes % group or (group < 2 and not isinstance(options, CriticOptions)):
        raise UserError(f"Step '{step.name}' cannot share out {options.episodes} episodes, {group} to a prompt, and "
                        "compare them there.", f"Set {step.name}.answers_per_prompt to a divisor of them, at least 2.")
    if options.value_warmup >= options.iterations:
        raise UserError(f"Step '{step.name}' warms its value network up for {options.value_warmup} iterations of "
                        f"{options.iterations}: the policy would never learn.",
                        f"Set {step.name}.value_warmup below {options.iterations}.")
    if not 0 <= options.overlong_tokens <= options.max_tokens:
        raise UserError(f"Step '{step.name}' cannot penalise the last {options.overlong_tokens} of "
                        f"{options.max_tokens} tokens.", f"Set {step.name}.overlong_tokens between 0 and that.")
    if isinstance(options, NlpoOptions) and not (0 < options.mask_top_p <= 1 and options.mask_every >= 1):
        raise UserError(f"Step '{step.name}' cannot mask with mask_top_p {options.mask_top_p:g} and mask_every "
                        f"{options.mask_every}.", "mask_top_p: above 0, at most 1. mask_every: 1 or more.")
    if isinstance(options, NlpoOptions) and options.adapter in ("prompt", "p_tuning"):
        raise UserError(f"Step '{step.name}' cannot mask by a policy whose soft prompt is not that of the writer.",
                        f"Set {step.name}.adapter to lora, or algorithm to ppo.")
    if options.ptx_coefficient and "corpus" not in step.inputs:
        raise UserError(f"Step '{step.name}' mixes in pretraining text (ptx_coefficient {options.ptx_coefficient:g}) "
                        "but has no corpus.", f"Add 'corpus' to its needs, or set {step.name}.ptx_coefficient=0.")
    if "corpus" in step.inputs and not options.ptx_coefficient:
        step.say("the corpus is not read, because ptx_coefficient is 0")


def _networks(step: Step, tokenizer: Any) -> Networks:
    options: OnlineOptions = step.options
    folder = model_folder(step.input("policy"))
    policy, reference = load_causal(folder), None if options.adapter != "none" else load_causal(folder)
    if options.frozen_layers:
        freeze_lower(policy, options.frozen_layers)
    value = _value_network(step, tokenizer, policy) if isinstance(options, CriticOptions) else None
    for network in (reference, value):
        if options.frozen_layers and network is not None:
            share_trunk(network, policy)
    adapt(step, policy, first=options.frozen_layers)
    if value is not None:
        adapt(step, value, head=True)
    mask = (NucleusMask(policy, options.mask_top_p, options.temperature) if isinstance(options, NlpoOptions)
            else None)
    return Networks(policy, reference, value, mask)


def _value_network(step: Step, tokenizer: Any, policy: nn.Module) -> nn.Module:
    """The reward model as the value network's beginning (InstructGPT, C.4), where it reads the policy's tokens.

    With `frozen_layers` it must also have the policy's lower blocks, which only one has that did not learn them.
    """
    folder = trained_folder(step.input("reward"))
    if folder is None:
        why = "the reward is no model with a value for each token"
    elif fingerprint(load_tokenizer(folder)) != fingerprint(tokenizer):
        why = "the reward model has another vocabulary"
    else:
        value = load_scalar(folder)
        if carries_adapter(value):
            why = "the reward model carries an adapter"
        elif not step.options.frozen_layers or has_lower_part_of(value, policy):
            return value
        else:
            why = "the reward model has other weights in the blocks that are shared"
    step.say(f"{why}, so the value network starts from the policy")
    return scalar_from_causal(model_folder(step.input("policy")), step.seed)


def _report_long_prompts(step: Step, prompts: list[Prompt], tokenizer: Any, policy: nn.Module) -> None:
    room = context_length(policy) - step.options.max_tokens
    long = sum(len(encode_prompt(tokenizer, prompt)) > room for prompt in prompts)
    if long:
        step.say(f"{long} of {len(prompts)} prompts are longer than {room} tokens and lose their beginning")


def _pretraining_mix(step: Step, tokenizer: Any, networks: Networks, steps: int) -> list[Term]:
    """The second loss of PPO-ptx: its gradient is added to that of the policy before each optimiser step."""
    options: OnlineOptions = step.options
    if not options.ptx_coefficient:
        return []
    examples = [encode_document(tokenizer, document) for document in read_jsonl(step.input("corpus"), Document)]
    batches = PackedBatches(examples, rows=options.ptx_rows, length=context_length(networks.policy),
                            pad=tokenizer.pad_token_id, seed=step.seed, steps=steps)
    return [Term("ptx", batches, ptx_loss, options.ptx_coefficient)]
