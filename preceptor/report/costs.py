"""The sections on what preference cost and what it rests on: alignment tax, text, reward model, selection, time."""

from collections.abc import Mapping, Sequence
from typing import Any

from preceptor.report.artefacts import RunFolder
from preceptor.report.blocks import SHARES, Panel, Section, Table, last_and_before, model_name, model_table
from preceptor.report.figures import Line, Row, bar_chart, dot_chart, line_chart
from preceptor.report.text import Figure, Text, both, interval, named, number, percent, percent_interval, text
from preceptor.run.progress import clock

JUDGES = ("same_labelers", "heldout_labelers", "oracle")


def tax(results: Mapping[str, Any]) -> Section | None:
    """Perplexity on the pretraining distribution, and the way gone from SFT."""
    perplexity = results.get("perplexity")
    if not perplexity:
        return None
    rows = [Row(both(model_name(model)), number(value), value, tone=f"model-{model}")
            for model, value in perplexity.items()]
    columns: dict[str, Mapping[str, Any]] = {"perplexity": perplexity, "bits_per_byte": results["bits_per_byte"]}
    if "kl" in results:
        columns["kl"] = results["kl"]
    heads = {"perplexity": text("tax.perplexity"), "bits_per_byte": text("tax.bits_per_byte"),
             "kl": text("tax.kl_column")}
    table = model_table(columns, heads, lambda value: number(value) if isinstance(value, float) else interval(value))
    tables = [table]
    if by_language := results.get("perplexity_by_language"):
        languages = dict.fromkeys(language for found in by_language.values() for language in found)
        tables.append(model_table({language: {model: found[language] for model, found in by_language.items()}
                                   for language in languages},
                                  {language: named("language", language) for language in languages}, number))
    return Section("tax", [Panel(bar_chart(rows), _tax_sentences(perplexity, results.get("kl", {})),
                                 text("tax.figure"))], tables)


def _tax_sentences(perplexity: Mapping[str, float], kl: Mapping[str, Figure]) -> list[Text]:
    """What PPO does to perplexity, and how much of it the pretraining gradients win back."""
    sentences = []
    if {"base", "sft"} <= set(perplexity):
        sentences.append(text("tax.sentence", base_model=model_name("base"), base=number(perplexity["base"]),
                              sft=number(perplexity["sft"])))
    paid = perplexity.get("ppo", 0.0) - perplexity["sft"]
    if "ppo" in perplexity:
        sentences.append(text("tax.paid" if paid > 0 else "tax.free", ppo=number(perplexity["ppo"])))
    if "ppo_ptx" in perplexity:
        values = {"ppo_ptx": number(perplexity["ppo_ptx"])}
        if paid > 0 and perplexity["ppo_ptx"] < perplexity["ppo"]:
            recovered = percent((perplexity["ppo"] - perplexity["ppo_ptx"]) / paid)
            sentences.append(text("tax.recovered", **values, share=recovered))
        else:
            sentences.append(text("tax.only_ptx", **values))
    sentences += [text("tax.kl", model=model_name(model), kl=interval(figure)) for model, figure in kl.items()]
    return sentences


def texts(results: Mapping[str, Any]) -> Section | None:
    """Length, endings, repetition, and harmlessness."""
    if "words" not in results:
        return None
    anchor, last = last_and_before(results["models"])
    words, repetition = results["words"], results["repetition"]
    columns: dict[str, Mapping[str, Any]] = {"words": words, "ended": results["ended"]}
    for name in ("rep_4", "seq_rep_4"):
        columns[name] = {model: found[name] for model, found in repetition.items() if name in found}
    if "harmless" in results:
        columns["harmless"] = results["harmless"]
    heads = {name: text(f"text.{name}") for name in ("words", "ended", "rep_4", "seq_rep_4")}

    def shown(value: Any) -> str:
        if isinstance(value, float):
            return percent(value)
        return interval(value) if value["high"] > 1 else percent_interval(value)

    table = model_table(columns, heads | {"harmless": text("truth.harmless")}, shown)
    rows = [Row(both(model_name(model)), interval(figure), figure["mean"], tone=f"model-{model}")
            for model, figure in words.items()]
    sentences = []
    if columns["rep_4"]:
        most = max(columns["rep_4"], key=columns["rep_4"].__getitem__)
        sentences.append(text("text.sentence", a=model_name(anchor), b=model_name(last),
                              before=number(words[anchor]["mean"]), after=number(words[last]["mean"]),
                              most=model_name(most), rep=percent(columns["rep_4"][most])))
    return Section("text", [Panel(bar_chart(rows), sentences, text("text.figure"))], [table])


