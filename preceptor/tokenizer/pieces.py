"""What each entry of a vocabulary stands for in a text, in bytes."""

import json
import re
from typing import Any

BYTE = re.compile(r"^<0x([0-9A-F]{2})>$")
SENTENCE_ENDS = tuple(mark.encode() for mark in (".", "!", "?", "\n", "。", "！", "？", "…"))


def token_pieces(tokenizer: Any) -> list[bytes]:
    """The bytes of every entry; special tokens stand for none.

    Exact where the vocabulary loses nothing (byte-level, byte fallback, SentencePiece's "▁" for a space). A WordPiece
    does not say whether a space stood before it, so its spaces are not counted.
    """
    special = special_tokens(tokenizer)
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    from_characters = _byte_alphabet() if '"ByteLevel"' in json.dumps(backend["decoder"]) else None
    return [b"" if number in special or name is None else _piece(name, from_characters)
            for number, name in enumerate(names)]


def special_tokens(tokenizer: Any) -> frozenset[int]:
    """The entries that stand for no text, sentinels among them: `all_special_ids` names only those with a role."""
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(added | set(tokenizer.all_special_ids))


def _piece(name: str, from_characters: dict[str, int] | None) -> bytes:
    if from_characters is not None:
        return bytes(from_characters[character] for character in name) if set(name) <= set(from_characters) \
            else name.encode()  # an added token is written as it is
    if found := BYTE.match(name):
        return bytes([int(found[1], 16)])
    return name.removeprefix("##").replace("▁", " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """The character by which byte-level vocabularies write each byte (Radford et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + number): byte for number, byte in enumerate(others)}


def word_starts(tokenizer: Any) -> list[bool]:
    """Whether an entry begins a word: behind a space, a mark, or a character of a script without spaces.

    WordPiece and SentencePiece say so in the entry. Of bytes: letters and digits and what continues a character go on
    with a word; so do accented letters (two bytes); characters of three bytes, Han among them, are words of their own.
    """
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    pieces = token_pieces(tokenizer)
    if any(name and name.startswith("##") for name in names):
        return [not name.startswith("##") for name in names]
    return [bool(piece) and (piece[0] >= 0xE0 or piece[0] < 0x80 and not chr(piece[0]).isalnum()) for piece in pieces]


def sentence_ends(tokenizer: Any) -> frozenset[int]:
    """Entries behind which a sentence is over."""
    return frozenset(number for number, piece in enumerate(token_pieces(tokenizer))
                     if piece.rstrip(b" ").endswith(SENTENCE_ENDS) or piece.endswith(b"\n"))
