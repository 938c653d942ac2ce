"""Answers of one or several models to the prompts of a step, written once and kept in its folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Prompt, Response
from preceptor.generate.decoder import Request, in_order
from preceptor.generate.local import LocalDecoder
from preceptor.models.causal import load_causal, model_folder
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, the folder of the model that it goes to, and that model's name."""

    request: Request
    model: Path
    name: str


def written(step: Step, split: str, asked: Sequence[Asked], rows: int) -> list[Response]:
    """The answers, from the file of an earlier attempt when there is one: nothing is sampled twice."""
    path = step.folder / f"answers.{split}.jsonl"
    if not path.exists():
        progress = step.progress(len(asked), f"{split} answers")
        found: dict[int, Response] = {}
        truncated = 0
        for model in dict.fromkeys(one.model for one in asked):
            numbers = [number for number, one in enumerate(asked) if one.model == model]
            folder = model_folder(model)
            decoder = LocalDecoder(load_causal(folder), load_tokenizer(folder), rows=rows, name=asked[numbers[0]].name)
            answers = in_order(decoder, [asked[number].request for number in numbers], progress, len(found))
            found |= {number: answer.response for number, answer in zip(numbers, answers)}
            truncated += decoder.truncated
        if truncated:
            step.say(f"{truncated} of {len(asked)} requests lost the beginning of their prompt to fit the context")
        write_jsonl(path, (found[number] for number in range(len(asked))))
    return read_jsonl(path, Response)


def by_prompt(asked: Sequence[Asked], answers: Sequence[Response]) -> list[tuple[Prompt, list[Response]]]:
    """Each prompt with its different answers. Of one model identical texts are kept once, as they could only be tied;
    of two models both are, as their tie tells how these compare."""
    found: dict[str, tuple[Prompt, dict[tuple[str, str], Response]]] = {}
    for one, answer in zip(asked, answers, strict=True):
        prompt = one.request.prompt
        found.setdefault(prompt.id, (prompt, {}))[1].setdefault((one.name, answer.text), answer)
    return [(prompt, list(texts.values())) for prompt, texts in found.values()]
