"""An encoder (BERT and its like) as a `Reward`: one output for each axis of quality, read with its own tokenizer.

Prompt and answer stand in one sequence as the tokenizer joins a pair, so the answer is read in both directions and with
the prompt in view. The folder is Hugging Face's sequence classifier; its config says what the outputs mean:

    preceptor_axes   [{"name": "accuracy", "weight": 2.0, "mean": 4.1, "deviation": 1.3}, ...], one for each output

An output is the rating on its axis less `mean`, over `deviation`. The score is the weighted mean of the ratings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.models.causal import attention_kind, load_network
from preceptor.run.errors import UserError
from preceptor.run.machine import device

AXES = "preceptor_axes"
Axis = Mapping[str, Any]


def start_encoder(source: Path | str, outputs: Sequence[str], seed: int, *, tokens: bool = False,
                  problem: str | None = "regression", pooling: str | None = None) -> nn.Module:
    """A pretrained encoder with a fresh head of one output for each name, over the text or over each of its `tokens`.

    A checkpoint of masked pretraining has no pooler where its classifier wants one; that is drawn with the head.
    `problem` is transformers' name of what is learned; `pooling` says what the head reads, where a family has a choice.

    Raises:
        UserError: `source` is no encoder, its family has no such head, or no choice of pooling.
    """
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification
    kind = AutoModelForTokenClassification if tokens else AutoModelForSequenceClassification
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trunk = load_network(AutoModel, source, optional="pooler")
        config = trunk.config
        config.num_labels, config.id2label = len(outputs), dict(enumerate(outputs))
        config.label2id, config.problem_type = {name: place for place, name in enumerate(outputs)}, problem
        if pooling:
            if not hasattr(config, "classifier_pooling"):
                raise UserError(f"The family of '{source}' ({config.model_type}) has one way of pooling.",
                                "Leave out pooling.")
            config.classifier_pooling = pooling
        torch.manual_seed(seed)
        try:
            model = kind.from_config(config, attn_implementation=attention_kind(config))
        except ValueError:
            raise UserError(f"The family of '{source}' ({config.model_type}) has no {'token' if tokens else 'sequence'}"
                            " classifier.", "Start from another encoder.") from None
    _check_encoder(model, source)
    weights = trunk.state_dict()
    kept = {name: weights[name] for name in model.base_model.state_dict() if name in weights}
    model.base_model.load_state_dict(kept)  # a pooler that the classifier does without is left behind
    model.drawn = frozenset(f"{model.base_model_prefix}.{name}" for name in trunk.drawn if name in kept)
    return model.to(device())


def _check_encoder(model: nn.Module, source: Path | str) -> None:
    """Refuse a decoder: it reads from left to right, and its score is read at the last token."""
    if isinstance(getattr(model, "score", None), nn.Linear) or model.config.is_encoder_decoder:
        raise UserError(f"'{source}' ({model.config.model_type}) is not an encoder.",
                        "Give an encoder such as BERT, or use the stage 'reward'.")


def is_encoder_reward(folder: Path) -> bool:
    """Whether a model folder was written by the stage `encoder`."""
    from transformers import AutoConfig
    try:
        return bool(getattr(AutoConfig.from_pretrained(folder), AXES, None))
    except (OSError, ValueError):
        return False  # whoever loads it says why


def load_pair_tokenizer(source: Path | str) -> Any:
    """The encoder's own tokenizer. It needs neither an end of text nor a chat template.

    Raises:
        UserError: there is none, or it has no padding token.
    """
    from transformers import AutoTokenizer
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UserError(f"'{source}' cannot be loaded as a tokenizer: {str(error).splitlines()[0]}",
                        "Give a folder with tokenizer.json.") from None
    if tokenizer.pad_token_id is None:
        raise UserError(f"The tokenizer '{source}' has no padding token.", "Set its pad_token and save it again.")
    tokenizer.truncation_side = "left"  # what was said last matters most
    return tokenizer


@dataclass(frozen=True, slots=True)
class Pairs:
    """A prompt's answers, each joined to the prompt: tokens and the segment (0 or 1) of each token."""

    id: str
    pairs: list[tuple[list[int], list[int]]]
    ranks: list[int]
    tables: dict[str, list[float]] = field(default_factory=dict)
    """Further numbers, one for each answer, that a batch holds under their names."""
    count: int = 1

    @property
    def width(self) -> int:
        return max(len(tokens) for tokens, _ in self.pairs)


