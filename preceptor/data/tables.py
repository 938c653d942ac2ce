"""Rows in five formats, round-trip equal: JSON Lines, Parquet, TFRecord, HDF5, and folders of Hugging Face datasets.

Rows are JSON objects. A column whose values are all text, or all whole numbers of 64 bits, is stored as such, so that
other programs read it; every other column is stored as JSON text under the name `NAME.json`. A field that a row lacks
is absent again when it is read; nothing is padded, cast or dropped. (Nested columns of Arrow are not used: they give
every object the fields of all others.)
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from preceptor.data.jsonl import read_rows, write_jsonl
from preceptor.run.errors import UserError
from preceptor.run.files import replacing

Row = dict[str, Any]
Columns = dict[str, list[Any]]  # None where a row lacks the field
JSON = ".json"


def write_table(path: Path, rows: Sequence[Row]) -> int:
    """Write rows in the format that the name says, atomically; returns how many.

    Raises:
        UserError: the name ends in no known format, or a field's name cannot be kept.
    """
    _, writer = FORMATS[format_of_table(path)]
    with _naming_what_is_missing():
        writer(path, rows)
    return len(rows)


def read_table(path: Path) -> list[Row]:
    """Read rows in the format that the name says.

    Raises:
        UserError: the file is missing or damaged, or its name ends in no known format.
    """
    if not path.exists():
        raise UserError(f"There is no file '{path}'.", "Check the path.")
    reader, _ = FORMATS[format_of_table(path)]
    with _naming_what_is_missing():
        return reader(path)


@contextmanager
def _naming_what_is_missing() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"This format needs the package '{error.name}'.", "pip install 'preceptor[tables]'") from None


def format_of_table(path: Path) -> str:
    """`jsonl`, `parquet`, `tfrecord`, `hdf5` or `dataset`; a name without an ending is a dataset's folder."""
    suffix = path.name.removesuffix(".gz").rpartition(".")[2] if "." in path.name else ""
    known = {"jsonl": "jsonl", "parquet": "parquet", "tfrecord": "tfrecord", "tfrecords": "tfrecord", "h5": "hdf5",
             "hdf5": "hdf5", "": "dataset"}
    if suffix not in known or (suffix != "jsonl" and path.name.endswith(".gz")):
        raise UserError(f"'{path.name}' ends in no format that can be converted.",
                        "Use .jsonl, .jsonl.gz (to read), .parquet, .tfrecord, .h5, or a folder for a dataset.")
    return known[suffix]


def _columns(rows: Sequence[Row]) -> Columns:
    """Rows as columns of text or whole numbers."""
    columns: Columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        if name.endswith(JSON) or not name:
            raise UserError(f"A field cannot be called '{name}' in a table.", "Rename it.")
        values = [row[name] for row in rows if name in row]
        plain = all(map(_is_text, values)) or all(map(_is_whole, values))
        stored = name if plain else name + JSON
        columns[stored] = [None if name not in row else row[name] if plain else _encoded(row[name]) for row in rows]
    return columns


def _is_text(value: Any) -> bool:
    return type(value) is str and "\0" not in value  # HDF5 ends text at the first NUL; in JSON it is \u0000


def _is_whole(value: Any) -> bool:
    return type(value) is int and -2**63 <= value < 2**63


