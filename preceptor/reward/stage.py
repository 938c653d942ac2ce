"""The reward stage: a fine-tuned model learns to score answers from rankings (Ouyang et al. 2022, §3.5)."""

from typing import Any

from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.data.jsonl import read_jsonl
from preceptor.data.ranked import RankedBatches, RankedPrompt
from preceptor.data.records import Comparison, Conversation
from preceptor.learn.fit import fit
from preceptor.losses.ranking import pairwise_accuracy, pairwise_ranking
from preceptor.models.attention import shared_prompt_mask
from preceptor.models.causal import context_length, model_folder, parameter_count, save_model
from preceptor.models.reward_model import AnswerEncoder, score_answers
from preceptor.models.scalar import scalar_from_causal, token_values
from preceptor.reward.measure import measure
from preceptor.run.errors import UserError
from preceptor.run.files import write_text
from preceptor.run.step import Step
from preceptor.tokenizer.chat import encode_conversation, load_tokenizer

CARD = """# A reward model

A sequence classifier with one output, trained by Preceptor to order answers as its labelers do. Open it with
`AutoModelForSequenceClassification.from_pretrained`; the last token of the input must be the end-of-text token of the
answer ({end}).

    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) + answer + "{end}"
    score = model(**tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits.item()
    score += model.config.preceptor_offset

The offset, {offset:.6f}, makes demonstrations score 0 on average. `from_pretrained` keeps it in the config and does not
apply it; `preceptor.models.reward_model.RewardModel` does. Only differences between answers to one prompt have a
meaning: a difference d says that labelers prefer the first with probability 1 / (1 + exp(-d)).
"""


def run(step: Step) -> None:
    """Read `model`, `comparisons` and `demonstrations` (and `village`); write model/ and results.json."""
    options = step.options
    source = model_folder(step.input("model"))
    tokenizer, model = load_tokenizer(source), scalar_from_causal(source, seed=step.seed)
    encoder = AnswerEncoder(tokenizer, context_length(model))
    prompts = _ranked_prompts(step, encoder)
    batches = RankedBatches(prompts, rows=options.rows, epochs=options.epochs, pad=encoder.pad, seed=step.seed)
    step.plan(parameters=parameter_count(model), prompts=len(prompts), epochs=options.epochs,
              answers=sum(len(one.answers) for one in prompts), pairs=sum(one.pairs for one in prompts),
              tokens=sum(one.width for one in prompts), optimiser_steps=batches.total)
    fit(model, batches, ranking_loss, options, folder=step.folder, log=step.log,
        progress=step.progress(batches.total))
    _export(step, model, tokenizer, encoder)
    measure(step)


def _ranked_prompts(step: Step, encoder: AnswerEncoder) -> list[RankedPrompt]:
    """The training rankings, encoded; one that sets no two answers apart has nothing to learn from."""
    comparisons = read_jsonl(step.input("comparisons", "comparisons.train.jsonl"), Comparison)
    encoded = [encoder.ranked(comparison) for comparison in comparisons if len(comparison.ranking) > 1]
    tied = len(comparisons) - len(encoded)
    if tied:
        step.say(f"{tied} of {len(comparisons)} rankings left out: all their answers are tied")
    if encoder.truncated:
        step.say(f"{encoder.truncated} of {len(encoded)} prompts lost their beginning to fit the context")
    step.log.write(0, tied_rankings=tied, truncated_prompts=encoder.truncated)
    if not encoded:
        raise UserError("No ranking sets two answers apart.", "Give comparisons whose ranking has two groups or more.")
    return encoded


def ranking_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """The K-wise ranking loss over the prompts of a batch, and the share of pairs in the right order, by prompt."""
    ends, ranks = batch["ends"], batch["ranks"]
    present = ends >= 0
    scores_BK = token_values(model, batch, shared_prompt_mask).gather(1, ends.clamp(min=0))
    loss, count = pairwise_ranking(scores_BK, ranks, present)
    by_prompt = [pairwise_accuracy(scores_BK[r:r + 1], ranks[r:r + 1], present[r:r + 1]) for r in range(len(ends))]
    return loss, int(count), {"accuracy": sum(correct / pairs for correct, pairs in by_prompt)}


def _export(step: Step, model: nn.Module, tokenizer: Any, encoder: AnswerEncoder) -> None:
    """Set the offset by which demonstrations average 0, and write the model with a card that says so."""
    conversations = read_jsonl(step.input("demonstrations"), Conversation)
    demonstrations = [encode_conversation(tokenizer, conversation).tokens for conversation in conversations]
    long = sum(len(tokens) > encoder.context for tokens in demonstrations)
    if long:
        step.say(f"{long} of {len(demonstrations)} demonstrations lost their beginning to fit the context")
    model.eval()
    scores = score_answers(model, [tokens[-encoder.context:] for tokens in demonstrations], encoder.pad,
                           step.options.score_rows)
    model.config.preceptor_offset = -sum(scores) / len(scores)
    model.config.pad_token_id = encoder.pad  # by which the classifier of transformers finds the last token
    step.log.write(0, offset=model.config.preceptor_offset, truncated_demonstrations=long)
    save_model(model, tokenizer, step.folder / "model")
    card = CARD.format(end=tokenizer.eos_token, offset=model.config.preceptor_offset)
    write_text(step.folder / "model" / "README.md", card)
