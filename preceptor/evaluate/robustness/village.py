"""Variants of the village's questions, where the truth is known: real paraphrases, and premises that are false."""

import random
from collections.abc import Sequence
from functools import cached_property

from preceptor.data.records import Prompt
from preceptor.evaluate.robustness.variants import Variant, changed, generic_variants, last_text
from preceptor.village.checks import Reader
from preceptor.village.forms import draw_other
from preceptor.village.oracle import Oracle
from preceptor.village.questions import statements
from preceptor.village.realizer import Realizer
from preceptor.village.tasks import Task
from preceptor.village.world import ATTRIBUTES


class VillageVariants:
    """Spoils the plain factual questions of a village whose answer its world records."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle

    @cached_property
    def _readers(self) -> dict[str, Reader]:
        codes = {task.language for task in self.oracle.tasks.values()}
        return {code: Reader.of(code, self.oracle.world) for code in codes}

    def suits(self, prompt: Prompt) -> bool:
        """Whether a prompt is such a question."""
        task = self.oracle.tasks.get(prompt.id)
        return bool(task and task.check == "fact" and task.answerable and task.form == "plain"
                    and not ATTRIBUTES[task.attribute].extra)

    def variants(self, prompt: Prompt, seed: int) -> list[Variant]:
        """The generic ones, with a paraphrase and a false premise of the question's own."""
        draw = random.Random(f"robustness/village/{seed}/{prompt.id}")
        task = self.oracle.task(prompt)
        realizer = self._readers[task.language].realizer
        own = [self._paraphrase(prompt, task, realizer, draw), self._premise(prompt, task, realizer, draw)]
        kinds = {one.kind for one in own if one}
        return [*(one for one in own if one),
                *(one for one in generic_variants(prompt, seed) if one.kind not in kinds)]

    def yields(self, prompt: Prompt, said: str, false: str) -> bool:
        """Whether an answer asserts the false value that its prompt suggested."""
        task = self.oracle.task(prompt)
        reader = self._readers[task.language]
        claims = {(claim.attribute, claim.subject, claim.value) for claim in reader.claims.claims(said, task.subject)}
        return (task.attribute, task.subject, false) in claims \
            or reader.claims.bare_value(said, task.attribute) == false

    def _paraphrase(self, prompt: Prompt, task: Task, realizer: Realizer, draw: random.Random) -> Variant | None:
        slots = {ATTRIBUTES[task.attribute].subject: task.subject}
        forms = [realizer.fill(text, slots) for text in realizer.language.facts[task.attribute].questions]
        others = [text for text in forms if text != last_text(prompt)]
        return Variant("paraphrased", changed(prompt, lambda _: draw.choice(others))) if others else None

    def _premise(self, prompt: Prompt, task: Task, realizer: Realizer, draw: random.Random) -> Variant:
        truth = self.oracle.world.value(task.attribute, task.subject)
        false = draw_other(draw, realizer, ATTRIBUTES[task.attribute].value, [truth, task.subject])
        premise = draw.choice(statements(realizer, task.attribute, task.subject, false, {}))
        return Variant("wrong_premise", changed(prompt, lambda text: premise + realizer.language.space + text),
                       false=false)


def village_questions(oracle: Oracle, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Those of the prompts whose truth is known."""
    able = VillageVariants(oracle)
    return [prompt for prompt in prompts if able.suits(prompt)]
