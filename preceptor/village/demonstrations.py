"""Demonstrations: what labelers wrote when asked to show a good answer. Most did; some padded, erred or were rude."""

import random
from collections.abc import Sequence

from preceptor.data.records import Conversation
from preceptor.village.language import Language
from preceptor.village.options import VillageOptions
from preceptor.village.prompts import Asked
from preceptor.village.tasks import Draft


def possible(draft: Draft, style: str) -> str:
    """The style as the task allows it: what has no answer is refused or invented, and not all have a fragment."""
    if not draft.task.answerable and style in ("off_topic", "careless", "curt", "timid"):
        return "invented"
    return "good" if style == "curt" and not draft.curt else style


def draw_style(rng: random.Random, options: VillageOptions, draft: Draft) -> str:
    """How a demonstrator answers; what a task does not allow (a fragment, an error in a refusal) becomes "good"."""
    if not draft.task.answerable and rng.random() < options.invented:
        return "invented"
    rates = {"padded": options.padded, "rude": options.rude_answers}
    if draft.task.answerable:
        rates |= {"off_topic": options.off_topic, "careless": options.careless, "timid": options.timid,
                  "curt": options.curt * bool(draft.curt)}
    place = rng.random()
    for style, rate in rates.items():
        if place < rate:
            return style
        place -= rate
    return "good"


def answer(rng: random.Random, language: Language, draft: Draft, style: str) -> str:
    """An answer to a draft in a style."""
    if style in ("careless", "invented"):
        return rng.choice(draft.wrong)
    if style == "off_topic":
        return draft.wander
    if style == "timid":
        return rng.choice(language.refusals)
    if style == "curt":
        return rng.choice(draft.curt)
    text = rng.choice(draft.good)
    if style == "rude":
        return language.space.join([rng.choice(language.rude_lines), text])
    if style == "padded":
        before, after = [rng.choice(language.fillers_before)], rng.sample(language.fillers_after, rng.choice((1, 2, 3)))
        if text[-1] not in language.ends:       # a letter ends with its signature
            before, after = before + after, []
        return language.space.join([*before, text, *after])
    return text


def demonstrate(options: VillageOptions, seed: int, split: str, prompts: Sequence[Asked],
                languages: dict[str, Language]) -> list[Conversation]:
    """A demonstration for every prompt; its `source` names the style."""
    rng = random.Random(f"village/{seed}/demonstrations/{split}")
    rows = []
    for asked in prompts:
        style = draw_style(rng, options, asked.draft)
        text = answer(rng, languages[asked.draft.task.language], asked.draft, style)
        messages = [*asked.prompt.messages, {"role": "assistant", "content": text}]
        rows.append(Conversation(id=asked.prompt.id, messages=messages, category=asked.prompt.category,
                                 user=asked.prompt.user, source=f"village/{style}"))
    return rows
