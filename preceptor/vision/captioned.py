"""Captions that a system writes, against those that are known, and beside itself blind.

    exact      share that is one of the known captions, word by word
    bleu_4, rouge_l, cider_d   of the field's own code, Java left out (metrics/captions.py)

Blind are the captions written of other pictures. CIDEr-D weighs words by how rare they are in the very captions of the
split, so that it compares systems on the same pictures and nothing else.
"""

from typing import Any

from preceptor.data.pictures.store import Pictures
from preceptor.metrics.captions import bleu, cider_d, rouge_l, words
from preceptor.metrics.intervals import mean_over_prompts
from preceptor.vision.examine import Figures, Shown, elsewhere
from preceptor.vision.system import System


def captioned(system: System, pictures: Pictures, shown: Shown, language: str, seed: int
              ) -> tuple[Figures, list[dict[str, Any]]]:
    """The measures, seen and blind, and of every picture what was written, what is known and its ROUGE-L."""
    known = [[shown.texts[text] for text in row.nonzero()[0]] for row in shown.positives_IT]
    written = system.caption(pictures.take(shown.numbers), language)
    others = [written[number] for number in elsewhere(len(written), seed)]
    figures = {way: _scored(said, known, shown.clusters) for way, said in (("seen", written), ("blind", others))}
    rows = [{"picture": pictures.names[number], "written": said, "captions": texts,
             "rouge_l": round(rouge_l(words(said), [words(text) for text in texts]), 4)}
            for number, said, texts in zip(shown.numbers, written, known)]
    return figures, rows


def _scored(written: list[str], known: list[list[str]], clusters: list[str]) -> Figures:
    said, references = [words(text) for text in written], [[words(text) for text in texts] for texts in known]
    single = {"exact": [float(text in several) for text, several in zip(said, references)],
              "rouge_l": [rouge_l(text, several) for text, several in zip(said, references)],
              "cider_d": cider_d(said, references)}
    return {"bleu_4": bleu(said, references)[3]} | {name: mean_over_prompts(values, clusters).to_dict()
                                                   for name, values in single.items()}