def _encoded(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\0", "\\u0000")


def _rows(columns: Columns, count: int) -> list[Row]:
    """Columns as rows again, fields in the order of the columns."""
    rows: list[Row] = [{} for _ in range(count)]
    for stored, values in columns.items():
        name = stored.removesuffix(JSON)
        for row, value in zip(rows, values):
            if value is not None:
                row[name] = json.loads(value) if stored.endswith(JSON) else value
    return rows


# ---- formats ---------------------------------------------------------------------------------------------------------

def _read_jsonl(path: Path) -> list[Row]:
    return [row for _, row in read_rows(path)]


def _arrow(rows: Sequence[Row]) -> Any:
    import pyarrow
    columns = _columns(rows)
    return pyarrow.table(columns if columns else {"": [None] * len(rows)})


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow
    import pyarrow.parquet
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    return _rows({name: table[name].to_pylist() for name in table.column_names if name}, table.num_rows)


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow.parquet
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(_arrow(rows), temporary)


def _read_dataset(path: Path) -> list[Row]:
    from datasets import load_from_disk
    try:
        table = load_from_disk(str(path))
    except (FileNotFoundError, ValueError, OSError) as error:
        raise _damaged(path, error) from None
    return _rows({name: list(table[name]) for name in table.column_names if name}, len(table))


def _write_dataset(path: Path, rows: Sequence[Row]) -> None:
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar
    if not rows:
        raise UserError("A dataset without rows is written by the library but not read again.",
                        "Give at least one row, or use another format.")
    disable_progress_bar()
    with replacing(path) as temporary:
        Dataset(_arrow(rows)).save_to_disk(str(temporary))


def _read_hdf5(path: Path) -> list[Row]:
    import h5py
    try:
        with h5py.File(path, "r") as file:
            columns = {}
            for name in file.attrs["columns"]:
                group = file["columns"][name.replace("/", "\\")]
                values = group["values"]
                there = iter(values.asstr()[:] if values.dtype.kind == "O" else values[:].tolist())
                columns[name] = [next(there) if known else None for known in group["known"][:]]
            return _rows(columns, int(file.attrs["rows"]))
    except (OSError, KeyError, StopIteration) as error:
        raise _damaged(path, error) from None


def _write_hdf5(path: Path, rows: Sequence[Row]) -> None:
    import h5py
    columns = _columns(rows)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["rows"] = len(rows)
        file.attrs.create("columns", list(columns), dtype=h5py.string_dtype())
        for name, values in columns.items():
            group = file.create_group("columns/" + name.replace("/", "\\"))  # a slash would nest groups
            there = [value for value in values if value is not None]
            kind = h5py.string_dtype() if isinstance(there[0], str) else "i8"
            group.create_dataset("values", data=there, dtype=kind)
            group.create_dataset("known", data=[value is not None for value in values], dtype=bool)


def _read_tfrecord(path: Path) -> list[Row]:
    from google.protobuf.message import DecodeError
    from tfrecord import example_pb2
    rows = []
    try:
        for payload in _frames(path):
            example = example_pb2.Example.FromString(payload)
            row = {}
            for name, feature in example.features.feature.items():
                kind = feature.WhichOneof("kind")
                value = feature.int64_list.value[0] if kind == "int64_list" else feature.bytes_list.value[0].decode()
                row[name.removesuffix(JSON)] = json.loads(value) if name.endswith(JSON) else value
            rows.append(row)
    except (DecodeError, ValueError, IndexError) as error:
        raise _damaged(path, error) from None
    return rows


def _frames(path: Path) -> Iterator[bytes]:
    """The payloads of a TFRecord file, each checked against its checksum.

    A frame is the payload's length (8 bytes), a masked CRC-32C of those, the payload, a masked CRC-32C of it.
    """
    with path.open("rb") as file:
        while head := file.read(12):
            if len(head) < 12 or _masked_crc(head[:8]) != head[8:]:
                raise ValueError("a length does not fit its checksum")
            payload = file.read(int.from_bytes(head[:8], "little"))
            if _masked_crc(payload) != file.read(4):
                raise ValueError("a record does not fit its checksum")
            yield payload


def _masked_crc(content: bytes) -> bytes:
    from crc32c import crc32c
    crc = crc32c(content)
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def _write_tfrecord(path: Path, rows: Sequence[Row]) -> None:
    from tfrecord import example_pb2
    columns = _columns(rows)
    with replacing(path) as temporary, temporary.open("wb") as file:
        for place in range(len(rows)):
            example = example_pb2.Example()
            for name, values in columns.items():
                if isinstance(values[place], int):
                    example.features.feature[name].int64_list.value.append(values[place])
                elif values[place] is not None:
                    example.features.feature[name].bytes_list.value.append(values[place].encode())
            payload = example.SerializeToString(deterministic=True)
            length = len(payload).to_bytes(8, "little")
            file.write(length + _masked_crc(length) + payload + _masked_crc(payload))


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"'{path}' cannot be read: {' '.join(str(error).split())[:200] or type(error).__name__}.",
                     "Write it again, or give another file.")


FORMATS: dict[str, tuple[Callable[[Path], list[Row]], Callable[[Path, Sequence[Row]], Any]]] = {
    "jsonl": (_read_jsonl, write_jsonl), "parquet": (_read_parquet, _write_parquet),
    "tfrecord": (_read_tfrecord, _write_tfrecord), "hdf5": (_read_hdf5, _write_hdf5),
    "dataset": (_read_dataset, _write_dataset)}
