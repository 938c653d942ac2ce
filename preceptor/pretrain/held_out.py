"""What a network makes of held-out documents while it learns, by source."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from preceptor.data.batches import Layout
from preceptor.data.records import Document
from preceptor.learn.objectives import Prediction, predict
from preceptor.metrics.language import bits_per_byte, perplexity
from preceptor.models.causal import parameter_count
from preceptor.pretrain.start import Start
from preceptor.run.files import write_json
from preceptor.run.step import Step
from preceptor.tokenizer.chat import encode_document
from preceptor.tokenizer.pieces import token_pieces


@dataclass(frozen=True)
class HeldOut:
    """Documents that no training sees, and how they are shown to the network."""

    begun: Start
    documents: Sequence[Document]
    layout: Layout
    rows: int
    length: int

    def measure(self) -> dict[str, dict[str, float]]:
        """`perplexity`, `bits_per_byte` and `accuracy` by source, under "" of all documents.

        A causal network predicts every byte of a document, and its bits are divided by the bytes of the text. Of the
        other kinds they are divided by the bytes of the tokens that had to be filled in or written, of which end tokens
        and sentinels have none.
        """
        sizes = torch.tensor([len(piece) for piece in token_pieces(self.begun.tokenizer)])
        found: dict[str, Prediction] = {}
        for source in dict.fromkeys(document.source or "unknown" for document in self.documents):
            chosen = [document for document in self.documents if (document.source or "unknown") == source]
            found[source] = self._predict(chosen, sizes)
        total = Prediction(*(sum(getattr(part, name) for part in found.values())
                             for name in ("nats", "targets", "right", "bytes")))
        figures = {"": _figures(total)}
        if len(found) > 1:
            figures |= {source: _figures(part) for source, part in found.items()}
        return figures

    def _predict(self, documents: Sequence[Document], sizes: torch.Tensor) -> Prediction:
        begun = self.begun
        found = predict(begun.kind, begun.model, [encode_document(begun.tokenizer, one) for one in documents],
                        self.layout, sizes, rows=self.rows, length=self.length)
        if begun.kind != "causal":
            return found
        return Prediction(found.nats, found.targets, found.right, sum(len(one.text.encode()) for one in documents))


def _figures(found: Prediction) -> dict[str, float]:
    return {"perplexity": perplexity(found.nats, found.targets),
            "bits_per_byte": bits_per_byte(found.nats, found.bytes), "accuracy": found.right / found.targets}


def flat(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """The figures as metrics of the log: `validation_NAME`, and `validation_NAME.SOURCE` of a source."""
    return {f"validation_{name}" + (f".{source}" if source else ""): value
            for source, named in figures.items() for name, value in named.items()}


def report(step: Step, model: nn.Module, before: dict[str, dict[str, float]],
           after: dict[str, dict[str, float]]) -> None:
    """Print and write, as learned.json, what going on did to each source: bits per byte before and after, and how many
    of the weights learned it.

    Less is learned, more is forgotten; under "" stands everything together.
    """
    rows = {}
    for source, figures in before.items():
        old, new = figures["bits_per_byte"], after[source]["bits_per_byte"]
        rows[source] = {"before": old, "after": new, "change": new / old - 1}
        verdict = "learned" if new < old else "forgotten" if new > old else "unchanged"
        step.say(f"{source or 'all sources'}: {old:.3f} -> {new:.3f} bits per byte, {new / old - 1:+.1%} ({verdict})")
    learned = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    write_json(step.folder / "learned.json", {"adapter": step.options.adapter, "learned_weights": learned,
                                              "weights": parameter_count(model), "bits_per_byte": rows})
