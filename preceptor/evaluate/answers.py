"""Answers of one model to the prompts of the evaluation, and what the judges say of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from preceptor.data.records import Prompt, Record, Response
from preceptor.data.reward import Reward
from preceptor.generate.decoder import Answer, Request, Sampling, in_order
from preceptor.generate.local import LocalDecoder
from preceptor.run.progress import Progress
from preceptor.village.oracle import Oracle


@dataclass(frozen=True, slots=True)
class JudgedAnswer(Record):
    """One line of `answers.jsonl`. `verdict` is the oracle's (its `overall`, axes and `outcome`), `reward` the reward
    model's score; each is absent where there is no such judge."""

    prompt: Prompt
    model: str
    response: Response
    verdict: dict[str, Any] | None = None
    reward: float | None = None

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Self:
        read = {"prompt": Prompt.from_dict(row["prompt"]), "response": Response.from_dict(row["response"])}
        return super(JudgedAnswer, cls).from_dict({**row, **read})


def ask(decoder: LocalDecoder, prompts: Sequence[Prompt], sampling: Sampling, seed: int,
        progress: Progress) -> list[Answer]:
    """One answer to each prompt, in the order of the prompts. Every model draws with the same seed for a prompt."""
    requests = [Request(prompt, sampling, seed + number) for number, prompt in enumerate(prompts)]
    return in_order(decoder, requests, progress)


def as_text(answer: Answer) -> Answer:
    """The answer of a model that writes plain text, as text alone: its tokens are not those of a chat."""
    return replace(answer, response=replace(answer.response, text=answer.response.text.strip(), token_ids=None,
                                            tokenizer=None))


def judge(model: str, prompts: Sequence[Prompt], responses: Sequence[Response], oracle: Oracle | None,
          reward: Reward | None) -> list[JudgedAnswer]:
    """The answers with the verdicts of the judges that there are. `prompts` are those the user wrote."""
    verdicts = [asdict(oracle.judge(prompt, response.text)) if oracle else None
                for prompt, response in zip(prompts, responses, strict=True)]
    rewards = reward.score(prompts, responses) if reward else [None] * len(prompts)
    return [JudgedAnswer(prompt, model, response, verdict, score) for prompt, response, verdict, score
            in zip(prompts, responses, verdicts, rewards, strict=True)]
