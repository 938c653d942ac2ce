"""Encoding repair: what decoding with the wrong table did (ftfy), control characters, line ends."""

import re
import unicodedata
from collections.abc import Callable

from preceptor.data.cleaning.options import RepairOptions
from preceptor.data.cleaning.verdict import Change, Drop, first_over

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]")
SUSPECT = re.compile("[\x80-\x9f\ud800-\udfff\ufffd]|&(?:#\\d+|#x[0-9a-fA-F]+|[A-Za-z]+\\d*);|\x1b\\[")
BROKEN = re.compile("[\ufffd\ue000-\uf8ff]")
SPACES = re.compile(r"[^\S\n]+(?=\n|$)")
BLANK_LINES = re.compile(r"\n{3,}")


def repaired(text: str, shown: Callable[[str], str] = str) -> tuple[str, list[Change]]:
    """The text as it was meant, composed (NFC), without invisible characters and runs of blank lines.

    `shown` makes of a text what its changes may show, such as one without personal data.
    """
    import ftfy
    changes = []
    mended = text
    if SUSPECT.search(text) or ftfy.badness.is_bad(text):  # the whole repair takes a hundred times as long as to look
        mended = ftfy.fix_text(text, unescape_html="auto", uncurl_quotes=False, fix_character_width=False,
                               fix_latin_ligatures=False, normalization=None, remove_control_chars=False)
    if mended != text:
        changes.append(Change("repair: encoding", 1, *_difference(shown(text), shown(mended))))
    text, count = CONTROL.subn("", mended)
    if count:
        changes.append(Change("repair: invisible characters", count))
    text = BLANK_LINES.sub("\n\n", SPACES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    return unicodedata.normalize("NFC", text).strip(), changes


def _difference(before: str, after: str, width: int = 60) -> tuple[str, str]:
    """Both texts around the first place where they differ."""
    place = next((n for n, (a, b) in enumerate(zip(before, after)) if a != b), min(len(before), len(after)))
    first = max(0, place - 20)
    return before[first:first + width], after[first:first + width]


def broken(text: str, options: RepairOptions) -> Drop | None:
    """Whether too much of a text could not be mended."""
    share = len(BROKEN.findall(text)) / max(1, len(text))
    return first_over([("repair: broken characters", share, options.most_broken)])
