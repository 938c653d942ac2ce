"""Byte-level BPE (Sennrich et al. 2016; bytes as in Radford et al. 2019), saved as an ordinary Hugging Face tokenizer.

Chinese needs no spaces here: the split before merging keeps runs of letters together, Han characters included, and
every text can be written in 256 bytes, so nothing is ever out of vocabulary.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from preceptor.tokenizer.chat import END, PAD, SPECIALS, TEMPLATE


def train_bpe(texts: Iterable[str], vocabulary: int, sample_bytes: int) -> Any:
    """Learn a vocabulary from the first `sample_bytes` of text; returns a `PreTrainedTokenizerFast`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=list(SPECIALS), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(_first_bytes(texts, sample_bytes), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, pad_token=PAD,
                                        additional_special_tokens=list(SPECIALS[2:]))
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _first_bytes(texts: Iterable[str], limit: int) -> Iterator[str]:
    used = 0
    for text in texts:
        if used >= limit:
            return
        used += len(text.encode())
        yield text
