"""The stage `album`: a system that reads pictures becomes a language model that knows some pictures as words.

What the stages of text need of a model and its prompts is then there, for pictures as for text: comparisons, reward
models, reinforcement learning, evaluation. Tower and connector are left behind, and only the language model goes on.
"""

from dataclasses import replace

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Conversation, Prompt, image_urls
from preceptor.models.causal import save_model
from preceptor.models.vision.album import give_album
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.album import Album
from preceptor.vision.keep import load_system
from preceptor.vision.splice import Spliced
from preceptor.vision.system import in_parts


def run(step: Step) -> None:
    """Read `model`, a step of the stage vision, and `pictures`; write model/, which is the system's language model with
    an album, and of every split prompts.SPLIT.jsonl and demonstrations.SPLIT.jsonl in the system's words.

    Raises:
        UserError: the system puts no pictures among the words of a language model, or no split has a conversation.
    """
    system, folder = load_system(step.input("model")), step.input("pictures")
    if not isinstance(system, Spliced):
        raise UserError(f"A {system.options.system} has no language model that reads its pictures.",
                        "Name a step of frozen, blip2, minigpt4, minigpt_v2 or qwen_vl.")
    pictures = Pictures(folder)
    said = {split: _conversations(step, system, pictures, split) for split in step.options.splits}
    if not any(said.values()):
        raise UserError(f"'{folder}' has no conversations in the splits {', '.join(step.options.splits)}.",
                        f"Set {step.name}.splits and {step.name}.categories to what it has.")
    names = list(dict.fromkeys(name for some in said.values() for one in some for name in image_urls(one.messages)))
    shown = pictures.take([pictures.number[name] for name in names])
    vectors_PND = in_parts(system.prefix, shown.to(system.language_model.device))
    step.plan(pictures=len(names), entries=vectors_PND.shape[0] * vectors_PND.shape[1],
              **{f"{split}_conversations": len(some) for split, some in said.items()})
    give_album(system.language_model, vectors_PND.flatten(0, 1))
    tokenizer = system.tokenizer
    tokenizer.album = Album({name: place for place, name in enumerate(names)}, system.vocabulary, system.vectors)
    save_model(system.language_model, tokenizer, step.folder / "model")
    for split, some in said.items():
        write_jsonl(step.folder / f"demonstrations.{split}.jsonl", some)
        write_jsonl(step.folder / f"prompts.{split}.jsonl", (
            Prompt(one.id, one.messages[:-1], category=one.category, source=one.source) for one in some))


def _conversations(step: Step, system: Spliced, pictures: Pictures, split: str) -> list[Conversation]:
    """The conversations of a split that show pictures which are there, in the system's words."""
    path = step.input("pictures") / f"conversations.{split}.jsonl"
    wanted = step.options.categories
    return [replace(one, messages=[system.worded_message(message, one.category) for message in one.messages])
            for one in (read_jsonl(path, Conversation) if path.is_file() else [])
            if (not wanted or one.category in wanted) and (urls := image_urls(one.messages))
            and all(url in pictures.number for url in urls)]
