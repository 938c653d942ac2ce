"""What a suite is: a YAML file that names tasks, their files, templates and scorers, and the judges that they need.

Templates and expressions are Jinja's, in its sandbox; their names are the fields of a row of the file. All is strict:
an unknown key, a template that names a field which a row has not, or a file that is no list of rows is an error.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from preceptor.run.errors import UserError, nearest

SHIPPED = Path(__file__).parent
SCORERS = ("choice", "answer", "judged", "pair", "text", "preference")
K = TypeVar("K")


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A classifier of texts that is trained from human labels before it judges (`judges.py`)."""

    name: str
    """How tasks call it; the figure has the same name."""
    files: tuple[str, ...]
    """Files of labelled rows, read one after the other."""
    text: str
    """Template of the text that the label is about."""
    label: str
    """Expression that is true or false."""
    where: str = "true"
    """Expression: which rows count."""
    group: str = "id"
    """Expression: rows with the same value never stand on both sides of a test of the judge."""
    references: str = ""
    """A file of questions with `right` and `wrong` answers, whose likeness to the text the judge may use."""
    key: str = "question"
    """Field that joins a row with its references."""
    right: str = "correct_answers"
    """Field of the references that holds right answers."""
    wrong: str = "incorrect_answers"
    """Field of the references that holds wrong answers."""
    test: str = ""
    """A file of rows of another source on which the judge is measured as well, by the same text and label."""
    test_text: str = ""
    """Template of the text in `test`; empty takes `text`."""
    test_label: str = ""
    """Expression of the label in `test`; empty takes `label`."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One benchmark."""

    name: str
    """The row of the table."""
    file: str
    """JSON Lines, relative to the folder of data (shipped suites) or of the suite's own file."""
    scorer: str
    """choice, answer, judged, pair, text or preference: see docs/suites.md."""
    prompts: dict[str, str] = field(default_factory=dict)
    """Templates by the kind of prompt, such as basic and respectful."""
    options: str = ""
    """Expression: the continuations of `choice`, the two sentences of `pair`."""
    gold: str = ""
    """Expression: the index or the 0/1 labels of the right options, or a list of reference answers."""
    text: str = ""
    """Template of the text that `text` measures, or that judges read (with `answer`)."""
    metrics: tuple[str, ...] = ()
    """What to report, of those that the scorer knows; empty takes its first."""
    judges: tuple[str, ...] = ()
    """Judges of the suite that look at the answers."""
    where: str = "true"
    """Expression: which rows count."""
    join: str = ""
    """Expression: rows of the same value are one item, and expressions see them as `rows`."""
    by: str = ""
    """Expression: figures are also given for each of its values."""
    cluster: str = ""
    """Expression: what the bootstrap draws, where rows belong together; empty draws items."""
    shots: tuple[int, ...] = (0,)
    """Solved examples in front; several numbers measure the task as often."""
    shots_file: str = ""
    """Where examples come from; empty takes the other rows of the file."""
    shots_same: str = ""
    """Expression: an example has the same value as the item, such as its subject."""
    shots_apart: str = ""
    """Expression: an example has another value than the item, such as its article."""
    delimiter: str = " "
    """Between a prompt and its continuation or solved answer."""
    stop: tuple[str, ...] = ("\n",)
    """Texts that end an answer."""
    max_tokens: int = 48
    """Tokens of an answer at most."""
    language: str = "en"
    """Decides the tokenizers of BLEU and ROUGE, and the words of a lettered question."""
    research_only: bool = False
    """The licence of the data allows no other use; the table says so."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A list of tasks and the judges that they name; `folder` is where its files lie, `own` whether a user wrote it."""

    name: str
    description: str
    tasks: tuple[Task, ...]
    judges: tuple[Judge, ...] = ()
    folder: Path | None = None
    own: bool = False


