"""Reward models and encoders as ONNX graphs, dynamic in batch and length. Causal models: `models/graph.py`.

    reward     input_ids (N, T): a prompt and its answer a row, padded on the right with anything; prompt_lengths (N,);
               lengths (N,), prompt and answer together   ->  scores (N,), the offset included
    encoder    input_ids (N, T), attention_mask (N, T), 0 where there is padding   ->  logits, or last_hidden_state
"""

from typing import Any

import torch
from torch import Tensor, nn

from preceptor.models.graph import attention_set, check_exporter, traced
from preceptor.models.scalar import likelihood_weight, offset


class RewardScore(nn.Module):
    """The score of each row (`models/reward_model.py`: answer_scores), offset included.

    A row's padding is behind it, where causality hides it.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.offset, self.weight = model, offset(model), likelihood_weight(model)

    def forward(self, input_ids: Tensor, prompt_lengths: Tensor, lengths: Tensor) -> Tensor:
        """Scores (N,)."""
        rows, count = input_ids.shape
        least = torch.finfo(torch.float32).min
        mask = torch.full((count, count), least).triu(1).expand(rows, 1, count, count)
        places = torch.arange(count).expand(rows, count)
        states = self.model.base_model(input_ids=input_ids, position_ids=places, attention_mask=mask,
                                       use_cache=False).last_hidden_state
        last = states.gather(1, (lengths - 1)[:, None, None].expand(rows, 1, states.shape[2]))[:, 0]
        scores = self.model.score(last).squeeze(-1) + self.offset
        if not self.weight:
            return scores
        log_probs = (states[:, :-1] @ self.model.get_input_embeddings().weight.T).log_softmax(-1)
        told = log_probs.gather(2, input_ids[:, 1:, None])[..., 0]
        answer = (places[:, 1:] >= prompt_lengths[:, None]) & (places[:, 1:] < lengths[:, None])
        return scores + self.weight * (told * answer).sum(1)


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
    rows, tokens = _axes()
    return _traced(model, RewardScore(model), {
        "input_ids": (torch.arange(15).view(3, 5), {0: rows, 1: tokens}),
        "prompt_lengths": (torch.tensor([2, 1, 0]), {0: rows}), "lengths": (torch.tensor([5, 2, 4]), {0: rows})},
        "scores")


def encoder_graph(model: nn.Module) -> Any:
    """Trace an encoder; errors as in `causal_graph`."""
    rows, tokens = _axes()
    headed = type(model).__name__.endswith(("ForMaskedLM", "Classification", "QuestionAnswering"))
    return _traced(model, Encoded(model), {
        "input_ids": (torch.arange(15).view(3, 5), {0: rows, 1: tokens}),
        "attention_mask": (torch.ones(3, 5, dtype=torch.long), {0: rows, 1: tokens})},
        "logits" if headed else "last_hidden_state")


def _axes() -> tuple[Any, Any]:
    return torch.export.Dim("rows", min=1, max=2**20), torch.export.Dim("tokens", min=2, max=2**20)


def _traced(model: nn.Module, module: nn.Module, inputs: dict[str, tuple[Tensor, dict[int, Any]]], output: str) -> Any:
    """The graph of a module from inputs, each with an example and its free axes, to one output."""
    check_exporter(model)
    with attention_set(model, "eager"):
        return traced(module, tuple(example for example, _ in inputs.values()), inputs=list(inputs), outputs=[output],
                      shapes=tuple(axes for _, axes in inputs.values()))
