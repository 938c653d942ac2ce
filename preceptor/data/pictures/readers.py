"""A user's pictures with texts, as people keep them. Each reader yields samples, one a picture.

    a folder of ours        conversations.SPLIT.jsonl with image parts, such as the picture book's
    a JSONL file            conversations with image parts, or rows of a picture's path and its texts
    a Parquet file          the same rows; pictures as paths, bytes, or {bytes, path} as Hugging Face writes them
    WebDataset shards       NAME.tar with KEY.png (jpg, webp, ...) and KEY.txt or KEY.json
    a folder of pictures    NAME.png beside NAME.txt (a text a line), with metadata.jsonl, or else in folders whose name
                            is the text
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from preceptor.data.jsonl import read_rows
from preceptor.data.pictures.captions import caption_record
from preceptor.data.records import Conversation, image_urls
from preceptor.run.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
PATH_FIELDS = ("image", "image_path", "file_name", "filepath", "path", "img")
TEXT_FIELDS = ("caption", "captions", "text", "texts", "sentences", "title")


@dataclass
class Sample:
    """A picture as it lies there, what is said about it, and the split that its files name, if they do.

    `wrong` names what is wrong with the sample itself, for what it could not be.
    """

    name: str
    raw: bytes | Path
    records: list[Conversation] = field(default_factory=list)
    split: str | None = None
    wrong: list[str] = field(default_factory=list)


def read_samples(path: Path) -> Iterator[Sample]:
    """The samples of a file or folder, in an order that its names alone decide.

    Raises:
        UserError: there is nothing that a reader knows, or a line is malformed.
    """
    if path.is_file():
        yield from _of_file(path, "")
        return
    ours = sorted(path.glob("conversations.*.jsonl"))  # beside other files, such as the truth of a picture book
    shards = sorted(file for kind in ("*.tar", "*.parquet", "*.jsonl") for file in path.glob(kind))
    if ours:
        for file in ours:
            split = file.name.split(".")[1]
            yield from _rows_of(file, chain(read_rows(file), _said_of_places(path, split)), "", split)
    elif shards and shards != [path / "metadata.jsonl"]:
        for file in shards:
            yield from _of_file(file, f"{file.name}/")
    elif shards:
        yield from _rows_of(shards[0], read_rows(shards[0]), "", None)
    else:
        yield from _of_folder(path)


def _said_of_places(folder: Path, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """A picture book's sentences of what stands where, as captions to learn from; of test splits they are pairs that
    are measured (order.SPLIT.jsonl), and no captions."""
    file = folder / f"order.{split}.jsonl"
    if split == "train" and file.is_file():
        for number, row in read_rows(file):
            record = caption_record(f"{row['picture']}-place-{row['language']}", row["picture"], row["texts"][0])
            yield number, record.to_dict()


def _of_file(file: Path, prefix: str) -> Iterator[Sample]:
    if file.suffix == ".tar":
        yield from _of_tar(file, prefix)
    elif file.suffix == ".parquet":
        yield from _rows_of(file, _parquet_rows(file), prefix, None)
    elif file.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _rows_of(file, read_rows(file), prefix, None)
    else:
        raise UserError(f"'{file}' is of no kind that holds pictures with texts.",
                        "Give a folder of pictures, or a .jsonl, .parquet or .tar file.")


def _rows_of(file: Path, rows: Iterator[tuple[int, dict[str, Any]]], prefix: str, split: str | None
             ) -> Iterator[Sample]:
    """Rows of one file; those about one picture become one sample."""
    found: dict[str, Sample] = {}
    for number, row in rows:
        try:
            samples = _of_conversation(file, row) if "messages" in row else [_of_row(file, number, row)]
        except UserError as error:
            raise UserError(f"Row {number} of '{file}': {error.cause}", error.cure) from None
        for sample in samples:
            sample.name, sample.split = prefix + sample.name, row.get("split", split)
            known = found.setdefault(sample.name, sample)
            if known is not sample:
                known.records += sample.records
                known.wrong += sample.wrong
    yield from found.values()


def _of_conversation(file: Path, row: dict[str, Any]) -> list[Sample]:
    """The pictures of a conversation; its record stands with the first of them."""
    record = Conversation.from_dict({name: value for name, value in row.items() if name != "split"})
    urls = image_urls(record.messages)
    if not urls:
        return [Sample(record.id, b"", wrong=["a conversation without a picture"])]
    empty = not str(record.messages[-1]["content"]).strip()
    first = Sample(urls[0], file.parent / urls[0], [] if empty else [record], wrong=["empty text"] if empty else [])
    return [first, *(Sample(url, file.parent / url) for url in urls[1:])]


def _of_row(file: Path, number: int, row: dict[str, Any]) -> Sample:
    """A row of a picture's path or bytes and one text or several."""
    image = next((row[name] for name in PATH_FIELDS if row.get(name) is not None), None)
    texts = next((row[name] for name in TEXT_FIELDS if row.get(name) is not None), [])
    if isinstance(image, dict):
        image = image.get("bytes") or image.get("path")
    if not isinstance(image, (str, bytes)):
        raise UserError("it names no picture.", f"Give it one of the fields {', '.join(PATH_FIELDS)}.")
    name = image if isinstance(image, str) else f"{file.stem}:{number}"
    texts = [texts] if isinstance(texts, str) else texts
    concept = None if row.get("concept") is None else str(row["concept"])
    return _with_texts(Sample(name, file.parent / image if isinstance(image, str) else image), texts, concept)


