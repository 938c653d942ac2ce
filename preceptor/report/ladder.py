"""The section on the ladder: every policy of iterated RLHF, by what labelers preferred and by what the oracle says."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from preceptor.report.blocks import Panel, Section, Table, model_name
from preceptor.report.figures import Row, dot_chart, outward_ticks
from preceptor.report.text import Figure, Text, both, interval, number, percent, text


def ladder(results: Mapping[str, Any]) -> Section | None:
    """Strengths with their intervals, the first policy at the top; beside them the oracle's scores where there are any.

    Args:
        results: results.json of a ladder step; empty gives no section.
    """
    if not results:
        return None
    policies = results["policies"]
    strengths = {policy: results["scores"][policy]["bradley_terry"] for policy in policies}
    panels = [Panel(_dots(strengths, points), _sentences(strengths), text("ladder.figure", n=results["prompts"]),
                    text("ladder.strength"))]
    if "oracle" in results:
        oracle = {policy: results["oracle"][policy] for policy in policies}
        panels.append(Panel(_dots(oracle, interval), caption=text("ladder.oracle_figure"), title=text("ladder.oracle")))
    return Section("ladder", panels, [_table(results)])


def points(figure: Figure) -> str:
    """`1043 [1020, 1066]`: points of the Elo scale."""
    return f"{figure['mean']:.0f}\u00a0[{figure['low']:.0f},\u00a0{figure['high']:.0f}]"


def _dots(figures: Mapping[str, Figure], shown: Any) -> Markup:
    rows = [Row(both(model_name(policy)), shown(one), one["mean"], one["low"], one["high"])
            for policy, one in figures.items()]
    at = outward_ticks(min(one["low"] for one in figures.values()), max(one["high"] for one in figures.values()))
    return dot_chart(rows, at)


def _sentences(strengths: Mapping[str, Figure]) -> list[Text]:
    """How far the last policy is above the first, and from which round on the intervals do not tell policies apart."""
    first, last = list(strengths)[0], list(strengths)[-1]
    gained = strengths[last]["mean"] - strengths[first]["mean"]
    sentences = [text("ladder.gained" if gained > 0 else "ladder.lost", a=model_name(last), b=model_name(first),
                      points=f"{abs(gained):.0f}", odds=percent(1 / (1 + 10 ** (-gained / 400))))]
    level = [(before, after) for before, after in pairwise(strengths)
             if strengths[after]["low"] <= strengths[before]["high"]]
    sentences += [text("ladder.level", a=model_name(after), b=model_name(before)) for before, after in level]
    return sentences


def _table(results: Mapping[str, Any]) -> Table:
    policies, scores, wins = results["policies"], results["scores"], results["wins"]
    before = dict(zip(policies[1:], policies))
    heads = ["ladder.policy", "ladder.bradley_terry", "ladder.plackett_luce", "ladder.elo", "ladder.beats_before"]
    rows = []
    for policy in policies:
        elo, won = scores[policy]["elo"], wins[policy].get(before.get(policy))
        row = [both(model_name(policy)), points(scores[policy]["bradley_terry"]),
               points(scores[policy]["plackett_luce"]), f"{elo['mean']:.0f} ± {elo['deviation']:.0f}",
               "" if won is None else percent(won)]
        rows.append(row + ([number(results["oracle"][policy]["mean"])] if "oracle" in results else []))
    if "oracle" in results:
        heads.append("ladder.oracle_column")
    return Table([both(head) for head in heads], rows)
