"""`preceptor label RUN`: open the labelling page, or move labels in and out of a run's store."""

import argparse
import sys
from pathlib import Path

from preceptor.feedback.assign import waiting
from preceptor.feedback.formats import read_comparisons, write_comparisons
from preceptor.feedback.records import add_comparisons, add_items, comparisons
from preceptor.feedback.sources import fill_from_run, read_answers
from preceptor.feedback.store import Store, open_store
from preceptor.run.errors import UserError
from preceptor.web.options import WebOptions
from preceptor.web.serve import LOCAL, serve

WHO = "preceptor label"


def label(options: argparse.Namespace) -> None:
    """Do what the options ask: add answers or rankings, export, or else serve the page until interrupted.

    Raises:
        UserError: there is nothing to label, or a file, database or address cannot be used.
    """
    place = options.database or options.run / "feedback.sqlite"
    if not options.run.is_dir() and not (options.answers or options.add):
        raise UserError(f"There is no run '{options.run}'.",
                        "Give the folder of a run, or answers with --answers FILE.")
    store = open_store(place)
    try:
        if options.export:
            _export(store, options.export, options.format)
            return
        _fill(store, options)
        if not options.add:
            _serve(store, str(place), options)
    finally:
        store.close()


def _fill(store: Store, options: argparse.Namespace) -> None:
    """Answers and rankings from files; where there are neither, and the store is empty, those of the run."""
    if options.add:
        found = read_comparisons(options.add)
        added = add_comparisons(store, found, who=WHO)
        print(f"{added:,} of {len(found):,} rankings are new.", file=sys.stderr)
    if options.answers:
        asked = read_answers(options.answers)
        add_items(store, asked, overlap=options.overlap, who=WHO)
        print(f"{len(asked):,} prompts with {sum(len(said) for _, said in asked):,} answers.", file=sys.stderr)
    elif not options.add and not waiting(store):
        print(f"{fill_from_run(store, options.run, options.overlap, WHO):,} prompts of {options.run}, "
              f"each for {options.overlap} labelers.", file=sys.stderr)


def _export(store: Store, path: Path, format: str) -> None:
    done = write_comparisons(path, list(comparisons(store)), format)
    lost = f"; {done['ties']:,} tied pairs have no place in this format" if done["ties"] else ""
    print(f"{done['rows']:,} rows in {path}{lost}.", file=sys.stderr)


def _serve(store: Store, place: str, options: argparse.Namespace) -> None:
    if not waiting(store):
        raise UserError(f"There is nothing to label in '{options.run}'.",
                        "Run it as far as its comparisons, or give answers with --answers FILE.")
    hosts = ("*",) if options.host not in LOCAL else WebOptions.hosts
    web = WebOptions(policy=options.policy, axes=options.axes, hosts=hosts)
    serve(store, place, web, options.host, options.port, options.run, browse=not options.no_browser)
