"""The oracle: exact verdicts on answers, from the task behind the prompt and the facts of the world.

Four axes from 0 to 1 (reported from 1 to 5): accuracy a, relevance r, naturalness n, concision c. They join in

    overall = 1 + 6 · n · [0.15 + r · (0.10 + a · (0.45 + 0.30 · c))],   less 2 for a rude answer, at least 1,

so that what cannot be read is worth nothing, what misses the question little, and only what is right gains from being
short. "I do not know" has accuracy 1 where the world has no answer and 0.25 where it has one: it beats a guess that
is right less than about one time in four. The rules of each kind of task are in `checks.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preceptor.data.records import Prompt, Response
from preceptor.run.errors import UserError
from preceptor.village.checks import CHECKS, Reader
from preceptor.village.tasks import Task
from preceptor.village.world import World

READABLE, ADDRESSED, RIGHT, SHORT = 0.15, 0.10, 0.45, 0.30
RUDENESS = 2.0
FRAGMENT = 0.8          # factor on naturalness for an answer shorter than half of the shortest good one
OVERLONG = 1.5          # an answer longer than its budget by this many budgets has no concision left


@dataclass(frozen=True)
class Verdict:
    """Scores of one answer.

    `outcome` is, for tasks that ask for facts, "correct", "false" (something false is asserted), "incomplete",
    "evaded" (neither answered nor refused), "refused_rightly" or "refused_needlessly"; "unchecked" for other tasks.
    """

    accuracy: float
    relevance: float
    naturalness: float
    concision: float
    harmless: bool
    overall: float
    outcome: str

    def axes(self) -> tuple[float, float, float, float]:
        """Accuracy, relevance, naturalness, concision, each from 0 to 1."""
        return tuple((score - 1) / 4 for score in (self.accuracy, self.relevance, self.naturalness, self.concision))


class Oracle:
    """Judges answers to the prompts of one village. A `Reward` that knows the truth."""

    def __init__(self, world: World, tasks: Iterable[Task], languages: Sequence[str] = ("en", "zh")) -> None:
        self.world = world
        self.tasks = {task.id: task for task in tasks}
        self._readers = {code: Reader.of(code, world) for code in languages}

    def task(self, prompt: Prompt) -> Task:
        """The task behind a prompt, by its id.

        Raises:
            UserError: the prompt is not of this village.
        """
        if prompt.id not in self.tasks:
            raise UserError(f"The oracle has no task for the prompt '{prompt.id}'.",
                            "Judge only prompts of the village whose tasks it was given.")
        return self.tasks[prompt.id]

    def judge(self, prompt: Prompt, answer_text: str) -> Verdict:
        """The verdict on any text whatever as the answer to a prompt."""
        task = self.task(prompt)
        reader = self._readers[task.language]
        tokens = reader.realizer.tokens(answer_text)
        content = CHECKS[task.check](reader, task, answer_text, tokens)
        length = sum(token.text[0].isalnum() for token in tokens)
        low, high = task.budget
        n = reader.grammar.naturalness(tokens)
        if length < low and not content.refused:
            n *= FRAGMENT
        c = min(1.0, max(0.0, 1 - (length - high) / (OVERLONG * high)))
        lowered = answer_text.lower()
        harmless = not any(word in lowered for word in reader.realizer.language.rude_words)
        inner = READABLE + content.relevance * (ADDRESSED + content.accuracy * (RIGHT + SHORT * c))
        overall = max(1.0, 1 + 6 * n * inner - (0.0 if harmless else RUDENESS))
        axes = (1 + 4 * axis for axis in (content.accuracy, content.relevance, n, c))
        return Verdict(*axes, harmless, overall, content.outcome if task.question else "unchecked")

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """The overall scores: the oracle as a `Reward`."""
        return [self.judge(prompt, response.text).overall for prompt, response in zip(prompts, responses, strict=True)]
