"""`preceptor compare` two models on annotated texts, and `preceptor route` texts between them."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from preceptor.run.errors import UserError


def add_compare(commands: argparse._SubParsersAction) -> None:
    """Both commands, without importing what they need."""
    compare = commands.add_parser("compare", help="an encoder and a language model on the same texts: which to take")
    compare.add_argument("models", type=Path, nargs=2, metavar="MODEL", help="folders of steps or of models")
    compare.add_argument("--records", type=Path, required=True, help="folder of a step of stage annotations")
    compare.add_argument("--out", type=Path, default=Path("comparison"), help="folder to write (comparison)")
    compare.add_argument("--price", type=float, default=1.0, help="what the machine costs an hour (1)")
    compare.add_argument("--rows", type=int, default=32, help="texts at once where throughput is measured (32)")
    compare.add_argument("--seed", type=int, default=0, help="what the timed texts are drawn from (0)")
    compare.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    compare.set_defaults(command=_compare)
    route = commands.add_parser("route", help="read texts by the cheaper model that is sure enough")
    route.add_argument("router", type=Path, help="folder of a compare step, or of `preceptor compare --out`")
    route.add_argument("texts", type=Path, nargs="?", help="one text a line (default: the standard input)")
    route.set_defaults(command=_route)


def _compare(options: argparse.Namespace) -> None:
    from transformers.utils.logging import disable_progress_bar

    from preceptor.understand.compare import compare
    from preceptor.understand.options import CompareOptions
    from preceptor.understand.table import table
    disable_progress_bar()
    names = [path.resolve().name for path in options.models]
    if names[0] == names[1]:
        names = [f"{name} {number}" for number, name in enumerate(names, start=1)]
    results = compare(dict(zip(names, options.models)), options.records, options.out,
                      replace(CompareOptions(), price=options.price, rows=options.rows), options.seed, say)
    print(json.dumps(results, ensure_ascii=False) if options.json else table(results))
    say(f"written: {options.out / 'results.json'}")


def _route(options: argparse.Namespace) -> None:
    from transformers.utils.logging import disable_progress_bar

    from preceptor.data.sources import read_plain
    from preceptor.understand.answerers import in_parts
    from preceptor.understand.router import load_router
    disable_progress_bar()
    router, task = load_router(options.router)
    lines = (read_plain(options.texts) if options.texts else _piped()).split("\n")
    texts = [line for line in lines if line.strip()]
    for part in in_parts(texts, 32):
        for text, one in zip(part, router.read(part)):
            sure = {} if one.sure is None else {"sure": round(one.sure, 4)}
            print(json.dumps({"text": text, **task.shown(text, one.reading), "model": one.model, **sure},
                             ensure_ascii=False))
    say(f"{router.asked:,} of {len(texts):,} texts were passed on to {router.names[1]}")


def _piped() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UserError(f"What comes in is not UTF-8 text: {error.reason} at byte {error.start}.",
                        "Convert it to UTF-8 first.") from None


def say(line: str) -> None:
    """What is no result goes to the standard error."""
    print(line, file=sys.stderr, flush=True)
