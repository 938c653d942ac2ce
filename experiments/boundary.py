"""A reward that knows what the model knows: a program for the stage `program`, used by experiments/why_rl.py.

A question is known, unsure or unknown to the model by how often its own answers were right (`knowledge.json` beside
this file, which also names the village). After Schulman (2023): imitation teaches a model to assert what the
demonstrator knew; only a reward that pays for "I do not know" at the right place can teach where its own
knowledge ends.

    right +1, false -1, incomplete 0, evaded -1/2; "I do not know": known -1/2, unsure 0, unknown +1/2

An answer is worth asserting where it is right with a probability above 1/4 (known), 1/2 (unsure), 3/4 (unknown). A
quarter of the oracle's overall score, from -1 to 1, is added, so that form counts too; it is all that counts where no
fact was asked for.
"""

from pathlib import Path

from preceptor.data.records import Prompt, Response
from preceptor.run.files import read_json
from preceptor.village.stage import load_oracle

CLASSES = ("known", "unsure", "unknown")
OUTCOME = {"correct": 1.0, "false": -1.0, "incomplete": 0.0, "evaded": -0.5}
REFUSAL = {"known": -0.5, "unsure": 0.0, "unknown": 0.5}
FORM = 0.25

_described = read_json(Path(__file__).with_name("knowledge.json"))
_oracle = load_oracle(Path(_described["village"]))


def score(prompt: Prompt, response: Response) -> float:
    """The worth of an answer."""
    verdict = _oracle.judge(prompt, response.text)
    form = (verdict.overall - 4) / 3
    if verdict.outcome == "unchecked":
        return form
    refused = verdict.outcome.startswith("refused")
    return FORM * form + (REFUSAL[_described["knowledge"][prompt.id]] if refused else OUTCOME[verdict.outcome])
