"""Naturalness: is this text made of the village's phrases, is it ended, does it repeat itself?

The grammar is exact and needs no sampling: the pairs of neighbouring shapes that occur in some template. Whatever the
generators can say has only such pairs; random words, broken sentences and wrong articles have others.
"""

from collections.abc import Iterator, Sequence

from preceptor.village.language import templates
from preceptor.village.realizer import Realizer, Token

START, END = "<s>", "</s>"
SUBJECTS = ("{person}", "{town}", "{a_animal}", "{a_job}")
BAD_PAIR_WEIGHT = 2.5       # at 40 % foreign pairs a text is no language any more
UNENDED = 0.6               # factor for a text that stops inside a sentence
REPEATED_SPAN = 4           # tokens


class Grammar:
    """The phrases of one language."""

    def __init__(self, realizer: Realizer) -> None:
        self._realizer, self._ends = realizer, set(realizer.language.ends)
        self._pairs: set[tuple[str, str]] = set()
        final = realizer.language.ends[0]
        for template in self._expanded():
            shapes = [part[0] if isinstance(part, tuple) else part.shape for part in realizer.pattern(template)]
            self._pairs.update(self._neighbours(shapes))
            # What may stand without a final mark (a bare value, a signature) may also have one.
            self._pairs.update((last, final) for last in shapes[-1:])

    def _expanded(self) -> Iterator[str]:
        """Every template, with the slots that stand for other text written out."""
        realizer = self._realizer
        lists = [realizer.join([f"{{a_{ideas.members}}}"] * 3) for ideas in realizer.language.ideas.values()]
        for template in templates(realizer.language):
            for slot, texts in (("{list}", lists), ("{subject}", SUBJECTS)):
                if slot in template:
                    yield from (template.replace(slot, text) for text in texts)
                    break
            else:
                yield template

    def _neighbours(self, shapes: Sequence[str]) -> list[tuple[str, str]]:
        """Pairs of neighbours, sentence by sentence; a text without a final mark ends in the pair (last, END)."""
        pairs, last = [], START
        for shape in shapes:
            pairs.append((last, shape))
            last = START if shape in self._ends else shape
        if last != START:
            pairs.append((last, END))
        return pairs

    def naturalness(self, tokens: Sequence[Token]) -> float:
        """From 0 (no language) to 1 (only known phrases, ended, nothing repeated)."""
        if not tokens:
            return 0.0
        pairs = self._neighbours([token.shape for token in tokens])
        foreign = sum(pair not in self._pairs for pair in pairs) / len(pairs)
        ended = pairs[-1][1] != END or pairs[-1] in self._pairs
        fluency = max(0.0, 1 - BAD_PAIR_WEIGHT * foreign) * (1.0 if ended else UNENDED)
        return fluency * (1 - _repetition([token.text for token in tokens])) ** 2


def _repetition(texts: Sequence[str]) -> float:
    """Share of spans of four tokens that occurred before."""
    spans = [tuple(texts[place:place + REPEATED_SPAN]) for place in range(len(texts) - REPEATED_SPAN + 1)]
    return 1 - len(set(spans)) / len(spans) if spans else 0.0
