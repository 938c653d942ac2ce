"""Vocabularies learned from text, saved as ordinary Hugging Face tokenizers.

    bpe        merges the most frequent pair of entries, again and again            (Sennrich et al. 2016)
    wordpiece  entries learned in the same way (by the tokenizers library; the paper merges by likelihood), then a word
               is written by the longest entry that it begins with                  (Schuster & Nakajima 2012)
    unigram    prunes a large set of pieces by their loss of likelihood             (Kudo 2018)

Of bytes, every text can be written and nothing is ever out of vocabulary (bytes as in Radford et al. 2019). Of
characters, one that has no entry is written byte by byte, or as the unknown token. Chinese needs no spaces: a run of
Han characters is one stretch for the merges, or each character is, as the option `han` says.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import END, PAD, SPECIALS, TEMPLATE
from preceptor.tokenizer.options import TokenizerOptions

UNKNOWN = "<|unknown|>"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
HAN = {"apart": r"\p{Han}+", "single": r"\p{Han}"}


def train_bpe(texts: Iterable[str], vocabulary: int, sample_bytes: int) -> Any:
    """Learn byte-level BPE from the first `sample_bytes` of text; returns a `PreTrainedTokenizerFast`."""
    return train_tokenizer(texts, TokenizerOptions(vocabulary=vocabulary, sample_bytes=sample_bytes))


def train_tokenizer(texts: Iterable[str], options: TokenizerOptions) -> Any:
    """Learn a vocabulary as the options say; returns a `PreTrainedTokenizerFast` with the chat template.

    Raises:
        UserError: the options do not go together, or the vocabulary is too small for its alphabet.
    """
    from transformers import PreTrainedTokenizerFast
    _check(options)
    learned = _learn(_first_bytes(texts, options.sample_bytes), options)
    if options.alphabet == "fallback":
        learned = _with_bytes(learned)
    if learned.get_vocab_size() > options.vocabulary:
        raise UserError(f"The sample's characters alone make {learned.get_vocab_size():,} entries, more than the "
                        f"vocabulary of {options.vocabulary:,}.", "Raise vocabulary, or set alphabet to bytes.")
    unknown = {"unk_token": UNKNOWN} if options.alphabet == "characters" else {}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learned, eos_token=END, pad_token=PAD, **unknown,
                                        additional_special_tokens=list(SPECIALS[2:]))
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _check(options: TokenizerOptions) -> None:
    if options.algorithm == "wordpiece" and options.alphabet != "characters":
        raise UserError(f"WordPiece has no alphabet of the kind '{options.alphabet}'.",
                        "Set alphabet to characters, or algorithm to bpe or unigram.")
    least = len(SPECIALS) + (256 if options.alphabet != "characters" else 1)
    if options.vocabulary < least:
        raise UserError(f"A vocabulary of {options.vocabulary} is too small: special tokens and bytes are {least}.",
                        f"Choose {least} or more.")


def _learn(texts: Iterator[str], options: TokenizerOptions) -> Any:
    """The Rust tokenizer, trained; with `fallback` the 256 bytes are still to come."""
    from tokenizers import Tokenizer, models, trainers
    unknown = [UNKNOWN] if options.alphabet != "bytes" else []
    model = {"bpe": models.BPE, "wordpiece": models.WordPiece, "unigram": models.Unigram}[options.algorithm]
    trainer = {"bpe": trainers.BpeTrainer, "wordpiece": trainers.WordPieceTrainer,
               "unigram": trainers.UnigramTrainer}[options.algorithm]
    known: dict[str, Any] = {"unk_token": UNKNOWN} if unknown and options.algorithm != "unigram" else {}
    learned = Tokenizer(model(**known))
    learned.pre_tokenizer, learned.decoder, alphabet = _splitting(options)
    wanted = options.vocabulary - (256 if options.alphabet == "fallback" else 0)
    own: dict[str, Any] = {"unk_token": UNKNOWN} if unknown and options.algorithm == "unigram" else {}
    if unknown and options.algorithm != "unigram":  # WordPiece has each character twice, within a word and at its start
        own = {"limit_alphabet": (wanted - len(SPECIALS)) // (4 if options.algorithm == "wordpiece" else 2)}
    learned.train_from_iterator(texts, trainer(
        vocab_size=wanted, special_tokens=[*SPECIALS, *unknown], show_progress=False, initial_alphabet=alphabet, **own))
    return learned


def _splitting(options: TokenizerOptions) -> tuple[Any, Any, list[str]]:
    """How text is split before learning, how entries become text again, and the alphabet that is always there."""
    from tokenizers import Regex, decoders, pre_tokenizers
    han = [pre_tokenizers.Split(Regex(HAN[options.han]), "isolated")] if options.han in HAN else []
    if options.algorithm == "wordpiece":  # words and marks; the spaces between them are lost
        own, decoder, alphabet = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(cleanup=False), []
    elif options.alphabet == "bytes":
        own, decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        own = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
        decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        alphabet = []
    return pre_tokenizers.Sequence([*han, own]) if han else own, decoder, alphabet


def _with_bytes(learned: Any) -> Any:
    """The same tokenizer with an entry for every byte, used where a character has none."""
    from tokenizers import Tokenizer
    state = json.loads(learned.to_str())
    model = state["model"]
    model["byte_fallback"] = True
    if model["type"] == "Unigram":
        lowest = min(score for _, score in model["vocab"])
        model["vocab"] += [[name, lowest - 10] for name in BYTES]
    else:
        first = len(model["vocab"])
        model["vocab"] |= {name: first + byte for byte, name in enumerate(BYTES)}
    return Tokenizer.from_str(json.dumps(state))


def _first_bytes(texts: Iterable[str], limit: int) -> Iterator[str]:
    used = 0
    for text in texts:
        if used >= limit:
            return
        used += len(text.encode())
        yield text
