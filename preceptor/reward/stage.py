"""The reward stage: a fine-tuned model learns to score answers from rankings (Ouyang et al. 2022, §3.5)."""

from dataclasses import replace
from typing import Any

from torch import nn

from preceptor.data.jsonl import read_jsonl
from preceptor.data.ranked import RankedBatches, RankedPrompt
from preceptor.data.records import Comparison, Conversation, Prompt, Response
from preceptor.learn.adapting import adapt
from preceptor.learn.fit import fit
from preceptor.learn.parallel import refuse_shards
from preceptor.models.causal import context_length, model_folder, parameter_count, save_model
from preceptor.models.reward_model import AnswerEncoder, RewardModel, score_answers
from preceptor.models.scalar import is_scalar, set_likelihood_weight, start_scalar
from preceptor.reward.loss import ranking_loss, regression_loss
from preceptor.reward.measure import measure
from preceptor.reward.targets import fitted, ranked_by_votes, ratings, standardised
from preceptor.run.errors import UserError
from preceptor.run.files import write_text
from preceptor.run.processes import alone, leads
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer

CARD = """# A reward model

A sequence classifier with one output, trained by Preceptor to order answers as its labelers do. {opened}; the last
token of the input must be the end-of-text token of the answer ({end}).

    messages.append({{"role": "assistant", "content": answer}})
    text = tokenizer.apply_chat_template(messages, tokenize=False).rstrip().removesuffix("{end}") + "{end}"
    score = model(**tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits.item()
    score += model.config.preceptor_offset

{likelihood}The offset, {offset:.6f}, makes demonstrations score 0 on average. `from_pretrained` keeps it in the config
and does not apply it; `preceptor.models.reward_model.RewardModel` does. {meaning}
"""
WHOLE = "Open it with `AutoModelForSequenceClassification.from_pretrained`"
ADAPTER = """It is a soft prompt with its head: open the base that adapter_config.json names with
`AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)`, then `peft.PeftModel.from_pretrained(model,
folder)` on it (the config spoken of below is the one in this folder)"""
LIKELIHOOD = """That is the head alone. This model also reads an answer as the language model that it was: to the score
above belongs {weight:g} times the answer's log-likelihood, the sum over its tokens, the end included, of the logarithm
of softmax(hidden @ embedding.T) at the token, where `hidden` is the last hidden state of the token before it and
`embedding` is `model.get_input_embeddings().weight`. `preceptor.models.reward_model.RewardModel` adds it.

"""
MEANING = {
    "ranking": """Only differences between answers to one prompt have a
meaning: a difference d says that labelers prefer the first with probability 1 / (1 + exp(-d)).""",
    "ratings": """A difference of 1 is one standard deviation of the
ratings that it was trained on.""",
    "bradley_terry": """A difference of 1 is one standard deviation of
the Bradley-Terry scores that it was trained on."""}


def run(step: Step) -> None:
    """Read `model` and `comparisons` (and `demonstrations`, `village`); write model/ and results.json."""
    options = step.options
    refuse_shards(step)
    source = model_folder(step.input("model"))
    if is_scalar(source):
        step.say("the model is a reward model: it goes on from what it learned, its head included")
    tokenizer, model = load_tokenizer(source), start_scalar(source, seed=step.seed)
    set_likelihood_weight(model, options.likelihood)
    adapt(step, model, head=True)
    encoder = AnswerEncoder(tokenizer, context_length(model))
    prompts = _prompts(step, encoder)
    batches = RankedBatches(prompts, rows=options.rows, epochs=options.epochs, pad=encoder.pad, seed=step.seed)
    step.plan(parameters=parameter_count(model), prompts=len(prompts), epochs=options.epochs,
              answers=sum(len(one.answers) for one in prompts), pairs=sum(one.pairs for one in prompts),
              tokens=sum(one.width for one in prompts), optimiser_steps=batches.total)
    loss = ranking_loss if options.objective == "ranking" else regression_loss
    fit(model, batches, loss, options, folder=step.folder, log=step.log, progress=step.progress(batches.total))
    if leads():
        with alone():
            _export(step, model, tokenizer, encoder)
            measure(step, RewardModel(step.folder / "model", rows=options.score_rows),
                    log_odds=options.objective == "ranking", by_votes=options.rank_by == "votes")


