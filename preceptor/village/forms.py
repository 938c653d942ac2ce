"""Drafts of templated tasks: fill the slots of a form, and spoil one slot for a wrong answer."""

import random
from collections.abc import Callable, Iterable

from preceptor.village.language import PRONOUNS, SLOT, Form, Ideas
from preceptor.village.realizer import Realizer
from preceptor.village.tasks import Draft, Task

LARGEST_NUMBER = 20
LISTED = ("item", "hobby", "food", "animal", "job")


def _sum(slots: dict[str, str]) -> None:
    slots["number3"] = str(int(slots["number"]) + int(slots["number2"]))


def _difference(slots: dict[str, str]) -> None:
    slots["number2"], slots["number"] = sorted((slots["number"], slots["number2"]), key=int)
    slots["number3"] = str(int(slots["number"]) - int(slots["number2"]))


def _next_day(slots: dict[str, str]) -> None:
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    slots["weekday2"] = days[(days.index(slots["weekday"]) + 1) % len(days)]


DERIVATIONS: dict[str, Callable[[dict[str, str]], None]] = {"sum": _sum, "difference": _difference,
                                                            "next_day": _next_day}


def slot_names(texts: Iterable[str]) -> list[str]:
    """The slots of templates that take a key, in order of first use."""
    return list(dict.fromkeys(kind + digits for text in texts for _, kind, digits in SLOT.findall(text)
                              if kind not in (*PRONOUNS, "list", "subject")))


def draw_slots(rng: random.Random, realizer: Realizer, names: Iterable[str]) -> dict[str, str]:
    """A key for every slot; slots of one class get different keys."""
    slots: dict[str, str] = {}
    for name in names:
        slots[name] = draw_other(rng, realizer, name, slots.values())
    return slots


def draw_other(rng: random.Random, realizer: Realizer, slot: str, taken: Iterable[str]) -> str:
    """A key of the class of a slot that is not taken."""
    kind, taken = slot.rstrip("0123456789"), set(taken)
    keys = map(str, range(2, LARGEST_NUMBER + 1)) if kind == "number" else realizer.words[kind]
    return rng.choice([key for key in keys if key not in taken])


def draft_form(rng: random.Random, realizer: Realizer, category: str, kind: str, form: Form, wander: str) -> Draft:
    """A draft of a templated task."""
    texts = (*form.prompts, *form.answers, *form.curt, *form.invented)
    fixed = dict(form.fixed)
    slots = fixed | draw_slots(rng, realizer, [name for name in slot_names(texts) if name not in fixed])
    if form.derive:
        DERIVATIONS[form.derive](slots)
    prompt = realizer.fill(rng.choice(form.prompts), slots)
    good = tuple(realizer.fill(answer, slots) for answer in form.answers)
    task = Task(id="", category=category, kind=kind, language=realizer.language.code,
                check="exact" if form.exact else "wanted", question=category == "closed_qa",
                answerable=not form.invented, slots=slots, wanted=form.wanted, answers=good if form.exact else ())
    return Draft(task, (("user", prompt),), prompt, good, _wrong_answers(rng, realizer, form, slots), wander,
                 tuple(realizer.fill(text, slots) for text in form.curt))


def _wrong_answers(rng: random.Random, realizer: Realizer, form: Form, slots: dict[str, str]) -> tuple[str, ...]:
    """Every answer with one wanted word (of an exact answer: any word) exchanged, or the inventions of a form."""
    if form.invented:
        return tuple(realizer.fill(text, slots) for text in form.invented)
    wrong = []
    for answer in form.answers:
        named = [name for name in slot_names([answer]) if form.exact or name in form.wanted]
        slot = rng.choice(named)
        spoiled = {**slots, slot: draw_other(rng, realizer, slot, slots.values())}
        wrong.append(realizer.fill(answer, spoiled))
    return tuple(wrong)


def draft_ideas(rng: random.Random, realizer: Realizer, kind: str, ideas: Ideas, wander: str) -> Draft:
    """A draft of a brainstorming task."""
    template = rng.choice(ideas.prompts)
    slots = draw_slots(rng, realizer, slot_names([template]))
    count = int(slots["count"])

    def answer(template: str, spoiled: bool) -> str:
        members = rng.sample([key for key in realizer.words[ideas.members] if key not in slots.values()], count)
        words = [realizer.words[ideas.members][key].counted for key in members]
        if spoiled:
            other = rng.choice([name for name in LISTED if name != ideas.members])
            intruder = draw_other(rng, realizer, other, slots.values())
            words[rng.randrange(count)] = realizer.words[other][intruder].counted
        return realizer.fill(template, slots, list=realizer.join(words))

    prompt = realizer.fill(template, slots)
    good = tuple(answer(text, spoiled=False) for text in ideas.answers)
    task = Task(id="", category="brainstorming", kind=kind, language=realizer.language.code, check="members",
                attribute=ideas.members, count=count, slots=slots)
    wrong = tuple(answer(text, spoiled=True) for text in ideas.answers)
    return Draft(task, (("user", prompt),), prompt, good, wrong, wander)
