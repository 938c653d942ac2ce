"""The stage `vision`: any system that sees learns from pictures with texts, in the one training loop."""

from collections import Counter

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch, Example
from preceptor.data.jsonl import read_jsonl
from preceptor.data.pictures.augment import Augmentation
from preceptor.data.pictures.batches import Pair, PictureBatches
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import IMAGE, Conversation, content_text, image_urls
from preceptor.learn.fit import fit
from preceptor.models.adapters import beside_adapter
from preceptor.models.causal import model_folder, parameter_count
from preceptor.models.trainable import train_only, weights_hash
from preceptor.run.errors import UserError
from preceptor.run.machine import device
from preceptor.run.step import Step
from preceptor.tokenizer.chat import encode_text, load_tokenizer
from preceptor.vision.keep import load_system, part_folders, save_system, system_class
from preceptor.vision.system import System


def run(step: Step) -> None:
    """Read `pictures` (a step of the stage `pictures` or `emoji`) and `tokenizer`, or `start` to go on from, or
    `language_model`, whose own tokenizer is used; write model/."""
    options = step.options
    if options.micro_batches != 1:
        raise UserError("A loss over pairs couples all rows of a batch, so that a batch cannot be split.",
                        f"Set {step.name}.micro_batches to 1; gradient_checkpointing saves memory.")
    folder = step.input("pictures")
    pictures = Pictures(folder)
    system = begin(step, pictures.size).to(device())
    learning = train_only(system, options.train)
    frozen = weights_hash(system, learning)
    pairs = read_pairs(system, pictures, read_jsonl(folder / "conversations.train.jsonl", Conversation), step)
    batches = PictureBatches(pictures, pairs, rows=options.rows, steps=options.steps, seed=step.seed,
                             pad=system.tokenizer.pad_token_id, several=system.reads == "conversations",
                             augmentation=Augmentation.of(options.augment) if options.augment else None)
    step.plan(parameters=parameter_count(system), learning=sum(system.get_parameter(name).numel() for name in learning),
              pictures=len(pictures), pairs=len(pairs), optimiser_steps=options.steps, pairs_to_see=options.steps *
              batches.rows, passes=options.steps * batches.rows / len(pairs))
    fit(system, batches, weighed, options, folder=step.folder, log=step.log, progress=step.progress(options.steps))
    if weights_hash(system, learning) != frozen:
        raise AssertionError("weights that were frozen changed")
    save_system(system, step.folder / "model")


def begin(step: Step, size: int) -> System:
    """The system with fresh weights; with `start`, the parts that both have are those of that one, but for a language
    model that the step names itself.

    Raises:
        UserError: it has no tokenizer, or shares no part with what it is to start from.
    """
    start = load_system(step.input("start")) if "start" in step.inputs else None
    named = "language_model" if "language_model" in step.inputs else "tokenizer"
    if start is None and named not in step.inputs:
        raise UserError(f"Step '{step.name}' has no vocabulary.", "Add 'tokenizer' or 'start' to its needs.")
    own = start is None or named == "language_model"
    tokenizer = load_tokenizer(model_folder(step.input(named))) if own else start.tokenizer
    if IMAGE not in tokenizer.get_vocab():
        tokenizer.add_tokens([IMAGE], special_tokens=True)
    torch.manual_seed(step.seed)
    sources = part_folders(step.input("start")) if start else {}
    system = system_class(step.options.system)(step.options, tokenizer, size, sources | step.inputs)
    if start:
        _take_parts(step, system, start)
    return system


def _take_parts(step: Step, system: System, start: System) -> None:
    """Copy the weights of every part that both systems have under one name; what is new is printed.

    A language model that the step names stays, and what leads to it is fresh: it led to another one.
    """
    own, taken = dict(system.named_children()), dict(start.named_children())
    stays = ("language_model", "connector") if "language_model" in step.inputs else ()
    shared = [name for name in own if name in taken and name not in stays]
    if not shared:
        raise UserError(f"A {system.options.system} shares no part with the {start.options.system} that it is to "
                        f"start from.", f"Its parts are {', '.join(own)}; those are {', '.join(taken)}.")
    for name in shared:
        try:
            own[name].load_state_dict(beside_adapter(own[name], taken[name].state_dict()))
        except RuntimeError as error:
            raise UserError(f"The part '{name}' has another shape where '{step.name}' starts from: "
                            f"{str(error).splitlines()[-1].strip()}", "Give both the same options.") from None
    rest = [name for name in own if name not in shared]
    step.say(f"taken over: {', '.join(shared)}; its own: {', '.join(rest) or '-'}")


def read_pairs(system: System, pictures: Pictures, conversations: list[Conversation], step: Step) -> list[Pair]:
    """Conversations as what the system reads; what cannot be used is left out, counted and printed.

    Rows belong together that have the same concept, or where none is named the same picture, and those of equal text.
    """
    if system.reads == "pictures":
        return [Pair((number,), Example(pictures.names[number], [0], [IGNORE]), number, 0)
                for number in pictures.of_split("train")]
    noted: Counter[str] = Counter()
    concepts: dict[str, int] = {}
    texts: dict[str, int] = {}
    pairs = []
    for conversation in system.told(conversations, pictures, step.seed):
        numbers = [pictures.number.get(url) for url in image_urls(conversation.messages)]
        if not numbers or len(numbers) > 1 and system.reads == "captions":
            noted["conversations without a picture, or with several, left out"] += 1
            continue
        if any(number is None or pictures.splits[number] != "train" for number in numbers):
            noted["conversations about pictures that are not there to train on left out"] += 1
            continue
        if not system.learns_from(conversation):
            noted[f"conversations of kinds that a {system.options.system} does not learn from left out"] += 1
            continue
        example = _example(system, conversation, noted)
        if example is None:
            noted["conversations longer than text_length left out"] += 1
            continue
        concept = conversation.concept or f"picture {numbers[0]}"
        text = content_text(conversation.messages[-1]["content"])
        pairs.append(Pair(tuple(numbers), example, concepts.setdefault(concept, len(concepts)),
                          texts.setdefault(text, len(texts))))
    for what, count in (+noted).items():
        step.say(f"{count:,} {what}")
    if not pairs:
        raise UserError(f"Step '{step.name}' has no picture with a text to learn from.",
                        "Look at what was left out above, and at left_out.jsonl of the step that read the pictures.")
    return pairs


def _example(system: System, conversation: Conversation, noted: Counter[str]) -> Example | None:
    if system.reads == "captions":
        text = conversation.messages[-1]["content"]
        too_long = len(encode_text(system.tokenizer, text)) > system.options.text_length - 2
        noted["captions cut to text_length"] += too_long
        return system.example(conversation.id, text)
    example = system.conversation(conversation)
    return example if len(example.tokens) <= system.options.text_length else None


def weighed(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """The weighted sum of the means of a system's objectives, as a sum over the rows of the batch."""
    means = {name: total / count for name, (total, count) in model.losses(batch).items()}
    loss = sum(model.weights.get(name, 1.0) * mean for name, mean in means.items())
    return loss * batch.count, batch.count, {name: mean * batch.count for name, mean in means.items()}


