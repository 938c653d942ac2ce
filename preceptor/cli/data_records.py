"""`preceptor data show | convert | split | tokenize`: records from one form to another."""

import argparse
import random
from collections import Counter
from pathlib import Path

from preceptor.run.errors import UserError


def add_records(verbs: argparse._SubParsersAction) -> None:
    """The verbs that read records, not raw sources."""
    show = verbs.add_parser("show", help="which shapes the rows of a file have, and how they are understood")
    show.add_argument("file", type=Path, help=".jsonl, .parquet, .tfrecord, .h5, or a dataset's folder")
    show.set_defaults(command=_show)

    convert = verbs.add_parser("convert", help="rows from one format to another, and demonstrations to another shape")
    convert.add_argument("file", type=Path, help="file to read; its name says its format")
    convert.add_argument("out", type=Path, help="file to write; its name says its format")
    convert.add_argument("--to", metavar="SHAPE", help="of demonstrations: messages, sharegpt, instruction, ... "
                         "(docs/data.md)")
    convert.set_defaults(command=_convert)

    split = verbs.add_parser("split", help="hold out documents by source, free of near-duplicates of the others")
    split.add_argument("corpus", type=Path, help="documents (.jsonl, text), or a folder, also of 'data clean'")
    split.add_argument("--out", type=Path, required=True, help="folder for train.jsonl and valid.jsonl")
    split.add_argument("--held-out", type=float, default=0.05, help="share to hold out (0.05)")
    split.add_argument("--seed", type=int, default=0)
    split.set_defaults(command=_split)

    tokens = verbs.add_parser("tokenize", help="documents as token ids in memory-mapped shards, mixed by weights")
    tokens.add_argument("corpus", type=Path, help="documents (.jsonl, text), or a folder, also of 'data clean'")
    tokens.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.json")
    tokens.add_argument("--out", type=Path, required=True, help="folder to write")
    tokens.add_argument("--weight", action="append", default=[], metavar="SOURCE=W", help="share of a source; with "
                        "any, every source needs one")
    tokens.add_argument("--tokens", type=int, help="tokens of the mixture (default: those of the corpus)")
    tokens.add_argument("--most-epochs", type=float, default=4.0, help="passes over a source at most (4)")
    tokens.add_argument("--seed", type=int, default=0)
    tokens.set_defaults(command=_tokenize)


def _show(options: argparse.Namespace) -> None:
    from preceptor.data.foreign import conversations_of
    from preceptor.data.shapes import shape_of
    from preceptor.data.tables import read_table
    rows = read_table(options.file)
    shapes: Counter[str] = Counter()
    ignored: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    first = {}
    for number, row in enumerate(rows, start=1):
        shape = shape_of(row)
        name = shape.name if shape else "document" if isinstance(row.get("text"), str) else "unknown"
        shapes[name] += 1
        if shape:
            try:
                conversations, others = conversations_of(row, str(number), options.file.stem)
                first.setdefault(name, conversations[0])
                ignored.update(others)
            except UserError as error:
                refused[error.cause] += 1
    for name, count in shapes.most_common():
        print(f"{count:,} rows of shape '{name}'")
        if name in first:
            print("\n".join(f"    {message['role']:>9}: {' '.join(message['content'].split())[:100]}"
                            for message in first[name].messages))
    if not rows:
        print(f"'{options.file}' holds no rows")
    for name, count in ignored.most_common():
        print(f"{count:,} times the field '{name}' has no place in a conversation and is ignored")
    for cause, count in refused.most_common():
        print(f"{count:,} rows cannot be used: {cause}")


def _convert(options: argparse.Namespace) -> None:
    from preceptor.data.foreign import conversations_of
    from preceptor.data.shapes import rows_of
    from preceptor.data.tables import read_table, write_table
    rows = read_table(options.file)
    if options.to:
        conversations = []
        ignored: Counter[str] = Counter()
        for number, row in enumerate(rows, start=1):
            try:
                made, others = conversations_of(row, f"{options.file.stem}:{number}", options.file.stem)
            except UserError as error:
                raise UserError(f"Row {number} of '{options.file}': {error.cause}", error.cure) from None
            conversations += made
            ignored.update(others)
        rows = rows_of(conversations, options.to)
        for name, count in ignored.most_common():
            print(f"{count:,} times the field '{name}' was left out: a conversation has no place for it")
    print(f"{write_table(options.out, rows):,} rows written to {options.out}")


def _documents(path: Path) -> list:
    """Documents of files, or those that 'data clean' kept."""
    from preceptor.data.sources import read_documents
    noted: Counter[str] = Counter()
    documents = read_documents(path / "documents" if (path / "decisions").is_dir() else path, 8000, noted)
    for what, count in noted.items():
        print(f"{count:,} {what}")
    return documents


def _split(options: argparse.Namespace) -> None:
    from preceptor.data.jsonl import write_jsonl
    from preceptor.data.near_duplicates import near_duplicates
    from preceptor.data.splits import hold_out, linked
    if not 0 < options.held_out < 1:
        raise UserError(f"A share of {options.held_out} cannot be held out.", "Give --held-out between 0 and 1.")
    documents = _documents(options.corpus)
    groups = linked(len(documents), near_duplicates([document.text for document in documents]))
    held = hold_out(groups, [document.source for document in documents], options.held_out,
                    random.Random(options.seed))
    sides = {"valid": [document for document, group in zip(documents, groups) if group in held],
             "train": [document for document, group in zip(documents, groups) if group not in held]}
    for name, some in sides.items():
        write_jsonl(options.out / f"{name}.jsonl", some)
        mix = Counter(document.source for document in some)
        shown = ", ".join(f"{source} {count}" for source, count in mix.most_common(8))
        print(f"{name}: {len(some):,} documents; {shown}")


def _tokenize(options: argparse.Namespace) -> None:
    from preceptor.data.token_shards import write_token_shards
    from preceptor.tokenizer.chat import encode_document, load_tokenizer
    from preceptor.tokenizer.fingerprint import fingerprint
    tokenizer = load_tokenizer(options.tokenizer)
    documents = _documents(options.corpus)
    examples = {id(document): encode_document(tokenizer, document) for document in documents}
    if options.weight:
        documents = _mixed(options, documents, {key: len(example.tokens) for key, example in examples.items()})
    content = write_token_shards(options.out, documents, lambda document: examples[id(document)], len(tokenizer),
                                 fingerprint(tokenizer))
    print(f"{content['documents']:,} documents, {content['tokens']:,} tokens of {content['bits']} bits in "
          f"{len(content['shards'])} shards")


def _mixed(options: argparse.Namespace, documents: list, lengths: dict[int, int]) -> list:
    """Documents as often as the weights of their sources say."""
    from preceptor.data.mixture import epochs_of, mixed
    weights = {}
    for setting in options.weight:
        name, _, value = setting.rpartition("=")
        try:
            weights[name] = float(value)
        except ValueError:
            raise UserError(f"'{setting}' is no weight.", "Write for instance --weight books=0.3.") from None
    tokens: Counter[str] = Counter()
    for document in documents:
        tokens[document.source] += lengths[id(document)]
    epochs = epochs_of(tokens, weights, options.tokens or tokens.total(), options.most_epochs)
    for name, count in epochs.items():
        print(f"{name}: {tokens[name]:,} tokens, {count:.2f} epochs, {tokens[name] * count:,.0f} tokens of the mixture")
    return [documents[place] for place in mixed([document.source for document in documents], epochs, options.seed)]
