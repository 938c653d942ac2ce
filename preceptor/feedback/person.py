"""A person at the labelling page as a reward: answers are put into the store, and the program waits for the rankings.

The store is the queue: `preceptor label RUN` shows what waits in it. The same answers are the same item, so a run that
was killed finds what was ranked meanwhile and asks for nothing twice. Of an item the first `overlap` rankings by people
count, in the order in which they came; those of excluded labelers do not, and are asked for anew.
"""

import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.assign import keep_open
from preceptor.feedback.records import add_items, comparisons
from preceptor.feedback.store import Store, open_store
from preceptor.run.errors import UserError
from preceptor.run.progress import Progress

NEUTRAL = {"overall": 4.0, "ranking": 0.5}  # where all answers to a prompt are the same text


class WaitingPerson:
    """Scores answers by what people say of them in the store at `place`.

    overall    the mean of the marks from 1 to 7
    ranking    the share of the other answers to its prompt that an answer is ranked above, a tie counting one half
    """

    truncated = 0

    def __init__(self, place: str | Path, *, overlap: int, score_by: str, every: float, say: Callable[[str], None],
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self.place, self.overlap, self.score_by, self.every = place, overlap, score_by, every
        self.say, self.sleep = say, sleep

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """One score for each pair, as soon as people have ranked all of them.

        Raises:
            UserError: a prompt has a single answer, or somebody ranked without the marks that are wanted.
        """
        groups: dict[str, tuple[Prompt, list[Response]]] = {}
        for prompt, response in zip(prompts, responses, strict=True):
            groups.setdefault(prompt.id, (prompt, []))[1].append(response)
        alone = [id for id, (_, said) in groups.items() if len(said) < 2]
        if alone:
            raise UserError(f"A person has one answer only to the prompt '{alone[0]}', and nothing to rank it against.",
                            "Use an algorithm with several answers to each prompt: grpo, rloo or best_of_n.")
        asked = {id: (prompt, list({answer.text: answer for answer in said}.values()))
                 for id, (prompt, said) in groups.items()}
        worth = {(id, said[0].text): NEUTRAL[self.score_by] for id, (_, said) in asked.items() if len(said) == 1}
        open_to_rank = [(prompt, said) for prompt, said in asked.values() if len(said) > 1]
        for rankings in self._rankings(open_to_rank) if open_to_rank else ():
            worth |= _worth(rankings, self.score_by)
        return [worth[prompt.id, response.text] for prompt, response in zip(prompts, responses, strict=True)]

    def _rankings(self, asked: Sequence[tuple[Prompt, list[Response]]]) -> list[list[Comparison]]:
        """The rankings that count of each prompt's answers; waits until there are enough."""
        store = open_store(self.place)
        try:
            items = add_items(store, asked, overlap=self.overlap, who="rlhf")
            found: dict[str, list[Comparison]] = {}
            self._look(store, items, found)
            if len(found) < len(items):
                self.say(f"{len(items) - len(found)} prompts wait for a person to rank their answers; show them with "
                         f"preceptor label, where the store is '{Path(self.place).name}'")
                progress = Progress("people", len(items), "prompts")
            while len(found) < len(items):
                self.sleep(self.every)
                before = len(found)
                self._look(store, items, found)
                if len(found) > before:
                    progress.update(len(found))
        finally:
            store.close()
        return [found[item] for item in items]

    def _look(self, store: Store, items: Sequence[str], found: dict[str, list[Comparison]]) -> None:
        """Take in what has been ranked; an item never waits without a place for somebody to rank it."""
        lacking: dict[str, int] = {}
        for item in items:
            if item not in found:
                rankings = list(islice(comparisons(store, item=item, kinds=["person"]), self.overlap))
                if len(rankings) == self.overlap:
                    found[item] = rankings
                else:
                    lacking[item] = self.overlap - len(rankings)
        keep_open(store, lacking)


def _worth(rankings: Sequence[Comparison], score_by: str) -> dict[tuple[str, str], float]:
    """The mean score of each answer of a prompt, by the prompt's id and the answer's text."""
    scores: dict[tuple[str, str], list[float]] = {}
    for one in rankings:
        ranks = one.ranks()
        for answer, rank in zip(one.responses, ranks, strict=True):
            if score_by == "overall":
                if not answer.scores or "overall" not in answer.scores:
                    raise UserError(f"The ranking of prompt '{one.prompt.id}' by '{one.labeler}' has no overall marks.",
                                    "Set score_by=ranking, or have it ranked on the page.")
                value = answer.scores["overall"]
            else:
                value = (sum((rank < other) + 0.5 * (rank == other) for other in ranks) - 0.5) / (len(ranks) - 1)
            scores.setdefault((one.prompt.id, answer.text), []).append(value)
    return {key: fmean(values) for key, values in scores.items()}
