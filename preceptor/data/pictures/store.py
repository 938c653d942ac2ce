"""Decoded pictures on disk: one uint8 array that training maps into memory, so that no step waits for a decoder.

    pixels.npy        uint8 (N, size, size, 3), RGB
    pictures.jsonl    N rows {name, split} in the same order; an image part of a record names its picture so
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy
import torch
from torch import Tensor

from preceptor.data.jsonl import read_rows, write_jsonl
from preceptor.run.errors import UserError
from preceptor.run.files import replacing

Named = tuple[str, str, numpy.ndarray]  # name, split, uint8 (size, size, 3)


class Pictures:
    """The pictures of a folder, by number; `number` gives it for a name."""

    def __init__(self, folder: Path) -> None:
        """Raises:
            UserError: the folder holds no decoded pictures.
        """
        if not (folder / "pictures.jsonl").is_file():
            raise UserError(f"'{folder}' holds no decoded pictures.",
                            "Name the folder of a step of the stage 'pictures' or 'emoji'.")
        rows = [row for _, row in read_rows(folder / "pictures.jsonl")]
        self.pixels = numpy.load(folder / "pixels.npy", mmap_mode="r")
        self.names: list[str] = [row["name"] for row in rows]
        self.splits: list[str] = [row["split"] for row in rows]
        self.number = {name: number for number, name in enumerate(self.names)}

    @property
    def size(self) -> int:
        """Width and height in pixels."""
        return self.pixels.shape[1]

    def __len__(self) -> int:
        return len(self.names)

    def of_split(self, split: str) -> list[int]:
        """The numbers of the pictures of a split."""
        return [number for number, name in enumerate(self.splits) if name == split]

    def take(self, numbers: Sequence[int]) -> Tensor:
        """Some pictures as systems see them: float32 (pictures, 3, height, width) in [-1, 1]."""
        return as_floats(torch.from_numpy(self.pixels[list(numbers)]))


def as_floats(pixels_NHWC: Tensor) -> Tensor:
    """Bytes (N, H, W, 3) as float32 (N, 3, H, W) in [-1, 1]: 0 is -1 and 255 is 1."""
    return pixels_NHWC.permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


def as_bytes(pixels_NCHW: Tensor) -> Tensor:
    """The inverse of `as_floats`; what lies outside of [-1, 1] is cut off."""
    return pixels_NCHW.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def write_pictures(folder: Path, size: int, pictures: Iterable[Named]) -> int:
    """Write pictures as they come, never all in memory; returns how many. Who finds the rows finds all pixels."""
    rows = []
    with replacing(folder / "pixels.npy") as temporary, temporary.open("wb") as file:
        _write_header(file, size, 0)
        for name, split, pixels in pictures:
            file.write(numpy.ascontiguousarray(pixels, dtype=numpy.uint8).tobytes())
            rows.append({"name": name, "split": split})
        file.seek(0)
        _write_header(file, size, len(rows))  # as long as the first: numpy leaves room for the count
    write_jsonl(folder / "pictures.jsonl", rows)
    return len(rows)


def _write_header(file: object, size: int, count: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    numpy.lib.format.write_array_header_1_0(file, header)
