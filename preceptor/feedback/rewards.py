"""Every reward that a recipe can name, labelers included: a model that judges, a person who waits at the page.

`models/rewards.py` opens what is trained or computed; a judge writes its verdict and a person reads a store, so they
are opened here.

    {"kind": "judge", "form": "pairwise | scored", "constitution": "...", "model": "../02-big/model" or null,
     "url": "", "served_model": "", "key_variable": "OPENAI_API_KEY", "max_tokens": 16, "tries": 3}
    {"kind": "person", "store": "../feedback.sqlite" or a URL, "overlap": 1, "score_by": "overall | ranking",
     "every": 2.0}
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from preceptor.data.reward import Reward
from preceptor.feedback.judge import Judge
from preceptor.feedback.person import WaitingPerson
from preceptor.feedback.place import is_url
from preceptor.generate.local import LocalDecoder
from preceptor.generate.server import ServerDecoder
from preceptor.models.causal import load_causal
from preceptor.models.rewards import AnyReward, load_reward
from preceptor.tokenizer.chat import load_tokenizer

Say = Callable[[str], None]


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def open_reward(path: Path, rows: int = 32, say: Say = _to_stderr) -> AnyReward | Reward:
    """The reward of a step's folder or of a model folder; `rows` answers are scored at once.

    `say` is told what a watching person should know: verdicts that could not be read, rankings that are waited for.

    Raises:
        UserError: it is no reward, or what it is made of cannot be found.
    """
    return load_reward(path, rows, others={"judge": partial(_open_judge, rows=rows, say=say),
                                            "person": partial(_open_person, say=say)})


def _open_judge(described: dict[str, Any], folder: Path, rows: int, say: Say) -> Judge:
    if described["url"]:
        decoder = ServerDecoder(described["url"], described["served_model"], at_once=rows,
                                key=os.environ.get(described["key_variable"], ""))
    else:
        model = folder / described["model"]
        decoder = LocalDecoder(load_causal(model), load_tokenizer(model), rows=rows)
    return Judge(decoder, described["constitution"], described["form"], max_tokens=described["max_tokens"],
                 tries=described["tries"], say=say)


def _open_person(described: dict[str, Any], folder: Path, say: Say) -> WaitingPerson:
    place = described["store"]
    return WaitingPerson(place if is_url(place) else folder / place, overlap=described["overlap"],
                         score_by=described["score_by"], every=described["every"], say=say)
