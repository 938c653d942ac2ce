"""`preceptor tune tokenizer FILE`: vocabulary sizes side by side, and which one to take."""

from argparse import Namespace
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from preceptor.run.errors import UserError

SHARE = 10  # of the documents every tenth is held out


def tune_tokenizer(options: Namespace) -> None:
    """Learn a vocabulary of each size from nine tenths of the documents, measure it on the rest, print a table.

    Raises:
        UserError: there is nothing to learn from, or the options do not go together.
    """
    from preceptor.run.files import write_json
    from preceptor.tokenizer.options import TokenizerOptions
    from preceptor.tokenizer.study import Trial, recommended, study
    texts = _texts(options.file)
    held_out = texts[::SHARE]
    learned_from = [text for number, text in enumerate(texts) if number % SHARE]
    if not learned_from:
        raise UserError(f"'{options.file}' has too few documents to hold one out.", "Give at least two.")
    try:
        sizes = [int(size) for size in options.sizes.split(",")]
    except ValueError:
        raise UserError(f"'{options.sizes}' is no list of sizes.", "Give whole numbers, such as 1024,4096.") from None
    chosen = TokenizerOptions(algorithm=options.algorithm, alphabet=options.alphabet, han=options.han)
    trials: list[Trial] = []
    print(f"{'entries':>8}  {'bytes/token':>11}  {'covered':>8}  {'other text':>10}  {'embeddings':>10}  {'rare':>6}  "
          "parameters per byte")
    for trial in study(learned_from, held_out, _texts(options.other) if options.other else [], chosen, sizes,
                       width=options.width, layers=options.layers):
        trials.append(trial)
        other = f"{trial.other.covered:.1%}" if trial.other else "-"
        print(f"{trial.vocabulary:8,}  {trial.held_out.bytes_per_token:11.2f}  {trial.held_out.covered:8.1%}  "
              f"{other:>10}  {trial.embedding_share:10.1%}  {trial.rare:6.1%}  {trial.cost:,.0f}", flush=True)
    best = recommended(trials)
    write_json(options.out, {"recommended": best.vocabulary, "trials": [asdict(trial) for trial in trials]})
    print(f"\nRecommended: {best.vocabulary:,} entries, the smallest whose cost of a byte is within 2 % of the least "
          f"for {options.layers} layers of width {options.width}.\nWritten: {options.out}")


def _texts(path: Path) -> list[str]:
    from preceptor.data.sources import read_documents
    if not path.exists():
        raise UserError(f"There is no file or folder '{path}'.", "Check the path.")
    return [document.text for document in read_documents(path, 8000, Counter())]
