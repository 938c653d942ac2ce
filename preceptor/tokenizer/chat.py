"""Conversations as tokens. A chat template is data: the tokenizer carries it, and the mask is made from it.

Each answer is tokenised apart from what stands before it, so that the tokens that a loss counts are exactly those that
the model will have to write after the same prompt, end of text included.

Only the template writes special tokens. A message that spells one ("<|assistant|>") is read as the letters that it is:
else whoever sends a text could begin a turn in another's name, or end an answer.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from preceptor.data.batches import IGNORE, Example
from preceptor.data.records import IMAGE, Conversation, Document, Prompt, image_urls
from preceptor.run.errors import UserError
from preceptor.tokenizer.album import read_album

END, PAD = "<|end|>", "<|pad|>"  # never the same token: a masked pad must not mask the end of an answer
SPECIALS = (END, PAD, "<|system|>", "<|user|>", "<|assistant|>")
CUT = "\ufdd0"  # where text is tokenised in two parts: a character that Unicode leaves to programs, and no text holds

TEMPLATE = ("{% for message in messages %}{{ '<|' + message['role'] + '|> ' + message['content'] }}"
            "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")

PLAIN_TEMPLATE = ("{% for message in messages %}{{ message['role'] | capitalize + ': ' + message['content'] }}"
                  "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n\n' }}{% endfor %}"
                  "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")


def load_tokenizer(source: Path | str) -> Any:
    """Load a tokenizer from a folder, or from the hub when the user asked for one by name; `album` is that of its
    folder, if there is one.

    A tokenizer without a chat template gets a plain one in words; one without a padding token pads with a token that
    is not the end of text, or is refused.

    Raises:
        UserError: there is no tokenizer there, or it has no end-of-text token.
    """
    from transformers import AutoTokenizer
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UserError(f"'{source}' cannot be loaded as a tokenizer: {str(error).splitlines()[0]}",
                        "Give a folder with tokenizer.json, or the name of a model on the hub.") from None
    if tokenizer.eos_token_id is None:
        raise UserError(f"The tokenizer '{source}' has no end-of-text token.", "Set its eos_token and save it again.")
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        # Padding is masked by segment numbers, so any token other than the end of text will do.
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0 if tokenizer.eos_token_id != 0 else 1)
    tokenizer.album = read_album(source)
    return tokenizer


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text, without special tokens around it."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def encode_document(tokenizer: Any, document: Document) -> Example:
    """A text to pretrain on, between two end-of-text tokens, as GPT-2's was.

    From the one in front the model learns how a text begins. Without it the first token of every answer came out of
    nothing that was ever trained.
    """
    end = tokenizer.eos_token_id
    return Example.of_text(document.id, [end, *encode_text(tokenizer, document.text), end])


def encode_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """The tokens of a prompt, up to where the assistant begins to write."""
    tokens = _encode(tokenizer, _render(tokenizer, prompt.messages, waiting=True))
    return _with_pictures(tokenizer, tokens, iter(image_urls(prompt.messages)))


def fitting(messages: Sequence[dict[str, Any]], tokenizer: Any, room: int,
            tokens: Callable[[Prompt], list[int]] | None = None) -> tuple[list[dict[str, Any]], bool]:
    """The conversation without as many of its first questions, each with its answer, as `room` tokens cannot hold.

    A system message in front and the last question always stay; the second value says whether they fit, too. `tokens`
    gives the tokens of a prompt where they are not the tokenizer's alone, as of one with pictures.
    """
    head = [message for message in messages[:1] if message["role"] == "system"]
    rest = list(messages[len(head):])
    firsts = range(0, max(1, len(rest)), 2)

    def fits(first: int) -> bool:
        prompt = Prompt(id="chat", messages=[*head, *rest[first:]])
        return len(tokens(prompt) if tokens else encode_prompt(tokenizer, prompt)) <= room
    # Most conversations fit whole; of a long one each look costs as much as the conversation is long.
    place = 0 if fits(0) else bisect_left(firsts, True, lo=1, key=fits)
    return [*head, *rest[firsts[min(place, len(firsts) - 1)]:]], place < len(firsts)


def encode_answer(tokenizer: Any, prompt: Prompt, text: str) -> list[int]:
    """The tokens that the model would have written had it given this answer to the prompt, end of text included."""
    before = _render(tokenizer, prompt.messages, waiting=True)
    after = _render(tokenizer, [*prompt.messages, {"role": "assistant", "content": text}], waiting=False)
    if not after.startswith(before):
        raise UserError(f"The chat template rewrites the messages of prompt '{prompt.id}' when its answer comes.",
                        "Use a template that only appends.")
    return _answer_tokens(tokenizer, after[len(before):])


def encode_conversation(tokenizer: Any, conversation: Conversation) -> Example:
    """A demonstration as an example: targets are the assistant's tokens and the ends of its messages, and only those.

    Raises:
        UserError: no message is the assistant's or the first one is, a message spells a special token, or the template
            rewrites earlier messages when later ones come.
    """
    _refuse_unclear(tokenizer, conversation)
    tokens: list[int] = []
    counted: list[bool] = []
    done, pictures = "", iter(image_urls(conversation.messages))
    for number, message in enumerate(conversation.messages):
        if message["role"] != "assistant":
            continue
        before = _render(tokenizer, conversation.messages[:number], waiting=True)
        after = _render(tokenizer, conversation.messages[:number + 1], waiting=False)
        if not before.startswith(done) or not after.startswith(before):
            raise UserError(f"The chat template rewrites earlier messages of conversation '{conversation.id}'.",
                            "Use a template that only appends.")
        given = _with_pictures(tokenizer, _encode(tokenizer, before[len(done):]), pictures)
        answer = _answer_tokens(tokenizer, after[len(before):])
        tokens += given + answer
        counted += [False] * len(given) + [True] * len(answer)
        _, end, behind = after[len(before):].partition(tokenizer.eos_token)
        done = after[:len(after) - len(behind)] if end else after  # what follows the end belongs to the next prompt
    if not any(counted):
        raise UserError(f"Conversation '{conversation.id}' has no message of the assistant's.",
                        "Add the answer, or leave the record out.")
    targets = [token if counts else IGNORE for token, counts in zip(tokens[1:], counted[1:])] + [IGNORE]
    return Example(conversation.id, tokens, targets)


def _refuse_unclear(tokenizer: Any, conversation: Conversation) -> None:
    """Text that spells a special token was mostly put through a template before, and is no text to learn as letters. An
    answer to nothing has no prompt, which templates need."""
    if conversation.messages[0]["role"] == "assistant":
        raise UserError(f"Conversation '{conversation.id}' begins with the assistant.",
                        "Put the message that it answers in front, or leave its first message out.")
    for message in conversation.messages:
        content = message["content"]
        texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
        for text in texts:
            spelled = [mark for mark in tokenizer.all_special_tokens if mark in text]
            if spelled:
                raise UserError(f"A message of conversation '{conversation.id}' spells the special token "
                                f"'{spelled[0]}'.", "Write it otherwise, or leave the record out.")


def _answer_tokens(tokenizer: Any, text: str) -> list[int]:
    """An answer's tokens up to its end-of-text token; what a template writes behind that is never the model's."""
    tokens = _encode(tokenizer, text)
    if tokenizer.eos_token_id in tokens:
        return tokens[:tokens.index(tokenizer.eos_token_id) + 1]
    return [*tokens, tokenizer.eos_token_id]


def _encode(tokenizer: Any, rendered: str) -> list[int]:
    """The tokens of what `_render` gave: its special tokens are the template's own."""
    return [token for part in rendered.split(CUT) for token in encode_text(tokenizer, part)]


