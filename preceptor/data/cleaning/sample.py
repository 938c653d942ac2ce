"""A sample of sources for trying rules: documents from the front of every file, so that no large file must be read."""

from collections.abc import Sequence
from pathlib import Path

from preceptor.data.reading.corpus import Cursor, read_corpus
from preceptor.data.reading.files import expand
from preceptor.data.reading.options import ReadingOptions
from preceptor.data.records import Document
from preceptor.run.errors import UserError


def sample(sources: Sequence[str | Path], options: ReadingOptions, count: int) -> list[Document]:
    """About `count` documents, the same share from each file; what a short file lacks, later files give.

    Raises:
        UserError: the sources hold no document, or do not exist.
    """
    files = expand(sources)
    documents: list[Document] = []
    for number, file in enumerate(files):
        wanted = -(-(count - len(documents)) // (len(files) - number))
        mine: list[Document] = []
        for found in read_corpus([file], options, Cursor()):
            mine += found.documents
            if len(mine) >= wanted:
                break
        documents += mine[:wanted]
    if not documents:
        raise UserError("The sources hold no document.", "Run 'preceptor data clean' to see why none was read.")
    return documents
