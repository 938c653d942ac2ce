"""Named entities as spans: an entity counts only where its type and both of its ends are right (CoNLL 2003)."""

from collections import Counter
from collections.abc import Sequence

from preceptor.metrics.classification import Scores, macro, scores_of

Span = tuple[str, int, int]


def spans(tags: Sequence[str]) -> list[Span]:
    """(type, first token, last token) of each entity in a row of BIO tags.

    As conlleval and seqeval read them: an entity begins at B-, and also at an I- that follows O or another type, so
    that a model's inconsistent tags still make entities. S-, E- and L-, U- of BIOES and BILOU end what they end.
    """
    found: list[Span] = []
    start, kind, before = 0, "", "O"
    for place, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        if kind and (name != kind or mark in ("B", "S", "U") or before in ("E", "S", "L", "U")):
            found.append((kind, start, place - 1))
            kind = ""
        if not kind and name:
            start, kind = place, name
        before = mark
    return found


def entity_scores(gold: Sequence[Sequence[str]], guessed: Sequence[Sequence[str]]) -> dict[str, Scores]:
    """`micro` and `macro` (over types), and the scores of every type, of rows of BIO tags.

    Raises:
        ValueError: a sentence has other numbers of gold and guessed tags.
    """
    right, wanted, given = Counter(), Counter(), Counter()
    for one, other in zip(gold, guessed, strict=True):
        if len(one) != len(other):
            raise ValueError(f"{len(one)} gold tags and {len(other)} guessed ones for one sentence")
        true, claimed = set(spans(one)), set(spans(other))
        wanted.update(kind for kind, _, _ in true)
        given.update(kind for kind, _, _ in claimed)
        right.update(kind for kind, _, _ in true & claimed)
    types = {kind: scores_of(right[kind], given[kind], wanted[kind]) for kind in sorted(wanted | given)}
    return {"micro": scores_of(right.total(), given.total(), wanted.total()), "macro": macro(types.values()), **types}