def _prompts(step: Step, encoder: AnswerEncoder) -> list[RankedPrompt]:
    """What the training comparisons say about their answers, encoded.

    Raises:
        UserError: there is nothing to learn from in them.
    """
    options = step.options
    comparisons = read_jsonl(step.input("comparisons", "comparisons.train.jsonl"), Comparison)
    if options.rank_by == "votes":
        comparisons = [ranked_by_votes(one) for one in comparisons]
    prompts = (_ranked(step, encoder, comparisons) if options.objective == "ranking"
               else _with_targets(step, encoder, comparisons))
    if encoder.truncated:
        step.say(f"{encoder.truncated} of {len(prompts)} prompts lost their beginning to fit the context")
    step.log.write(0, truncated_prompts=encoder.truncated)
    return prompts


def _ranked(step: Step, encoder: AnswerEncoder, comparisons: list[Comparison]) -> list[RankedPrompt]:
    """Rankings; one that sets no two answers apart has nothing to learn from."""
    encoded = [encoder.ranked(comparison) for comparison in comparisons if len(comparison.ranking) > 1]
    tied = len(comparisons) - len(encoded)
    if tied:
        step.say(f"{tied} of {len(comparisons)} rankings left out: all their answers are tied")
    step.log.write(0, tied_rankings=tied)
    if not encoded:
        raise UserError("No ranking sets two answers apart.", "Give comparisons whose ranking has two groups or more.")
    return encoded


def _with_targets(step: Step, encoder: AnswerEncoder, comparisons: list[Comparison]) -> list[RankedPrompt]:
    """Answers with the number that is to be predicted, mean 0 and deviation 1 over all of them."""
    options = step.options
    if not comparisons:
        raise UserError("There are no comparisons to learn from.", "Give at least one.")
    if options.objective == "ratings":
        worth = [(one, ratings(one, options.ratings)) for one in comparisons]
    else:
        worth = fitted(comparisons, options.prior)
    targets, mean, deviation = standardised([row for _, row in worth])
    step.log.write(0, target_mean=mean, target_deviation=deviation)
    step.say(f"{sum(map(len, targets))} answers to {len(worth)} prompts are worth {mean:.3f} on average, with a "
             f"deviation of {deviation:.3f}, which is the unit of the score")
    return [replace(encoder.ranked(one), tables={"target": row})
            for (one, _), row in zip(worth, targets, strict=True)]


def _export(step: Step, model: nn.Module, tokenizer: Any, encoder: AnswerEncoder) -> None:
    """Set the offset by which demonstrations average 0, and write the model with a card that says so."""
    model.config.pad_token_id = encoder.pad  # by which the classifier of transformers finds the last token
    if "demonstrations" in step.inputs:
        model.config.preceptor_offset = _offset(step, model, encoder)
    else:
        step.say("there are no demonstrations, so that the scores have no zero of their own")
        model.config.preceptor_offset = 0.0
    save_model(model, tokenizer, step.folder / "model")
    weight = step.options.likelihood
    opened = ADAPTER if hasattr(model, "soft_prompt") else WHOLE
    card = CARD.format(end=tokenizer.eos_token, opened=opened, offset=model.config.preceptor_offset,
                       meaning=MEANING[step.options.objective],
                       likelihood=LIKELIHOOD.format(weight=weight) if weight else "")
    write_text(step.folder / "model" / "README.md", card)


def _offset(step: Step, model: nn.Module, encoder: AnswerEncoder) -> float:
    """Minus the mean score of the demonstrations: of the last answer of each."""
    conversations = read_jsonl(step.input("demonstrations"), Conversation)
    before = encoder.truncated
    demonstrations = [encoder.encode(*_last_answer(one)) for one in conversations]
    long = encoder.truncated - before
    if long:
        step.say(f"{long} of {len(demonstrations)} demonstrations lost their beginning to fit the context")
    model.eval()
    scores = score_answers(model, demonstrations, encoder.pad, step.options.score_rows)
    mean = sum(scores) / len(scores)
    step.log.write(0, offset=-mean, truncated_demonstrations=long)
    return -mean


def _last_answer(conversation: Conversation) -> tuple[Prompt, Response]:
    """The last message of the assistant's, and what stands before it.

    Raises:
        UserError: no message is the assistant's.
    """
    numbers = [number for number, message in enumerate(conversation.messages) if message["role"] == "assistant"]
    if not numbers:
        raise UserError(f"Conversation '{conversation.id}' has no message of the assistant's.",
                        "Add the answer, or leave the record out.")
    prompt = Prompt(conversation.id, conversation.messages[:numbers[-1]])
    return prompt, Response(conversation.messages[numbers[-1]]["content"])
