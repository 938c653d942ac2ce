"""`report.html`: one page that needs no network, a function of the run folder and nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preceptor.report.artefacts import RunFolder
from preceptor.report.blocks import Section, last_and_before, model_name
from preceptor.report.costs import reward, selection, tax, texts, time
from preceptor.report.curves import curves
from preceptor.report.domain import domain
from preceptor.report.frontier import frontier
from preceptor.report.gallery import gallery, measured
from preceptor.report.ladder import ladder
from preceptor.report.preference import categories, preference, quality, truth
from preceptor.report.samples import EACH, samples, score
from preceptor.report.summary import summary
from preceptor.report.template import render
from preceptor.report.text import Text, percent, percent_interval, text
from preceptor.report.understanding import understanding
from preceptor.run.files import read_json, write_text
from preceptor.run.progress import clock


def build_report(run: Path) -> Path:
    """Write `report.html` into the run folder; returns its path.

    Raises:
        UserError: the folder is no run.
    """
    folder, figures = RunFolder(run), summary(run)
    evaluation = folder.results("evaluate")
    answers = folder.answers()
    page = render(
        "page.html", name=run.resolve().name, folder=folder, description=_description(folder), tiles=_tiles(figures),
        sections=_sections(folder, evaluation, figures), gallery=gallery(folder.looked("gallery.json")),
        samples=samples(answers), models=evaluation.get("models", []),
        answered=evaluation.get("prompts", 0), each=EACH, curves=curves(folder), model_name=model_name, score=score)
    path = run / "report.html"
    write_text(path, page)
    return path


def _description(folder: RunFolder) -> str:
    import yaml
    recipe = yaml.safe_load(folder.recipe()) or {}
    return " ".join(str(recipe.get("description", "")).split())


def _sections(folder: RunFolder, evaluation: dict[str, Any], figures: dict[str, Any]) -> list[Section]:
    """The sections with figures that this run has something for."""
    found = []
    if evaluation:
        found += [section(evaluation) for section in (preference, truth, quality, categories, tax, texts)]
    found += [domain(folder.learned()), understanding(folder.results("compare")), ladder(folder.results("ladder")),
              frontier(folder.results("weigh")), measured(_seen(folder)), reward(folder.results("reward")),
              selection(folder.selection())]
    if folder.steps:
        found.append(time(folder, figures.get("peak_rss_mb")))
    return [section for section in found if section]


def _seen(folder: RunFolder) -> dict[str, Any]:
    return {step: read_json(place / "scores.json") for step, place in folder.looked("scores.json").items()}


def _tiles(figures: dict[str, Any]) -> Sequence[tuple[Text, str]]:
    """The few figures at the head of the page, as (what, how much)."""
    tiles = []
    models = list(figures.get("false_assertions", {}))
    anchor, last = last_and_before(models) if models else ("sft", "")
    pair = {"a": model_name(last), "b": model_name(anchor)}
    if rate := figures.get("win_rate", {}).get(f"{last} vs {anchor}"):
        tiles.append((text("tiles.preferred", **pair), percent_interval(rate)))
    if models:
        before, after = (percent(figures["false_assertions"][model]["mean"]) for model in (anchor, last))
        tiles.append((text("tiles.false_assertions", **pair), f"{before} → {after}"))
    for judge, accuracy in list(figures.get("reward_accuracy", {}).items())[-1:]:
        tiles.append((text("tiles.reward_accuracy", judge=text(f"reward.{judge}")), percent_interval(accuracy)))
    if figures.get("wall_seconds"):
        tiles.append((text("tiles.time"), clock(sum(figures["wall_seconds"].values()))))
    return tiles
