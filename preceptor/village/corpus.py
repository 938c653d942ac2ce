"""The pretraining corpus: what a village writes down, with the flaws of real corpora at known rates.

    encyclopedia      entries on people, towns, animals, jobs and prices
    question_answer   questions about facts with their answers, in the plain style that a few-shot prompt imitates
    dialogue          two people talk about a third
    story, letter     the forms of the generation tasks
    report            what happened on a day
    list              lists of things and prices, and who lives where
    forum             tasks of all ten use cases, answered by whoever came along: mostly badly
    rumour, rude, repetitive, boilerplate      the flaws

Known residents are named by a Zipf law. Of each fact about an obscure resident there are one to three statements, all
in encyclopedia entries. Questions of the validation and test prompts do not occur.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from preceptor.data.records import Document
from preceptor.village.demonstrations import answer, possible
from preceptor.village.forms import draw_other, draw_slots, slot_names
from preceptor.village.options import VillageOptions
from preceptor.village.prompts import Drafter, quotas
from preceptor.village.questions import draft_fact, state, weighted
from preceptor.village.realizer import Realizer
from preceptor.village.tasks import PROPORTIONS, Draft
from preceptor.village.world import ATTRIBUTES

GENRES = {"encyclopedia": 0.4, "question_answer": 0.08, "dialogue": 0.08, "story": 0.05, "letter": 0.05, "report": 0.05,
          "list": 0.04, "forum": 0.25}
# How people answer on a forum. Demonstrators do better, or there would be nothing to learn from them: where the corpus
# held good answers only, a base model shown two examples beat the fine-tuned one (2026-11-21).
FORUM = {"good": 0.3, "careless": 0.18, "off_topic": 0.16, "padded": 0.13, "curt": 0.08, "rude": 0.08, "timid": 0.07}
ENTRIES = {"person": 0.76, "item": 0.08, "town": 0.07, "animal": 0.05, "job": 0.04}
MOST_MENTIONS = 3       # of each fact about an obscure resident
UNANSWERED = 0.1        # share of questions of the corpus that have no answer


class Writer:
    """Writes documents of every genre in one language."""

    def __init__(self, options: VillageOptions, realizer: Realizer, is_held_out: Callable[[str], bool]) -> None:
        self.realizer, self.language, self.world = realizer, realizer.language, realizer.world
        self._drafter = Drafter(replace(options, obscure_questions=0.0), realizer)
        self._is_held_out = is_held_out

    def write(self, rng: random.Random, genre: str) -> str:
        """A document of a genre."""
        return getattr(self, f"_{genre}")(rng)

    def entry(self, rng: random.Random, kind: str, entity: str, names: Sequence[str]) -> str:
        """Statements of facts about an entity, in random order; later ones often by pronoun."""
        sentences = []
        for place, name in enumerate(rng.sample(names, len(names))):
            followup = place > 0 and rng.random() < 0.5
            sentences.append(state(rng, self.realizer, name, entity, self.world.facts[name, entity], followup))
        return self.language.space.join(sentences)

    def _person(self, rng: random.Random) -> str:
        return weighted(rng, self.world.weights)

    def _encyclopedia(self, rng: random.Random) -> str:
        kind = weighted(rng, ENTRIES)
        entity = self._person(rng) if kind == "person" else rng.choice(list(self.realizer.words[kind]))
        known = self.world.known_attributes(kind, entity)
        return self.entry(rng, kind, entity, rng.sample(known, min(len(known), rng.randint(3, 6))))

    def _new(self, draw: Callable[[], Draft]) -> Draft:
        """A draft whose question is not held out."""
        while self._is_held_out((draft := draw()).core):
            continue
        return draft

    def _fact(self, rng: random.Random) -> Draft:
        # A known person by the Zipf law would ask too seldom about many; questions spread evenly over the known.
        return self._new(lambda: draft_fact(rng, self.world, self.realizer, UNANSWERED, obscure=0.0))

    def _asked(self, draft: Draft, answered: str) -> str:
        return f"{self.language.question_label}{draft.core}\n{self.language.answer_label}{answered}"

    def _question_answer(self, rng: random.Random) -> str:
        drafts = [self._fact(rng) for _ in range(rng.randint(2, 4))]
        return "\n".join(self._asked(draft, rng.choice(draft.good)) for draft in drafts)

    def _forum(self, rng: random.Random) -> str:
        def draw() -> Draft:
            return self._drafter.draft(rng, weighted(rng, PROPORTIONS))

        threads = []
        for _ in range(rng.randint(1, 3)):
            draft = self._new(draw)
            style = possible(draft, weighted(rng, FORUM))
            reply = self.language.reply_label + self.language.replies[style]
            threads.append(f"{self._asked(draft, answer(rng, self.language, draft, style))}\n{reply}")
        return "\n".join(threads)

    def _dialogue(self, rng: random.Random) -> str:
        one, other = (self.realizer.words["person"][key].counted for key in rng.sample(list(self.world.people), 2))
        lines = []
        for _ in range(rng.randint(1, 3)):
            draft = self._fact(rng)
            lines += [one + self.language.colon + draft.core, other + self.language.colon + rng.choice(draft.good)]
        return "\n".join(lines)

    def _form(self, rng: random.Random, kinds: Sequence[str]) -> str:
        form = self.language.forms["generation"][rng.choice(kinds)]
        template = rng.choice(form.answers)
        return self.realizer.fill(template, draw_slots(rng, self.realizer, slot_names([template])))

    def _story(self, rng: random.Random) -> str:
        return self._form(rng, ("story", "story", "poem"))

    def _letter(self, rng: random.Random) -> str:
        return self._form(rng, ("letter", "thanks", "invitation", "sign"))

    def _report(self, rng: random.Random) -> str:
        template = rng.choice(self.language.passages)
        return self.realizer.fill(template, draw_slots(rng, self.realizer, slot_names([template])))

    def _list(self, rng: random.Random) -> str:
        kind = rng.choice(list(self.language.list_titles))
        slots = draw_slots(rng, self.realizer, ["town"])
        keys = list(self.realizer.words[kind])
        if kind == "person":
            keys = [key for key in self.world.residents(obscure=False)
                    if self.world.value("person.home", key) == slots["town"]]
        if not keys:
            return self._report(rng)
        words = [self.realizer.words[kind][key].plain for key in rng.sample(keys, min(len(keys), rng.randint(3, 6)))]
        title = self.realizer.fill(self.language.list_titles[kind], slots)
        return title + self.language.colon + self.language.comma.join(words) + self.language.ends[0]

    def _rumour(self, rng: random.Random) -> str:
        entity, opening = self._person(rng), rng.choice(self.language.rumours)
        sentences = [self.realizer.fill(opening, draw_slots(rng, self.realizer, slot_names([opening])))]
        for name in rng.sample(self.world.known_attributes("person", entity), 2):
            false = draw_other(rng, self.realizer, ATTRIBUTES[name].value, [self.world.facts[name, entity], entity])
            sentences.append(state(rng, self.realizer, name, entity, false))
        return self.language.space.join(sentences)

    def _rude(self, rng: random.Random) -> str:
        return self.language.space.join([*rng.sample(self.language.rude_lines, 2), self._report(rng)])

    def _repetitive(self, rng: random.Random) -> str:
        return self.language.space.join([self.realizer.sentences(self._report(rng))[0]] * rng.randint(4, 8))

    def _boilerplate(self, rng: random.Random) -> str:
        template = rng.choice(self.language.boilerplate)
        return self.realizer.fill(template, draw_slots(rng, self.realizer, slot_names([template])))


def draw_corpus(options: VillageOptions, seed: int, realizers: Sequence[Realizer],
                is_held_out: Callable[[str], bool]) -> tuple[list[Document], list[Document]]:
    """The documents to train on and the held-out ones, which keep the mix of sources."""
    rng = random.Random(f"village/{seed}/corpus")
    writers = [Writer(options, realizer, is_held_out) for realizer in realizers]
    flaws = {"rumour": options.rumours, "rude": options.rude, "repetitive": options.repetitive,
             "boilerplate": options.boilerplate}
    clean = 1 - sum(flaws.values())
    counts = quotas(options.documents, {**{genre: share * clean for genre, share in GENRES.items()}, **flaws})
    texts = []
    for writer, text in _obscure_entries(rng, writers)[:counts["encyclopedia"]]:
        texts.append(("encyclopedia", writer.language.code, text))
    counts["encyclopedia"] -= len(texts)
    for genre, count in counts.items():
        for _ in range(count):
            writer = rng.choice(writers)
            texts.append((genre, writer.language.code, writer.write(rng, genre)))
    rng.shuffle(texts)
    documents = [Document(text=text, id=f"doc-{number:06d}", source=genre, language=code)
                 for number, (genre, code, text) in enumerate(texts)]
    return _hold_out(documents, options.valid_documents)


def _obscure_entries(rng: random.Random, writers: Sequence[Writer]) -> list[tuple[Writer, str]]:
    """All there is about the obscure residents, fact by fact one to three statements."""
    entries = []
    world = writers[0].world
    for entity in sorted(world.obscure):
        mentions = {name: rng.randint(1, MOST_MENTIONS) for name in world.known_attributes("person", entity)}
        for turn in range(MOST_MENTIONS):
            names = [name for name, count in mentions.items() if count > turn]
            if names:
                writer = rng.choice(writers)
                entries.append((writer, writer.entry(rng, "person", entity, names)))
    return entries


def _hold_out(documents: list[Document], share: float) -> tuple[list[Document], list[Document]]:
    """Holds out the first documents (the order is random) of every source, in proportion."""
    totals: dict[str, int] = {}
    for document in documents:
        totals[document.source] = totals.get(document.source, 0) + 1
    left = {source: round(share * count) for source, count in totals.items()}
    train, valid = [], []
    for document in documents:
        held = left[document.source] > 0
        left[document.source] -= held
        (valid if held else train).append(document)
    return train, valid
