"""Prompts for a model that has seen text and no chat: plain text, with or without solved examples in front.

The base model is asked in the form that its corpus holds, because chat tokens mean nothing to it:

    base             the prompt's text and a line break
    base_prompted    Question: ...     (some demonstrations, the same for every prompt of a language)
                     Answer: ...
                     Question: the prompt
                     Answer:

Both stop at the next line break: a base model has no other way to say that it is done.
"""

import copy
import random
from collections.abc import Sequence
from typing import Any

from preceptor.data.records import Conversation, Prompt
from preceptor.tokenizer.chat import encode_text

STOP = ("\n",)
# What the village writes before questions and answers, and common in text at large.
LABELS = {"en": ("Question: ", "Answer: "), "zh": ("问：", "答：")}
VERBATIM = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def verbatim(tokenizer: Any) -> Any:
    """A copy of the tokenizer whose chat template adds nothing to the text of a message."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = VERBATIM
    return tokenizer


def language_of(text: str) -> str:
    """`zh` where there is a Chinese character, else `en`."""
    return "zh" if any("\u4e00" <= character <= "\u9fff" for character in text) else "en"


def plain_prompt(prompt: Prompt) -> Prompt:
    """The prompt as text and a line break; a prompt that ends with an answer's label already waits for the answer."""
    text = _text(prompt.messages)
    return _asking(prompt, text if _waits(text) else text + "\n")


def choose_shots(demonstrations: Sequence[Conversation], count: int, seed: int) -> dict[str, list[Conversation]]:
    """For each language `count` demonstrations of one question and an answer of one line, of as many use cases as
    there are, drawn from the seed among the shortest quarter.

    Short ones, because a small base model is lost beyond the lengths that its documents had (docs/evaluate.md).
    """
    usable = [one for one in demonstrations
              if len(one.messages) == 2 and not any("\n" in message["content"] for message in one.messages)]
    draw = random.Random(seed)
    chosen: dict[str, list[Conversation]] = {}
    for language in LABELS:
        pool = sorted((one for one in usable if language_of(_text(one.messages)) == language),
                      key=lambda one: len(_text(one.messages)))
        pool = pool[:max(count, len(pool) // 4)]
        draw.shuffle(pool)
        first_of_category = {one.category: one for one in reversed(pool)}.values()
        others = [one for one in pool if one not in first_of_category]
        chosen[language] = [*first_of_category, *others][:count]
    return chosen


def few_shot_prompt(prompt: Prompt, shots: dict[str, list[Conversation]], tokenizer: Any,
                    room: int) -> tuple[Prompt, int]:
    """The prompt after solved examples, and how many: as many as fit into `room` tokens together with it."""
    text = _text(prompt.messages)
    language = language_of(text)
    question, answer = LABELS[language]
    asked = text if _waits(text) else f"{question}{text}\n{answer.rstrip()}"
    solved = [f"{question}{one.messages[0]['content']}\n{answer}{one.messages[1]['content']}\n"
              for one in shots[language]]
    while solved and len(encode_text(tokenizer, "".join([*solved, asked]))) > room:
        solved.pop()
    return _asking(prompt, "".join([*solved, asked])), len(solved)


def _text(messages: Sequence[dict[str, Any]]) -> str:
    return "\n".join(message["content"] for message in messages)


def _waits(text: str) -> bool:
    return text.endswith(tuple(answer.rstrip() for _, answer in LABELS.values()))


def _asking(prompt: Prompt, text: str) -> Prompt:
    return Prompt(prompt.id, [{"role": "user", "content": text}], category=prompt.category, user=prompt.user,
                  source=prompt.source)
