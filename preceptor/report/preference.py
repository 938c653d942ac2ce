"""The sections that rest on a judge: preference, truthfulness, quality, use cases."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from markupsafe import Markup

from preceptor.report.blocks import (
    SHARES,
    Panel,
    Section,
    Table,
    last_and_before,
    model_name,
    model_rows,
    model_table,
    share_chart,
)
from preceptor.report.figures import Row, dot_chart, outward_ticks
from preceptor.report.text import Figure, Text, both, interval, joined, named, number, percent, percent_interval, text

AXES = ("accuracy", "relevance", "naturalness", "concision")
TRUTH = ("correct", "false_assertions", "needless_refusals", "right_refusals")
CHANCE = 0.5
likert_mean = partial(interval, decimals=2)


def preference(results: Mapping[str, Any]) -> Section | None:
    """Win rates against SFT, by the oracle or else by the reward model."""
    judge, rates = ("oracle", results["win_rate"]) if "win_rate" in results \
        else ("reward", results.get("reward_win_rate"))
    if not rates:
        return None
    anchor, last = last_and_before(results["models"])
    against = {model: rates[f"{model} vs {anchor}"] for model in results["models"] if model != anchor}
    sentences = [verdict(last, anchor, against[last])] if last in against else []
    panel = Panel(share_chart(against, percent_interval, CHANCE),
                  [*sentences, _order(results["models"], rates), text(f"judge.{judge}")], text("preference.figure"))
    pairs = Table([both("preference.pairs"), both("preference.rate")],
                  [[both(_pair(pair)), percent_interval(rate)] for pair, rate in rates.items()])
    return Section("preference", [panel], [pairs])


def _pair(key: str) -> Text:
    a, b = (model_name(model) for model in key.split(" vs "))
    return text("preference.pair", a=a, b=b)


def verdict(a: str, b: str, rate: Figure) -> Text:
    """Whether a is preferred to b, as far as the interval allows to say."""
    kind = "above" if rate["low"] > CHANCE else "below" if rate["high"] < CHANCE else "level"
    return text(f"preference.{kind}", a=model_name(a), b=model_name(b), rate=percent_interval(rate), n=rate["n"])


def _order(models: list[str], rates: Mapping[str, Figure]) -> Text:
    """Whether each model beats the one before it: the lower end of its interval is above one half."""
    order = joined(" < ", [model_name(model) for model in models])
    broken = [text("preference.not_above", a=model_name(later), b=model_name(earlier),
                   rate=percent_interval(rates[f"{later} vs {earlier}"]))
              for earlier, later in zip(models, models[1:]) if rates[f"{later} vs {earlier}"]["low"] <= CHANCE]
    return text("preference.no_order", order=order, broken=joined("; ", broken)) if broken \
        else text("preference.order", order=order)


def truth(results: Mapping[str, Any]) -> Section | None:
    """Correct answers, false assertions, refusals."""
    if "false_assertions" not in results:
        return None
    measured = [name for name in TRUTH if name in results]
    anchor, last = last_and_before(results["models"])
    false = results["false_assertions"]
    sentences = [_fewer_falsehoods(anchor, last, false)]
    if {"correct", "needless_refusals"} <= set(measured):
        correct, refusals = results["correct"], results["needless_refusals"]
        before, after = ({"correct": percent(correct[model]["mean"]), "refusals": percent(refusals[model]["mean"])}
                         for model in (anchor, last))
        sentences.append(text("truth.price", correct_before=before["correct"], correct_after=after["correct"],
                              refusals_before=before["refusals"], refusals_after=after["refusals"]))
    panels = [Panel(share_chart(results[name], percent_interval), title=text(f"truth.{name}")) for name in measured]
    panels.append(Panel(Markup(), sentences, text("truth.figure", questions=false[last]["n"])))
    return Section("truth", panels)


def _fewer_falsehoods(anchor: str, last: str, false: Mapping[str, Figure]) -> Text:
    before, after = false[anchor]["mean"], false[last]["mean"]
    values = {"a": model_name(anchor), "b": model_name(last), "before": percent_interval(false[anchor]),
              "after": percent_interval(false[last])}
    if not after < before:
        return text("truth.more", **values)
    return text("truth.fewer", **values, factor=f"{before / after:.1f}") if after else text("truth.none", **values)


def quality(results: Mapping[str, Any]) -> Section | None:
    """Likert means by the oracle, and mean rewards."""
    anchor, last = last_and_before(results["models"])
    panels, tables = [], []
    if likert := results.get("likert"):
        changes = {axis: likert[last][axis]["mean"] - likert[anchor][axis]["mean"] for axis in AXES}
        axis = max(changes, key=lambda name: abs(changes[name]))
        overall = {model: axes["overall"] for model, axes in likert.items()}
        sentence = text("quality.sentence", a=model_name(anchor), b=model_name(last), axis=named("quality", axis),
                        before=likert_mean(overall[anchor]), after=likert_mean(overall[last]),
                        axis_before=number(likert[anchor][axis]["mean"]), axis_after=number(likert[last][axis]["mean"]))
        chart = dot_chart(model_rows(overall, likert_mean), range(1, 8))
        panels.append(Panel(chart, [sentence], text("quality.figure"), text("quality.overall")))
        columns = {axis: {model: axes[axis] for model, axes in likert.items()} for axis in AXES}
        tables.append(model_table(columns, {axis: named("quality", axis) for axis in AXES}, likert_mean))
    if rewards := results.get("reward"):
        ends = [figure[end] for figure in rewards.values() for end in ("low", "high")]
        sentence = text("quality.reward_sentence", a=model_name(anchor), b=model_name(last),
                        before=interval(rewards[anchor]), after=interval(rewards[last]))
        at = outward_ticks(min(*ends, 0.0), max(*ends, 0.0), most=3)
        chart = dot_chart(model_rows(rewards, interval), at, reference=0.0)
        panels.append(Panel(chart, [sentence], text("quality.reward_figure"), text("quality.reward")))
    return Section("quality", panels, tables) if panels else None


def categories(results: Mapping[str, Any]) -> Section | None:
    """The win rate of the last model in each use case."""
    anchor, last = last_and_before(results["models"])
    rates = results.get("win_rate_by_category", {}).get(f"{last} vs {anchor}")
    if not rates:
        return None
    rows = [Row(both(named("category", name)), f"{percent_interval(rate)}, n\u00a0{rate['n']}", rate["mean"],
                rate["low"], rate["high"], tone=f"model-{last}") for name, rate in rates.items()]
    best, worst = (pick(rates, key=lambda name: rates[name]["mean"]) for pick in (max, min))
    pair = {"a": model_name(last), "b": model_name(anchor)}
    sentence = text("categories.sentence", **pair, all=len(rates), best=named("category", best),
                    ahead=sum(rate["mean"] > CHANCE for rate in rates.values()), worst=named("category", worst),
                    best_rate=percent(rates[best]["mean"]), worst_rate=percent(rates[worst]["mean"]))
    chart = dot_chart(rows, SHARES, reference=CHANCE, as_percent=True)
    return Section("categories", [Panel(chart, [sentence], text("categories.figure", **pair))])
