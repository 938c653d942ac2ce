"""The fingerprint of a vocabulary: whether token ids written by one model may be read by another."""

import hashlib
import json
from typing import Any

from preceptor.run.errors import UserError


def fingerprint(tokenizer: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of the tokenizer's JSON.

    Two tokenizers with the same fingerprint turn every text into the same tokens. Padding and truncation are left
    out: they are settings of the last call, and the same vocabulary would change its fingerprint with use.

    Raises:
        UserError: the tokenizer has no `tokenizer.json` form.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(f"The tokenizer '{tokenizer.name_or_path}' has no fast form, so that it cannot be told apart "
                        "from others.", "Convert it to a folder with tokenizer.json.")
    content = json.loads(backend.to_str())
    for setting in ("padding", "truncation"):
        content.pop(setting, None)
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
