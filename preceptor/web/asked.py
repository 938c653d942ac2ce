"""What a client of the API asks for: a JSON body in OpenAI's form, and the requests of the engine that it stands for.

Every field is known and honoured, or refused by name. Null stands for a field that is not given.
"""

import secrets
from dataclasses import dataclass, field, fields, replace
from typing import Any

from preceptor.data.records import Prompt
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.guard import ACTIONS, Policy, recovering
from preceptor.generate.local import LocalDecoder
from preceptor.generate.request import READING
from preceptor.models.causal import context_length
from preceptor.models.embedding import TextEncoder
from preceptor.run.errors import UserError, nearest
from preceptor.tokenizer.chat import encode_prompt, encode_text
from preceptor.vision.pair_encoder import PairEncoder, Picture
from preceptor.vision.reader import Reader
from preceptor.web.options import ServeOptions
from preceptor.web.pictures import part_of, taken

SAMPLING = {field.name: field.default for field in fields(Sampling)}
BOTH = {"model": str, "stream": bool, "stream_options": dict, "n": int, "seed": int, "stop": (str, list),
        "guard": (bool, dict)}
CHAT = {**BOTH, "messages": list, "max_completion_tokens": int, "logprobs": bool, "top_logprobs": int, "user": str,
        "store": bool}
COMPLETION = {**BOTH, "prompt": (str, list), "logprobs": int}
NOTHING = type(None)  # the kind of a field that may not be given
LARGE = 2**31  # no option means anything beyond; not-a-number is not below it, either
MOST_TEXTS = 2048  # of one call for embeddings or scores, as with OpenAI's embeddings
SCORE = {"model": str, "messages": list, "responses": list}
EMBEDDINGS = {"model": str, "input": (str, list), "encoding_format": str, "dimensions": int}


@dataclass(frozen=True)
class Asked:
    """One call of the API: its prompts with the requests for each, and the form of what comes back."""

    requests: list[Request]
    prompts: list[list[int]]
    stream: bool
    usage: bool
    """Whether a stream ends with how many tokens there were."""
    log_probs: bool
    policy: Policy | None = None
    """What is done about answers that go round in circles."""
    user: str | None = None
    keep: bool = True
    """Whether the exchange may be kept, where a log is."""
    pictures: list[bytes] = field(default_factory=list)
    """Files that are to be read before the prompts, which have marks in their places."""
    shown: object = None
    """Held while answers may still look at the pictures (`served.Sighted`)."""


def checked(body: Any, known: dict[str, Any], sampling: bool = True) -> dict[str, Any]:
    """The fields that are given.

    Raises:
        UserError: the body is no JSON object, or a field is unknown or not of its kind.
    """
    if not isinstance(body, dict):
        raise UserError("The body is not a JSON object.", "Send one object, in braces.")
    allowed = {**({name: kind_of_option(default) for name, default in SAMPLING.items()} if sampling else {}), **known}
    found = {}
    for name, value in body.items():
        if name not in allowed:
            raise UserError(f"The field '{name[:80]}' is not known here, and nothing is ignored.",
                            nearest(name[:80], allowed))
        kinds = allowed[name] if isinstance(allowed[name], tuple) else (allowed[name],)
        if isinstance(value, float) and value.is_integer() and float not in kinds and int in kinds:
            value = int(value)  # JSON has one kind of number
        wrong_truth = isinstance(value, bool) and bool not in kinds
        if value is not None and (wrong_truth or not isinstance(value, kinds)):
            raise UserError(f"The field '{name}' cannot be {str(value)[:80]!r}.",
                            f"It must be {' or '.join(_JSON[kind] for kind in kinds)}.")
        if isinstance(value, (int, float)) and name != "seed" and not abs(value) < LARGE:
            raise UserError(f"The number in the field '{name}' is too large.", "Give one that means something.")
        if value is not None:
            found[name] = value
    return found


_JSON = {str: "text", bool: "true or false", int: "a whole number", float: "a number", list: "a list",
         dict: "an object", NOTHING: "left out"}


def kind_of_option(default: Any) -> Any:
    """The JSON kinds of a decoding option."""
    if isinstance(default, bool):  # early_stopping, which may be "never"
        return (bool, str)
    return {float: (int, float), int: int, tuple: list}[type(default)]


