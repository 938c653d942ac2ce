"""The understand stage: an encoder (BERT and its like) learns the label of a text, or a tag for each of its units."""

from collections.abc import Sequence

from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch
from preceptor.data.jsonl import read_jsonl
from preceptor.data.ranked import RankedBatches
from preceptor.data.records import Annotated
from preceptor.learn.fit import fit
from preceptor.losses.likelihood import cross_entropy_sum
from preceptor.models.causal import context_length, model_folder, parameter_count, save_model
from preceptor.models.dropout import residual_dropout
from preceptor.models.encoder import load_pair_tokenizer, start_encoder
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.understand.answerers import EncoderAnswerer, class_logits
from preceptor.understand.encoding import Row, UnitEncoder, collate_rows
from preceptor.understand.scores import quality
from preceptor.understand.task import Task, read_task
from preceptor.understand.units import tags_of, units, widened


def run(step: Step) -> None:
    """Read `records` (a folder of annotations) and `model`; write model/."""
    options = step.options
    task = read_task(step.input("records"))
    source = model_folder(step.input("model"))
    if options.pooling and task.name != "classify":
        raise UserError(f"'{step.name}.pooling' is for labels of whole texts.", "Leave it out.")
    problem = "single_label_classification" if task.name == "classify" else None
    model = start_encoder(source, task.classes, step.seed, tokens=task.name != "classify", problem=problem,
                          pooling=options.pooling)
    tokenizer = load_pair_tokenizer(source)
    encoder = UnitEncoder(tokenizer, min(options.longest, context_length(model)))
    records = read_jsonl(step.input("records", "train.jsonl"), Annotated)
    validation = read_jsonl(step.input("records", "validation.jsonl"), Annotated)
    rows = rows_of(task, records, encoder)
    batches = RankedBatches(rows, rows=options.rows, epochs=options.epochs, pad=tokenizer.pad_token_id, seed=step.seed,
                            collate=collate_rows)
    step.plan(parameters=parameter_count(model), classes=len(task.classes), texts=len(records), epochs=options.epochs,
              optimiser_steps=batches.total, tokens=sum(row.width for row in rows))
    if encoder.truncated:
        step.say(f"{encoder.truncated} of {len(records)} texts lost their end to fit {encoder.longest} tokens")
    answerer = EncoderAnswerer(model, tokenizer, task, encoder.longest)
    an_epoch = -(-len(rows) // options.rows)

    def end_epoch(number: int) -> dict[str, float] | None:
        if number % an_epoch:
            return None
        found = answerer.read([record.text for record in validation])
        return {"epoch": number // an_epoch, "validation_quality": quality(task, validation, found).mean}

    with residual_dropout(model, options.dropout):
        fit(model, batches, class_loss, options, folder=step.folder, log=step.log,
            progress=step.progress(batches.total), after_step=end_epoch)
    model.config.preceptor_task, model.config.preceptor_longest = task.name, encoder.longest
    save_model(model, tokenizer, step.folder / "model")


def rows_of(task: Task, records: Sequence[Annotated], encoder: UnitEncoder) -> list[Row]:
    """Training records as rows; a text without a unit has nothing to be tagged."""
    numbers = {name: number for number, name in enumerate(task.classes)}
    if task.name == "classify":
        return [Row(one.id, encoder.whole(one.text), [numbers[one.label]]) for one in records]
    rows = []
    for one in records:
        pieces = units(one.text)
        tags = iter(tags_of(pieces, widened(pieces, [tuple(span) for span in one.spans])))
        for tokens, firsts in encoder.parts(one.text, pieces):
            targets = [IGNORE] * len(tokens)
            for place in firsts:
                targets[place] = numbers[next(tags)]
            rows.append(Row(one.id, tokens, targets))
    return rows


def class_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """Cross-entropy in nats over texts, or over the first tokens of units; the metric counts what is right."""
    logits, targets = class_logits(model, batch), batch["targets"]
    targets = targets[:, 0] if logits.ndim == 2 else targets
    total, count = cross_entropy_sum(logits, targets)
    right = (logits.argmax(-1) == targets).sum()  # IGNORE is no class
    return total, int(count), {"accuracy": right.float()}
