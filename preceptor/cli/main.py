"""`preceptor`: the command line. It imports what a command needs when the command runs, so that help is instant."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from preceptor.cli.adapter import add_adapter_commands
from preceptor.cli.compare import add_compare
from preceptor.cli.data import add_data
from preceptor.cli.see import add_see
from preceptor.cli.serve import add_serve
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
    run.add_argument("--data", metavar="PATH", help="of a recipe whose first step reads your data: where they are")
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

    _add_evaluate(commands)

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

    length = measures.add_parser("length", help="perplexity and needles against length, for each way to read more")
    length.add_argument("model", type=Path, help="folder of a step or of a model")
    length.add_argument("--texts", type=Path, required=True, help="long texts (.jsonl with 'text', or plain)")
    length.add_argument("--lengths", help="tokens, such as 256,512,1024 (half to eight times the trained length)")
    length.add_argument("--needles", type=int, default=20, help="needles at each length (20)")
    length.add_argument("--seed", type=int, default=0, help="what the needles are drawn from (0)")
    length.add_argument("--out", type=Path, default=Path("length"), help="writes OUT.json and OUT.svg (length)")
    length.set_defaults(command=_measure_length)

    _add_tune(commands)

    filters = commands.add_parser("filter", help="take something out of texts")
    kinds = filters.add_subparsers(required=True, metavar="WHAT")
    again = kinds.add_parser("repetition", help="near-duplicate texts, and sentences that say the same again")
    again.add_argument("file", type=Path, help="texts (.jsonl with 'text')")
    again.add_argument("out", type=Path, help="the file to write")
    again.add_argument("--threshold", type=float, default=0.7, help="similarity from which texts are the same (0.7)")
    again.set_defaults(command=_filter_repetition)

    export = commands.add_parser("export", help="write a model as an ONNX graph, compared with PyTorch")
    export.add_argument("model", type=Path, help="folder of a step or of a model: causal, reward model or encoder")
    export.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="the folder (or .gguf) to write")
    export.add_argument("--llama-cpp", type=Path, metavar="FOLDER", help="of a .gguf: llama.cpp, whose converter runs")
    export.add_argument("--numbers", default="f16", choices=("f32", "f16", "bf16", "q8_0"), help="of a .gguf (f16)")
    export.set_defaults(command=_export)

    _add_shrink(commands)
    _add_label(commands)
    add_data(commands)
    add_compare(commands)
    add_serve(commands)
    add_adapter_commands(commands)
    add_see(commands)

    recipe = commands.add_parser("recipe", help="list the shipped recipes, or show one with every option")
    actions = recipe.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="list the shipped recipes").set_defaults(command=_recipe_list)
    show = actions.add_parser("show", help="show a recipe's steps, options, defaults and their meaning")
    show.add_argument("recipe")
    show.set_defaults(command=_recipe_show)
    return parser


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    evaluate = commands.add_parser("evaluate", help="measure models on a suite of benchmarks, or their robustness")
    evaluate.add_argument("models", nargs="+", metavar="MODEL", help="folder of a run, step or model, or URL#MODEL")
    evaluate.add_argument("--suite", default="instructgpt", help="a shipped suite, or the path of a YAML file")
    evaluate.add_argument("--data", type=Path, metavar="FOLDER", help="public data (default: $PRECEPTOR_DATA)")
    evaluate.add_argument("--task", action="append", default=[], metavar="NAME", help="only this task of the suite")
    evaluate.add_argument("--limit", type=int, default=0, metavar="N", help="items of a task at most (0: all)")
    evaluate.add_argument("--seed", type=int, default=0, help="of the draw of items and examples (0)")
    evaluate.add_argument("--form", choices=("plain", "chat"), help="how folders are asked (default: as they can)")
    evaluate.add_argument("--reward", type=Path, metavar="FOLDER", help="reward model that decides preferences")
    evaluate.add_argument("--judge", metavar="MODEL", help="model that decides preferences, in both orders")
    evaluate.add_argument("--labels", type=Path, metavar="FILE", help="comparisons by people, for their win rates")
    evaluate.add_argument("--robustness", type=Path, metavar="PROMPTS", help="not a suite: these prompts, spoilt")
    evaluate.add_argument("--village", type=Path, metavar="FOLDER", help="of --robustness: the world that knows truth")
    evaluate.add_argument("--out", type=Path, help="folder of answers and figures (default: evaluations/SUITE)")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    evaluate.set_defaults(command=_evaluate)


def _add_tune(commands: argparse._SubParsersAction) -> None:
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

    search = tunings.add_parser("recipe", help="search over a recipe's options; the same command goes on")
    search.add_argument("recipe", help="name of a shipped recipe, or the path of a YAML file")
    search.add_argument("--over", action="append", default=[], metavar="NAME.option=LOW..HIGH", help="or =A,B,C")
    search.add_argument("--measure", required=True, metavar="STEP.METRIC", help="what is to become small")
    search.add_argument("--maximise", action="store_true", help="it is to become large")
    search.add_argument("--trials", type=int, default=20, help="runs altogether (20)")
    search.add_argument("--set", action="append", default=[], metavar="NAME.option=value", help="change an option")
    search.add_argument("--out", type=Path, default=Path("tuning"), help="folder of the trials (tuning)")
    search.set_defaults(command=_tune_recipe)

    tokenizer = tunings.add_parser("tokenizer", help="vocabulary sizes: bytes per token, coverage, share of embeddings")
    tokenizer.add_argument("file", type=Path, help="documents (.jsonl with 'text', or plain text)")
    tokenizer.add_argument("--other", type=Path, help="text of another kind: how much of it is in the vocabulary")
    tokenizer.add_argument("--sizes", default="512,1024,2048,4096,8192,16384", help="vocabularies to try")
    tokenizer.add_argument("--algorithm", default="bpe", choices=("bpe", "wordpiece", "unigram"))
    tokenizer.add_argument("--alphabet", default="bytes", choices=("bytes", "fallback", "characters"))
    tokenizer.add_argument("--han", default="runs", choices=("runs", "apart", "single"), help="how Chinese is split")
    tokenizer.add_argument("--width", type=int, default=128, help="of the network that is to use it (128)")
    tokenizer.add_argument("--layers", type=int, default=4, help="of that network (4)")
    tokenizer.add_argument("--out", type=Path, default=Path("vocabulary.json"), help="the figures (vocabulary.json)")
    tokenizer.set_defaults(command=_tune_tokenizer)


def _add_shrink(commands: argparse._SubParsersAction) -> None:
    shrink = commands.add_parser("shrink", help="prune, recover, quantise, export, weigh; ship what keeps a budget")
    shrink.add_argument("model", type=Path, help="folder of a step or of a causal model")
    shrink.add_argument("--text", type=Path, required=True, help="documents (.jsonl) to score weights and recover on")
    shrink.add_argument("--validation", type=Path, required=True, help="documents on which perplexity is measured")
    shrink.add_argument("--prompts", type=Path, help="prompts (.jsonl) whose answers are measured")
    shrink.add_argument("--village", type=Path, metavar="FOLDER", help="of --prompts: the world whose oracle judges")
    shrink.add_argument("--reward", type=Path, metavar="FOLDER", help="of --prompts: a reward that judges")
    shrink.add_argument("--suite", type=Path, metavar="FILE", help="suite (.yaml) whose tasks are scored")
    shrink.add_argument("--budget", nargs="+", default=[], metavar="FIGURE=LIMIT",
                        help="perplexity=1.02 (the default), size=4, speed=3, memory=, score=, win_rate=, repetition=")
    shrink.add_argument("--keep", type=float, default=0.75, help="feed-forward channels a pruned model keeps (0.75)")
    shrink.add_argument("--whole", action="store_true", help="prune nothing")
    shrink.add_argument("--set", action="append", default=[], metavar="NAME.option=value", help="of the recipe gate")
    shrink.add_argument("--out", type=Path, default=Path("runs/shrink"), help="run folder (runs/shrink)")
    shrink.add_argument("--to", type=Path, default=Path("shipped"), metavar="FOLDER", help="where the best goes")
    shrink.add_argument("--json", action="store_true", help="print one JSON object of all figures")
    shrink.set_defaults(command=_shrink)


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
    label.add_argument("--gold", type=Path, metavar="FILE", help="add rankings held to be right as gold, and end")
    label.add_argument("--trials", type=Path, metavar="FILE", help="add prompts to which candidates write, and end")
    label.add_argument("--pictures", type=Path, metavar="FOLDER", help="where the pictures are that prompts name")
    label.add_argument("--ask", action="append", default=[], metavar="MODEL",
                       help="have a step, folder or server (URL#MODEL) answer --prompts, add the answers, and end")
    label.add_argument("--prompts", type=Path, metavar="FILE", help="of --ask: prompts (.jsonl)")
    label.add_argument("--samples", type=int, default=4, metavar="N", help="of --ask: answers of each model (4)")
    label.add_argument("--temperature", type=float, default=0.7, help="of --ask: sampling temperature (0.7)")
    label.add_argument("--judge", metavar="REWARD", help="have a step or folder of a reward rank all, and end")
    label.add_argument("--as", dest="name", metavar="NAME", help="of --judge: the labeler's name (the folder's)")
    label.add_argument("--export", type=Path, metavar="FILE", help="write the rankings to a file, and end")
    label.add_argument("--format", default="comparisons",
                       help="of --export: comparisons, parquet, ranked, pairs; or, instead, thumbs, prompts, "
                            "demonstrations, exchanges")
    label.set_defaults(command=_label)


def _run(options: argparse.Namespace) -> None:
    from preceptor.recipe.load import data_change, load_recipe
    sets = options.set if options.data is None else [data_change(options.recipe, options.data), *options.set]
    recipe = load_recipe(options.recipe, options.setting, sets)
    from preceptor.recipe.runner import run_recipe
    folder = options.out or Path("runs") / recipe.name
    source = str(Path(options.recipe).resolve()) if Path(options.recipe).is_file() else options.recipe
    run_recipe(recipe, folder, options.again_from,
               {"recipe": source, "settings": options.setting, "sets": sets, "folder": str(Path.cwd()),
                "rounds": recipe.rounds})
    from preceptor.cli.report import print_report
    from preceptor.run.processes import leads
    if leads():
        print_report(folder, as_json=False)


def _report(options: argparse.Namespace) -> None:
    from preceptor.cli.report import print_report
    print_report(options.run, options.json)


def _chat(options: argparse.Namespace) -> None:
    from preceptor.cli.chat import chat
    chat(options.run)


def _evaluate(options: argparse.Namespace) -> None:
    from preceptor.cli.evaluate import evaluate
    evaluate(options)


def _measure_repetition(options: argparse.Namespace) -> None:
    from preceptor.cli.measure import measure_repetition
    measure_repetition(options.target, options.prompts, options.texts, options.set, options.json, options.reference)


def _measure_length(options: argparse.Namespace) -> None:
    from preceptor.cli.length import measure_length
    measure_length(options)


def _tune_decoding(options: argparse.Namespace) -> None:
    from preceptor.cli.tune import tune_decoding
    tune_decoding(options.model, options.prompts, options.reference, options.reward, options.max_tokens, options.out)


def _tune_recipe(options: argparse.Namespace) -> None:
    from preceptor.cli.search import Search, parsed, search
    step, _, metric = options.measure.partition(".")
    search(Search(options.recipe, options.set, parsed(options.over), step, metric, options.maximise, options.out),
           options.trials)


def _tune_tokenizer(options: argparse.Namespace) -> None:
    from preceptor.cli.vocabulary import tune_tokenizer
    tune_tokenizer(options)


def _filter_repetition(options: argparse.Namespace) -> None:
    from preceptor.cli.filter import filter_repetition
    filter_repetition(options.file, options.out, options.threshold)


def _export(options: argparse.Namespace) -> None:
    from preceptor.cli.export import export_gguf, export_model
    if options.to.suffix == ".gguf":
        export_gguf(options.model, options.to, options.llama_cpp, options.numbers)
    else:
        export_model(options.model, options.to)


def _shrink(options: argparse.Namespace) -> None:
    from preceptor.cli.shrink import shrink
    shrink(options)


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
