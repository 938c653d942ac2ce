"""The pretraining stage: a network of any family learns from packed documents, from scratch or from a checkpoint."""

from torch import Tensor

from preceptor.data.batches import Batch, Example
from preceptor.data.jsonl import read_jsonl
from preceptor.data.packing import PackedBatches, ramped_rows
from preceptor.data.records import Document
from preceptor.data.token_shards import Mapped
from preceptor.generate.continuation import continuations
from preceptor.learn.degeneration import degeneration_terms
from preceptor.learn.fit import Loss, fit
from preceptor.learn.replay import replay_terms
from preceptor.learn.zeros import keep_zeros
from preceptor.models.adapters import adapter_off
from preceptor.models.attention import packs
from preceptor.models.causal import parameter_count, save_model
from preceptor.models.dropout import residual_dropout
from preceptor.models.scale import block_scales, said
from preceptor.pretrain.held_out import HeldOut, flat, report
from preceptor.pretrain.objective import as_it_is, objective, training_layout
from preceptor.pretrain.start import Start, start
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.chat import encode_document
from preceptor.tokenizer.fingerprint import fingerprint


def run(step: Step) -> None:
    """Read `corpus` and `tokenizer`, or `model` to go on from (and `validation`, `replay`); write a model folder."""
    train(step, start(step))


def train(step: Step, begun: Start) -> None:
    """Train the network that the step begins with, and write it."""
    options = step.options
    loss, layout = objective(step, begun), training_layout(step, begun)
    pad = begun.tokenizer.pad_token_id
    examples = _examples(step, begun, "corpus")
    length = options.context - (begun.kind == "encoder_decoder")  # what is written ends with a token of its own
    ramp = round(options.ramp * options.steps)
    batches = PackedBatches(examples, rows=options.rows, length=length, pad=pad, seed=step.seed, steps=options.steps,
                            layout=layout, ramp=ramp)
    tokens = examples.tokens if isinstance(examples, Mapped) else sum(len(example.tokens) for example in examples)
    rows = sum(ramped_rows(number, options.rows, ramp) for number in range(options.steps))
    seen = rows * options.context
    step.plan(parameters=parameter_count(begun.model), corpus_tokens=tokens, optimiser_steps=options.steps,
              tokens_to_see=seen, passes=seen / tokens)
    if not packs(begun.model):
        step.say(f"a {begun.model.config.model_type} network cannot keep the documents of a row apart: each runs in a "
                 "row of its own, padded")
    if "model" not in step.inputs:
        _check_scale(step, begun, loss, batches)
    documents = read_jsonl(step.input("validation"), Document) if "validation" in step.inputs else []
    documents = [document for document in documents if document.text or begun.kind == "causal"]
    held_out = HeldOut(begun, documents, layout or as_it_is(pad), options.rows, length)

    with adapter_off(begun.model):
        before = held_out.measure() if documents and "model" in step.inputs else {}
    if before:
        step.log.write(0, **flat(before))

    def measure(number: int) -> dict[str, float] | None:
        if not documents or (number % options.evaluate_every and number != options.steps):
            return None
        return flat(held_out.measure())

    terms = replay_terms(step, lambda: _examples(step, begun, "replay"), loss, length=length,
                         pad=begun.tokenizer.pad_token_id, steps=options.steps, layout=layout)
    terms += degeneration_terms(options, examples, begun.tokenizer, continuations, rows=options.rows,
                                context=options.context, total=options.steps, seed=step.seed)
    keep_zeros(step, begun.model)
    with residual_dropout(begun.model, options.dropout):
        fit(begun.model, batches, loss, options, folder=step.folder, log=step.log,
            progress=step.progress(options.steps), extra=terms, after_step=measure, rescues=options.rescues)
    save_model(begun.model, begun.tokenizer, step.folder / "model")
    if before:
        with adapter_off(begun.model):
            assert options.adapter == "none" or held_out.measure() == before, "the frozen weights have changed"
        report(step, begun.model, before, held_out.measure())


def _examples(step: Step, begun: Start, name: str) -> list[Example] | Mapped:
    """Documents as examples, or token shards as `preceptor data tokenize` writes them, mapped and not held.

    From an empty document a network that fills in or rewrites has nothing to learn.

    Raises:
        UserError: the shards have another vocabulary, or the network is of a kind that cannot tell empty ones in them.
    """
    source = step.input(name)
    if source.is_dir():
        if begun.kind != "causal":
            raise UserError(f"Step '{step.name}' cannot read token shards for a network of the kind "
                            f"{begun.kind.replace('_', '-')}: nothing in them tells an empty document.",
                            f"Give documents as {step.name}.needs.{name}.")
        return Mapped(source, fingerprint(begun.tokenizer))
    documents = read_jsonl(source, Document)
    if begun.kind != "causal":
        full = [document for document in documents if document.text]
        if len(full) < len(documents):
            step.say(f"{len(documents) - len(full):,} empty documents left out")
        documents = full
    return [encode_document(begun.tokenizer, document) for document in documents]


def _check_scale(step: Step, begun: Start, loss: Loss, batches: PackedBatches) -> None:
    """Print how activations and gradients fare through the blocks at the start, on a few rows of the first batch."""
    beginning = batches.state()
    rows: Batch = next(next(batches).split(max(1, step.options.rows // 2)))
    batches.restore(beginning)

    def mean_loss() -> Tensor:
        return loss(begun.model, rows.to(str(begun.model.device)))[0] / rows.count

    scales = block_scales(begun.model, mean_loss)
    for line in said(scales):
        step.say(line)
    step.log.write(0, scale={scale.block: [scale.activation, scale.gradient] for scale in scales})
