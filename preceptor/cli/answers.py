"""Answers to be ranked, from any model that can be asked: a step of a run, a model folder, or a server."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Prompt, Response
from preceptor.feedback.pictures import with_pictures
from preceptor.generate.decoder import Decoder, Request, Sampling, in_order
from preceptor.run.errors import UserError
from preceptor.run.manifest import step_folder
from preceptor.run.progress import Progress

LONGEST = 256  # tokens of an answer


def asked_of(models: Sequence[str], run: Path, prompts: Path, samples: int,
             temperature: float) -> list[tuple[Prompt, list[Response]]]:
    """Each prompt of a file with `samples` answers of every model, those that say the same once.

    A model is the name of a step of the run, a folder, or a server's URL with the model's name behind a `#`. The key of
    a server is read from OPENAI_API_KEY.

    Raises:
        UserError: a model cannot be found, or no prompt gets two different answers.
    """
    if samples < 1:
        raise UserError(f"{samples} answers of each model are too few.", "Set --samples to 1 or more.")
    asked = [with_pictures(prompt, prompts.parent) for prompt in read_jsonl(prompts, Prompt)]
    found: dict[str, dict[str, Response]] = {prompt.id: {} for prompt in asked}
    requests = [Request(prompt, Sampling(temperature=temperature, max_tokens=LONGEST), number * samples + again)
                for number, prompt in enumerate(asked) for again in range(samples)]
    for model in models:
        answers = in_order(_decoder(model, run), requests, Progress(model, len(requests), "answers"))
        for request, answer in zip(requests, answers):
            found[request.prompt.id].setdefault(answer.response.text, answer.response)
    several = [(prompt, list(found[prompt.id].values())) for prompt in asked if len(found[prompt.id]) > 1]
    if len(several) < len(asked):
        left_out = len(asked) - len(several)
        print(f"{left_out:,} prompts are left out: all of their answers say the same.", file=sys.stderr)
    if not several:
        raise UserError("No prompt got two different answers.", "Name more models, or raise --samples.")
    return several


def _decoder(model: str, run: Path) -> Decoder:
    if "://" in model:
        from preceptor.generate.server import ServerDecoder
        url, _, name = model.partition("#")
        if not name:
            raise UserError(f"'{model}' does not say which model of the server shall answer.",
                            "Write it as http://HOST:PORT/v1#MODEL.")
        return ServerDecoder(url, name, key=os.environ.get("OPENAI_API_KEY", ""))
    from preceptor.generate.local import LocalDecoder
    from preceptor.models.causal import load_causal, model_folder
    from preceptor.tokenizer.chat import load_tokenizer
    folder = model_folder(folder_of(model, run))
    return LocalDecoder(load_causal(folder), load_tokenizer(folder), name=model)


def folder_of(name: str, run: Path) -> Path:
    """The folder of a step of the run, or the path itself.

    Raises:
        UserError: it is neither.
    """
    if Path(name).is_dir():
        return Path(name)
    return step_folder(run, name)
