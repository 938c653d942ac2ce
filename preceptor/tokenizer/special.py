"""The tokens that stand for something hidden: the mask of BERT and BART, and the sentinels of T5."""

from typing import Any

from preceptor.run.errors import UserError

MASK, SENTINEL = "<|mask|>", "<extra_id_{}>"  # sentinels by T5's own names


def mask_token(tokenizer: Any, *, add: bool) -> int:
    """The id of the mask, added to the vocabulary where it has none and `add` says that it may grow.

    Raises:
        UserError: there is none, and none may be added.
    """
    if tokenizer.mask_token_id is None:
        if not add:
            raise UserError(f"The tokenizer '{tokenizer.name_or_path}' has no mask token.",
                            "Start from a checkpoint that was trained with one, or from scratch.")
        tokenizer.add_special_tokens({"mask_token": MASK})
    return tokenizer.mask_token_id


def sentinel_tokens(tokenizer: Any, count: int, *, add: bool) -> list[int]:
    """The ids of the sentinels: `count` added ones, or as many up to that as the vocabulary has.

    Raises:
        UserError: there is none, and none may be added.
    """
    names = [SENTINEL.format(number) for number in range(count)]
    if add:
        tokenizer.add_tokens(names, special_tokens=True)
    vocabulary = tokenizer.get_vocab()
    ids = [vocabulary[name] for name in names if name in vocabulary]
    if not ids:
        raise UserError(f"The tokenizer '{tokenizer.name_or_path}' has no sentinels ({names[0]}, ...).",
                        "Start from a checkpoint that was trained with them, or from scratch.")
    return ids
