"""Rules of C4 (Raffel et al. 2020, JMLR 21(140), section 2.2) and FineWeb (Penedo et al. 2024, arXiv 2406.17557)."""

import re
from collections import Counter
from collections.abc import Sequence

from preceptor.data.cleaning.options import C4Options, FineWebOptions
from preceptor.data.cleaning.verdict import Change, Drop, first_over, first_under
from preceptor.data.cleaning.words import TERMINAL, split_sentences

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
C4_TERMINAL = (".", "?", "!", '"', "'", "”", "。", "？", "！", "」", "』")


def c4(text: str, language: str, options: C4Options) -> tuple[str, list[Change], Drop | None]:
    """The lines of a text that C4 keeps, what went, and whether the page goes."""
    kept, gone = [], Counter[str]()
    examples: dict[str, str] = {}
    for line in text.splitlines():
        line = line.strip()
        words = list(line) if language == "zh" else line.split()  # C4 counts words between spaces
        line = line if any(len(word) > options.longest_word for word in words) else CITATION.sub("", line)
        lowered = line.lower()
        if reason := _no_sentence(line, lowered, words, options):
            gone[reason] += 1
            examples.setdefault(reason, line[:120])
        elif "lorem ipsum" in lowered:
            return text, [], Drop("c4: lorem ipsum", 1, 0)
        elif "javascript" in lowered:
            gone["c4: javascript line"] += 1
        elif options.braces and "{" in line:
            return text, [], Drop("c4: curly bracket", 1, 0)
        elif any(policy in lowered for policy in POLICIES):
            gone["c4: policy line"] += 1
        else:
            kept.append(line)
    changes = [Change(rule, count, examples.get(rule, "")) for rule, count in gone.items()]
    sentences = sum(len(split_sentences(line)) for line in kept)
    drop = first_under([("c4: too few sentences", sentences, options.least_sentences)])
    return "\n".join(kept).strip(), changes, drop


def _no_sentence(line: str, lowered: str, words: Sequence[str], options: C4Options) -> str | None:
    if any(len(word) > options.longest_word for word in words):
        return "c4: line with an endless word"
    if options.terminal and (not line.endswith(C4_TERMINAL) or line.endswith("...")):
        return "c4: line without an end"
    if len(words) < options.least_line_words:
        return "c4: line of few words"
    return None


def fineweb(text: str, words: Sequence[str], language: str, options: FineWebOptions) -> Drop | None:
    """Whether a text's lines are those of a list or a menu."""
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return Drop("fineweb: empty", 0, 0)
    chinese = language == "zh"
    short = options.short // 5 if chinese else options.short
    seen: set[str] = set()
    repeated = sum(len(line) for line in lines if line in seen or seen.add(line))
    return (first_under([("fineweb: lines without an end", sum(line.endswith(TERMINAL) for line in lines) / len(lines),
                          options.least_terminal)])
            or first_over([("fineweb: short lines", sum(len(line) <= short for line in lines) / len(lines),
                            options.most_short),
                           ("fineweb: repeated lines", repeated / len(text.replace("\n", "")), options.most_repeated),
                           ("fineweb: line breaks", 0.0 if chinese else text.count("\n") / max(1, len(words)),
                            options.most_breaks)]))
