"""What every stage that trains does about adapters: the one that its options choose is put into its network."""

from torch import nn

from preceptor.learn.options import AdapterOptions
from preceptor.models.adapters import add_lora, carries_adapter, linear_maps
from preceptor.models.causal import context_length, parameter_count
from preceptor.models.eight_bit import quantise_base
from preceptor.models.soft_prompt import add_soft_prompt
from preceptor.run.errors import UserError
from preceptor.run.step import Step

OF_KIND = {"lora_rank": ("lora",), "lora_alpha": ("lora",), "prompt_tokens": ("prompt", "p_tuning"),
           "base_bits": ("lora", "prompt", "p_tuning")}


def adapt(step: Step, model: nn.Module, *, first: int = 0, head: bool = False, causal: bool = True) -> None:
    """Freeze `model` and give it the adapter that the step's options choose; with `none` all of it learns.

    Args:
        first: the first block that LoRA changes; embeddings and the blocks below do not learn.
        head: whether what stands on the trunk (of a reward or value network) learns whole beside the adapter.
        causal: whether the network reads from left to right, so that a soft prompt sees no text.

    Raises:
        UserError: an option means nothing beside the others, or the network cannot carry the adapter.
    """
    options: AdapterOptions = step.options
    for name, kinds in OF_KIND.items():
        if options.adapter not in kinds and getattr(options, name) != getattr(AdapterOptions, name):
            raise UserError(f"'{step.name}.{name}' means nothing with adapter {options.adapter}.", "Leave it out.")
    if carries_adapter(model):
        raise UserError(f"The model that step '{step.name}' trains carries an adapter already.",
                        "Merge it first (preceptor adapter merge), or start from its base; a soft prompt cannot be "
                        "merged.")
    if options.adapter == "none":
        return
    if options.base_bits == 8:
        if options.shard != "none":
            raise UserError("A base in 8 bits cannot be sharded.", f"Set {step.name}.shard to none.")
        quantise_base(model, linear_maps(model, first))
    if options.adapter == "lora":
        add_lora(model, options.lora_rank, options.lora_alpha, first)
    else:
        _prompt(step, model, first, causal)
    if head:
        trunk = {id(parameter) for parameter in model.base_model.parameters()}
        for parameter in model.parameters():
            if id(parameter) not in trunk:
                parameter.requires_grad_(True)
    learned = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    step.say(f"adapter {options.adapter}: {learned:,} weights learn beside {parameter_count(model) - learned:,}")


def _prompt(step: Step, model: nn.Module, first: int, causal: bool) -> None:
    options: AdapterOptions = step.options
    if not causal:
        raise UserError(f"Step '{step.name}' cannot learn a soft prompt before a '{model.config.model_type}' network: "
                        "it reads in both directions, so that the prompt's states would be other ones for each of the "
                        "texts in a row.", f"Set {step.name}.adapter to lora.")
    if first:
        raise UserError(f"Step '{step.name}' cannot learn a soft prompt above frozen_layers: it stands before the "
                        "lowest block.", f"Set {step.name}.frozen_layers to 0, or adapter to lora.")
    add_soft_prompt(model, options.adapter, options.prompt_tokens)
    if context_length(model) < 1:
        raise UserError(f"A soft prompt of {options.prompt_tokens} vectors leaves no room in the context.",
                        f"Set {step.name}.prompt_tokens to less.")
