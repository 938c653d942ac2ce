"""A language model as a judge (RLAIF: Bai et al. 2022, arXiv 2212.08073; Lee et al. 2023, arXiv 2309.00267).

It reads a constitution, which is any text, and the answers, and says

    scored     how good an answer is, a whole number from 1 to 7; one question an answer
    pairwise   which of two answers is better, or a tie; two questions a pair, with the answers in both orders, as
               judges favour a place (Zheng et al. 2023, arXiv 2306.05685). An answer's score is the share of the other
               answers to its prompt that it beats, from 0 to 1; a tie, and a judge who changes its mind, count one half

A reply that holds no verdict is asked for again, and counts as a tie or as a 4 where that does not help.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

from preceptor.data.records import Prompt, Response
from preceptor.generate.decoder import Decoder, Request, Sampling
from preceptor.run.errors import UserError, nearest

FORMS = ("pairwise", "scored")
CONSTITUTION = Path(__file__).with_name("constitution.txt")
MIDDLE = 4.0  # of the scale from 1 to 7

ASK = {
    "scored": "How well does the answer follow the principles? Reply with one line: \"Rating: \" and a whole number "
              "from 1 (not at all) to 7 (entirely).",
    "pairwise": "Which answer follows the principles better? Reply with one line: \"Better: A\", \"Better: B\", or "
                "\"Better: tie\"."}
VERDICT = {"scored": (r"(?i:rating)\W*[:=]\W*([1-7])(?!\d|\.\d)", r"\W*([1-7])\W*"),
           "pairwise": (r"(?i:better)\W*[:=]\W*(A|B|(?i:tie))\b", r"\W*(A|B|(?i:tie))\W*")}


class Judge:
    """Scores answers by asking a decoder. `say` is told what was cut, and what could not be read.

    Raises:
        UserError: there is no such form of judging, or the constitution is empty.
    """

    def __init__(self, decoder: Decoder, constitution: str, form: str, *, max_tokens: int, tries: int,
                 say: Callable[[str], None]) -> None:
        if form not in FORMS:
            raise UserError(f"A judge cannot judge in the form '{form}'.", nearest(form, FORMS))
        if not constitution.strip():
            raise UserError("The constitution is empty.", "Write down what makes an answer good.")
        self.decoder, self.constitution, self.form = decoder, constitution.strip(), form
        self.max_tokens, self.tries, self.say = max_tokens, tries, say
        self.counts: Counter[str] = Counter()

    @property
    def truncated(self) -> int:
        """Questions that lost their beginning to fit the judge's context."""
        return getattr(self.decoder, "truncated", 0)

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """One score for each pair; pairwise, the answers to one prompt are compared with each other.

        Raises:
            UserError: no verdict could be read, or a prompt has a single answer where answers are compared.
        """
        return (self._rate if self.form == "scored" else self._compare)(prompts, responses)

    def report(self) -> dict[str, float]:
        """How many verdicts were asked for and not read; pairwise, how often the judge named the answer shown first
        (of verdicts that are no ties), and in how many pairs it said the same in both orders.
        """
        found: dict[str, float] = {"asked": self.counts["asked"], "unread": self.counts["unread"]}
        if named := self.counts["A"] + self.counts["B"]:
            found["named_first"] = self.counts["A"] / named
        if self.counts["pairs"]:
            found["consistent"] = self.counts["consistent"] / self.counts["pairs"]
        return found

    def _rate(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        asked = [self._question(prompt, [response.text]) for prompt, response in zip(prompts, responses, strict=True)]
        return [MIDDLE if verdict is None else float(verdict) for verdict in self._verdicts(asked)]

    def _compare(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """Each prompt's different answers, every one against every other; equal texts have one score."""
        groups: dict[str, tuple[Prompt, Counter[str]]] = {}
        for prompt, response in zip(prompts, responses, strict=True):
            groups.setdefault(prompt.id, (prompt, Counter()))[1][response.text] += 1
        alone = [id for id, (_, texts) in groups.items() if texts.total() < 2]
        if alone:
            raise UserError(f"A pairwise judge has one answer only to the prompt '{alone[0]}', and nothing to compare "
                            "it with.", "Use the form 'scored', or an algorithm with several answers to each prompt.")
        pairs = [(prompt, one, other) for prompt, texts in groups.values() for one, other in combinations(texts, 2)]
        verdicts = self._verdicts([self._question(prompt, order) for prompt, one, other in pairs
                                   for order in ((one, other), (other, one))])
        points: Counter[tuple[str, str]] = Counter()
        for (prompt, one, other), first, second in zip(pairs, verdicts[::2], verdicts[1::2], strict=True):
            won = (_share(first, "A") + _share(second, "B")) / 2
            points[prompt.id, one] += won
            points[prompt.id, other] += 1 - won
            self.counts.update(verdict for verdict in (first, second) if verdict in ("A", "B"))
            self.counts.update(pairs=1, consistent=won in (0, 1) or first == second == "tie")
        return [points[prompt.id, response.text] / (len(texts) - 1) if len(texts) > 1 else 0.5
                for prompt, response in zip(prompts, responses, strict=True) for texts in [groups[prompt.id][1]]]

    def _question(self, prompt: Prompt, answers: Sequence[str]) -> Prompt:
        """The question as a message. The marks between its parts occur in none of them, so no answer can end itself."""
        asked = prompt.text()
        mark = "====="
        while any(mark in text for text in (asked, *answers)):
            mark += "="
        names = ["Answer"] if len(answers) == 1 else ["Answer A", "Answer B"]
        parts = [("Principles", self.constitution), ("Conversation", asked), *zip(names, answers, strict=True)]
        shown = "\n".join(f"{mark} {name}\n{text}" for name, text in parts)
        return Prompt(prompt.id, [{"role": "user", "content": f"{shown}\n{mark}\n{ASK[self.form]}"}])

    def _verdicts(self, questions: Sequence[Prompt]) -> list[str | None]:
        """The verdict on each question, None where none could be read; first the likeliest reply, then drawn ones."""
        found: list[str | None] = [None] * len(questions)
        replies, cut = [""] * len(questions), self.truncated
        for trial in range(self.tries):
            left = [number for number, verdict in enumerate(found) if verdict is None]
            sampling = Sampling(temperature=float(trial > 0), max_tokens=self.max_tokens)
            requests = [Request(questions[number], sampling, trial) for number in left]
            for place, answer in self.decoder.generate(requests):
                replies[left[place]] = answer.response.text
                found[left[place]] = read_verdict(answer.response.text, self.form)
        unread = [reply for reply, verdict in zip(replies, found) if verdict is None]
        self.counts.update(asked=len(found), unread=len(unread))
        if self.truncated > cut:
            self.say(f"{self.truncated - cut} questions lost their beginning, the principles, to fit the judge's "
                     "context")
        if unread:
            self._say_unread(unread, len(found))
        return found

    def _say_unread(self, replies: Sequence[str], asked: int) -> None:
        example = f"for example '{' '.join(replies[0].split())[:60]}'"
        if len(replies) == asked:
            raise UserError(f"None of the judge's {asked} verdicts could be read, {example}.",
                            "Take a larger model as judge, or one that follows instructions in this language.")
        instead = "a tie" if self.form == "pairwise" else f"a {MIDDLE:g}"
        self.say(f"{len(replies)} of {asked} verdicts could not be read, {example}; they count as {instead}")


def read_verdict(reply: str, form: str) -> str | None:
    """The verdict in a judge's reply: the last that is named as asked, or the whole reply where it is a verdict."""
    named, bare = VERDICT[form]
    found = re.findall(named, reply)
    whole = re.fullmatch(bare, reply)
    verdict = found[-1] if found else whole.group(1) if whole else None
    return verdict.lower() if verdict and verdict.lower() == "tie" else verdict


def _share(verdict: str | None, name: str) -> float:
    return 0.5 if verdict in (None, "tie") else float(verdict == name)
