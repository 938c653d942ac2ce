"""The tokenizer stage: learn a vocabulary from a corpus of documents."""

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Document
from preceptor.run.files import replacing
from preceptor.run.step import Step
from preceptor.tokenizer.study import coverage
from preceptor.tokenizer.train import train_tokenizer


def run(step: Step) -> None:
    """Read `corpus` (documents), write a tokenizer folder."""
    documents = read_jsonl(step.input("corpus"), Document)
    step.plan(documents=len(documents), vocabulary=step.options.vocabulary)
    texts = [document.text for document in documents]
    tokenizer = train_tokenizer(texts, step.options)
    with replacing(step.folder / "model") as temporary:
        tokenizer.save_pretrained(temporary)
    found = coverage(tokenizer, texts[:1000])
    step.log.write(0, vocabulary=len(tokenizer), bytes_per_token=found.bytes_per_token, covered=found.covered)
    step.say(f"{len(tokenizer):,} entries, {found.bytes_per_token:.2f} bytes per token, {found.covered:.1%} of the "
             "bytes in entries of whole characters")
