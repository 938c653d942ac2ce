"""The one path of the algorithms that write answers once, choose among them by reward, and learn from the choice.

Iterating is a matter of the recipe: a second step with the first one's policy writes new answers.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from preceptor.data.batches import IGNORE, Example
from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.packing import PackedBatches
from preceptor.data.records import Conversation, Prompt, Response
from preceptor.feedback.rewards import open_reward
from preceptor.generate.decoder import Request, Sampling, in_order
from preceptor.generate.local import LocalDecoder
from preceptor.learn.adapting import adapt
from preceptor.learn.fit import fit
from preceptor.learn.language import language_loss
from preceptor.models.causal import context_length, load_causal, model_folder, parameter_count, save_model
from preceptor.models.reward_model import AnswerEncoder
from preceptor.rlhf.offline_options import SelectionOptions
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer

Select = Callable[[Sequence[float], random.Random], list[int]]
"""From the scores of the answers to one prompt: which are kept. It draws from the generator that it is given alone."""


def learn_from_chosen(step: Step, select: Select) -> None:
    """Read `policy`, `reward` and `prompts`; write answers.jsonl, chosen.jsonl and model/."""
    options: SelectionOptions = step.options
    folder = model_folder(step.input("policy"))
    tokenizer, policy = load_tokenizer(folder), load_causal(folder)
    prompts = read_jsonl(step.input("prompts"), Prompt)
    if options.answers < 1 or not prompts:
        raise UserError(f"Nothing can be chosen from {options.answers} answers to each of {len(prompts)} prompts.",
                        f"Set {step.name}.answers to 2 or more, and give prompts.")
    answers = _scored_answers(step, policy, tokenizer, prompts)
    chosen = choose(prompts, answers, options, select, step.seed)
    write_jsonl(step.folder / "chosen.jsonl", (_conversation(prompt, answer) for prompt, answer in chosen))
    adapt(step, policy)  # what wrote the answers had none
    encoder = AnswerEncoder(tokenizer, context_length(policy))
    examples = [answer_example(encoder, prompt, answer) for prompt, answer in chosen]
    batches = PackedBatches(examples, rows=options.rows, length=encoder.context, pad=encoder.pad, seed=step.seed,
                            epochs=options.epochs)
    _report(step, prompts, answers, chosen)
    step.plan(parameters=parameter_count(policy), prompts=len(prompts), answers=len(answers), chosen=len(chosen),
              epochs=options.epochs, answer_tokens=sum(example.count for example in examples),
              optimiser_steps=batches.total)
    fit(policy, batches, language_loss, options, folder=step.folder, log=step.log,
        progress=step.progress(batches.total))
    save_model(policy, tokenizer, step.folder / "model")


def _scored_answers(step: Step, policy: Any, tokenizer: Any, prompts: Sequence[Prompt]) -> list[Response]:
    """`answers` answers to each prompt, prompt by prompt, with their scores; from the file of an earlier attempt."""
    options, path = step.options, step.folder / "answers.jsonl"
    if not path.exists():
        sampling = Sampling(temperature=options.temperature, max_tokens=options.max_tokens)
        requests = [Request(prompt, sampling, random.Random(f"{step.seed}/{prompt.id}/{number}").getrandbits(31))
                    for prompt in prompts for number in range(options.answers)]
        decoder = LocalDecoder(policy, tokenizer, rows=options.decode_rows, name=step.name)
        answers = [answer.response for answer in in_order(decoder, requests, step.progress(len(requests), "answers"))]
        if decoder.truncated:
            step.say(f"{decoder.truncated} of {len(requests)} requests lost the beginning of their prompt to fit the "
                     "context")
        reward = open_reward(step.input("reward"), say=step.say)
        scores = reward.score([request.prompt for request in requests], answers)
        write_jsonl(path, (_with_score(answer, score) for answer, score in zip(answers, scores, strict=True)))
    return read_jsonl(path, Response)


def _with_score(answer: Response, score: float) -> Response:
    if not math.isfinite(score):
        raise UserError(f"The reward of the answer '{answer.text[:40]}' is {score}.",
                        "Mend the reward: each score must be a finite number.")
    return Response.from_dict({**answer.to_dict(), "scores": {"reward": score}})


def choose(prompts: Sequence[Prompt], answers: Sequence[Response], options: SelectionOptions, select: Select,
           seed: int) -> list[tuple[Prompt, Response]]:
    """The answers that are learned from, prompt by prompt."""
    chosen = []
    for number, prompt in enumerate(prompts):
        own = answers[number * options.answers:(number + 1) * options.answers]
        kept = select([paid(answer, options) for answer in own], random.Random(f"{seed} choose {number}"))
        chosen += [(prompt, own[index]) for index in kept]
    return chosen


def paid(answer: Response, options: SelectionOptions) -> float:
    """The score of an answer, less the penalty where it was cut."""
    return answer.scores["reward"] - options.missing_end_penalty * (answer.finish != "eos")


def answer_example(encoder: AnswerEncoder, prompt: Prompt, answer: Response) -> Example:
    """The prompt and the very tokens that were sampled; the loss counts the answer's."""
    tokens = encoder.answer(prompt, answer)
    before = encoder.prompt(prompt, encoder.context - len(tokens))
    return Example(prompt.id, before + tokens, [IGNORE] * (len(before) - 1) + tokens + [IGNORE])


def _conversation(prompt: Prompt, answer: Response) -> Conversation:
    messages = [*prompt.messages, {"role": "assistant", "content": answer.text}]
    return Conversation(prompt.id, messages, prompt.category, prompt.user, f"sampled/{answer.model}")


def _report(step: Step, prompts: Sequence[Prompt], answers: Sequence[Response],
            chosen: Sequence[tuple[Prompt, Response]]) -> None:
    """What choosing gains, and what it can cost: best of n diverges by at most log n - (n - 1)/n nats an answer."""
    n = step.options.answers
    every = sum(paid(answer, step.options) for answer in answers) / len(answers)
    kept = sum(paid(answer, step.options) for _, answer in chosen) / len(chosen)
    step.log.write(0, answers=len(answers), chosen=len(chosen), score=every, chosen_score=kept,
                   unfinished=sum(answer.finish == "length" for answer in answers),
                   kl_best_of_n=math.log(n) - (n - 1) / n)
    step.say(f"{len(chosen)} of {len(answers)} answers to {len(prompts)} prompts chosen; their mean score is "
             f"{kept:.3f}, that of all {every:.3f}")
