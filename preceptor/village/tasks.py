"""A task: a prompt together with what the oracle needs to judge answers to it; and a draft of one with its answers."""

import math
from dataclasses import dataclass, field, replace

from preceptor.data.records import Record
from preceptor.village.realizer import Realizer

# The ten use cases of InstructGPT in the proportions of its Table 1 (per cent; the paper's figures add up to 99.9).
PROPORTIONS = {"generation": 45.6, "open_qa": 12.4, "brainstorming": 11.2, "chat": 8.4, "rewrite": 6.6,
               "summarization": 4.2, "classification": 3.5, "other": 3.5, "closed_qa": 2.6, "extraction": 1.9}


@dataclass(frozen=True)
class Task(Record):
    """What the oracle knows of a prompt. Which fields matter depends on `check` (see `checks.py`).

    `form` is how the labeler wrote the prompt: "plain", "few_shot" or "user". `question` marks tasks whose answers
    assert facts, so that their verdicts have an outcome. `budget` is the least and the greatest length of an answer
    that is neither a fragment nor padded, in tokens of the realizer; a draft gets it when it is asked.
    """

    id: str
    category: str
    kind: str
    language: str
    check: str
    budget: tuple[int, int] = (0, 0)
    form: str = "plain"
    question: bool = False
    answerable: bool = True
    subject: str | None = None
    attribute: str | None = None
    count: int = 0
    slots: dict[str, str] = field(default_factory=dict)
    wanted: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("budget", "wanted", "answers"):      # JSON knows lists only
            object.__setattr__(self, name, tuple(getattr(self, name)))


@dataclass(frozen=True)
class Draft:
    """A task with its prompt and the answers that demonstrators choose from.

    `core` is the question itself, without examples or preface; `shown` the cores of the solved examples in front.
    `wander` is a true remark beside the point.
    """

    task: Task
    messages: tuple[tuple[str, str], ...]
    core: str
    good: tuple[str, ...]
    wrong: tuple[str, ...]
    wander: str
    curt: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()

    def with_last_message(self, text: str, form: str, shown: tuple[str, ...] = ()) -> "Draft":
        """The same task with another wording of the last message."""
        return replace(self, messages=(*self.messages[:-1], ("user", text)), shown=shown,
                       task=replace(self.task, form=form))


def budget(realizer: Realizer, good: tuple[str, ...]) -> tuple[int, int]:
    """The lengths between which an answer is neither a fragment nor padded."""
    lengths = [realizer.length(text) for text in good]
    return math.ceil(0.6 * min(lengths)), max(math.ceil(1.25 * max(lengths)), max(lengths) + 3)
