"""Scenes and questions in a language: templates over the words of the village."""

from dataclasses import dataclass

from preceptor.village.language import Language, Word
from preceptor.village.pictures.questions import Question
from preceptor.village.pictures.scenes import Combination, Scene, Thing, relations


@dataclass(frozen=True)
class PictureForms:
    """What a language says of pictures. Slots: `{a}` one thing, `{the}` and `{other}` known things, `{colour}`,
    `{kind}`, `{many}` the plural without its number (in Chinese with the measure word), `{relation}`, `{list}`."""

    caption: str
    relation_caption: str
    relations: dict[str, str]
    questions: dict[str, str]       # kind of question -> template
    yes_no: dict[str, str]
    phrase: str                     # of `{colour}` and `{kind}`
    the: str                        # `{phrase}` as something known
    one: str                        # one of it, with its article, or its `{measure}` word
    many: str                       # more of it, behind a number


FORMS = {
    "en": PictureForms(
        caption="The picture shows {list}.",
        relation_caption="{a} is {relation} {other}.",
        relations={"left_of": "to the left of", "right_of": "to the right of", "above": "above", "below": "below"},
        questions={"colour": "What colour is the {kind}?", "thing": "Which thing is {colour}?",
                   "count": "How many {many} are there?", "presence": "Is there {a}?",
                   "relation": "Is {the} {relation} {other}?", "box": "Where is {the}?"},
        yes_no={"yes": "yes", "no": "no"},
        phrase="{colour} {kind}",
        the="the {phrase}",
        one="a {phrase}",               # no colour opens with a vowel
        many="{phrase}s",
    ),
    "zh": PictureForms(
        caption="图中有{list}。",
        relation_caption="{a}在{other}的{relation}。",
        relations={"left_of": "左边", "right_of": "右边", "above": "上方", "below": "下方"},
        questions={"colour": "{kind}是什么颜色的？", "thing": "什么东西是{colour}的？", "count": "图中有几{many}？",
                   "presence": "图中有{a}吗？", "relation": "{the}在{other}的{relation}吗？", "box": "{the}在哪里？"},
        yes_no={"yes": "是", "no": "否"},
        phrase="{colour}的{kind}",
        the="{phrase}",
        one="一{measure}{phrase}",
        many="{measure}{phrase}",
    ),
}


class Speaker:
    """Says what scenes hold in one language of the village."""

    def __init__(self, language: Language) -> None:
        self.language, self.forms = language, FORMS[language.code]

    def caption(self, scene: Scene) -> str:
        """All that is in the picture, each combination once with its number."""
        phrases = [self._counted(one, count) for one, count in scene.counts().items()]
        return self.forms.caption.format(list=self._listed(phrases))

    def told(self, scene: Scene) -> str:
        """The caption, and of any two things that a phrase can tell apart where the first is, seen from the second."""
        single = scene.single()
        places = [self.relation_caption(one, found[0], other) for number, one in enumerate(single)
                  for other in single[number + 1:] if (found := relations(one, other))]
        return self.language.space.join([self.caption(scene), *places])

    def relation_caption(self, one: Thing, relation: str, other: Thing) -> str:
        """Where one thing is, seen from another."""
        return _sentence(self.forms.relation_caption.format(
            a=self._counted(one.combination, 1), relation=self.forms.relations[relation],
            other=self._counted(other.combination, 1)))

    def question(self, question: Question) -> tuple[str, str]:
        """The question and its answer as texts."""
        colour, kind = question.about
        text = self.forms.questions[question.kind].format(
            colour=self._word("colour", colour).plain, kind=self._word("item", kind).plain,
            a=self._counted(question.about, 1), the=self._put(self.forms.the, question.about),
            many=self._put(self.forms.many, question.about),
            other=self._put(self.forms.the, question.other) if question.other else "",
            relation=self.forms.relations.get(question.relation, ""))
        words = {"colour": "colour", "thing": "item"}
        if question.kind in words:
            return text, self._word(words[question.kind], question.answer).plain
        return text, self.forms.yes_no.get(question.answer, question.answer)

    def _word(self, name: str, key: str) -> Word:
        return self.language.words[name][key]

    def _put(self, template: str, combination: Combination) -> str:
        """Put a combination into one of the templates `the`, `one` and `many`."""
        colour, kind = self._word("colour", combination[0]), self._word("item", combination[1])
        # The word lists hold counted words: "one", the measure word, the noun.
        measure = kind.counted.removesuffix(kind.plain)[1:]
        return template.format(phrase=self.forms.phrase.format(colour=colour.plain, kind=kind.plain), measure=measure)

    def _counted(self, combination: Combination, count: int) -> str:
        if count == 1:
            return self._put(self.forms.one, combination)
        return self._word("count", str(count)).plain + self.language.space + self._put(self.forms.many, combination)

    def _listed(self, phrases: list[str]) -> str:
        *others, last = phrases
        return self.language.comma.join(others) + (self.language.last_and if others else "") + last


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