def shipped() -> list[str]:
    """The names of the suites that come with the program."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_suite(name: str, data: Path | None) -> Suite:
    """A shipped suite by its name, whose files lie in `data`, or a user's own by the path of its YAML file.

    Raises:
        UserError: there is no such suite, or it is not well-formed.
    """
    own = Path(name)
    path = own if own.suffix in (".yaml", ".yml") else SHIPPED / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"There is no suite '{name}'.", nearest(name, shipped()) + " Or name a YAML file.")
    if path is not own and data is None:
        raise UserError(f"The suite '{name}' reads public data, and no folder of them is named.",
                        "Give --data FOLDER, or set PRECEPTOR_DATA (docs/suites.md says what lies in it).")
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not valid YAML: {str(error).splitlines()[0]}.", "Mend the file.") from None
    suite = build(Suite, read, f"the suite '{name}'", tasks=Task, judges=Judge)
    _check(suite)
    return Suite(name=suite.name, description=suite.description, tasks=suite.tasks, judges=suite.judges,
                 folder=path.parent if path is own else data, own=path is own)


def build(kind: type[K], values: Any, what: str, **parts: type) -> K:
    """A dataclass from a mapping, strictly; lists become tuples, and those named in `parts` lists of dataclasses."""
    if not isinstance(values, Mapping):
        raise UserError(f"{what} must be a mapping of names to values.", "See docs/suites.md.")
    known = {one.name: one for one in fields(kind) if one.name not in ("folder", "own")}
    for name in values:
        if name not in known:
            raise UserError(f"{what} has an unknown key '{name}'.", nearest(str(name), known))
    for name, one in known.items():
        if name not in values and one.default is MISSING and one.default_factory is MISSING:
            raise UserError(f"{what} lacks the key '{name}'.", f"Add '{name}'.")
    built = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    for name, part in parts.items():
        built[name] = tuple(build(part, one, f"{what}, {name} {number}")
                            for number, one in enumerate(built.get(name) or (), start=1))
    return kind(**built)


def _check(suite: Suite) -> None:
    """Refuse what would only be found out at the first row, after a model was loaded."""
    judges = {judge.name for judge in suite.judges}
    for task in suite.tasks:
        if not task.name.replace("-", "_").isidentifier():
            raise UserError(f"The task's name '{task.name}' cannot be that of a file.",
                            "Use letters, digits, - and _, a letter first.")
        if task.scorer not in SCORERS:
            raise UserError(f"The task '{task.name}' names the scorer '{task.scorer}'.", nearest(task.scorer, SCORERS))
        for judge in set(task.judges) - judges:
            raise UserError(f"The task '{task.name}' names the judge '{judge}'.", nearest(judge, judges))
        needed = {"choice": ("prompts", "options", "gold"), "answer": ("prompts", "gold"), "pair": ("options",),
                  "judged": ("prompts", "text", "judges"), "text": ("text",), "preference": ("prompts",)}[task.scorer]
        for name in needed:
            if not getattr(task, name):
                raise UserError(f"The task '{task.name}' has no {name}, which its scorer needs.", f"Add '{name}'.")
        if task.scorer == "preference" and len(task.prompts) * len(task.shots) > 1:
            raise UserError(f"The task '{task.name}' compares answers, and has several ways of asking.",
                            "Make a task of each.")
    if len({task.name for task in suite.tasks}) < len(suite.tasks):
        raise UserError(f"Two tasks of the suite '{suite.name}' have one name.", "Give each its own.")


@cache
def template(source: str) -> Callable[..., str]:
    """A function that fills a template from a row.

    Raises:
        UserError: the template is not well-formed.
    """
    from jinja2 import TemplateError
    try:
        return _sandbox().from_string(source).render
    except TemplateError as error:
        raise UserError(f"The template '{source}' is not well-formed: {error}.", "Mend the suite.") from None


@cache
def expression(source: str) -> Callable[..., Any]:
    """A function that gives the value of an expression for a row.

    Raises:
        UserError: the expression is not well-formed.
    """
    from jinja2 import TemplateError
    try:
        return _sandbox().compile_expression(source, undefined_to_none=False)
    except TemplateError as error:
        raise UserError(f"The expression '{source}' is not well-formed: {error}.", "Mend the suite.") from None


@cache
def _sandbox() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment
    return SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
