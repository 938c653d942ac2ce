"""Language modelling over packed rows: the loss that pretraining, fine-tuning and PPO-ptx share, and its measure."""

from collections.abc import Sequence
from importlib import import_module

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch, Example, collate
from preceptor.data.packing import pack
from preceptor.learn.gradients import Loss
from preceptor.learn.options import LanguageOptions
from preceptor.losses.contrastive import simctg_sum
from preceptor.losses.likelihood import cross_entropy_sum, selected_cross_entropy_sum
from preceptor.losses.soft_targets import distillation_sum, smoothed_cross_entropy_sum
from preceptor.losses.unlikelihood import token_unlikelihood_sum
from preceptor.models.causal import hidden_states, load_causal, logits_at, model_folder
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.tokenizer.fingerprint import fingerprint


def language_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """Cross-entropy in nats, summed over the targets; logits are computed only where there is a target."""
    head = model.get_output_embeddings()
    total, count = selected_cross_entropy_sum(hidden_states(model, batch), head.weight, batch["targets"], head.bias)
    return total, int(count), {}


def language_objective(options: LanguageOptions, teacher: nn.Module | None = None) -> Loss:
    """What the options make of the likelihood: smoothed, mixed with the distance from a teacher, with token
    unlikelihood and SimCTG added; or the user's own loss in its place."""
    if options.loss:
        return named_loss(options.loss)
    if not (options.unlikelihood or options.simctg_margin or options.label_smoothing or teacher):
        return language_loss

    def objective(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
        states_BTD = hidden_states(model, batch)
        logits_BTV = model.get_output_embeddings()(states_BTD)
        targets, segments = batch["targets"], batch["segments"]
        likelihood, count = cross_entropy_sum(logits_BTV, targets)
        total, metrics = likelihood, {"likelihood": likelihood}
        if options.label_smoothing:
            total, _ = smoothed_cross_entropy_sum(logits_BTV, targets, options.label_smoothing)
        if teacher:
            with torch.no_grad():
                taught_BTV = teacher.get_output_embeddings()(hidden_states(teacher, batch))
            metrics["distance"] = distillation_sum(logits_BTV, taught_BTV, targets != IGNORE,
                                                   options.distillation_temperature)
            total = (1 - options.distillation) * total + options.distillation * metrics["distance"]
        if options.unlikelihood:
            metrics["unlikelihood"] = token_unlikelihood_sum(logits_BTV, batch["tokens"], targets, segments)
            total = total + options.unlikelihood * metrics["unlikelihood"]
        if options.simctg_margin:
            metrics["simctg"] = simctg_sum(states_BTD, targets, segments, options.simctg_margin)
            total = total + metrics["simctg"]
        return total, int(count), metrics

    return objective


def named_loss(path: str) -> Loss:
    """The user's function `package.module:function`, which the loop calls as any loss of ours.

    Raises:
        UserError: there is none.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"The loss '{path}' cannot be imported: {error}.",
                        "Write it as package.module:function, of a module that Python finds (PYTHONPATH).") from None


def load_teacher(step: Step) -> nn.Module | None:
    """The model of the step's input `teacher`, frozen, where `distillation` asks for one.

    Raises:
        UserError: only one of the two is there, or the teacher has another vocabulary than `tokenizer` or `model`.
    """
    if bool(step.options.distillation) != ("teacher" in step.inputs):
        raise UserError(f"Step '{step.name}' learns from a teacher only with an input 'teacher' and a share for it.",
                        f"Add 'teacher' to its needs and set {step.name}.distillation, or leave out both.")
    if "teacher" not in step.inputs:
        return None
    folder = model_folder(step.input("teacher"))
    own = model_folder(step.input("model" if "model" in step.inputs else "tokenizer"))
    if fingerprint(load_tokenizer(folder)) != fingerprint(load_tokenizer(own)):
        raise UserError(f"The teacher of step '{step.name}' has another vocabulary than the model that learns.",
                        "Give a teacher with the same tokenizer.")
    return load_causal(folder).requires_grad_(False).eval()


@torch.no_grad()
def total_nats(model: nn.Module, examples: Sequence[Example], *, rows: int, length: int, pad: int) -> tuple[float, int]:
    """Cross-entropy of all targets of the examples, as (nats, targets). The model is left in its mode."""
    was_training = model.training
    model.eval()
    pieces = [piece for example in examples for piece in example.pieces(length) if piece.count]
    packed = pack([len(piece.tokens) for piece in pieces], length)
    nats, targets = 0.0, 0
    for first in range(0, len(packed), rows):
        batch = collate([[pieces[index] for index in row] for row in packed[first:first + rows]], pad)
        total, count = _nats(model, batch.to(str(model.device)))
        nats, targets = nats + float(total), targets + count
    model.train(was_training)
    return nats, targets


def _nats(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """The loss of `language_loss`; an exported network has no states from which to compute few logits at a time."""
    if hasattr(model, "base_model"):
        return language_loss(model, batch)[:2]
    counted = batch["targets"] != IGNORE
    total, count = cross_entropy_sum(logits_at(model, batch, counted), batch["targets"][counted])
    return total, int(count)
