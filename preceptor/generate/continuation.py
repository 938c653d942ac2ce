"""How a model goes on greedily from texts that are no conversations: for training, where it must not end."""

from torch import nn

from preceptor.data.records import Prompt
from preceptor.generate.drawing import Drawing
from preceptor.generate.local import evaluating
from preceptor.generate.processors import Shaper
from preceptor.generate.request import Request, Sampling
from preceptor.generate.rows import begin, live_rows

NEVER = -1  # no token is the end


def continuations(model: nn.Module, prefixes: list[list[int]], length: int) -> list[list[int]]:
    """`length` more tokens for each prefix, the most likely one each time; the end of text is a token like any other.

    The model is in evaluation mode while it writes, and in its own mode afterwards.
    """
    prompt = Prompt(id="prefix", messages=[{"role": "user", "content": ""}])
    requests = [Request(prompt, Sampling(temperature=0, max_tokens=length), seed=0)] * len(prefixes)
    writer = Drawing(model, Shaper(requests, prefixes, tokenizer=None), NEVER)
    with evaluating(model):
        rows = live_rows([begin(model, requests, range(len(prefixes)), prefixes, length, pad=0)])
        writer.write(rows)
        for _ in range(length - 1):
            writer.read(rows)
            writer.write(rows)
    return [rows.written(row) for row in range(len(prefixes))]
