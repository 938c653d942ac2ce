"""The tokenizer stage: learn a byte-level BPE vocabulary from a corpus of documents."""

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Document
from preceptor.run.files import replacing
from preceptor.run.step import Step
from preceptor.tokenizer.bpe import train_bpe
from preceptor.tokenizer.chat import encode_text


def run(step: Step) -> None:
    """Read `corpus` (documents), write a tokenizer folder."""
    documents = read_jsonl(step.input("corpus"), Document)
    step.plan(documents=len(documents), vocabulary=step.options.vocabulary)
    texts = [document.text for document in documents]
    tokenizer = train_bpe(texts, step.options.vocabulary, step.options.sample_bytes)
    with replacing(step.folder / "model") as temporary:
        tokenizer.save_pretrained(temporary)
    sample = texts[:1000]
    tokens = sum(len(encode_text(tokenizer, text)) for text in sample)
    bytes_per_token = sum(len(text.encode()) for text in sample) / max(tokens, 1)
    step.log.write(0, vocabulary=len(tokenizer), bytes_per_token=bytes_per_token)
    step.say(f"{len(tokenizer):,} entries, {bytes_per_token:.2f} bytes per token")
