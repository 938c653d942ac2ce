"""The stage `pictures`: a user's pictures with texts, decoded once, in records and splits that every system reads.

Several threads decode ahead of the one that writes; training later maps the pixels and decodes nothing.
"""

import hashlib
import os
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy

from preceptor.data.jsonl import write_jsonl
from preceptor.data.pictures.decode import BadPicture, decode, need_pillow
from preceptor.data.pictures.options import PicturesOptions
from preceptor.data.pictures.readers import Sample, read_samples
from preceptor.data.pictures.store import Named, write_pictures
from preceptor.data.records import Conversation, Document
from preceptor.run.errors import UserError
from preceptor.run.files import write_text
from preceptor.run.step import Step

Decoded = tuple[numpy.ndarray | str, Counter[str]]  # pixels or why there are none, and what was noted on the way


def run(step: Step) -> None:
    """Read `pictures`; write pixels.npy, pictures.jsonl, conversations.SPLIT.jsonl, corpus.jsonl and left_out.jsonl;
    order.SPLIT.jsonl of a picture book is handed on.

    Raises:
        UserError: an option is out of its range, or no picture could be used.
    """
    options: PicturesOptions = step.options
    if options.size < 1 or not 0 <= options.held_out < 1:
        raise UserError(f"'{step.name}' has a size below 1, or a held_out that is no share.", "Mend the value.")
    need_pillow()
    gathered = _Gathered(step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is in left_out.jsonl, or does no harm
        count = write_pictures(step.folder, options.size, gathered.used(read_samples(step.input("pictures"))))
    gathered.report(count)
    for order in sorted(step.input("pictures").glob("order.*.jsonl")):
        write_text(step.folder / order.name, order.read_text(encoding="utf-8"))
    if not count:
        raise UserError(f"Of the pictures of '{step.input('pictures')}' none can be used.",
                        f"Look at why in '{step.folder / 'left_out.jsonl'}'.")


class _Gathered:
    """What is learned while the samples go by: records by split, what was left out, what was noted."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.records: dict[str, list[Conversation]] = {}
        self.left_out: list[dict[str, str]] = []
        self.noted: Counter[str] = Counter()

    def used(self, samples: Iterable[Sample]) -> Iterator[Named]:
        """The pictures that can be used; everything else is taken down."""
        options, names = self.step.options, set()
        for sample, (pixels, noted) in _decoded(samples, options):
            self.noted.update(noted)
            self.left_out += [{"name": sample.name, "reason": reason} for reason in sample.wrong]
            if sample.name in names:
                pixels = "a second picture of that name"
            if isinstance(pixels, str):
                if sample.raw != b"" or not sample.wrong:
                    self.left_out.append({"name": sample.name, "reason": f"picture: {pixels}"})
                continue
            names.add(sample.name)
            split = sample.split or ("valid" if self._draws(pixels) < options.held_out else "train")
            self.noted["pictures without a text"] += not sample.records
            self.records.setdefault(split, []).extend(sample.records)
            yield sample.name, split, pixels

    def _draws(self, pixels: numpy.ndarray) -> float:
        """A number in [0, 1) that equal pictures share, so that they are in one split."""
        digest = hashlib.sha256(f"{self.step.seed}".encode() + pixels.tobytes()).digest()
        return int.from_bytes(digest[:6]) / 2 ** 48

    def report(self, count: int) -> None:
        """Write the records and what was left out, and say both."""
        folder = self.step.folder
        for split, records in sorted(self.records.items()):
            write_jsonl(folder / f"conversations.{split}.jsonl", records)
        texts = sorted({str(record.messages[-1]["content"]) for record in self.records.get("train", [])})
        write_jsonl(folder / "corpus.jsonl", [Document(text, f"text-{n}") for n, text in enumerate(texts)])
        write_jsonl(folder / "left_out.jsonl", self.left_out)
        self.step.plan(pictures=count, left_out=len(self.left_out),
                       **{f"records_{split}": len(records) for split, records in sorted(self.records.items())})
        self.noted.update(f"left out: {row['reason']}" for row in self.left_out)
        for what, number in sorted(self.noted.items()):
            if number:
                self.step.say(f"{number:,} {what}")


def _decoded(samples: Iterable[Sample], options: PicturesOptions) -> Iterator[tuple[Sample, Decoded]]:
    """Every sample with its pixels, in order; a few more than there are threads are in the making."""
    workers = os.cpu_count() or 1
    waiting: deque[tuple[Sample, Future[Decoded]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as threads:
        for sample in samples:
            waiting.append((sample, threads.submit(_pixels, sample, options)))
            if len(waiting) > 4 * workers:
                first, made = waiting.popleft()
                yield first, made.result()
        for sample, made in waiting:
            yield sample, made.result()


def _pixels(sample: Sample, options: PicturesOptions) -> Decoded:
    noted: Counter[str] = Counter()
    try:
        return decode(sample.raw, options.size, options.fit, options.most_pixels, noted), noted
    except BadPicture as error:
        return str(error), noted
