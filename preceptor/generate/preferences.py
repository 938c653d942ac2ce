"""Loops as comparisons: the answer that loops is the worse one, the answer under guard the better.

What is reported to cure loops in production where penalties do not (arXiv 2512.04419): preference optimisation with
repetitive answers as the rejected ones. The comparisons are records like any others: a reward model or any preference
optimiser takes them.
"""

from collections.abc import Sequence

from preceptor.data.records import Comparison
from preceptor.generate.decoder import Request
from preceptor.generate.guard import GuardedDecoder
from preceptor.metrics.loops import final_loop
from preceptor.metrics.repetition import text_tokens


def against_loops(guarded: GuardedDecoder, requests: Sequence[Request]) -> list[Comparison]:
    """A comparison for each request whose plain answer loops and whose guarded answer does not; others give none."""
    chosen = guarded.answers(requests)
    looped = [number for number, answer in enumerate(chosen) if "guard" in answer.response.sampling]
    rejected = guarded.decoder.answers([requests[number] for number in looped])
    found = []
    for number, bad in zip(looped, rejected):
        good = chosen[number].response
        if good.text.strip() and not final_loop(text_tokens(good.text)):
            prompt = requests[number].prompt
            found.append(Comparison(f"loop-{prompt.id}-{requests[number].seed}", prompt, [good, bad.response],
                                    ranking=[[0], [1]], labeler="guard", kind="program"))
    return found
