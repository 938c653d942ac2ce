"""One picture from a file, seen by a system that was trained: scores of texts, answers, a caption."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preceptor.data.pictures.decode import BadPicture, decode, need_pillow
from preceptor.data.pictures.store import as_floats
from preceptor.run.errors import UserError
from preceptor.vision.keep import load_system


def look(model: Path, image: Path, texts: Sequence[str], questions: Sequence[str], best: int,
         phrases: Sequence[str] = ()) -> dict[str, Any]:
    """`scores` of the best texts, `answers` to questions, `boxes` of what phrases name, and a `caption` where nothing
    was asked; `noted` says what was done to the picture.

    Raises:
        UserError: the picture cannot be read, or the system cannot do what was asked of it.
    """
    system = load_system(model)
    noted: Counter[str] = Counter()
    picture = read_picture(image, system.size, noted)
    name = system.options.system
    found: dict[str, Any] = {"noted": sorted(noted)}
    if questions and not hasattr(system, "answer"):
        texts, questions = [*texts, *questions], []  # a system that cannot answer can still score the words
    if texts:
        scores = system.score(picture, texts)[0].tolist()
        found["scores"] = sorted(zip(texts, scores), key=lambda pair: -pair[1])[:best]
    if questions:
        found["answers"] = list(zip(questions, system.answer(picture.expand(len(questions), -1, -1, -1), questions)))
    if phrases:
        if not hasattr(system, "ground"):
            raise UserError(f"A {name} gives no boxes.", "Take a minigpt_v2 or a qwen_vl (docs/vision_splice.md).")
        boxes = system.ground(picture.expand(len(phrases), -1, -1, -1), phrases)
        found["boxes"] = [(phrase, list(box) if box else None) for phrase, box in zip(phrases, boxes)]
    if not texts and not questions and not phrases:
        if not hasattr(system, "caption"):
            raise UserError(f"A {name} writes no captions.", "Give texts to score, or --texts FILE.")
        found["caption"] = system.caption(picture)[0]
    return found


def read_picture(path: Path, size: int, noted: Counter[str] | None = None) -> Tensor:
    """A picture file as systems see it, (1, 3, size, size).

    Raises:
        UserError: it cannot be used; the cause says why.
    """
    need_pillow()
    try:
        return as_floats(torch.from_numpy(decode(path, size, noted=noted).copy())[None])
    except BadPicture as error:
        raise UserError(f"The picture '{path}' cannot be used: {error}.", "Give another file.") from None
