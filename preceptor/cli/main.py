"""`preceptor`: the command line. It imports what a command needs when the command runs, so that help is instant."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from preceptor.cli.data import add_data
from preceptor.run.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 the user can mend it, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # who read our output, such as `head`, has seen enough; Python would complain once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 130
    except UserError as error:
        print(f"preceptor: {error.cause}\n{error.cure}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        where = f" ('{error.filename}')" if error.filename else ""  # a write into an open file does not know its name
        print(f"preceptor: Writing failed: {error.strerror}{where}.\n"
              "Make room or give another folder with --out, then run the same command again: it goes on.",
              file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\npreceptor: interrupted; the same command goes on where it was.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="preceptor", description="From raw text to an assistant that people prefer.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a recipe, or go on with a run")
    run.add_argument("recipe", help="name of a shipped recipe, or the path of a YAML file")
    run.add_argument("--out", type=Path, help="run folder (default: runs/RECIPE)")
    run.add_argument("--set", action="append", default=[], metavar="NAME.option=value", help="change an option")
    run.add_argument("--setting", action="append", default=[], metavar="NAME", help="apply a setting of the recipe")
    run.add_argument("--from", dest="again_from", metavar="NAME", help="redo this step and what depends on it")
    run.set_defaults(command=_run)

    report = commands.add_parser("report", help="rebuild report.html and summary.json of a run")
    report.add_argument("run", type=Path, help="run folder, such as runs/demo")
    report.add_argument("--json", action="store_true", help="print summary.json instead of where the report is")
    report.set_defaults(command=_report)

    chat = commands.add_parser("chat", help="talk with the result of a run in the terminal")
    chat.add_argument("run", type=Path, help="run folder")
    chat.set_defaults(command=_chat)

    measure = commands.add_parser("measure", help="measure texts or a model")
    measures = measure.add_subparsers(required=True, metavar="WHAT")
    repetition = measures.add_parser("repetition", help="how much texts, or the answers of a model, repeat themselves")
    repetition.add_argument("target", type=Path, metavar="FILE_OR_MODEL", help="texts (.jsonl or plain), or a folder")
    repetition.add_argument("--prompts", type=Path, help="of a model: prompts (.jsonl) whose answers are measured")
    repetition.add_argument("--texts", type=Path, help="of a model: human texts on which its predictions are measured")
    repetition.add_argument("--reference", type=Path, help="of a model: another, for coherence and MAUVE (--texts)")
    repetition.add_argument("--set", action="append", default=[], metavar="option=value", help="decoding option")
    repetition.add_argument("--json", action="store_true", help="print one JSON object")
    repetition.set_defaults(command=_measure_repetition)

    tune = commands.add_parser("tune", help="find what suits a model")
    tunings = tune.add_subparsers(required=True, metavar="WHAT")
    decoding = tunings.add_parser("decoding", help="every decoding strategy at equal budget: quality against diversity")
    decoding.add_argument("model", type=Path, help="folder of a step or of a model")
    decoding.add_argument("--prompts", type=Path, required=True, help="prompts (.jsonl)")
    decoding.add_argument("--reference", type=Path, help="model whose log-probabilities are the quality")
    decoding.add_argument("--reward", type=Path, help="reward model whose scores are the quality")
    decoding.add_argument("--max-tokens", type=int, default=64, help="tokens of an answer at most (64)")
    decoding.add_argument("--out", type=Path, default=Path("tuning"), help="writes OUT.json and OUT.svg (tuning)")
    decoding.set_defaults(command=_tune_decoding)

    filters = commands.add_parser("filter", help="take something out of texts")
    kinds = filters.add_subparsers(required=True, metavar="WHAT")
    again = kinds.add_parser("repetition", help="near-duplicate texts, and sentences that say the same again")
    again.add_argument("file", type=Path, help="texts (.jsonl with 'text')")
    again.add_argument("out", type=Path, help="the file to write")
    again.add_argument("--threshold", type=float, default=0.7, help="similarity from which texts are the same (0.7)")
    again.set_defaults(command=_filter_repetition)

    export = commands.add_parser("export", help="write a model as an ONNX graph, compared with PyTorch")
    export.add_argument("model", type=Path, help="folder of a step or of a model: causal, reward model or encoder")
    export.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="the folder to write")
    export.set_defaults(command=_export)

    _add_label(commands)
    add_data(commands)

    recipe = commands.add_parser("recipe", help="list the shipped recipes, or show one with every option")
    actions = recipe.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="list the shipped recipes").set_defaults(command=_recipe_list)
    show = actions.add_parser("show", help="show a recipe's steps, options, defaults and their meaning")
    show.add_argument("recipe")
    show.set_defaults(command=_recipe_show)
    return parser


def _add_label(commands: argparse._SubParsersAction) -> None:
    label = commands.add_parser("label", help="rank answers in the browser, and move labels in and out")
    label.add_argument("run", type=Path, help="run folder, such as runs/demo; its labels are in RUN/feedback.sqlite")
    label.add_argument("--database", metavar="URL", help="keep the labels in this PostgreSQL database instead")
    label.add_argument("--answers", type=Path, metavar="FILE", help="answers to rank, of any model (docs/labelling.md)")
    label.add_argument("--overlap", type=int, default=1, metavar="N", help="how many labelers rank each prompt (1)")
    label.add_argument("--policy", default="random", help="what comes next: random, uncertain or informative")
    label.add_argument("--axes", action="store_true", help="ask for accuracy, relevance, naturalness, concision too")
    label.add_argument("--host", default="127.0.0.1", help="address to serve a team on (default: this machine alone)")
    label.add_argument("--port", type=int, default=8765, help="port of the page (8765)")
    label.add_argument("--no-browser", action="store_true", help="print the link and open nothing")
    label.add_argument("--add", type=Path, metavar="FILE", help="add rankings from a JSONL or Parquet file, and end")
    label.add_argument("--export", type=Path, metavar="FILE", help="write the rankings to a file, and end")
    label.add_argument("--format", default="comparisons", help="of --export: comparisons, parquet, ranked or pairs")
    label.set_defaults(command=_label)


def _run(options: argparse.Namespace) -> None:
    from preceptor.recipe.load import load_recipe
    recipe = load_recipe(options.recipe, options.setting, options.set)
    from preceptor.recipe.runner import run_recipe
    folder = options.out or Path("runs") / recipe.name
    run_recipe(recipe, folder, options.again_from)
    from preceptor.cli.report import print_report
    print_report(folder, as_json=False)


def _report(options: argparse.Namespace) -> None:
    from preceptor.cli.report import print_report
    print_report(options.run, options.json)


def _chat(options: argparse.Namespace) -> None:
    from preceptor.cli.chat import chat
    chat(options.run)


def _measure_repetition(options: argparse.Namespace) -> None:
    from preceptor.cli.measure import measure_repetition
    measure_repetition(options.target, options.prompts, options.texts, options.set, options.json, options.reference)


def _tune_decoding(options: argparse.Namespace) -> None:
    from preceptor.cli.tune import tune_decoding
    tune_decoding(options.model, options.prompts, options.reference, options.reward, options.max_tokens, options.out)


def _filter_repetition(options: argparse.Namespace) -> None:
    from preceptor.cli.filter import filter_repetition
    filter_repetition(options.file, options.out, options.threshold)


def _export(options: argparse.Namespace) -> None:
    from preceptor.cli.export import export_model
    export_model(options.model, options.to)


def _label(options: argparse.Namespace) -> None:
    from preceptor.cli.label import label
    label(options)


def _recipe_list(options: argparse.Namespace) -> None:
    from preceptor.cli.recipes import print_recipes
    print_recipes()


def _recipe_show(options: argparse.Namespace) -> None:
    from preceptor.cli.recipes import print_recipe
    print_recipe(options.recipe)


if __name__ == "__main__":
    sys.exit(main())