def read_chat(body: Any, decoder: LocalDecoder, options: ServeOptions, logged: bool,
              reader: Reader | None = None) -> Asked:
    """What `/v1/chat/completions` is asked, of a model that sees where there is a `reader`; errors as in `checked`, and
    where it cannot be honoured."""
    given = checked(body, CHAT)
    if not logged and ("user" in given or given.get("store")):
        raise UserError("The fields 'user' and 'store' are for the log, and this server keeps none.", "Leave them out.")
    if given.pop("top_logprobs", 0):
        raise UserError("top_logprobs above 0 is not offered.", "Leave it out; logprobs gives the tokens written.")
    if "max_tokens" in given and "max_completion_tokens" in given:
        raise UserError("max_tokens and max_completion_tokens are one option.", "Give one of them.")
    if "max_completion_tokens" in given:
        given["max_tokens"] = given.pop("max_completion_tokens")
    if "messages" not in given:
        raise UserError("The field 'messages' is missing.", "Give the conversation as a list of messages.")
    messages = given.pop("messages")
    pictures = taken(messages)
    if pictures and reader is None:
        raise UserError(f"The model '{given.get('model')}' reads text alone, and a message holds a picture.",
                        "Leave the picture out, or ask a model that sees.")
    prompt = Prompt("chat", messages)
    tokens = reader.tokens(prompt) if reader else encode_prompt(decoder.tokenizer, prompt)
    user, keep = given.pop("user", None), given.pop("store", True)
    asked = replace(_asked(given, [(prompt, tokens)], decoder, options), user=user, keep=keep, pictures=pictures)
    if pictures:
        _check_pictured(asked, reader)
    return asked


def _check_pictured(asked: Asked, reader: Reader) -> None:
    """Refuse what reads the words of a prompt that has pictures among them."""
    if refused := [name for name in asked.requests[0].sampling.processors if name in READING]:
        raise UserError(f"{refused[0]} reads the words of a prompt, and pictures are none.",
                        f"Leave out {refused[0]}.")
    if asked.policy and not reader.reads:
        raise UserError("The guard watches answers to words, and this model only captions.", "Leave guard out.")
    if asked.policy and "regenerate" in asked.policy.actions:
        raise UserError("The guard's 'regenerate' puts a question differently, which it cannot with a picture.",
                        "Take roll_back or stop.")


def read_completion(body: Any, decoder: LocalDecoder, options: ServeOptions, reader: Reader | None = None) -> Asked:
    """What `/v1/completions` is asked: the text as it stands goes on, without a chat template."""
    given = checked(body, COMPLETION)
    if reader is not None and not reader.reads:
        raise UserError(f"The model '{given.get('model')}' captions pictures, and goes on with no text.",
                        "Ask /v1/chat/completions with a picture.")
    texts = given.pop("prompt", None)
    texts = [texts] if isinstance(texts, str) else texts
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise UserError("The field 'prompt' must be a text, or a list of texts, none of them empty.", "Give one.")
    prompts = [Prompt("completion", [{"role": "user", "content": text}]) for text in texts]
    if given.get("logprobs", 0) not in (0, 1):
        raise UserError("logprobs other than 0 and 1 is not offered.",
                        "Both give the log-probabilities of the tokens written.")
    given["logprobs"] = "logprobs" in given  # here 0 asks for those of the tokens written, too
    asked = _asked(given, [(prompt, encode_text(decoder.tokenizer, text)) for prompt, text in zip(prompts, texts)],
                   decoder, options)
    if asked.policy and "regenerate" in asked.policy.actions:
        raise UserError("The guard's 'regenerate' puts a question differently, and a text to go on with is none.",
                        "Take roll_back, or ask /v1/chat/completions.")
    return asked


