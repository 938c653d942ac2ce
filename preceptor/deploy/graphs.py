"""Reward models and encoders as ONNX graphs, dynamic in batch and length. Causal models: `models/graph.py`.

    reward     input_ids (N, T), padded on the right with anything; lengths (N,)   ->  scores (N,), the offset included
    encoder    input_ids (N, T), attention_mask (N, T), 0 where there is padding   ->  logits, or last_hidden_state
"""

from typing import Any

import torch
from torch import Tensor, nn

from preceptor.models.graph import attention_set, check_exporter, traced
from preceptor.models.scalar import offset


class RewardScore(nn.Module):
    """The score of each row: the head at its last token. A row's padding is behind it, where causality hides it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.offset = model, offset(model)

    def forward(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        """Scores (N,)."""
        rows, count = input_ids.shape
        least = torch.finfo(torch.float32).min
        mask = torch.full((count, count), least).triu(1).expand(rows, 1, count, count)
        places = torch.arange(count).expand(rows, count)
        states = self.model.base_model(input_ids=input_ids, position_ids=places, attention_mask=mask,
                                       use_cache=False).last_hidden_state
        last = states.gather(1, (lengths - 1)[:, None, None].expand(rows, 1, states.shape[2]))[:, 0]
        return self.model.score(last).squeeze(-1) + self.offset


class Encoded(nn.Module):
    """What an encoder gives first: the logits of its head, or its last hidden states where it has none."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The first of the outputs.

        The mask is given as an addend: the library leaves a mask of ones out, and a trace of that would have none.
        """
        rows, count = input_ids.shape
        least = torch.finfo(torch.float32).min
        addend = (1.0 - attention_mask[:, None, None].float()).expand(rows, 1, count, count) * least
        return self.model(input_ids=input_ids, attention_mask=addend, return_dict=True)[0]


def reward_graph(model: nn.Module) -> Any:
    """Trace a reward model; errors as in `causal_graph`."""
    return _rows_and_lengths(model, RewardScore(model), torch.tensor([5, 2, 4]), "lengths", {}, "scores")


def encoder_graph(model: nn.Module) -> Any:
    """Trace an encoder; errors as in `causal_graph`."""
    names = [type(model).__name__.endswith(kind) for kind in ("ForMaskedLM", "Classification", "QuestionAnswering")]
    return _rows_and_lengths(model, Encoded(model), torch.ones(3, 5, dtype=torch.long), "attention_mask",
                             {1: "tokens"}, "logits" if any(names) else "last_hidden_state")


def _rows_and_lengths(model: nn.Module, module: nn.Module, second: Tensor, name: str, axes: dict[int, str],
                      output: str) -> Any:
    check_exporter(model)
    dims = {name: torch.export.Dim(name, min=1, max=2**20) for name in ("rows", "tokens")}
    shapes = ({0: dims["rows"], 1: dims["tokens"]}, {0: dims["rows"]} | {axis: dims[of] for axis, of in axes.items()})
    with attention_set(model, "eager"):
        return traced(module, (torch.arange(15).view(3, 5), second), inputs=["input_ids", name], outputs=[output],
                      shapes=shapes)
