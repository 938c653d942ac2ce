"""The curves of every step: the ones that tell most in front, all that was logged behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

from preceptor.report.artefacts import RunFolder, Series
from preceptor.report.blocks import Panel
from preceptor.report.figures import Line, line_chart
from preceptor.report.text import named, number, text
from preceptor.report.verdict import verdict

# By stage, the metrics worth a figure in front; those of one group share an axis.
FRONT: dict[str, tuple[tuple[str, ...], ...]] = {
    "pretrain": (("loss",), ("validation_perplexity",)),
    "sft": (("loss", "validation_loss"), ("validation_accuracy",)),
    "reward": (("loss",), ("accuracy",)),
    "rlhf": (("score",), ("kl_k1",), ("entropy",), ("answer_length",), ("ptx_loss",), ("explained_variance",)),
    "select": (),  # has a section of its own
}
OTHERWISE = (("loss",),)


@dataclass(frozen=True, slots=True)
class StepCurves:
    """A step's figures: `front` are explained, `all` are small and bare."""

    step: str
    stage: str
    front: Sequence[Panel]
    all: Sequence[Panel]


def curves(folder: RunFolder) -> list[StepCurves]:
    """The curves of each step that logged any metric twice."""
    found = []
    for step, entry in folder.steps.items():
        series = {name: points for name, points in folder.series(step).items() if len(points) > 1}
        groups = [[name for name in group if name in series] for group in FRONT.get(entry["stage"], OTHERWISE)]
        front = [_panel({name: series[name] for name in group}) for group in groups if group]
        rest = [Panel(line_chart([Line(name, points)]), legend=[name]) for name, points in sorted(series.items())]
        if front and (judged := verdict(series)):
            front[0].sentences.insert(0, judged)
        if front:
            found.append(StepCurves(step, entry["stage"], front, rest))
    return found


def _panel(group: dict[str, Series]) -> Panel:
    sentences = []
    for name, points in group.items():
        (lowest_at, lowest), (highest_at, highest) = (pick(points, key=lambda point: point[1]) for pick in (min, max))
        sentences.append(text("curves.sentence", metric=named("metric", name), first=number(points[0][1]),
                              last=number(points[-1][1]), lowest=number(lowest), lowest_at=lowest_at,
                              highest=number(highest), highest_at=highest_at))
    chart = line_chart([Line(name, points) for name, points in group.items()])
    return Panel(chart, sentences, legend=list(group))
