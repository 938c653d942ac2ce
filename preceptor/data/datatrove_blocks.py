"""Our reading and our rules as blocks of datatrove, for its executors: local processes, Slurm, Ray.

    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.writers import JsonlWriter
    LocalPipelineExecutor([SourceBlock(["dumps/*.warc.gz"]), RulesBlock(), JsonlWriter("clean/")],
                          tasks=64, workers=8, logging_dir="logs/").run()

Each task reads every 64th file. A task knows nothing of the others, so duplicates are left to a second pass over what
the tasks wrote: `preceptor data clean clean/ --out corpus`, or datatrove's own MinHash blocks. (This file needs the
extra `datatrove`; nothing else imports it.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datatrove.data import Document as Piece
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.utils.word_tokenizers import WordTokenizer

from preceptor.data.cleaning.cleaner import Cleaner
from preceptor.data.cleaning.options import CleaningOptions, DuplicateOptions
from preceptor.data.cleaning.words import counted_words, sentence_pieces, split_sentences
from preceptor.data.reading.corpus import read_corpus
from preceptor.data.reading.files import expand
from preceptor.data.reading.options import ReadingOptions
from preceptor.data.records import Document


class SourceBlock(PipelineStep):
    """Reads raw sources of any format; problems are counted in the task's statistics."""

    name = "preceptor sources"
    type = "READER"

    def __init__(self, sources: Sequence[str | Path], options: ReadingOptions | None = None) -> None:
        super().__init__()
        self.sources, self.options = sources, options or ReadingOptions()

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> Iterable[Piece]:
        """The documents of the files of this task."""
        files = expand(self.sources)[rank::world_size]
        for found in read_corpus(files, self.options):
            if found.problem:
                self.stat_update(f"not read: {found.problem.what}")
            for document in found.documents:
                known = {"source": document.source, "language": document.language, "license": document.license}
                said = {name: value for name, value in known.items() if value}
                yield Piece(document.text, document.id, metadata=said)


class RulesBlock(BaseFilter):
    """Applies every rule but those on duplicates, and keeps the decision in the metadata of what it drops and keeps."""

    name = "preceptor rules"

    def __init__(self, options: CleaningOptions | None = None, exclusion_writer: Any = None) -> None:
        super().__init__(exclusion_writer)
        self.options = replace(options or CleaningOptions(), duplicates=DuplicateOptions(on=False))
        self._cleaner: Cleaner | None = None

    def filter(self, doc: Piece) -> bool | tuple[bool, str]:
        """Whether a document stays, changed as the rules change it; else the rule that it fails."""
        if self._cleaner is None:  # made in the worker: a block is sent there pickled
            self._cleaner = Cleaner(self.options)
        document = Document(doc.text, str(doc.id), doc.metadata.get("source", "unknown"))
        kept, decision = self._cleaner.clean(document)
        doc.metadata["decision"] = decision.to_dict()
        if kept is None:
            return False, decision.drop.rule
        doc.text = kept.text
        if kept.language:
            doc.metadata["language"] = kept.language
        return True


class OurWords(WordTokenizer):
    """Our words and sentences for datatrove's own filters, in the place of a language: `GopherQualityFilter(
    language=OurWords("en"))`. Its own splitters need spaCy."""

    def word_tokenize(self, text: str) -> list[str]:
        return counted_words(text, self.language)

    def sent_tokenize(self, text: str) -> list[str]:
        return split_sentences(text)

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        ends = []
        for piece in sentence_pieces(text):
            start = ends[-1][1] if ends else 0
            ends.append((start, start + len(piece)))
        return ends
