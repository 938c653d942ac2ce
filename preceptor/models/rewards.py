"""Rewards from their folders: a trained model, an ensemble of rewards, or a program; `feedback/rewards.py` opens all.

A folder with reward.json says what it is, and how it is put together; one without is a trained model.

    {"kind": "ensemble", "combine": "mean | worst | uncertainty", "weight": 0.5, "members": ["../05-reward/model", ...]}
    {"kind": "program", "function": "module:name", "code": "the folder or file that holds the module, or null"}
    {"kind": "known", "answers": "answers.json, the right answer by the prompt's id"}

Paths are relative to the folder, so that a run can be moved as a whole.
"""

import importlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from preceptor.data.records import Prompt, Response
from preceptor.data.reward import Reward
from preceptor.models.causal import model_folder
from preceptor.models.encoder import EncoderReward, is_encoder_reward
from preceptor.models.reward_model import RewardModel
from preceptor.run.errors import UserError, nearest
from preceptor.run.files import hash_path, read_json

DESCRIPTION = "reward.json"
COMBINE = ("mean", "worst", "uncertainty")


class Ensemble:
    """Several rewards as one, so that an answer which fools one of them does not win (Coste et al. 2023, 2310.02743).

        mean         the mean of the members
        worst        the least of them: a bound from below
        uncertainty  mean - weight * variance (the population's, over members): where they disagree is not to be trusted
    """

    def __init__(self, members: Sequence[Reward], combine: str, weight: float = 0.5) -> None:
        if combine not in COMBINE:
            raise UserError(f"An ensemble cannot be combined by '{combine}'.", nearest(combine, COMBINE))
        if not members:
            raise UserError("An ensemble needs members.", "Name at least one reward model.")
        self.members, self.combine, self.weight = members, combine, weight

    @property
    def truncated(self) -> int:
        """Answers scored without the beginning of their prompt; every member counts the same ones."""
        return max(getattr(member, "truncated", 0) for member in self.members)

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """One score for each pair, on the members' own scale."""
        return [combined(scores, self.combine, self.weight)
                for scores in zip(*(member.score(prompts, responses) for member in self.members), strict=True)]


def combined(scores: Sequence[float], combine: str, weight: float) -> float:
    """The members' scores of one answer as one."""
    if combine == "worst":
        return min(scores)
    mean = math.fsum(scores) / len(scores)
    if combine == "mean":
        return mean
    return mean - weight * math.fsum((score - mean) ** 2 for score in scores) / len(scores)


class Program:
    """A function as a reward: `function(prompt, response) -> number`, for answers that can be checked."""

    truncated = 0

    def __init__(self, function: Callable[[Prompt, Response], float]) -> None:
        self.function = function

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """One score for each pair.

        Raises:
            UserError: the function gave something that is not a number.
        """
        scores = [self.function(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
        for prompt, score in zip(prompts, scores, strict=True):
            if not isinstance(score, (int, float)):
                raise UserError(f"The reward program gave {score!r} for an answer to the prompt '{prompt.id}'.",
                                "Let it return a number.")
        return [float(score) for score in scores]


class KnownAnswers:
    """1 for the answer that is known to be right, word by word, and 0 for any other; white space around it aside."""

    truncated = 0

    def __init__(self, answers: Mapping[str, str]) -> None:
        """`answers` gives the right one for the id of a prompt."""
        self.answers = answers

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """One score for each pair.

        Raises:
            UserError: no answer to a prompt is known.
        """
        for prompt in prompts:
            if prompt.id not in self.answers:
                raise UserError(f"No answer to the prompt '{prompt.id}' is known.",
                                "Give the reward demonstrations of all prompts, under the same ids.")
        return [float(response.text.strip() == self.answers[prompt.id].strip())
                for prompt, response in zip(prompts, responses, strict=True)]


AnyReward = RewardModel | EncoderReward | Ensemble | Program | KnownAnswers


Opener = Callable[[dict[str, Any], Path], Reward]
"""Makes a reward of what its reward.json says and the folder that this is in."""


def load_reward(path: Path, rows: int = 32, others: Mapping[str, Opener] = MappingProxyType({})) -> AnyReward | Reward:
    """The reward of a step's folder or of a model folder; `rows` answers are scored at once.

    `others` are kinds that floors above know how to open, alone and as members of an ensemble.

    Raises:
        UserError: it is no reward, or its program cannot be found.
    """
    if not (path / DESCRIPTION).exists():
        folder = model_folder(path)
        return EncoderReward(folder, rows) if is_encoder_reward(folder) else RewardModel(folder, rows)
    described = read_json(path / DESCRIPTION)
    if described["kind"] == "ensemble":
        members = [load_reward(path / member, rows, others) for member in described["members"]]
        return Ensemble(members, described["combine"], described["weight"])
    if described["kind"] == "program":
        code = described["code"]
        return Program(find_function(described["function"], None if code is None else path / code))
    if described["kind"] == "known":
        return KnownAnswers(read_json(path / described["answers"]))
    if described["kind"] in others:
        return others[described["kind"]](described, path)
    raise UserError(f"'{path / DESCRIPTION}' describes a reward of unknown kind '{described['kind']}'.",
                    nearest(str(described["kind"]), ("ensemble", "program", "known", *others)))


def trained_folder(path: Path) -> Path | None:
    """The model folder that a value network can begin as: the reward's own, or an ensemble's first that has one.

    None for what has no value of each token: a program, an encoder.
    """
    if not (path / DESCRIPTION).exists():
        return None if is_encoder_reward(model_folder(path)) else model_folder(path)
    members = read_json(path / DESCRIPTION).get("members", [])
    return next((found for member in members if (found := trained_folder(path / member))), None)


def find_function(reference: str, code: Path | None = None) -> Callable[[Prompt, Response], float]:
    """The function `module:name`; `code` is the folder (or the file) that holds the module, if it is not installed.

    Raises:
        UserError: there is no such module or function.
    """
    module, _, name = reference.partition(":")
    try:
        found = getattr(importlib.import_module(module) if code is None else _run_module(module, code), name)
    except (ImportError, AttributeError, ValueError, OSError, SyntaxError) as error:
        raise UserError(f"The reward program '{reference}' cannot be found: {error}.",
                        "Write it as module:name, and give the folder of the module as the input 'code'.") from None
    if not callable(found):
        raise UserError(f"The reward program '{reference}' is not a function.",
                        "Name a function of a prompt and a response that returns a number.")
    return found


def _run_module(name: str, code: Path) -> ModuleType:
    """Run a module's source as it now is.

    Not `import`: two programs may have one name, and an edited one must not be the one that was imported before. Nor is
    bytecode written, which would change the content of the folder, and so the identity of the step.
    """
    file = code if code.is_file() else code.joinpath(*name.split(".")).with_suffix(".py")
    module = ModuleType(f"{name}_{hash_path(file)[:12]}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # where dataclasses look for their own names
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(file.parent.resolve()))
    try:
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), module.__dict__)
    finally:
        sys.path.remove(str(file.parent.resolve()))
        sys.dont_write_bytecode = before
    return module
