"""MinHash deduplication as a stream: time, memory, and recall and precision on planted near-duplicates.

    python benchmarks/near_duplicates.py --json

100,000 documents (--quick: 10,000) of random words, half in English letters and half in Chinese, about 1,500 bytes
each. One in ten is a copy of an earlier one in which a share of the characters was changed; one in twenty shares a
third of its text with an earlier one and is no duplicate (Jaccard similarity about 0.2). The last line is one object:
processor seconds of the deduplication alone, peak memory of the process, and for each language the recall of the
copies, the precision of what was found, and how often the neighbour named is the right one.
"""

import argparse
import json
import random
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 2500)]
WORDS = [a + b + c for a in ("ba", "ke", "mo", "tri", "su", "lo", "fen") for b in ("la", "ne", "ro", "ti", "ga")
         for c in ("", "s", "n", "r", "ly")]
POOL = 4000  # originals that copies are made of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="10,000 documents")
    options = parser.parse_args()
    figures = measured(10_000 if options.quick else 100_000)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def measured(count: int) -> dict[str, Any]:
    """Deduplicate `count` documents and score what was found."""
    from preceptor.data.near_duplicates import NearDuplicateIndex, sketch
    index = NearDuplicateIndex(0.7)
    seconds = 0.0
    tally = {language: {"planted": 0, "found": 0, "right": 0, "neighbour": 0} for language in ("en", "zh")}
    for number, (text, language, original) in enumerate(documents(count, seed=0)):
        began = time.process_time()
        hashes = sketch(text)
        near = index.find(hashes)
        if near is None:
            index.add(str(number), hashes)
        seconds += time.process_time() - began
        mine = tally[language]
        mine["planted"] += original is not None
        mine["found"] += near is not None
        mine["right"] += near is not None and original is not None
        mine["neighbour"] += near is not None and near[0] == original
        if (number + 1) % 10_000 == 0:
            print(f"{number + 1} documents, {seconds:.1f} s", file=sys.stderr, flush=True)
    scores = {language: {"planted": mine["planted"], "recall": mine["right"] / mine["planted"],
                         "precision": mine["right"] / max(1, mine["found"]),
                         "right_neighbour": mine["neighbour"] / max(1, mine["right"])}
              for language, mine in tally.items()}
    return {"documents": count, "processor_seconds": round(seconds, 1),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), **scores}


def documents(count: int, seed: int) -> Iterator[tuple[str, str, str | None]]:
    """(text, language, number of the document that it copies)."""
    draw = random.Random(seed)
    originals: dict[str, list[tuple[str, str]]] = {"en": [], "zh": []}
    for number in range(count):
        language = "en" if number % 2 else "zh"
        kind = draw.random() if originals[language] else 1.0
        if kind < 0.1:
            name, text = draw.choice(originals[language])
            yield changed(text, language, draw), language, name
            continue
        text = fresh(language, draw)
        if kind < 0.15:
            other = draw.choice(originals[language])[1]
            text = other[:len(other) // 3] + text[len(text) // 3:]
        else:
            keep = originals[language]
            (keep.append if len(keep) < POOL else lambda one: None)((str(number), text))
        yield text, language, None


def fresh(language: str, draw: random.Random) -> str:
    """A text of random words or characters."""
    if language == "zh":
        return "".join(draw.choices(HAN, k=draw.randint(300, 700)))
    return " ".join(draw.choices(WORDS, k=draw.randint(150, 350)))


def changed(text: str, language: str, draw: random.Random) -> str:
    """A copy with up to one character in a hundred changed: of its 8-grams at least about six in seven stay."""
    letters = list(text)
    for place in draw.sample(range(len(letters)), max(1, int(len(letters) * draw.choice([0.001, 0.005, 0.01])))):
        letters[place] = draw.choice(HAN if language == "zh" else "xyz")
    return "".join(letters)


if __name__ == "__main__":
    main()
