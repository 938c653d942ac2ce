"""`preceptor label RUN`: open the labelling page, or move labels in and out of a run's store."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Prompt
from preceptor.feedback.assign import waiting
from preceptor.feedback.audit import note
from preceptor.feedback.exchanges import all_exchanges
from preceptor.feedback.formats import read_comparisons, write_comparisons
from preceptor.feedback.labelers import account_name
from preceptor.feedback.machines import rank_with
from preceptor.feedback.pictures import with_pictures
from preceptor.feedback.preferences import all_thumbs
from preceptor.feedback.records import add_comparisons, add_items, comparisons, set_gold
from preceptor.feedback.sources import fill_from_run, read_answers
from preceptor.feedback.store import Store, open_store
from preceptor.feedback.trials import add_trials
from preceptor.feedback.writings import demonstrations, prompts
from preceptor.run.errors import UserError
from preceptor.web.options import WebOptions
from preceptor.web.serve import LOCAL, serve

WHO = "preceptor label"


def label(options: argparse.Namespace) -> None:
    """Do what the options ask: add answers, rankings or gold questions, have a judge rank, export, or else serve the
    page until interrupted.

    Raises:
        UserError: there is nothing to label, or a file, database or address cannot be used.
    """
    place = options.database or options.run / "feedback.sqlite"
    if not options.run.is_dir() and not (options.answers or options.add or options.prompts):
        raise UserError(f"There is no run '{options.run}'.",
                        "Give the folder of a run, or answers with --answers FILE.")
    store = open_store(place)
    try:
        if options.export:
            _export(store, options.export, options.format)
            return
        _fill(store, options)
        if options.judge:
            _judge(store, options)
        if not (options.add or options.gold or options.trials or options.judge or options.ask):
            _serve(store, str(place), options)
    finally:
        store.close()


def _fill(store: Store, options: argparse.Namespace) -> None:
    """Answers and rankings from files; where there are neither, and the store is empty, those of the run."""
    if options.add:
        found = read_comparisons(options.add)
        added = add_comparisons(store, found, who=WHO)
        print(f"{added:,} of {len(found):,} rankings are new.", file=sys.stderr)
    if options.gold:
        known = [replace(one, prompt=with_pictures(one.prompt, options.gold.parent))
                 for one in read_comparisons(options.gold)]
        add_items(store, [(one.prompt, one.responses) for one in known], overlap=0, split="heldout", who=WHO)
        print(f"{set_gold(store, known, WHO):,} gold questions.", file=sys.stderr)
    if options.trials:
        delicate = [with_pictures(prompt, options.trials.parent) for prompt in read_jsonl(options.trials, Prompt)]
        print(f"{add_trials(store, delicate, WHO):,} new prompts in the screening test.", file=sys.stderr)
    if options.ask or options.prompts:
        _ask(store, options)
    if options.answers:
        asked = [(with_pictures(prompt, options.answers.parent), said)
                 for prompt, said in read_answers(options.answers)]
        add_items(store, asked, overlap=options.overlap, who=WHO)
        print(f"{len(asked):,} prompts with {sum(len(said) for _, said in asked):,} answers.", file=sys.stderr)
    elif not (options.add or options.gold or options.trials or options.ask) and not waiting(store):
        print(f"{fill_from_run(store, options.run, options.overlap, WHO):,} prompts of {options.run}, "
              f"each for {options.overlap} labelers.", file=sys.stderr)


def _ask(store: Store, options: argparse.Namespace) -> None:
    if not (options.ask and options.prompts):
        raise UserError("Answers need prompts and a model to answer them.", "Give --prompts FILE and --ask MODEL.")
    from preceptor.cli.answers import asked_of
    asked = asked_of(options.ask, options.run, options.prompts, options.samples, options.temperature)
    add_items(store, asked, overlap=options.overlap, who=WHO)
    print(f"{len(asked):,} prompts with {sum(len(said) for _, said in asked):,} answers.", file=sys.stderr)


def _judge(store: Store, options: argparse.Namespace) -> None:
    """Rankings by a reward, of every item that it has not ranked yet."""
    from preceptor.cli.answers import folder_of
    from preceptor.feedback.rankers import kind_of_judge
    from preceptor.feedback.rewards import open_reward
    from preceptor.run.manifest import plain_name
    folder = folder_of(options.judge, options.run)
    name, kind = options.name or plain_name(folder), kind_of_judge(folder)
    done = rank_with(store, open_reward(folder), name, kind)
    print(f"{name} ({kind}) ranked {done:,} prompts.", file=sys.stderr)


def _export(store: Store, path: Path, format: str) -> None:
    others = {"thumbs": lambda: (one.row() for one in all_thumbs(store)), "prompts": lambda: prompts(store),
              "exchanges": lambda: (one.row() for one in all_exchanges(store)),
              "demonstrations": lambda: demonstrations(store)}
    if format in others:
        rows, lost = write_jsonl(path, others[format]()), ""
    else:
        done = write_comparisons(path, list(comparisons(store)), format)
        rows, lost = done["rows"], ""
        if done["ties"]:
            lost = f"; {done['ties']:,} tied pairs have no place in this format"
    with store.writing() as connection:
        note(store, connection, account_name(), "exported", path.name, format=format, rows=rows)
    print(f"{rows:,} rows in {path}{lost}.", file=sys.stderr)


def _serve(store: Store, place: str, options: argparse.Namespace) -> None:
    if not (waiting(store) or (options.run / "run.json").exists()):  # of a run there is its progress to see
        raise UserError(f"There is nothing to label in '{options.run}'.",
                        "Run it as far as its comparisons, or give answers with --answers FILE.")
    hosts = ("*",) if options.host not in LOCAL else WebOptions.hosts
    web = WebOptions(policy=options.policy, axes=options.axes, hosts=hosts)
    if options.pictures and not options.pictures.is_dir():
        raise UserError(f"There is no folder '{options.pictures}'.", "Give the one in which the pictures are.")
    serve(store, place, web, options.host, options.port, options.run, browse=not options.no_browser,
          pictures=options.pictures or _picture_book(options.run))


def _picture_book(run: Path) -> Path | None:
    """The folder in which the run drew the pictures that its prompts name, if it did."""
    from preceptor.run.manifest import read_manifest
    steps = read_manifest(run)["steps"].values()
    return next((run / step["folder"] for step in steps if step["stage"] == "picture_book"), None)
