"""Both tiers of text extraction against trafilatura itself, on pages whose true text people marked.

    PRECEPTOR_DATA=... python benchmarks/extraction.py --json

Of pages with a hand-made article: precision, recall and F of 4-word shingles, averaged over pages, as the benchmark
that the articles come from (scrapinghub/article-extraction-benchmark) scores them. Of the others: the F of marked
strings, those that must be kept and those that must not. Speed is pages a second of processor time, the median of
repeated passes that alternate. The last line is one object; `f_to_trafilatura` is ours over trafilatura's, so that
1 is equal and more is better.
"""

import argparse
import gzip
import json
import os
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHINGLE = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="one pass")
    options = parser.parse_args()
    if "PRECEPTOR_DATA" not in os.environ:
        sys.exit("Set PRECEPTOR_DATA to the folder with web/pages.jsonl.gz.")
    figures = measured(Path(os.environ["PRECEPTOR_DATA"]) / "web/pages.jsonl.gz", 1 if options.quick else 5)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def measured(pack: Path, passes: int) -> dict[str, Any]:
    """Scores and speed of each extractor."""
    import trafilatura

    from preceptor.data.reading.extraction import fast_text, page_text

    pages = [json.loads(line) for line in gzip.open(pack, "rt", encoding="utf-8")]
    ways: dict[str, Callable[[str], str]] = {
        "trafilatura": lambda html: trafilatura.extract(html, include_comments=False) or "",
        "careful": lambda html: page_text(html.encode(), None, careful=True),
        "fast": fast_text,
    }
    figures: dict[str, Any] = {"pages": len(pages)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(passes):
        for name, way in ways.items():
            began = time.process_time()
            texts = [way(page["html"]) for page in pages]
            seconds[name].append(time.process_time() - began)
            if number == 0:
                figures[name] = scores(pages, texts)
    for name in ways:
        figures[name]["pages_per_second"] = round(len(pages) / statistics.median(seconds[name]), 1)
        figures[name]["f_to_trafilatura"] = round(figures[name]["article_f"] / figures["trafilatura"]["article_f"], 4)
    return figures


def scores(pages: list[dict[str, Any]], texts: list[str]) -> dict[str, float]:
    """How near texts come to the truth of their pages."""
    precision, recall = [], []
    kept = lost = stray = 0
    for page, text in zip(pages, texts):
        if page["article"]:
            found, true = shingles(text), shingles(page["article"])
            shared = (found & true).total()
            precision.append(shared / found.total())
            recall.append(shared / true.total())
        kept += sum(part in text for part in page["must_contain"] or [])
        lost += sum(part not in text for part in page["must_contain"] or [])
        stray += sum(part in text for part in page["must_not_contain"] or [])
    p, r = statistics.mean(precision), statistics.mean(recall)
    return {"article_precision": round(p, 4), "article_recall": round(r, 4), "article_f": round(2 * p * r / (p + r), 4),
            "string_f": round(2 * kept / (2 * kept + lost + stray), 4)}


def shingles(text: str) -> Counter[tuple[str, ...]]:
    """Runs of words, as a bag; of a shorter text its words as one run."""
    words = re.findall(r"\w+", text)
    return Counter(tuple(words[first:first + SHINGLE]) for first in range(max(1, len(words) - SHINGLE + 1)))


if __name__ == "__main__":
    main()
