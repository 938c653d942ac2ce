"""The prune stage: a model with fewer blocks, heads, channels or weights, and what that costs block by block.

What is lost comes back by training: a later step of stage `pretrain` or `sft` goes on from the result, with the
original as its `teacher` if it is to be distilled (docs/shrink.md).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Document
from preceptor.deploy.calibration import calibration_batches, influences, input_norms
from preceptor.deploy.options import PruneOptions
from preceptor.deploy.structure import (
    channel_output,
    channels,
    check_family,
    check_shape,
    head_output,
    head_width,
    linear_maps,
    remove,
    sharing,
    silence,
    spread,
    weight_of,
)
from preceptor.deploy.weight_scores import (
    group_scores,
    keep_largest,
    keep_two_of_four,
    magnitude_scores,
    wanda_scores,
)
from preceptor.learn.language import total_nats
from preceptor.metrics.language import perplexity
from preceptor.models.adapters import carries_adapter
from preceptor.models.causal import context_length, load_causal, model_folder, parameter_count, save_model
from preceptor.models.trunk import blocks
from preceptor.run.errors import UserError
from preceptor.run.files import write_json
from preceptor.run.step import Step
from preceptor.tokenizer.chat import encode_document, load_tokenizer

ROWS = 16  # rows in a forward pass that measures


def run(step: Step) -> None:
    """Read `model`, `corpus` (and `validation`); write model/, prune.json, and sensitivity.json where it was measured.
    """
    options = step.options
    folder = model_folder(step.input("model"))
    tokenizer, model = load_tokenizer(folder), load_causal(folder).eval()
    if carries_adapter(model):
        raise UserError(f"Step '{step.name}' cannot prune a model that carries an adapter.",
                        "Merge it first: preceptor adapter merge.")
    check_family(model)
    check_shape(model.config, options.layers, options.heads, options.feed_forward)
    check_weights(model, options)
    corpus = read_jsonl(step.input("corpus"), Document)
    batches = calibration_batches(model, tokenizer, corpus, options.calibration_rows, step.seed)
    if not batches:
        raise UserError(f"Step '{step.name}' has no text to measure scores from.",
                        "Give a corpus that is not empty, and at least one of calibration_rows.")
    step.plan(parameters=parameter_count(model), blocks=len(blocks(model)),
              calibration_tokens=sum(int((batch["segments"] != 0).sum()) for batch in batches))
    measure = measure_of(step, tokenizer)
    said: dict[str, Any] = {"before": _said(model, measure)}
    if measure:
        write_json(step.folder / "sensitivity.json", sensitivity(model, batches, options, measure, step))
    model = prune(model, batches, options)
    save_model(model, tokenizer, step.folder / "model")
    said["after"] = _said(model, measure)
    write_json(step.folder / "prune.json", said)
    step.log.write(1, **{f"{name}_{when}": value for when, values in said.items() for name, value in values.items()})
    for when, values in said.items():
        step.say(f"{when}: " + "  ".join(f"{name.replace('_', ' ')} {value:,.6g}" for name, value in values.items()))


def check_weights(model: nn.Module, options: PruneOptions) -> None:
    """Raises:
        UserError: nothing is to be pruned, or the zeros asked for cannot be had.
    """
    if not (options.sparsity or options.layers or options.heads or options.feed_forward):
        raise UserError("There is nothing to prune.", "Set one of sparsity, layers, heads and feed_forward.")
    if not 0 <= options.sparsity < 1:
        raise UserError(f"A sparsity of {options.sparsity} is no share of weights below 1.",
                        "Give a share such as 0.5.")
    if options.pattern == "two_of_four":
        if options.sparsity != 0.5:
            raise UserError("The pattern two_of_four is a sparsity of 0.5.", "Set sparsity to 0.5 too.")
        inputs = {model.config.hidden_size, options.feed_forward or channels(model.config),
                  (options.heads or model.config.num_attention_heads) * head_width(model.config)}
        odd = sorted(number for number in inputs if number % 4)
        if odd:
            raise UserError(f"{odd[0]} inputs cannot be taken four at a time.",
                            "Use the pattern unstructured, or keep a multiple of 4.")


def prune(model: nn.Module, batches: Sequence[Batch], options: PruneOptions) -> nn.Module:
    """The model that the options describe; `model` is used up."""
    if options.layers or options.heads or options.feed_forward:
        layers = kept_layers(model, batches, options.layers)
        chosen = [blocks(model)[index] for index in layers]
        norms = norms_of(model, batches, options, [map_ for block in chosen for map_ in _outputs(block)])
        groups = [kept_groups(model, block, options, norms) for block in chosen] if options.heads else None
        kept = [kept_channels(block, options, norms) for block in chosen] if options.feed_forward else None
        model = remove(model, layers, groups, kept)
    if options.sparsity:
        for block in blocks(model):  # one after another: each is scored on what the pruned ones before it send (§3)
            sparsify(block, options, norms_of(model, batches, options, linear_maps(block)))
    return model


def norms_of(model: nn.Module, batches: Sequence[Batch], options: PruneOptions,
             linears: Sequence[nn.Module]) -> dict[nn.Module, Tensor]:
    """The norms of the inputs, which only Wanda asks for."""
    return input_norms(model, batches, linears) if options.score == "wanda" else {}


def kept_layers(model: nn.Module, batches: Sequence[Batch], number: int) -> list[int]:
    """The blocks with the most influence, in order."""
    found = torch.tensor(influences(model, batches)) if number else torch.ones(len(blocks(model)))
    return found.topk(number or len(found)).indices.sort().values.tolist()


def kept_groups(model: nn.Module, block: nn.Module, options: PruneOptions, norms: dict[nn.Module, Tensor]) -> Tensor:
    """Which groups of heads that share a key stay, in order."""
    size = head_width(model.config) * sharing(model.config)
    return _best(head_output(block), norms, size, options.heads // sharing(model.config))


def kept_channels(block: nn.Module, options: PruneOptions, norms: dict[nn.Module, Tensor]) -> Tensor:
    """Which feed-forward channels stay, in order."""
    return _best(channel_output(block), norms, 1, options.feed_forward)


def _best(linear: nn.Module, norms: dict[nn.Module, Tensor], size: int, number: int) -> Tensor:
    return group_scores(_scores(linear, norms), size).topk(number).indices.sort().values


def _scores(linear: nn.Module, norms: dict[nn.Module, Tensor]) -> Tensor:
    weight = weight_of(linear)
    return wanda_scores(weight, norms[linear]) if linear in norms else magnitude_scores(weight)


def _outputs(block: nn.Module) -> list[nn.Module]:
    return [head_output(block), channel_output(block)]


def sparsify(block: nn.Module, options: PruneOptions, norms: dict[nn.Module, Tensor]) -> None:
    """Set the lowest-scored weights of each linear map of the block to 0: within each output for Wanda, within the
    whole map for magnitude (Sun et al. 2023, §3), within each four for 2:4."""
    for linear in linear_maps(block):
        scores, weight = _scores(linear, norms), weight_of(linear)
        if options.pattern == "two_of_four":
            keep = keep_two_of_four(scores)
        elif options.score == "wanda":
            keep = keep_largest(scores, options.sparsity)
        else:
            keep = keep_largest(scores.flatten(), options.sparsity).view_as(scores)
        weight.mul_(keep)


def sensitivity(model: nn.Module, batches: Sequence[Batch], options: PruneOptions,
                measure: Callable[[nn.Module], float], step: Step) -> dict[str, Any]:
    """The perplexity with each block alone pruned as the options say, and with each block alone left out.

    Heads and channels are silenced for the measurement, which is the same function as taking them out.
    """
    whole, found, progress = blocks(model), [], step.progress(len(blocks(model)), "blocks")
    name = "layers" if hasattr(model.base_model, "layers") else "h"
    norms = norms_of(model, batches, options, [linear for block in whole for linear in linear_maps(block)])
    before = measure(model)
    for number, (block, influence) in enumerate(zip(whole, influences(model, batches), strict=True)):
        row: dict[str, Any] = {"block": number, "influence": influence}
        if options.heads or options.feed_forward or options.sparsity:
            saved = {key: value.clone() for key, value in block.state_dict().items()}
            _prune_in_place(model, block, options, norms)
            row["perplexity_pruned"] = measure(model)
            block.load_state_dict(saved)
        if len(whole) > 1:
            setattr(model.base_model, name, nn.ModuleList([one for one in whole if one is not block]))
            row["perplexity_without"] = measure(model)
            setattr(model.base_model, name, whole)
        found.append(row)
        progress.update(number + 1)
    return {"perplexity": before, "blocks": found}


def _prune_in_place(model: nn.Module, block: nn.Module, options: PruneOptions, norms: dict[nn.Module, Tensor]) -> None:
    if options.heads:
        size = head_width(model.config) * sharing(model.config)
        silence(head_output(block), spread(kept_groups(model, block, options, norms), size))
    if options.feed_forward:
        silence(channel_output(block), kept_channels(block, options, norms))
    if options.sparsity:
        sparsify(block, options, norms)


def measure_of(step: Step, tokenizer: Any) -> Callable[[nn.Module], float] | None:
    """Perplexity on the step's `validation`, where it has one."""
    if "validation" not in step.inputs:
        return None
    examples = [encode_document(tokenizer, one) for one in read_jsonl(step.input("validation"), Document)]
    return lambda model: perplexity(*total_nats(model, examples, rows=ROWS, length=context_length(model),
                                                pad=tokenizer.pad_token_id))


def _said(model: nn.Module, measure: Callable[[nn.Module], float] | None) -> dict[str, float]:
    """What prune.json says of a model."""
    maps = [weight_of(linear) for block in blocks(model) for linear in linear_maps(block)]
    said: dict[str, float] = {"parameters": parameter_count(model), "zeros": sum(int((one == 0).sum()) for one in maps)}
    return said | ({"perplexity": measure(model)} if measure else {})