def _asked(given: dict[str, Any], prompts: list[tuple[Prompt, list[int]]], decoder: LocalDecoder,
           options: ServeOptions) -> Asked:
    count, seed = given.pop("n", 1), given.pop("seed", secrets.randbits(31))
    stream, log_probs = given.pop("stream", False), given.pop("logprobs", False)
    usage = _usage(given.pop("stream_options", None), stream)
    policy = _policy(given.pop("guard", None))
    given.pop("model", None)
    if not 1 <= count * len(prompts) <= options.rows:
        raise UserError(f"{count} answers to each of {len(prompts)} prompts are not from 1 to {options.rows}.",
                        "Give another n.")
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    for name in ("stop", "dry_sequence_breakers", "order"):
        if not all(isinstance(text, str) for text in given.get(name, ())):
            raise UserError(f"The field '{name}' must hold texts only.", "Give a list of texts.")
    requests, tokens = [], []
    for prompt, prompt_tokens in prompts:
        if not prompt_tokens:
            raise UserError("A prompt has no tokens: there is nothing to go on from.", "Write something.")
        room = context_length(decoder.model) - len(prompt_tokens)
        sampling = Sampling(**{"max_tokens": max(1, min(options.max_tokens, room)), **given})
        if sampling.max_tokens > room:
            raise UserError(f"A prompt of {len(prompt_tokens)} tokens and an answer of {sampling.max_tokens} do not "
                            f"fit the context of {context_length(decoder.model)}.", "Shorten one of them.")
        if sampling.num_beams > options.rows:
            raise UserError(f"num_beams may be {options.rows} at most here.", "Ask for fewer.")
        if policy:
            recovering(sampling, policy)  # what cannot be honoured is refused now, and not when an answer loops
        requests += [Request(prompt, sampling, seed + choice) for choice in range(count)]
        tokens += [prompt_tokens] * count
    return Asked(requests, tokens, stream, usage, log_probs, policy)


def _policy(guard: bool | dict[str, Any] | None) -> Policy | None:
    """What the field `guard` asks for: true, or what differs from the guard's own policy."""
    if not guard:
        return None if guard in (None, False) else Policy()
    given = {} if guard is True else checked(guard, {"actions": list, "recovery": dict}, sampling=False)
    if "actions" in given:
        given["actions"] = tuple(str(action) for action in given["actions"])
        if "queue" in given["actions"]:
            raise UserError("The guard has no person's queue here.",
                            f"Choose among: {', '.join(action for action in ACTIONS if action != 'queue')}.")
    if "recovery" in given:
        given["recovery"] = checked(given["recovery"], {"stop": NOTHING, "max_tokens": NOTHING})
    return Policy(**given)


def _usage(stream_options: dict[str, Any] | None, stream: bool) -> bool:
    if stream_options is None:
        return False
    wanted = stream_options.get("include_usage", False)
    if not stream or not set(stream_options) <= {"include_usage"} or not isinstance(wanted, bool):
        raise UserError(f"The stream_options {stream_options} cannot be honoured.",
                        "Beside stream, give include_usage alone.")
    return wanted


def read_score(body: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The conversation and the answers that `/v1/score` is to score."""
    given = checked(body, SCORE, sampling=False)
    for name in ("messages", "responses"):
        if not given.get(name):
            raise UserError(f"The field '{name}' is missing or empty.", "Give messages, and responses to score.")
    if len(given["responses"]) > MOST_TEXTS or not all(isinstance(text, str) for text in given["responses"]):
        raise UserError(f"The field 'responses' must be a list of 1 to {MOST_TEXTS} texts.",
                        "Give texts, and many of them in several calls.")
    if taken(given["messages"]):
        raise UserError("A message holds a picture, and rewards read text alone.", "Leave it out.")
    return given["messages"], given["responses"]


def read_embeddings(body: Any, encoder: TextEncoder | PairEncoder) -> tuple[list[list[int] | Picture], bool]:
    """The tokens of the texts that `/v1/embeddings` is to embed, the pictures among them, and whether vectors go out as
    base64."""
    given = checked(body, EMBEDDINGS, sampling=False)
    texts = given.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    pictures = {}
    if isinstance(encoder, PairEncoder) and isinstance(texts, list):
        found: list[bytes] = []
        for place, part in enumerate(texts[:MOST_TEXTS]):
            if isinstance(part, dict) and part_of(part, found)["type"] == "image_url":
                pictures[place] = (len(found), found[-1])
    if not texts or len(texts) > MOST_TEXTS or not all(
            place in pictures or (isinstance(text, str) and text) for place, text in enumerate(texts)):
        raise UserError(f"The field 'input' must be a text, or a list of 1 to {MOST_TEXTS} texts, none of them empty.",
                        "Give texts: numbers of tokens are of another vocabulary.")
    form = given.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise UserError(f"The encoding_format '{form}' is not known here.", nearest(form, ("float", "base64")))
    if given.get("dimensions", encoder.width) != encoder.width:
        raise UserError(f"The vectors of this model have {encoder.width} dimensions.", "Leave dimensions out.")
    return [pictures.get(place) or encoder.tokens(text) for place, text in enumerate(texts)], form == "base64"

