"""The import stage: a user's own files as the records, names and splits that every later stage reads."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from preceptor.data.foreign import comparison_of, conversations_of
from preceptor.data.jsonl import write_jsonl
from preceptor.data.near_duplicates import near_duplicates
from preceptor.data.records import Comparison, Conversation, Document, Prompt, Record
from preceptor.data.sources import Reader, read_documents, read_records, with_own_ids
from preceptor.data.splits import hold_out, linked, same
from preceptor.run.errors import UserError
from preceptor.run.step import Step

R = TypeVar("R", bound=Record)
Split = tuple[list[R], list[R]]  # the training side and the held-out side


def run(step: Step) -> None:
    """Read `text`, `demonstrations` and `comparisons`, write corpora, demonstrations, comparisons and prompts."""
    if not 0 < step.options.held_out < 1:
        raise UserError(f"'{step.name}.held_out' must lie between 0 and 1, not {step.options.held_out}.",
                        "Give a share, such as 0.05.")
    noted: Counter[str] = Counter()
    draw = random.Random(step.seed)
    documents = _split_documents(step, draw, noted)
    demonstrations, comparisons, prompts = _split_asked(step, draw, noted)
    files = {"corpus.jsonl": documents[0], "corpus_valid.jsonl": documents[1],
             "demonstrations.train.jsonl": demonstrations[0], "demonstrations.valid.jsonl": demonstrations[1],
             "comparisons.train.jsonl": comparisons[0], "comparisons.valid.jsonl": comparisons[1],
             **{f"prompts.{side}.jsonl": asked for side, asked in prompts.items()}}
    for name, records in files.items():
        draw.shuffle(records)  # later stages may read only the front of a file: it must hold every source
        write_jsonl(step.folder / name, records)
    step.plan(**{name.removesuffix(".jsonl").replace(".", "_"): len(records) for name, records in files.items()})
    for what, count in noted.items():
        step.say(f"{count:,} {what}")
    step.log.write(0, noted=dict(noted))


def _split_documents(step: Step, draw: random.Random, noted: Counter[str]) -> Split[Document]:
    """Documents in two sides that keep the mix of sources and share no near-duplicates."""
    def read(path: Path) -> list[Document]:
        return read_documents(path, step.options.passage, noted)

    records, given = _main_and_given(step, "text", read)
    groups = linked(len(records), near_duplicates([document.text for document in records]))
    held = _held(groups, [document.source for document in records], given, step.options.held_out, draw)
    return _sides(records, groups, held, given, "documents", noted)


def _split_asked(step: Step, draw: random.Random, noted: Counter[str]
                 ) -> tuple[Split[Conversation], Split[Comparison], dict[str, list[Prompt]]]:
    """Demonstrations and comparisons, split together by what was asked and who asked, with their prompts."""
    def reading(reader: Reader[R], name: str) -> tuple[list[R], int]:
        return _main_and_given(step, name, lambda path: _short(read_records(path, reader, noted), step, noted, path))

    shown, shown_given = reading(conversations_of, "demonstrations")
    judged, judged_given = reading(comparison_of, "comparisons")
    prompts = with_own_ids([prompt_of(record) for record in (*shown, *judged)], noted)
    pairs = near_duplicates([_first_asked(prompt) for prompt in prompts]) + same([prompt.user for prompt in prompts])
    groups = linked(len(prompts), pairs)
    shown_groups, judged_groups = groups[:len(shown)], groups[len(shown):]
    sources = [prompt.source or "" for prompt in prompts]
    share = step.options.held_out
    held = (_held(shown_groups, sources[:len(shown)], shown_given, share, draw)
            | _held(judged_groups, sources[len(shown):], judged_given, share, draw))
    return (_sides(shown, shown_groups, held, shown_given, "demonstrations", noted),
            _sides(judged, judged_groups, held, judged_given, "comparisons", noted),
            _deal_prompts(prompts, groups, held, draw))


def _main_and_given(step: Step, name: str, read: Callable[[Path], list[R]]) -> tuple[list[R], int]:
    """The records of input `name`, then those of `validation_NAME`; and how many of the latter there are."""
    main = read(step.input(name))
    given = read(step.input(f"validation_{name}")) if f"validation_{name}" in step.inputs else []
    return main + given, len(given)


def _short(records: list[R], step: Step, noted: Counter[str], path: Path) -> list[R]:
    """Records of which no message or answer is longer than the option `longest` allows."""
    kept = [record for record in records if _longest(record) <= step.options.longest]
    if len(kept) < len(records):
        noted[f"records of '{path.name}' left out: longer than {step.options.longest:,} bytes"] = \
            len(records) - len(kept)
    if not kept:
        raise UserError(f"Every record of '{path}' has a message longer than {step.options.longest} bytes.",
                        f"Raise --set {step.name}.longest.")
    return kept


def _longest(record: Conversation | Comparison) -> int:
    """Bytes of the longest message or answer. What comes before a comparison's last message may be cut from the left.
    """
    if isinstance(record, Comparison):
        texts = [record.prompt.messages[-1]["content"], *(response.text for response in record.responses)]
    else:
        texts = [message["content"] for message in record.messages]
    return max(len(text.encode()) for text in texts)


def prompt_of(record: Conversation | Comparison) -> Prompt:
    """What was asked: a comparison's prompt, or a demonstration's messages without its last answer."""
    if isinstance(record, Comparison):
        return record.prompt
    return Prompt(record.id, record.messages[:-1], record.category, record.user, record.source)


def _first_asked(prompt: Prompt) -> str:
    """The first message of the user's: conversations that begin alike go on alike."""
    return next((m["content"] for m in prompt.messages if m["role"] == "user"), prompt.messages[0]["content"])


def _held(groups: Sequence[int], sources: Sequence[str], given: int, share: float, draw: random.Random) -> set[int]:
    """Groups to hold out: those of the validation file where the user gave one, else a drawn share."""
    return set(groups[len(groups) - given:]) if given else hold_out(groups, sources, share, draw)


def _sides(records: list[R], groups: Sequence[int], held: set[int], given: int, kind: str,
           noted: Counter[str]) -> Split[R]:
    """Deal records to the sides. A validation file stays as it is: what resembles it is left out of training."""
    train = [record for record, group in zip(records, groups) if group not in held]
    if given:
        valid = records[len(records) - given:]
        if alike := len(records) - given - len(train):
            noted[f"{kind} left out of training: too like the held-out ones"] += alike
    else:
        valid = [record for record, group in zip(records, groups) if group in held]
    if not train:
        raise UserError(f"No {kind} are left to train on: all resemble the held-out ones.",
                        "Give more different records, or another validation file.")
    return train, valid


def _deal_prompts(prompts: list[Prompt], groups: Sequence[int], held: set[int], draw: random.Random
                  ) -> dict[str, list[Prompt]]:
    """Different prompts by side; of the held-out groups half are for choosing (`valid`), half for the end (`test`)."""
    chosen = sorted(held)
    draw.shuffle(chosen)
    test = set(chosen[:len(chosen) // 2]) or held  # one group alone serves both
    valid = held - test or held
    sides: dict[str, dict[str, Prompt]] = {"train": {}, "valid": {}, "test": {}}
    for prompt, group in zip(prompts, groups):
        names = [name for name, side in (("valid", valid), ("test", test)) if group in side] or ["train"]
        for name in names:
            sides[name].setdefault(repr(prompt.messages), prompt)
    return {name: list(asked.values()) for name, asked in sides.items()}