def _with_texts(sample: Sample, texts: list[Any], concept: str | None = None) -> Sample:
    for place, text in enumerate(texts):
        if isinstance(text, str) and text.strip():
            sample.records.append(caption_record(f"{sample.name}#{place}", sample.name, text.strip(), concept=concept))
        else:
            sample.wrong.append("empty text")
    return sample


def _parquet_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError("Parquet files are read by pyarrow, which is not installed.",
                        "Install it: pip install 'preceptor[parquet]'.") from None
    try:
        number = 0
        for batch in ParquetFile(file).iter_batches(batch_size=256):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (ArrowInvalid, OSError) as error:
        raise UserError(f"'{file}' is not a whole Parquet file: {str(error).splitlines()[0]}",
                        "Fetch or write it again.") from None


def _of_tar(file: Path, prefix: str) -> Iterator[Sample]:
    """WebDataset: the members of one sample stand together and share the name up to the first dot."""
    members: dict[str, bytes] = {}
    current = ""
    try:
        with tarfile.open(file) as tar:
            for member in tar:
                folder, _, leaf = member.name.rpartition("/")
                key, dot, kind = leaf.partition(".")
                if not member.isfile() or not dot or not key:
                    continue
                key = f"{folder}/{key}" if folder else key
                if key != current and members:
                    yield _of_members(prefix + current, members)
                    members = {}
                current = key
                members[f".{kind.lower()}"] = tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        if members:
            yield _of_members(prefix + current, members)
        yield Sample(f"{prefix or file.name} behind {current or 'its front'}", b"", wrong=[f"shard cut off ({error})"])
        return
    if members:
        yield _of_members(prefix + current, members)


def _of_members(name: str, members: dict[str, bytes]) -> Sample:
    raw = next((data for kind, data in members.items() if kind.endswith(SUFFIXES)), None)
    if raw is None:
        return Sample(name, b"", wrong=["a sample without a picture"])
    texts: list[Any] = []
    concept = None
    if ".json" in members:
        try:
            row = json.loads(members[".json"])
            found = next((row[field] for field in TEXT_FIELDS if row.get(field) is not None), [])
            texts, concept = [found] if isinstance(found, str) else found, row.get("concept")
        except (ValueError, AttributeError):
            return Sample(name, raw, wrong=["text that is not valid JSON"])
    if ".txt" in members and not texts:
        texts = [members[".txt"].decode("utf-8", errors="replace")]
    return _with_texts(Sample(name, raw), texts, concept)


def _of_folder(path: Path) -> Iterator[Sample]:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"'{path}' holds no pictures.",
                        f"Put pictures ({', '.join(SUFFIXES)}), .jsonl, .parquet or .tar files there.")
    for file in files:
        name, beside = str(file.relative_to(path)), file.with_suffix(".txt")
        if beside.is_file():
            lines = beside.read_text(encoding="utf-8", errors="replace").splitlines()
            yield _with_texts(Sample(name, file), lines or [""])
        elif file.parent != path:
            label = file.parent.name.replace("_", " ")
            yield _with_texts(Sample(name, file), [label], concept=file.parent.name)
        else:
            yield Sample(name, file)
