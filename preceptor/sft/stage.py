"""The sft stage: a language model learns to answer from demonstrations, and every epoch's model is kept."""

from preceptor.data.jsonl import read_jsonl
from preceptor.data.packing import PackedBatches
from preceptor.data.records import Conversation, Document
from preceptor.generate.continuation import continuations
from preceptor.learn.adapting import adapt
from preceptor.learn.degeneration import degeneration_terms
from preceptor.learn.fit import fit
from preceptor.learn.language import language_loss, language_objective, load_teacher
from preceptor.learn.replay import replay_terms
from preceptor.learn.zeros import keep_zeros
from preceptor.models.causal import context_length, load_causal, model_folder, parameter_count, save_model
from preceptor.models.dropout import residual_dropout
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.sft.answers import answer_examples, answer_likelihood
from preceptor.sft.epochs import copy_model, epoch_folder
from preceptor.tokenizer.chat import encode_document, load_tokenizer


def run(step: Step) -> None:
    """Read `model`, `demonstrations` (and `validation`, `replay`); write epoch-01/, ... and model/, the last."""
    options = step.options
    source = model_folder(step.input("model"))
    tokenizer, model = load_tokenizer(source), load_causal(source)
    adapt(step, model)
    context = context_length(model)
    length = options.length or context
    if length > context:
        raise UserError(f"Rows of {length} tokens do not fit the model's context of {context}.",
                        f"Set {step.name}.length to {context} or less; 0 takes the context.")
    examples = answer_examples(step, tokenizer, read_jsonl(step.input("demonstrations"), Conversation), length)
    validation = []
    if "validation" in step.inputs:
        validation = answer_examples(step, tokenizer, read_jsonl(step.input("validation"), Conversation), length)
    batches = PackedBatches(examples, rows=options.rows, length=length, pad=tokenizer.pad_token_id, seed=step.seed,
                            epochs=options.epochs)
    epoch_ending_at = {batches.epoch_start(epoch): epoch for epoch in range(1, options.epochs + 1)}
    step.plan(parameters=parameter_count(model), demonstrations=len(examples),
              tokens=sum(len(example.tokens) for example in examples),
              answer_tokens=sum(example.count for example in examples), epochs=options.epochs,
              optimiser_steps=batches.total)

    def end_epoch(number: int) -> dict[str, float] | None:
        epoch = epoch_ending_at.get(number)
        if epoch is None:
            return None
        save_model(model, tokenizer, epoch_folder(step.folder, epoch))
        if not validation:
            return {"epoch": epoch}
        loss, accuracy = answer_likelihood(model, validation, rows=options.rows, length=length,
                                           pad=tokenizer.pad_token_id)
        return {"epoch": epoch, "validation_loss": loss, "validation_accuracy": accuracy}

    terms = degeneration_terms(options, examples, tokenizer, continuations, rows=options.rows, context=length,
                               total=batches.total, seed=step.seed)
    terms += replay_terms(step, lambda: [encode_document(tokenizer, document) for document
                                         in read_jsonl(step.input("replay"), Document)],
                          language_loss, length=length, pad=tokenizer.pad_token_id, steps=batches.total)
    objective = language_objective(options, load_teacher(step))
    keep_zeros(step, model)
    with residual_dropout(model, options.dropout):
        fit(model, batches, objective, options, folder=step.folder, log=step.log,
            progress=step.progress(batches.total), extra=terms, after_step=end_epoch)
    copy_model(epoch_folder(step.folder, options.epochs), step.folder / "model")