class PairEncoder:
    """Prompts and answers as an encoder reads them, `longest` tokens at most. `truncated` counts what was cut."""

    def __init__(self, tokenizer: Any, longest: int) -> None:
        self.tokenizer, self.longest, self.truncated = tokenizer, longest, 0

    def encode(self, prompt: Prompt, response: Response) -> tuple[list[int], list[int]]:
        """Tokens and segments; the beginning of the prompt is cut, and where the answer alone is too long, its own."""
        asked, said = prompt.text(), response.text
        around = self.tokenizer.num_special_tokens_to_add(pair=True)
        lengths = [len(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
                   for text in (asked, said)]
        self.truncated += sum(lengths) + around > self.longest
        alone = lengths[1] + around >= self.longest
        found = self.tokenizer("" if alone else asked, said, max_length=self.longest,
                               truncation="only_second" if alone else "only_first")
        tokens = found["input_ids"]
        return tokens, found.get("token_type_ids") or [0] * len(tokens)

    def pairs(self, comparison: Comparison) -> Pairs:
        """All answers of a comparison."""
        encoded = [self.encode(comparison.prompt, response) for response in comparison.responses]
        return Pairs(comparison.id, encoded, comparison.ranks())


def collate_pairs(prompts: Sequence[Pairs], pad: int) -> Batch:
    """Rows of prompts. `tokens`, `types` and `seen` (not padding) are [B, K, T]; `ranks` and the tables [B, K]."""
    most = max(len(one.pairs) for one in prompts)
    shape = (len(prompts), most, max(one.width for one in prompts))
    tokens, types, seen = torch.full(shape, pad), torch.zeros(shape, dtype=torch.long), torch.zeros(shape).bool()
    ranks = torch.zeros(shape[:2], dtype=torch.long)
    for row, one in enumerate(prompts):
        for number, (ids, kinds) in enumerate(one.pairs):
            tokens[row, number, :len(ids)], types[row, number, :len(ids)] = torch.tensor(ids), torch.tensor(kinds)
            seen[row, number, :len(ids)] = True
        ranks[row, :len(one.ranks)] = torch.tensor(one.ranks)
    tensors = {"tokens": tokens, "types": types, "seen": seen, "ranks": ranks}
    for name in prompts[0].tables:
        tensors[name] = torch.tensor([one.tables[name] + [0.0] * (most - len(one.pairs)) for one in prompts])
    return Batch(tensors, [one.count for one in prompts], [[one.id] for one in prompts])


def axis_values(model: nn.Module, batch: Batch) -> Tensor:
    """The model's outputs for each answer, [B, K, A] in float32; 0 where there is no answer."""
    present = batch["seen"].any(2)
    inputs = {"input_ids": batch["tokens"][present], "attention_mask": batch["seen"][present].long()}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = batch["types"][present]
    outputs_NA = model(**inputs).logits.float()
    return outputs_NA.new_zeros(*present.shape, outputs_NA.shape[1]).index_put((present,), outputs_NA)


class EncoderReward:
    """A folder written by the stage `encoder`, scoring `rows` answers a forward pass.

    Raises:
        UserError: the folder is no such model.
    """

    def __init__(self, folder: Path | str, rows: int = 32) -> None:
        from transformers import AutoModelForSequenceClassification
        self.model = load_network(AutoModelForSequenceClassification, folder).eval()
        self.axes: list[Axis] = getattr(self.model.config, AXES)
        self.encoder = PairEncoder(load_pair_tokenizer(folder), self.model.config.preceptor_longest)
        self.rows = rows

    @property
    def truncated(self) -> int:
        return self.encoder.truncated

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """The weighted mean of the ratings, one for each pair. It depends neither on the other pairs nor on `rows`."""
        weights = {axis["name"]: axis["weight"] for axis in self.axes}
        return [sum(weights[name] * value for name, value in rated.items()) / sum(weights.values())
                for rated in self.ratings(prompts, responses)]

    @torch.inference_mode()
    def ratings(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[dict[str, float]]:
        """The rating of each answer on each axis, in the units of the ratings that were learned from."""
        encoded = [Pairs("", [self.encoder.encode(*one)], [0]) for one in zip(prompts, responses, strict=True)]
        found: list[dict[str, float]] = [{}] * len(encoded)
        order = sorted(range(len(encoded)), key=lambda index: encoded[index].width)
        for first in range(0, len(order), self.rows):
            chosen = order[first:first + self.rows]
            batch = collate_pairs([encoded[index] for index in chosen], self.encoder.tokenizer.pad_token_id)
            values_NA = axis_values(self.model, batch.to(str(self.model.device)))[:, 0]
            for index, row in zip(chosen, values_NA.tolist(), strict=True):
                found[index] = {axis["name"]: axis["mean"] + axis["deviation"] * value
                                for axis, value in zip(self.axes, row, strict=True)}
        return found
