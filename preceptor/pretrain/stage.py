"""The pretraining stage: a Llama-style model from scratch on packed documents."""

import math

from preceptor.data.jsonl import read_jsonl
from preceptor.data.packing import PackedBatches
from preceptor.data.records import Document
from preceptor.generate.continuation import continuations
from preceptor.learn.degeneration import degeneration_terms, language_objective
from preceptor.learn.fit import fit
from preceptor.learn.language import total_nats
from preceptor.models.causal import build_llama, parameter_count, save_model
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.chat import encode_document, load_tokenizer


def run(step: Step) -> None:
    """Read `corpus` and `tokenizer` (and `validation`), write a model folder."""
    options = step.options
    tokenizer = load_tokenizer(step.input("tokenizer", "model"))
    documents = read_jsonl(step.input("corpus"), Document)
    held_out = read_jsonl(step.input("validation"), Document) if "validation" in step.inputs else []
    examples = [encode_document(tokenizer, document) for document in documents]
    if options.width % options.heads:
        raise UserError(f"The width {options.width} of step '{step.name}' is not a multiple of its {options.heads} "
                        "heads.", f"Choose --set {step.name}.heads so that it divides the width.")
    model = build_llama(vocabulary=len(tokenizer), width=options.width, layers=options.layers, heads=options.heads,
                        feed_forward=options.feed_forward, context=options.context, end=tokenizer.eos_token_id,
                        pad=tokenizer.pad_token_id)
    batches = PackedBatches(examples, rows=options.rows, length=options.context, pad=tokenizer.pad_token_id,
                            seed=step.seed, steps=options.steps)
    tokens = sum(len(example.tokens) for example in examples)
    seen = options.steps * options.rows * options.context
    step.plan(parameters=parameter_count(model), corpus_tokens=tokens, optimiser_steps=options.steps,
              tokens_to_see=seen, passes=seen / tokens)

    validation = [encode_document(tokenizer, document) for document in held_out]
    validation_bytes = sum(len(document.text.encode()) for document in held_out)

    def measure(number: int) -> dict[str, float] | None:
        if not validation or (number % options.evaluate_every and number != options.steps):
            return None
        nats, count = total_nats(model, validation, rows=options.rows, length=options.context,
                                 pad=tokenizer.pad_token_id)
        return {"validation_perplexity": math.exp(nats / count),
                "validation_bits_per_byte": nats / math.log(2) / validation_bytes}

    terms = degeneration_terms(options, examples, tokenizer, continuations, rows=options.rows, context=options.context,
                               total=options.steps, seed=step.seed)
    fit(model, batches, language_objective(options), options, folder=step.folder, log=step.log,
        progress=step.progress(options.steps), extra=terms, after_step=measure)
    save_model(model, tokenizer, step.folder / "model")