def _with_pictures(tokenizer: Any, tokens: list[int], pictures: Iterator[str]) -> list[int]:
    """The tokens with the entries of pictures in the places of their marks, where the tokenizer has an album."""
    album = getattr(tokenizer, "album", None)
    return tokens if album is None else album.placed(tokens, tokenizer.convert_tokens_to_ids(IMAGE), pictures)


def _render(tokenizer: Any, messages: list[dict[str, Any]], *, waiting: bool) -> str:
    """The messages by the chat template; a picture is its mark among the text, and special tokens in texts are cut."""
    specials = tuple(sorted({*tokenizer.all_special_tokens, *(
        one.content for one in tokenizer.added_tokens_decoder.values() if one.special)} - {""}))
    messages = [message | {"content": _content(message["content"], specials)} for message in messages]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=waiting)


def _content(content: str | list[dict[str, Any]], specials: tuple[str, ...]) -> str:
    """The texts of a message with `CUT` in every special token that they spell, together as well as each, and `IMAGE`
    for each picture."""
    if isinstance(content, str):
        return _cut(content, specials)
    runs = groupby(content, lambda part: part.get("type") == "text")
    return "".join(_cut("".join(part.get("text", "") for part in parts), specials) if is_text else
                   IMAGE * len(list(parts)) for is_text, parts in runs)


def _cut(text: str, specials: tuple[str, ...]) -> str:
    if not any(special in text for special in specials):  # as of nearly all texts
        return text
    return _beginnings(specials).sub(rf"\1{CUT}", text)


@cache
def _beginnings(specials: tuple[str, ...]) -> re.Pattern[str]:
    """The first character of each special token in a text."""
    return re.compile(f"(?={'|'.join(map(re.escape, specials))})(.)", re.DOTALL)