def reward(results: Mapping[str, Any]) -> Section | None:
    """The reward model's accuracy against each judge, beside the ceiling that their noise allows."""
    accuracy = results.get("reward_accuracy")
    if not accuracy:
        return None
    judges = [name for name in JUDGES if name in accuracy]
    rows, sentences = [], []
    for judge in judges:
        figure, ceiling = accuracy[judge], accuracy[judge].get("noise_ceiling")
        rows.append(Row(both(f"reward.{judge}"), percent_interval(figure), figure["mean"], figure["low"],
                        figure["high"], mark=ceiling))
        values = {"judge": text(f"reward.{judge}"), "rate": percent_interval(figure)}
        sentences.append(text("reward.sentence", **values) if ceiling is None else text(
            "reward.of_ceiling", **values, ceiling=percent(ceiling), share=percent(figure["mean"] / ceiling)))
    chart = dot_chart(rows, SHARES, reference=0.5, as_percent=True)
    return Section("reward", [Panel(chart, sentences, text("reward.figure"))], _ranking_details(results))


def _ranking_details(results: Mapping[str, Any]) -> list[Table]:
    """How well whole rankings agree, and whether the reward model goes by length more than the judge does."""
    details = {judge: results.get("details", {}).get(judge, {}) for judge in JUDGES}
    columns = [name for name in ("kendall_tau_b", "longer_preferred", "longer_scored_higher")
               if any(name in found for found in details.values())]
    rows = [[both(f"reward.{judge}"), *(number(found[name]) if name in found else "" for name in columns)]
            for judge, found in details.items() if found]
    return [Table([both("reward.judge"), *(both(f"reward.{name}") for name in columns)], rows)] if columns else []


def selection(found: Mapping[str, Any]) -> Section | None:
    """Reward and validation loss by epoch, and which was chosen."""
    if not found:
        return None
    epochs: Sequence[Mapping[str, float]] = found["epochs"]
    chosen = next(row for row in epochs if row["epoch"] == found["chosen"])
    rewards = Line("reward", [(row["epoch"], row["reward"]) for row in epochs],
                   [(row["low"], row["high"]) for row in epochs])
    sentence = text("selection.sentence", epoch=found["chosen"], all=len(epochs),
                    reward=interval({**chosen, "mean": chosen["reward"]}))
    panels = [Panel(line_chart([rewards], marked=found["chosen"]), [sentence], text("selection.figure"),
                    text("quality.reward"))]
    losses = [(row["epoch"], row["validation_loss"]) for row in epochs if "validation_loss" in row]
    if losses:
        lowest = min(losses, key=lambda point: point[1])[0]
        panels.append(Panel(line_chart([Line("validation_loss", losses)], marked=lowest),
                            [text("selection.loss", epoch=lowest)], title=text("metric.validation_loss")))
    return Section("selection", panels)


def time(folder: RunFolder, peak_rss_mb: float | None) -> Section:
    """Wall time of each step."""
    seconds = {name: entry["wall_seconds"] for name, entry in folder.steps.items()}
    total, longest = sum(seconds.values()), max(seconds, key=seconds.__getitem__)
    sentences = [text("time.sentence", total=clock(total), step=longest, longest=clock(seconds[longest]),
                      share=percent(seconds[longest] / total if total else 0.0))]
    if peak_rss_mb is not None:
        sentences.append(text("time.memory", memory=f"{peak_rss_mb / 1000:.2f}\u00a0GB"))
    rows = [Row(both(lambda language, name=name: name), clock(value), value) for name, value in seconds.items()]
    return Section("time", [Panel(bar_chart(rows), sentences, text("time.figure"))])
